"""A cell of a grid: its command, its folder, how it stands."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cells import Cell, Launch, cell_state, discard
from benchmarks.grids import GRIDS
from neuro.errors import UsageError
from neuro.training import RunDirectory

MNIST = GRIDS["mnist"]


def cell(name: str = "opzo", seed: int = 0) -> Cell:
    return Cell(MNIST, MNIST.variant(name), seed)


def settled(root: Path, state: str) -> Cell:
    chosen = cell()
    run = RunDirectory.create(chosen.folder(root), chosen.config())
    run.unlock()
    run.set_state(state)
    return chosen


def test_the_command_trains_the_rule_with_the_settings_of_the_grid():
    grid = replace(MNIST, settings={"model": "mlp", "model.hidden": [8, 4], "lr": 0.5})
    variant = replace(grid.variant("opzo"), settings={"lr": 0.25, "rule.local_learning": True})
    words = Cell(grid, variant, 7, ("epochs=1",)).arguments
    assert " ".join(words) == (
        "train opzo --dataset mnist --model mlp --set model.hidden=[8,4] --lr 0.25 "
        "--set rule.local_learning=true --seed 7 --set epochs=1"
    )


def test_a_new_cell_starts_a_run_and_a_stopped_one_continues(tmp_path):
    launch = Launch(tmp_path, Path("/data"), threads=2)
    chosen = cell()
    assert launch.command(chosen)[3:5] == ["train", "opzo"]
    assert launch.environment() == {"OMP_NUM_THREADS": "2"}
    settled(tmp_path, "interrupted")
    assert launch.command(chosen)[3:] == [
        "train",
        "--resume",
        str(chosen.folder(tmp_path)),
        "--data-dir",
        "/data",
        "--json",
    ]


def test_the_recorded_command_hides_the_folders_of_the_machine(tmp_path):
    text = Launch(tmp_path, Path("/data")).public_command(cell())
    assert text.startswith("OMP_NUM_THREADS=1 neuro train opzo --dataset mnist ")
    assert text.endswith("--data-dir DATA_DIR")
    assert str(tmp_path) not in text


def test_other_settings_have_another_folder(tmp_path):
    folders = {
        cell().folder(tmp_path),
        cell(seed=1).folder(tmp_path),
        cell("dfa").folder(tmp_path),
        replace(cell(), overrides=("lr=0.5",)).folder(tmp_path),
    }
    assert len(folders) == 4
    assert cell().folder(tmp_path) == cell().folder(tmp_path)


@pytest.mark.parametrize("state", ["interrupted", "finished", "diverged"])
def test_the_state_is_that_of_the_run(tmp_path, state):
    assert cell_state(settled(tmp_path, state), tmp_path) == state


@pytest.mark.parametrize("state", ["running", "failed"])
def test_a_killed_or_failed_run_is_to_be_continued(tmp_path, state):
    assert cell_state(settled(tmp_path, state), tmp_path) == "interrupted"


def test_a_run_that_another_process_trains_is_running(tmp_path):
    chosen = settled(tmp_path, "running")
    other = RunDirectory.open(chosen.folder(tmp_path))
    other.lock()
    assert cell_state(chosen, tmp_path) == "running"
    other.unlock()


def test_a_run_made_under_other_defaults_is_refused_until_discarded(tmp_path):
    chosen = settled(tmp_path, "finished")
    file = chosen.folder(tmp_path) / "config.json"
    record = json.loads(file.read_text())
    record["batch_size"] = 17
    file.write_text(json.dumps(record))
    with pytest.raises(UsageError, match=r"batch_size was 17, is 128.*--restart"):
        cell_state(chosen, tmp_path)
    discard(chosen, tmp_path)
    assert cell_state(chosen, tmp_path) == "new"
