"""``neuro train`` from end to end."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from neuro.training import RunDirectory

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "json-output.md"
METRICS = {
    "test_accuracy",
    "test_loss",
    "test_accuracy_best_validation",
    "best_validation_epoch",
    "best_validation_accuracy",
    "validation_accuracy",
    "train_accuracy",
    "train_loss",
    "firing_rate",
    "epochs",
    "seed",
    "parameters",
    "training_seconds",
    "samples_per_second",
}


def test_json_is_one_object_with_the_documented_keys(train_tiny):
    result = train_tiny("opzo", "--json", "--run-dir", "r")
    assert result.code == 0
    record = json.loads(result.out)
    assert list(record) == [
        "run",
        "method",
        "dataset",
        "model",
        "metrics",
        "firing_rates",
        "seconds",
        "peak_memory_mb",
        "schema",
    ]
    assert (record["run"], record["method"], record["dataset"], record["model"]) == (
        "r",
        "opzo",
        "digits",
        "mlp",
    )
    assert record["schema"] == 1
    assert set(record["metrics"]) == METRICS
    assert 0.2 < record["metrics"]["test_accuracy"] <= 1
    assert record["seconds"] > record["metrics"]["training_seconds"] > 0
    assert record["peak_memory_mb"] > 50
    assert "epoch 1/1" in result.err


def test_every_key_is_in_the_document(train_tiny):
    record = json.loads(train_tiny("opzo", "--json", "--run-dir", "r").out)
    text = DOCUMENT.read_text("utf-8")
    for key in (*record, *record["metrics"]):
        assert f"| `{key}` |" in text
    for line in (Path("r") / "metrics.jsonl").read_text().splitlines():
        for key in json.loads(line):
            assert f"`{key}`" in text or f'"{key}"' in text


def test_stdout_of_a_real_process_is_json_alone(tmp_path):
    arguments = "train dfa --epochs 1 --json --run-dir r --set model.hidden=[16] --device cpu"
    done = subprocess.run(
        [sys.executable, "-m", "neuro", *arguments.split()],
        cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    record = json.loads(done.stdout)
    assert json.loads((tmp_path / "r" / "summary.json").read_text()) == record
    assert (tmp_path / "r" / "plots" / "raster.png").is_file()
    assert list((tmp_path / "r" / "tensorboard").iterdir())


def test_people_get_text_on_stdout_and_progress_on_stderr(train_tiny):
    result = train_tiny("opzo", "--run-dir", "r")
    assert "test accuracy" in result.out
    assert "lif1" in result.out
    assert "peak memory" in result.out
    assert "preset digits" in result.err
    assert "samples/s" in result.err


def test_quiet_says_nothing_on_stderr(train_tiny):
    assert train_tiny("opzo", "--quiet", "--run-dir", "r").err == ""


def test_flags_and_set_reach_the_configuration(train_tiny, tmp_path):
    (tmp_path / "mine.toml").write_text("timesteps = 2\nlr = 0.5\n[for.opzo.rule]\nalpha = 0.3\n")
    result = train_tiny(
        *("opzo", "--config", "mine.toml", "--run-dir", "r", "--lr", "0.01", "--seed", "5"),
        *("--optimizer", "sgd", "--local-learning", "--set", "optimizer.momentum=0.5"),
    )
    assert result.code == 0, result.err
    config = RunDirectory.open(tmp_path / "r").config()
    assert (config.timesteps, config.lr, config.seed) == (2, 0.01, 5)
    assert config.rule.alpha == 0.3
    assert config.rule.local_learning
    assert config.optimizer.momentum == 0.5


def test_a_run_is_resumed_where_it_stopped(train_tiny, command, tmp_path):
    assert train_tiny("opzo", "--run-dir", "straight", "--quiet").code == 0
    config = RunDirectory.open(tmp_path / "straight").config()
    RunDirectory.create(tmp_path / "stopped", config).unlock()
    result = command("train", "--resume", "stopped", "--set", "log_every_steps=3", "--json")
    assert result.code == 0, result.err
    assert json.loads(result.out)["run"] == "stopped"
    files = [
        {file.name: file.read_bytes() for file in (tmp_path / name).glob("checkpoints/*.safe*")}
        for name in ("straight", "stopped")
    ]
    assert files[0] == files[1] != {}


@pytest.mark.parametrize("change", [["--lr", "0.5"], ["--set", "timesteps=9"], ["--epochs", "9"]])
def test_a_resumed_run_keeps_its_settings(train_tiny, command, change):
    assert train_tiny("opzo", "--run-dir", "r", "--quiet").code == 0
    result = command("train", "--resume", "r", *change)
    assert result.code == 2
    assert "keeps its configuration" in result.err


def test_a_taken_folder_is_refused_before_anything_is_written(train_tiny, tmp_path):
    (tmp_path / "r").mkdir()
    (tmp_path / "r" / "mine").write_text("precious")
    result = train_tiny("opzo", "--run-dir", "r")
    assert result.code == 2
    assert "exists and is not empty" in result.err
    assert [file.name for file in (tmp_path / "r").iterdir()] == ["mine"]


def test_divergence_is_exit_code_1(train_tiny):
    result = train_tiny(
        *("ottt", "--run-dir", "r", "--quiet", "--lr", "1e15", "--optimizer", "sgd"),
        *("--set", "model.norm=none"),
    )
    assert (result.code, result.out) == (1, "")
    assert result.err.startswith("neuro: Training diverged in epoch 1")
    assert result.err.count("\n") == 1


def test_missing_data_say_how_to_get_them(train_tiny, tmp_path):
    (tmp_path / "empty").mkdir()
    result = train_tiny("opzo", "--dataset", "mnist", "--data-dir", "empty", "--run-dir", "r")
    assert (result.code, result.out) == (1, "")
    assert "mnist" in result.err


def test_real_mnist_trains_from_a_data_folder(train_tiny, test_data, tmp_path):
    result = train_tiny(
        *("opzo", "--dataset", "mnist", "--data-dir", test_data, "--run-dir", "r", "--json"),
        *("--timesteps", "2", "--set", "validation_fraction=0.9", "--quiet"),
    )
    assert result.code == 0, result.err
    assert json.loads(result.out)["metrics"]["test_accuracy"] > 0.5
