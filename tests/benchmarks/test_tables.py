"""Results in README and docs are what the result files say."""

from pathlib import Path
from typing import Any

import pytest

from benchmarks.cells import Cell
from benchmarks.command import CheckFailedError
from benchmarks.grid_result import summarise
from benchmarks.grids import GRIDS
from benchmarks.highlights import highlights
from benchmarks.records import origin, write_result
from benchmarks.tables import END, START, place, read_results, render, tables
from neuro.errors import UsageError

DIGITS = GRIDS["digits"]


def ended(variant: str, seed: int, accuracy: float) -> dict[str, object]:
    cell = Cell(DIGITS, DIGITS.variant(variant), seed)
    return {
        "variant": variant,
        "rule": variant,
        "seed": seed,
        "state": "finished",
        "command": f"neuro train {variant} --dataset digits --seed {seed}",
        "arguments": list(cell.arguments),
        "gpu": None,
        "cpu": "Test CPU",
        "threads": 1,
        "torch": "2.13.0",
        "test_accuracy": accuracy,
        "test_accuracy_best_validation": accuracy - 0.01,
        "firing_rate": 0.25,
        "seconds": 12.0,
        "peak_memory_mb": 400.0,
    }


@pytest.fixture
def results(tmp_path: Path) -> Path:
    cells = [
        ended(variant, seed, base + seed / 1000)
        for variant, base in (("ottt", 0.98), ("opzo", 0.975))
        for seed in (0, 1, 2)
    ]
    folder = tmp_path / "results"
    opening = origin(["python", "-m", "benchmarks.accuracy", "digits"])
    write_result(folder / "digits.json", {**opening, **summarise(DIGITS, cells)})
    memory = {
        **origin(["python", "-m", "benchmarks.memory"]),
        "kind": "memory",
        "network": "784-800-800-10",
        "batch_size": 128,
        "rows": [
            {"rule": "opzo", "timesteps": steps, "update_mb": size}
            for steps, size in ((8, 20.0), (32, 20.5))
        ],
    }
    write_result(folder / "memory.json", memory)
    return folder


@pytest.fixture
def readme(tmp_path: Path) -> Path:
    file = tmp_path / "README.md"
    file.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    image = tmp_path / "docs" / "images" / "memory.png"
    image.parent.mkdir(parents=True)
    image.write_bytes(b"")
    return file


@pytest.fixture
def document(tmp_path: Path) -> Path:
    file = tmp_path / "docs" / "results.md"
    file.parent.mkdir(exist_ok=True)
    file.write_text(f"before\n{START}\nold\n{END}\nafter\n")
    return file


def test_each_row_states_its_mean_its_difference_and_its_command(results: Path) -> None:
    text = render(results)
    row = next(line for line in text.splitlines() if line.startswith("| `opzo` | 97.60"))
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:3] == ["97.60 ± 0.10", "96.60 ± 0.10"]
    assert cells[3].startswith("-0.50 ± 0.00, p < 0.001, beyond noise")
    assert cells[4:8] == ["3", "0.250", "12", "400"]
    assert cells[8] == "`python -m benchmarks.accuracy digits --only opzo`"
    assert "[`digits.json`](../benchmarks/results/digits.json)" in text
    assert "neuro train opzo --dataset digits --seed 0" in text
    assert "Test CPU with 1 thread" in text


def test_memory_rows_state_growth_and_source(results: Path) -> None:
    text = render(results)
    assert "| `opzo` | 20.0 | 20.5 | 1.02 |" in text
    assert "`python -m benchmarks.memory`" in text
    assert "benchmarks/results/memory.json" in text


def test_highlights_are_of_what_was_measured(results: Path) -> None:
    text = highlights(read_results(results))
    assert "| Digits, the default of `neuro train` | - | 98.10 ± 0.10 | 97.60 ± 0.10 | - |" in text
    assert "from T = 8 to 32 grows: `opzo` 1.02 times." in text
    assert "LIF layer" not in text


def test_highlights_tell_what_noise_may_have_done() -> None:
    def changed(points: float, beyond: bool) -> dict[str, Any]:
        return {"n": 3, "mean": points / 100, "beyond_noise": beyond}

    record = {
        "title": "Ablations of GRSNN on UMLS",
        "baseline": "grsnn",
        "rules": {"grsnn": {"mrr_best_validation": {"mean": 0.912}}},
        "differences": {"not-delay": changed(-58.4, True), "timesteps-5": changed(-2.5, False)},
    }
    assert highlights({"ablation": [(record, "ablation-umls.json")]}) == (
        "- Ablations of GRSNN on UMLS, points of MRR from 0.912, paired over 3 seeds: "
        "`not-delay` -58.4 beyond noise; `timesteps-5` -2.5 within noise.\n"
    )
    assert "GRSNN" not in highlights({"ablation": [({**record, "differences": {}}, "")]})


def test_writing_touches_nothing_outside_the_marks(
    readme: Path, document: Path, results: Path
) -> None:
    for _ in range(2):
        tables(readme=readme, document=document, results=results)
        for file in (readme, document):
            text = file.read_text("utf-8")
            assert text.startswith(f"before\n{START}\n")
            assert text.endswith(f"{END}\nafter\n")
            assert "old" not in text
            assert "97.60" in text


def test_check_fails_when_a_section_is_stale(readme: Path, document: Path, results: Path) -> None:
    files = {"readme": readme, "document": document, "results": results}
    with pytest.raises(CheckFailedError, match=r"python -m benchmarks\.tables"):
        tables(**files, check=True)
    tables(**files)
    tables(**files, check=True)
    for file in (readme, document):
        text = file.read_text("utf-8")
        file.write_text(text.replace("97.60", "99.60"))
        with pytest.raises(CheckFailedError, match=file.name):
            tables(**files, check=True)
        file.write_text(text)


def test_check_fails_when_a_picture_is_missing(readme: Path, document: Path, results: Path) -> None:
    files = {"readme": readme, "document": document, "results": results}
    tables(**files)
    (document.parent / "images" / "memory.png").unlink()
    with pytest.raises(CheckFailedError, match=r"memory\.png"):
        tables(**files, check=True)


@pytest.mark.parametrize("text", ["", START, f"{END}{START}", f"{START}{START}{END}"])
def test_a_file_without_the_marks_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="results:start"):
        place(text, "x")


def test_the_results_of_the_project_are_current() -> None:
    tables(check=True)
