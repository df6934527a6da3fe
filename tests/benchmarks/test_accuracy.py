"""Running grids: wrong use, what is recorded, and that stopped grids continue."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from benchmarks.accuracy import accuracy as accuracy_command
from benchmarks.cells import Cell, cell_state
from benchmarks.command import run
from benchmarks.grids import GRIDS
from benchmarks.records import REPOSITORY, read_result


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnist", "--set", "epochs=1"], "--results"),
        (["mnist", "--only", "opso", "--list"], 'Did you mean "opzo"'),
        (["mnist", "--seeds", "a", "--list"], "whole numbers"),
        (["mnist", "--jobs", "0"], "--jobs"),
        (["mnits"], 'Did you mean "mnist"'),
    ],
)
def test_wrong_use_is_told_in_one_message(arguments, message, capsys):
    assert run(accuracy_command, arguments) == 2
    assert message in capsys.readouterr().err


def test_listing_shows_cells_and_trains_nothing(tmp_path, capsys):
    words = ["digits", "--only", "opzo,zo", "--seeds", "3", "--runs", str(tmp_path), "--list"]
    assert run(accuracy_command, words) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:2] for line in lines] == [
        ["digits/zo-s3", "new"],
        ["digits/opzo-s3", "new"],
    ]
    assert list(tmp_path.iterdir()) == []


def command(folder: Path, epochs: int) -> list[str]:
    return [
        *(sys.executable, "-m", "benchmarks.accuracy", "digits"),
        *("--only", "ottt,opzo", "--seeds", "0", "--jobs", "2"),
        *("--set", f"epochs={epochs}", "--set", "model.hidden=[16]", "--set", "plots=false"),
        *("--runs", str(folder / "runs"), "--results", str(folder / "digits.json")),
    ]


def started(folder: Path) -> bool:
    return len(list(folder.glob("runs/digits/*/checkpoints/last.json"))) == 2


@pytest.mark.slow
def test_a_grid_stopped_by_a_signal_continues(tmp_path):
    words = command(tmp_path, epochs=400)
    process = subprocess.Popen(words, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 120
    while not started(tmp_path) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    grid = GRIDS["digits"]
    overrides = ("epochs=400", "model.hidden=[16]", "plots=false")
    cells = [Cell(grid, grid.variant(name), 0, overrides) for name in ("ottt", "opzo")]
    assert [cell_state(cell, tmp_path / "runs") for cell in cells] == ["interrupted"] * 2
    assert not (tmp_path / "digits.json").exists()

    process = subprocess.Popen(words, cwd=REPOSITORY, stderr=subprocess.PIPE, text=True)
    logs = list(tmp_path.glob("runs/digits/*.log"))
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if all("Continuing" in log.read_text() for log in logs):
            break
        time.sleep(0.1)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=120)
    assert process.returncode == 130, told
    for log in logs:
        assert "after step 0." not in log.read_text()


@pytest.mark.slow
def test_a_small_grid_writes_its_results_and_trains_nothing_twice(tmp_path):
    words = command(tmp_path, epochs=2)
    done = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stderr
    record = read_result(tmp_path / "digits.json", "accuracy")
    assert [cell["variant"] for cell in record["cells"]] == ["ottt", "opzo"]
    for cell in record["cells"]:
        assert cell["threads"] == 1
        assert cell["jobs"] == 2
        assert cell["epochs"] == 2
        assert len(cell["curves"]["validation_accuracy"]) == 2
        assert cell["command"].startswith("OMP_NUM_THREADS=1 neuro train ")
        assert str(tmp_path) not in json.dumps(cell)
    runs = {path: path.stat().st_mtime for path in tmp_path.glob("runs/digits/*/summary.json")}
    assert len(runs) == 2
    again = subprocess.run(words, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert again.returncode == 0
    assert again.stderr.count("finished already") == 2
    assert {path: path.stat().st_mtime for path in runs} == runs
