"""Grids: what is summed up, what is kept, and that stopped grids continue."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.accuracy import GridResult, bars_of, check_bars, grid_cells, summarise
from benchmarks.accuracy import accuracy as accuracy_command
from benchmarks.cells import Cell, Launch, cell_state
from benchmarks.command import CheckFailedError, run
from benchmarks.grids import GRIDS, above, at_least, halfway, within
from benchmarks.records import REPOSITORY, read_result, write_result

MNIST = GRIDS["mnist"]


def ended(variant: str, seed: int, accuracy: float, **more: object) -> dict[str, object]:
    cell = Cell(MNIST, MNIST.variant(variant), seed)
    return {
        "variant": variant,
        "rule": cell.variant.rule,
        "seed": seed,
        "state": "finished",
        "arguments": list(cell.arguments),
        "gpu": None,
        "test_accuracy": accuracy,
        "seconds": 10.0,
        **more,
    }


def results(**accuracies: list[float]) -> dict[str, object]:
    records = [
        ended(variant, seed, value)
        for variant, values in accuracies.items()
        for seed, value in enumerate(values)
    ]
    return summarise(MNIST, records)


def test_means_are_over_seeds_and_differences_to_the_baseline():
    found = results(ottt=[0.90, 0.92], opzo=[0.89, 0.90])
    assert found["rules"]["ottt"]["test_accuracy"]["mean"] == pytest.approx(0.91)
    assert found["rules"]["ottt"]["n"] == 2
    assert list(found["differences"]) == ["opzo"]
    assert found["differences"]["opzo"]["mean"] == pytest.approx(-0.015)


def test_a_diverged_run_is_counted_and_enters_no_mean():
    lost = {**ended("zo", 1, 0.0), "state": "diverged"}
    found = summarise(MNIST, [ended("zo", 0, 0.4), lost])
    assert found["rules"]["zo"]["diverged"] == 1
    assert found["rules"]["zo"]["test_accuracy"] == {"mean": 0.4, "std": None}
    alone = summarise(MNIST, [lost])
    assert "test_accuracy" not in alone["rules"]["zo"]
    assert alone["differences"] == {}


def test_bars_by_hand():
    grid = replace(
        MNIST,
        bars=(
            at_least("opzo", 0.98),
            within("opzo", "ottt", 0.4),
            above("opzo", "zo", 5),
            halfway("opzo", "dfa", "ottt"),
        ),
    )
    rules = {
        name: {"n": 3, "test_accuracy": {"mean": mean, "std": 0.0}}
        for name, mean in {"opzo": 0.981, "ottt": 0.986, "zo": 0.8, "dfa": 0.970}.items()
    }
    margins = [bar["margin"] for bar in bars_of(grid, rules)]
    assert margins == pytest.approx([0.001, -0.001, 0.131, 0.003])
    assert [bar["holds"] for bar in bars_of(grid, rules)] == [True, False, True, True]


def test_check_fails_on_a_bar_missed_and_on_one_not_measured(capsys):
    good = results(ottt=[0.985], opzo=[0.984], zo=[0.7])
    check_bars({**good, "grid": "mnist"})
    with pytest.raises(CheckFailedError, match="1 of 3"):
        check_bars(results(ottt=[0.995], opzo=[0.984], zo=[0.7]))
    with pytest.raises(CheckFailedError, match="2 of 3"):
        check_bars(results(opzo=[0.984]))
    assert "not measured" in capsys.readouterr().out


def test_records_of_another_machine_stay_while_their_command_is_the_same(tmp_path):
    file = tmp_path / "mnist.json"
    stale = {**ended("dfa", 0, 0.5), "arguments": ["train", "dfa", "--lr", "9"]}
    known = {"curves": {}, "threads": 1, "torch": "2", "cpu": "x"}
    old = summarise(MNIST, [ended("opzo", 0, 0.9, **known), stale])
    write_result(file, {"schema": 1, **old})
    result = GridResult(MNIST, file, Launch(tmp_path / "runs", None))
    result.write()
    cells = read_result(file, "accuracy")["cells"]
    assert [(cell["variant"], cell["test_accuracy"]) for cell in cells] == [("opzo", 0.9)]


def test_cells_go_seed_by_seed_so_that_early_results_compare_rules():
    order = [(cell.variant.name, cell.seed) for cell in grid_cells(MNIST, (4, 5))]
    assert order[: len(MNIST.variants)] == [(v.name, 4) for v in MNIST.variants]
    assert order[-1] == (MNIST.variants[-1].name, 5)


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
    assert [line.split()[:2] for line in lines] == [["zo-s3", "new"], ["opzo-s3", "new"]]
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
