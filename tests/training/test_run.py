"""Whole runs: trained, stopped, resumed, evaluated."""

import json
import os
import signal

import pytest
import torch

from neuro.config.base import fingerprint_of
from neuro.errors import CheckpointError, NeuroError, UsageError
from neuro.learning import RULES
from neuro.training import (
    RunDirectory,
    RunSummary,
    TrainingInterrupted,
    evaluate_run,
    resume,
    train,
)
from neuro.training.checkpoint import load_checkpoint
from neuro.training.metrics import read_metrics
from neuro.training.progress import Progress


class StopAt(Progress):
    """Sends a signal to this process once a batch is done."""

    def __init__(self, step, number=signal.SIGTERM):
        self.step, self.number = step, number

    def batch(self, epoch, step, loss, accuracy, rate):
        if step == self.step:
            os.kill(os.getpid(), self.number)


class Listen(Progress):
    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def tensor_files(run):
    files = sorted((run / "checkpoints").glob("*.safetensors"))
    return {file.name: file.read_bytes() for file in files}


def without_times(run, kind):
    timed = ("seconds", "samples_per_second")
    return [
        {key: value for key, value in record.items() if key not in timed}
        for record in read_metrics(run / "metrics.jsonl", kind)
    ]


@pytest.mark.parametrize("rule", RULES)
def test_every_rule_learns_the_digits(tmp_path, tiny, rule):
    epochs = 6 if rule in ("zo", "dfa", "dkp") else 3
    summary = train(tiny(rule, epochs=epochs, model={"hidden": [32]}), run_dir=tmp_path / "run")
    records = read_metrics(tmp_path / "run" / "metrics.jsonl", "epoch")
    assert records[-1]["train_loss"] < records[0]["train_loss"]
    assert summary.metrics["test_accuracy"] > (0.2 if rule == "zo" else 0.6)
    assert summary.method == rule


def test_a_convolutional_net_with_local_learning_trains(tmp_path, tiny):
    config = tiny(
        "opzo",
        epochs=1,
        batch_size=300,
        model={"name": "conv5", "width": 0.04},
        rule={"local_learning": True},
    )
    summary = train(config, run_dir=tmp_path / "run")
    assert set(summary.firing_rates) == {"lif1", "lif2", "lif3", "lif4"}


def test_the_same_configuration_gives_the_same_bytes(tmp_path, tiny):
    for name in "ab":
        torch.rand(3)
        train(tiny("opzo", epochs=1), run_dir=tmp_path / name)
    assert tensor_files(tmp_path / "a") == tensor_files(tmp_path / "b")
    assert tensor_files(tmp_path / "a")


@pytest.mark.parametrize(
    ("step", "rule", "settings"),
    [
        (5, "opzo", {"rule": {"local_learning": True, "intermediate_learning": True}}),
        (6, "opzo", {"rule": {"update": "online"}, "optimizer": "sgd", "encoding": "rate"}),
        (11, "dkp", {"schedule": {"per": "epoch"}}),
        (12, "zo", {}),
        (22, "bptt", {"optimizer": "adamw"}),
    ],
    ids=["opzo local", "opzo online rate", "dkp at epoch end", "zo", "bptt at the end"],
)
def test_a_stopped_and_resumed_run_repeats_every_bit(tmp_path, tiny, step, rule, settings):
    config = tiny(rule, model={"hidden": [16, 16]}, log_every_steps=2, **settings)
    train(config, run_dir=tmp_path / "straight")
    with pytest.raises(TrainingInterrupted) as caught:
        train(config, run_dir=tmp_path / "stopped", progress=StopAt(step))
    assert caught.value.exit_code == 143
    assert f"neuro train --resume {tmp_path / 'stopped'}" in str(caught.value)
    assert RunDirectory.open(tmp_path / "stopped").state() == "interrupted"
    assert load_checkpoint(tmp_path / "stopped" / "checkpoints", "last").step == step
    torch.rand(7)
    resume(tmp_path / "stopped")
    assert tensor_files(tmp_path / "stopped") == tensor_files(tmp_path / "straight")
    for kind in ("step", "epoch"):
        assert without_times(tmp_path / "stopped", kind) == without_times(
            tmp_path / "straight", kind
        )


def test_a_run_of_a_version_with_fewer_options_resumes_and_is_evaluated(tmp_path, tiny):
    path = tmp_path / "run"
    with pytest.raises(TrainingInterrupted):
        train(tiny(), run_dir=path, progress=StopAt(5))
    earlier = json.loads((path / "config.json").read_text())
    del earlier["gradient_clip"]
    (path / "config.json").write_text(json.dumps(earlier))
    checkpoint = path / "checkpoints" / "last.json"
    record = json.loads(checkpoint.read_text())
    checkpoint.write_text(json.dumps({**record, "config_fingerprint": fingerprint_of(earlier)}))
    summary = resume(path)
    assert evaluate_run(path).metrics["test_accuracy"] == summary.metrics["test_accuracy"]


def test_resuming_from_the_best_checkpoint_ends_alike(tmp_path, tiny):
    train(tiny(), run_dir=tmp_path / "run")
    last = next((tmp_path / "run" / "checkpoints").glob("last-*"))
    expected = last.read_bytes()
    last.write_bytes(expected[:100])
    with pytest.raises(CheckpointError, match=r"damaged.*--checkpoint best"):
        evaluate_run(tmp_path / "run")
    resume(tmp_path / "run", checkpoint="best")
    assert last.read_bytes() == expected


def test_an_interrupt_saves_and_has_the_exit_code_of_shells(tmp_path, tiny):
    with pytest.raises(TrainingInterrupted) as caught:
        train(tiny(), run_dir=tmp_path / "run", progress=StopAt(3, signal.SIGINT))
    assert caught.value.exit_code == 130
    assert "epoch 1 of 2 after batch 3 of 11; saved" in str(caught.value)


def test_a_run_stopped_before_its_first_checkpoint_starts_over(tmp_path, tiny):
    config = tiny("opzo", epochs=1)
    train(config, run_dir=tmp_path / "straight")
    RunDirectory.create(tmp_path / "killed", config).unlock()
    listen = Listen()
    resume(tmp_path / "killed", progress=listen)
    assert "starts from the beginning" in listen.notes[0]
    assert tensor_files(tmp_path / "killed") == tensor_files(tmp_path / "straight")


def test_a_missing_checkpoint_of_a_run_that_had_one_is_not_started_over(tmp_path, tiny):
    with pytest.raises(TrainingInterrupted):
        train(tiny(), run_dir=tmp_path / "run", progress=StopAt(12))
    (tmp_path / "run" / "checkpoints" / "last.json").unlink()
    with pytest.raises(CheckpointError, match=r'no checkpoint "last".*There are: best'):
        resume(tmp_path / "run")


def test_a_finished_run_gives_its_summary_back(finished_run):
    path, summary = finished_run
    files = {file: file.stat().st_mtime_ns for file in path.rglob("*")}
    assert resume(path).to_json() == summary.to_json()
    assert {file: file.stat().st_mtime_ns for file in path.rglob("*")} == files


def test_a_configuration_changed_by_hand_is_noticed(tmp_path, tiny):
    with pytest.raises(TrainingInterrupted):
        train(tiny(), run_dir=tmp_path / "run", progress=StopAt(3))
    file = tmp_path / "run" / "config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"lr": 0.5}))
    with pytest.raises(CheckpointError, match=r"config\.json: one of the two was changed"):
        resume(tmp_path / "run")


def test_another_configuration_is_refused(finished_run, tiny):
    path, _ = finished_run
    with pytest.raises(UsageError, match="another configuration"):
        resume(path, config=tiny("dfa"))


def test_a_different_machine_is_told(tmp_path, tiny):
    with pytest.raises(TrainingInterrupted):
        train(tiny(), run_dir=tmp_path / "run", progress=StopAt(3))
    file = tmp_path / "run" / "environment.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"cpu": "abacus"}))
    listen = Listen()
    resume(tmp_path / "run", progress=listen)
    assert any("cpu was abacus" in note for note in listen.notes)
    assert len(json.loads(file.read_text())["resumed"]) == 1


def test_a_run_folder_holds_what_was_asked_and_what_happened(finished_run):
    path, summary = finished_run
    expected = {"config.json", "environment.json", "status.json", "summary.json", "metrics.jsonl"}
    assert expected <= {file.name for file in path.iterdir()}
    assert json.loads((path / "summary.json").read_text()) == summary.to_json()
    environment = json.loads((path / "environment.json").read_text())
    assert environment["packages"]["torch"]
    assert environment["threads"] == torch.get_num_threads()
    assert list((path / "tensorboard").glob("events.out.tfevents.*"))
    for name in ("learning_curve", "firing_rates", "raster"):
        assert (path / "plots" / f"{name}.png").read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"


def test_last_and_best_epoch_are_what_evaluation_of_their_checkpoints_gives(finished_run):
    path, summary = finished_run
    last, best = (evaluate_run(path, checkpoint=name) for name in ("last", "best"))
    metrics = summary.metrics
    assert last.metrics["test_accuracy"] == metrics["test_accuracy"]
    assert last.metrics["test_loss"] == metrics["test_loss"]
    assert last.firing_rates == summary.firing_rates
    assert best.metrics["test_accuracy"] == metrics["test_accuracy_best_validation"]
    assert best.metrics["epochs"] == metrics["best_validation_epoch"]
    records = read_metrics(path / "metrics.jsonl", "epoch")
    accuracies = [record["validation_accuracy"] for record in records]
    assert metrics["best_validation_epoch"] == accuracies.index(max(accuracies)) + 1
    assert metrics["validation_accuracy"] == accuracies[-1]


def test_without_validation_there_is_no_best_epoch(tmp_path, tiny):
    summary = train(tiny(epochs=1, validation_fraction=0.0), run_dir=tmp_path / "run")
    assert summary.metrics["test_accuracy_best_validation"] is None
    assert summary.metrics["best_validation_epoch"] is None
    assert summary.metrics["validation_accuracy"] is None
    assert not (tmp_path / "run" / "checkpoints" / "best.json").exists()


def test_another_data_set_of_the_same_shape_can_be_evaluated(finished_run):
    path, _ = finished_run
    assert evaluate_run(path, dataset="digits").dataset == "digits"
    with pytest.raises(CheckpointError, match="does not fit the network"):
        evaluate_run(path, dataset="mnist1d")


def test_a_summary_survives_json(finished_run):
    _, summary = finished_run
    again = RunSummary.from_json(json.loads(json.dumps(summary.to_json())))
    assert again.to_json() == summary.to_json()
    with pytest.raises(CheckpointError, match="schema 2"):
        RunSummary.from_json({**summary.to_json(), "schema": 2})


def test_a_disk_that_fails_is_told_in_one_message(tmp_path, tiny):
    (tmp_path / "run").mkdir()
    with pytest.raises(TrainingInterrupted):
        train(tiny(plots=True, epochs=1), run_dir=tmp_path / "run", progress=StopAt(3))
    (tmp_path / "run" / "plots").write_text("in the way")
    with pytest.raises(NeuroError, match=r"File exists.*neuro train --resume"):
        resume(tmp_path / "run")
    assert RunDirectory.open(tmp_path / "run").state() == "failed"
    (tmp_path / "run" / "plots").unlink()
    assert resume(tmp_path / "run").metrics["test_accuracy"] > 0
