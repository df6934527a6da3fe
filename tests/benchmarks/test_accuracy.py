"""Running grids: wrong use, what is recorded, and that stopped grids continue."""

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.accuracy import accuracy as accuracy_command
from benchmarks.cells import Cell, cell_state
from benchmarks.command import run
from benchmarks.graph_grids import BUDGETS
from benchmarks.grid import at_least
from benchmarks.grid_result import summarise
from benchmarks.grids import COLLECTIONS, GRIDS
from benchmarks.records import REPOSITORY, RESULTS, read_result, write_result


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["mnist", "--set", "epochs=1"], "--results"),
        (["mnist", "--only", "opso", "--list"], 'Did you mean "opzo"'),
        (["mnist", "--seeds", "a", "--list"], "whole numbers"),
        (["mnist", "--jobs", "0"], "--jobs"),
        (["mnits"], 'Did you mean "mnist"'),
        (["reasonin"], 'Did you mean "reasoning"'),
        (["ablations", "--only", "nbfnet", "--list"], "has no variant"),
        (["reasoning", "--results", "some.json"], "names their folder"),
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


def listed(capsys, *words: str) -> list[list[str]]:
    assert run(accuracy_command, [*words, "--list"]) == 0
    return [line.split() for line in capsys.readouterr().out.splitlines()]


def test_a_collection_is_one_queue_that_does_a_seed_of_every_grid_before_the_next(tmp_path, capsys):
    cells = [words[0] for words in listed(capsys, "reasoning", "--runs", str(tmp_path))]
    assert cells[:3] == ["umls/grsnn-s0", "umls/nbfnet-s0", "kinship/grsnn-s0"]
    seeds = [cell.rpartition("-s")[2] for cell in cells]
    assert seeds == sorted(seeds)
    assert {cell for cell in cells if "_v4" in cell} == {
        f"{graph}/{method}-s0"
        for graph in ("wn18rr_v4", "fb237_v4")
        for method in ("grsnn", "nbfnet")
    }
    again = listed(capsys, "reasoning", "--seeds", "5", "--only", "nbfnet", "--runs", str(tmp_path))
    assert {words[0].partition("/")[2] for words in again} == {"nbfnet-s5"}
    assert len(again) == len(COLLECTIONS["reasoning"])


def test_missing_are_the_runs_that_no_result_file_holds(tmp_path, capsys):
    held = read_result(RESULTS / "umls.json", "reasoning")
    held["cells"] = [cell for cell in held["cells"] if cell["seed"] == 0]
    held["cells"][0]["arguments"].append("--more")  # another command by now
    write_result(tmp_path / "umls.json", held)
    words = ["umls", "--results", str(tmp_path / "umls.json"), "--runs", str(tmp_path / "runs")]
    cells = [line[0].partition("/")[2] for line in listed(capsys, *words, "--missing")]
    assert cells == ["grsnn-s0", "grsnn-s1", "nbfnet-s1", "grsnn-s2", "nbfnet-s2"]
    assert len(listed(capsys, *words)) == 6


def test_commands_of_graphs_are_those_a_person_gives(tmp_path, capsys):
    words = listed(capsys, "ablation-umls", "--seeds", "1", "--runs", str(tmp_path))
    found = [" ".join(each[2:]) for each in words]
    budget = f"--epochs {BUDGETS['umls'].epochs}"
    assert found[0] == f"OMP_NUM_THREADS=1 neuro train grsnn --dataset umls {budget} --seed 1"
    assert "--set method.timesteps=5 --seed 1" in found[3]


TINY = replace(
    GRIDS["umls"],
    name="tiny",
    dataset="countries-s1",
    settings={"epochs": 3, "batches_per_epoch": 2, "batch_size": 4, "validate_every": 2},
    seeds=(0,),
)


@pytest.mark.slow
def test_a_collection_writes_a_result_file_for_each_grid(tmp_path, capsys, monkeypatch):
    grids = (TINY, replace(TINY, name="tiny-too", dataset="nations"))
    monkeypatch.setitem(COLLECTIONS, "tinies", grids)
    words = ["tinies", "--only", "grsnn,nbfnet", "--runs", str(tmp_path / "runs")]
    words += ["--results", str(tmp_path), "--set", "method.hidden=4", "--set", "plots=false"]
    assert run(accuracy_command, words) == 0, capsys.readouterr().err
    for grid in grids:
        record = read_result(tmp_path / f"{grid.name}.json", "reasoning")
        assert [cell["variant"] for cell in record["cells"]] == ["grsnn", "nbfnet"]
        spiking, plain = record["cells"]
        assert spiking["method"] == "grsnn"
        assert spiking["firing_rate_best_validation"] > 0
        assert "firing_rate" not in plain
        assert plain["parameters"] > 0
        for cell in record["cells"]:
            assert 0 < cell["mrr_best_validation"] <= 1
            assert 0 < cell["mrr_realistic"] <= 1
            assert len(cell["curves"]["train_loss"]) == 3
            assert cell["curves"]["validation_mrr_epochs"] == [2, 3]
            assert len(cell["curves"]["validation_mrr"]) == 2
            assert cell["command"].startswith("OMP_NUM_THREADS=1 neuro train ")
        assert set(record["differences"]) == {"grsnn"}
        assert record["rules"]["nbfnet"]["mrr_best_validation"]["mean"] == pytest.approx(
            plain["mrr_best_validation"]
        )
    capsys.readouterr()
    assert run(accuracy_command, words) == 0
    assert capsys.readouterr().err.count("finished already") == 4


def test_the_check_of_a_collection_names_every_grid_that_fails(tmp_path, capsys, monkeypatch):
    bar = at_least("nbfnet", 2.0)
    grids = tuple(replace(GRIDS[name], bars=(bar,)) for name in ("umls", "kinship"))
    monkeypatch.setitem(COLLECTIONS, "both", grids)
    for grid in grids:
        monkeypatch.setitem(GRIDS, grid.name, grid)
        write_result(tmp_path / f"{grid.name}.json", {"schema": 1, **summarise(grid, [])})
    assert run(accuracy_command, ["both", "--check", "--results", str(tmp_path)]) == 1
    told = capsys.readouterr().err
    assert "umls do not hold" in told
    assert "kinship do not hold" in told


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
