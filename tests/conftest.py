"""What every test shares: where the real data lie, and threads that leave idle cores alone."""

import os
import signal
from pathlib import Path

import pytest

# Read when torch is loaded, here and in every process a test starts. Waiting threads otherwise
# spin, and on cores that anything else uses each small operation can stall for tens of ms.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

# Without a GPU Triton kernels are tested in their interpreter; Triton asks when it is loaded.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# A shell's background job ignores SIGINT, and so would every process a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real data sets: $NEURO_TEST_DATA, or ../shared/data beside the checkout."""
    asked = os.environ.get("NEURO_TEST_DATA")
    folder = Path(asked) if asked else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        if asked:
            pytest.fail(f"NEURO_TEST_DATA={asked} is not a folder")
        pytest.skip(f"no real data at {folder}; set NEURO_TEST_DATA to the folder that holds it")
    return folder


def _write_triples(folder: Path, **splits: list[tuple[str, str, str]]) -> None:
    folder.mkdir()
    for split, triples in splits.items():
        text = "".join("\t".join(triple) + "\n" for triple in triples)
        (folder / f"{split}.txt").write_text(text, encoding="utf-8")


def _ring(nodes: int, name: str) -> tuple[list[tuple[str, str, str]], list[tuple[str, str, str]]]:
    """Facts of a ring: who comes next, and who comes after the next, which follows from it."""
    names = [f"{name}{number:02}" for number in range(nodes)]
    steps = [(names[i], "next", names[(i + 1) % nodes]) for i in range(nodes)]
    leaps = [(names[i], "after_next", names[(i + 2) % nodes]) for i in range(nodes)]
    return steps, leaps


@pytest.fixture(scope="session")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of tiny graphs: ``ring``, ``rings`` and ``rings_ind``, and ``links``; read only."""
    folder = tmp_path_factory.mktemp("graphs")
    steps, leaps = _ring(16, "a")
    held_out = {"valid": leaps[3:6], "test": leaps[9:12]}
    rest = [*leaps[:3], *leaps[6:9], *leaps[12:]]
    _write_triples(folder / "ring", train=[*steps, *rest], **held_out)
    other_steps, other_leaps = _ring(20, "b")
    _write_triples(folder / "rings", train=[*steps, *rest], valid=held_out["valid"])
    _write_triples(
        folder / "rings_ind", train=[*other_steps, *other_leaps[4:]], test=other_leaps[:4]
    )
    (folder / "links").mkdir()
    pairs = [f"{head}\t{tail}\n" for head, _, tail in [*steps, *leaps]]
    (folder / "links" / "edges.txt").write_text("".join(pairs), encoding="utf-8")
    return folder
