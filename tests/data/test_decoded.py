import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from neuro.data.decoded import decoded_once
from neuro.data.partial import STALE_AFTER_S

SHAPES = {"inputs": (2, 3), "targets": (2,)}


class Decoder:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self) -> dict[str, np.ndarray]:
        self.calls += 1
        return {
            "inputs": np.arange(6, dtype=np.uint8).reshape(2, 3),
            "targets": np.array([1, 0], dtype=np.int64),
        }


@pytest.fixture
def decoder() -> Decoder:
    return Decoder()


def names(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def test_decodes_once_and_then_reads_the_same(tmp_path, decoder):
    first = decoded_once(tmp_path, "key", SHAPES, decoder)
    second = decoded_once(tmp_path, "key", SHAPES, decoder)
    assert decoder.calls == 1
    for name, array in first.items():
        assert np.array_equal(array, second[name])
        assert array.dtype == second[name].dtype
    decoded_once(tmp_path, "another", SHAPES, decoder)
    assert decoder.calls == 2
    assert names(tmp_path) == [
        "decoded/another-v1/inputs.npy",
        "decoded/another-v1/targets.npy",
        "decoded/key-v1/inputs.npy",
        "decoded/key-v1/targets.npy",
    ]


@pytest.mark.parametrize("damage", ["truncate", "remove", "reshape", "pickle"])
def test_a_damaged_copy_is_decoded_again_and_said(tmp_path, decoder, damage, capsys):
    decoded_once(tmp_path, "key", SHAPES, decoder)
    file = tmp_path / "decoded" / "key-v1" / "inputs.npy"
    if damage == "truncate":
        file.write_bytes(file.read_bytes()[:-1])
    elif damage == "remove":
        file.unlink()
    elif damage == "reshape":
        np.save(file, np.zeros((3, 2), dtype=np.uint8))
    else:
        np.save(file, np.array([{}, {}], dtype=object), allow_pickle=True)
    arrays = decoded_once(tmp_path, "key", SHAPES, decoder)
    assert decoder.calls == 2
    assert "is damaged" in capsys.readouterr().err
    assert arrays["inputs"].tolist() == [[0, 1, 2], [3, 4, 5]]
    decoded_once(tmp_path, "key", SHAPES, decoder)
    assert decoder.calls == 2


def test_a_failing_decoder_leaves_nothing(tmp_path):
    def fail() -> dict[str, np.ndarray]:
        raise RuntimeError("broken")

    with pytest.raises(RuntimeError, match="broken"):
        decoded_once(tmp_path, "key", SHAPES, fail)
    assert names(tmp_path) == []


def test_a_place_that_cannot_be_written_costs_only_time(tmp_path, decoder, capsys):
    blocked = tmp_path / "file"
    blocked.write_text("a file where the cache folder should be")
    arrays = decoded_once(blocked, "key", SHAPES, decoder)
    assert arrays["targets"].tolist() == [1, 0]
    assert "NEURO_DATA_DIR" in capsys.readouterr().err


def test_what_a_killed_process_left_is_removed_later_but_not_at_once(tmp_path, decoder):
    decoded = tmp_path / "decoded"
    fresh, stale = decoded / ".partial-fresh", decoded / ".partial-stale"
    for folder in (fresh, stale):
        folder.mkdir(parents=True)
        (folder / "inputs.npy").write_bytes(b"half")
    long_ago = time.time() - STALE_AFTER_S - 60
    os.utime(stale, (long_ago, long_ago))
    decoded_once(tmp_path, "key", SHAPES, decoder)
    assert fresh.is_dir()
    assert not stale.exists()


def test_two_writers_at_once_leave_one_whole_copy(tmp_path, decoder, capsys):
    both_decoding = threading.Barrier(2, timeout=30)

    def decode() -> dict[str, np.ndarray]:
        both_decoding.wait()
        return decoder()

    with ThreadPoolExecutor(2) as pool:
        loads = [pool.submit(decoded_once, tmp_path, "key", SHAPES, decode) for _ in range(2)]
        assert [load.result()["targets"].tolist() for load in loads] == [[1, 0], [1, 0]]
    assert decoder.calls == 2
    assert capsys.readouterr().err == ""
    assert names(tmp_path) == ["decoded/key-v1/inputs.npy", "decoded/key-v1/targets.npy"]
