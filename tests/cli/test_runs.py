"""``neuro runs``: every run and how it stands."""

import json

from neuro.training import RunDirectory


def test_runs_are_listed_with_state_and_accuracy(train_tiny, command, tmp_path):
    summary = json.loads(train_tiny("opzo", "--run-dir", "runs/a", "--json").out)
    config = RunDirectory.open(tmp_path / "runs" / "a").config()
    RunDirectory.create(tmp_path / "runs" / "b", config).unlock()
    running = RunDirectory.create(tmp_path / "runs" / "c", config)
    (tmp_path / "runs" / "d").mkdir()
    (tmp_path / "runs" / "d" / "config.json").write_text("{")
    found = {run["run"]: run for run in json.loads(command("runs", "--json").out)["runs"]}
    running.unlock()
    assert {name: run["state"] for name, run in found.items()} == {
        "runs/a": "finished",
        "runs/b": "interrupted",
        "runs/c": "running",
        "runs/d": "damaged",
    }
    assert found["runs/a"]["test_accuracy"] == summary["metrics"]["test_accuracy"]
    assert (found["runs/a"]["epochs_done"], found["runs/b"]["epochs_done"]) == (1, 0)
    text = command("runs").out
    assert "finished" in text
    assert "1/1" in text


def test_no_runs_is_said(command):
    assert "No runs in runs" in command("runs").out
    assert json.loads(command("runs", "elsewhere", "--json").out) == {"runs": [], "schema": 1}
