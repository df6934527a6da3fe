"""A run folder: made once, locked by one, honest about how it stands."""

import json

import pytest

from neuro.errors import CheckpointError, UsageError
from neuro.training import RunDirectory, find_runs


@pytest.fixture
def create():
    """Make run folders, unlocked when the test ends."""
    made: list[RunDirectory] = []

    def create(path, config):
        made.append(RunDirectory.create(path, config))
        return made[-1]

    yield create
    for run in made:
        run.unlock()


def test_a_new_folder_holds_the_configuration(tmp_path, create, tiny):
    config = tiny()
    run = create(tmp_path / "a" / "b", config)
    assert RunDirectory.open(run.path).config() == config


def test_the_default_name_tells_what_it_is(tmp_path, create, tiny, monkeypatch):
    monkeypatch.chdir(tmp_path)
    first = create(None, tiny("dfa", seed=7))
    second = create(None, tiny("dfa", seed=7))
    assert first.path.parent.name == "runs"
    assert first.path.name.endswith("-dfa-digits-mlp-s7")
    assert first.path != second.path
    assert [run.path for run in find_runs(tmp_path / "runs")] == [
        tmp_path / first.path,
        tmp_path / second.path,
    ]


def test_a_folder_with_something_in_it_is_left_alone(tmp_path, create, tiny):
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(UsageError, match="exists and is not empty"):
        create(tmp_path, tiny())
    assert [file.name for file in tmp_path.iterdir()] == ["mine.txt"]


def test_a_run_killed_before_it_began_does_not_block_its_folder(tmp_path, create, tiny):
    (tmp_path / "lock").touch()
    assert create(tmp_path, tiny()).path == tmp_path


def test_a_place_that_cannot_be_written_is_named(tmp_path, create, tiny):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"Cannot write the run folder .*Not a directory"):
        create(tmp_path / "file" / "run", tiny())


def test_one_process_at_a_time(tmp_path, create, tiny):
    run = create(tmp_path, tiny())
    other = RunDirectory.open(tmp_path)
    assert other.locked_elsewhere()
    with pytest.raises(UsageError, match="Another process"):
        other.lock()
    run.unlock()
    assert not other.locked_elsewhere()
    other.lock()
    other.unlock()


def test_a_run_that_says_it_is_running_but_is_not_was_interrupted(tmp_path, create, tiny):
    run = create(tmp_path, tiny())
    assert run.state() == "running"
    run.set_state("running")
    assert RunDirectory.open(tmp_path).state() == "running"
    run.unlock()
    assert run.state() == "interrupted"
    run.set_state("diverged", "nan")
    assert run.state() == "diverged"


@pytest.mark.parametrize("content", ["{", "[]", '{"lrr": 1}', '{"rule": {"name": "gone"}}'])
def test_a_damaged_configuration_is_named(tmp_path, create, tiny, content):
    run = create(tmp_path, tiny())
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(CheckpointError, match=r"config\.json"):
        run.config()


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match="not a run folder"):
        RunDirectory.open(tmp_path)
    with pytest.raises(CheckpointError, match="no run folder"):
        RunDirectory.open(tmp_path / "gone")


def test_records_are_readable_json(tmp_path, create, tiny):
    run = create(tmp_path, tiny())
    run.write_json("x.json", {"a": [1, None]})
    assert json.loads((tmp_path / "x.json").read_text()) == run.read_json("x.json")
    with pytest.raises(CheckpointError, match=r"has no y\.json"):
        run.read_json("y.json")
