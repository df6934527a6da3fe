"""Baselines learn from the run's data with its budget, are kept whole, and are not made twice."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
import torch

from neuro.config import TrainConfig, load_config, load_reason_config
from neuro.data import Dataset
from neuro.data.dataset import Split
from neuro.errors import CheckpointError, DataError, UsageError
from neuro.reports.baselines import mean_frames, read_baselines, train_baselines
from neuro.training import train
from neuro.training.interrupts import TrainingInterrupted
from neuro.training.run_directory import RunDirectory


def config(rule: str = "opzo", **settings: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "model": {"name": "mlp", "hidden": [24]},
        "dataset": "digits",
        "timesteps": 4,
        "epochs": 4,
        "batch_size": 64,
        "threads": 1,
        "device": "cpu",
        "tensorboard": False,
        "plots": False,
    }
    return load_config(rule, **(base | settings))


def folder_of(tmp_path: Path, asked: TrainConfig) -> Path:
    """Make a run that was never trained: baselines need its configuration alone."""
    run = RunDirectory.create(tmp_path / "run", asked)
    run.unlock()
    return run.path


class Notes(list):
    def __call__(self, text: str) -> None:
        self.append(text)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> tuple[Path, dict, Notes]:
    """A run with its three baselines; read only."""
    path = tmp_path_factory.mktemp("runs") / "run"
    train(config(), run_dir=path)
    notes = Notes()
    return path, train_baselines(path, note=notes), notes


def test_all_three_are_trained_and_good(made):
    path, found, notes = made
    assert list(found) == ["ann-fp32", "ann-int8", "qnn-3bit"]
    for name, baseline in found.items():
        assert baseline.name == name
        assert baseline.accuracy > 0.8, name
        assert baseline.samples == 297
        assert baseline.seed == 0
        assert baseline.input == "static"
        assert f"{name}: test accuracy {baseline.accuracy:.2%}" in notes
    assert abs(found["ann-int8"].accuracy - found["ann-fp32"].accuracy) < 0.02
    bits = {name: (each.weight_bits, each.activation_bits) for name, each in found.items()}
    assert bits == {"ann-fp32": (None, None), "ann-int8": (8, 8), "qnn-3bit": (3, 3)}
    assert sorted(file.name for file in (path / "baselines").iterdir()) == sorted(found)


def test_the_budget_is_that_of_the_run(made):
    _, found, _ = made
    budget = found["qnn-3bit"].budget
    assert budget["epochs"] == 4
    assert budget["steps"] == 4 * -(-budget["training_samples"] // 64)
    assert budget["lr"] == config().lr
    assert budget["optimizer"] == "adam"
    assert budget["calibration_samples"] == 256
    assert found["ann-int8"].budget["epochs"] == 0
    assert found["ann-int8"].budget["from"] == "ann-fp32"


def test_the_accuracy_is_that_of_the_network_that_was_kept(made):
    from neuro.training import load_run

    path, _, _ = made
    _, session = load_run(path)
    split = session.dataset.test
    inputs, targets = session.feeder.take(split, torch.arange(len(split)))
    for baseline in read_baselines(path).values():
        right = baseline.network.run([inputs]).logits.argmax(1) == targets
        assert float(right.double().mean()) == pytest.approx(baseline.accuracy)


def test_what_is_read_is_what_was_made(made):
    path, found, _ = made
    read = read_baselines(path)
    assert read.keys() == found.keys()
    for name, baseline in read.items():
        assert baseline.to_json() == found[name].to_json()
        mine, theirs = baseline.network.state_dict(), found[name].network.state_dict()
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[key], theirs[key]) for key in mine)


def test_int8_is_the_float_network_rounded(made):
    _, found, _ = made
    floats, rounded = found["ann-fp32"].network, found["ann-int8"].network
    assert torch.equal(floats.nodes["linear1"].weight, rounded.nodes["linear1"].weight)
    weights, exact = rounded.effective_weights(), floats.effective_weights()
    for name, weight in weights.items():
        assert not torch.equal(weight, exact[name])
        assert (weight - exact[name]).abs().max() < 0.02 * exact[name].abs().max()


def test_nothing_is_trained_twice(made):
    path, found, _ = made
    before = {file: file.stat().st_mtime_ns for file in path.rglob("baselines/*/*")}
    notes = Notes()
    again = train_baselines(path, note=notes)
    assert again.keys() == found.keys()
    assert len(notes) >= 3
    assert all("is there" in note for note in notes)
    assert {file: file.stat().st_mtime_ns for file in path.rglob("baselines/*/*")} == before


def test_another_learning_rate_is_not_passed_off_as_done(made):
    path, _, _ = made
    with pytest.raises(UsageError, match=r"ann-fp32 is there, trained with .* not 0\.5. Remove"):
        train_baselines(path, which=["ann-fp32"], lr=0.5, note=Notes())


def test_the_same_run_gives_the_same_baselines(made, tmp_path):
    _, found, _ = made
    again = train_baselines(folder_of(tmp_path, config()), which=["qnn"], note=Notes())
    mine = again["qnn-3bit"].network.state_dict()
    theirs = found["qnn-3bit"].network.state_dict()
    assert all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_the_spiking_rule_and_encoding_do_not_matter(made, tmp_path):
    _, found, _ = made
    other = config("bptt", encoding={"name": "rate"}, timesteps=5)
    again = train_baselines(folder_of(tmp_path, other), which=["ann-fp32"], note=Notes())
    mine = again["ann-fp32"].network.state_dict()
    assert all(
        torch.equal(mine[n], each) for n, each in found["ann-fp32"].network.state_dict().items()
    )


def test_int8_brings_the_floats_it_comes_from(tmp_path):
    path = folder_of(tmp_path, config(epochs=1))
    found = train_baselines(path, which=["ann-int8"], lr=1e-3, note=Notes())
    assert list(found) == ["ann-int8"]
    assert sorted(read_baselines(path)) == ["ann-fp32", "ann-int8"]
    assert found["ann-int8"].budget["lr"] == 1e-3


def test_a_signal_leaves_what_is_finished(tmp_path):
    path = folder_of(tmp_path, config(epochs=2))

    def stop(text: str) -> None:
        if text.startswith("qnn-3bit, epoch 1"):
            os.kill(os.getpid(), signal.SIGTERM)

    with pytest.raises(TrainingInterrupted, match="of the baseline qnn-3bit; baselines that are"):
        train_baselines(path, which=["ann-fp32", "qnn"], note=stop)
    assert list(read_baselines(path)) == ["ann-fp32"]
    notes = Notes()
    assert list(train_baselines(path, which=["ann-fp32", "qnn"], note=notes)) == [
        "ann-fp32",
        "qnn-3bit",
    ]
    assert notes[0].startswith("ann-fp32 is there")


def damaged(path: Path, file: str, change: Any) -> None:
    target = path / "baselines" / "ann-fp32" / file
    if isinstance(change, bytes):
        target.write_bytes(change)
        return
    record = json.loads(target.read_text())
    record.update(change)
    target.write_text(json.dumps({k: v for k, v in record.items() if v is not ...}))


@pytest.mark.parametrize(
    ("file", "change", "message"),
    [
        ("baseline.json", b"{", "is damaged"),
        ("baseline.json", b"[1]", "is damaged"),
        ("baseline.json", {"accuracy": ...}, "KeyError: 'accuracy'"),
        ("baseline.json", {"format": 9}, "its format is 9, not 1"),
        ("baseline.json", {"config_fingerprint": "x"}, "another configuration"),
        ("baseline.json", {"classes": 7}, "size mismatch"),
        ("baseline.json", {"name": "ann-fp99"}, 'no baseline "ann-fp99"'),
        ("weights.safetensors", b"no", "checksum of weights.safetensors differs"),
    ],
)
def test_damage_is_told(tmp_path, file, change, message):
    path = folder_of(tmp_path, config(epochs=1))
    train_baselines(path, which=["ann-fp32"], note=Notes())
    damaged(path, file, change)
    for use in (read_baselines, lambda run: train_baselines(run, note=Notes())):
        with pytest.raises(DataError, match=message) as caught:
            use(path)
        assert "Remove the folder" in str(caught.value)


def test_weights_that_are_gone_are_damage(tmp_path):
    path = folder_of(tmp_path, config(epochs=1))
    train_baselines(path, which=["ann-fp32"], note=Notes())
    (path / "baselines/ann-fp32/weights.safetensors").unlink()
    with pytest.raises(DataError, match="No such file"):
        read_baselines(path)


def test_a_run_without_baselines_has_none(tmp_path):
    assert read_baselines(folder_of(tmp_path, config())) == {}
    with pytest.raises(CheckpointError, match="no run folder"):
        read_baselines(tmp_path / "nowhere")


def test_wrong_use_is_told_before_any_training(tmp_path):
    path = folder_of(tmp_path, config())
    with pytest.raises(UsageError, match=r'no baseline "qmn".*Did you mean "qnn"'):
        train_baselines(path, which=["qmn"], note=Notes())
    reasoning = RunDirectory.create(
        tmp_path / "graph", load_reason_config("grsnn", dataset="kinship")
    )
    reasoning.unlock()
    with pytest.raises(UsageError, match="`neuro train nbfnet`"):
        train_baselines(reasoning.path, note=Notes())


def test_a_series_of_changes_has_no_baseline_without_time(tmp_path):
    changes = config(dataset="mnist1d", encoding={"name": "delta"})
    with pytest.raises(UsageError, match="changes of a series"):
        train_baselines(folder_of(tmp_path, changes), note=Notes())


def test_another_process_is_not_disturbed(tmp_path):
    path = folder_of(tmp_path, config())
    holder = RunDirectory.open(path)
    holder.lock()
    with pytest.raises(UsageError, match="Another process"):
        train_baselines(path, note=Notes())
    holder.unlock()


def test_events_are_seen_as_their_mean_frame():
    frames = torch.randint(0, 9, (700, 3, 2, 4, 4), dtype=torch.uint8)
    split = Split(frames, torch.zeros(700, dtype=torch.int64))
    events = Dataset("events", "events", ("a", "b"), split, split)
    static = mean_frames(events)
    assert static.kind == "static"
    assert static.timesteps is None
    assert static.input_shape == events.input_shape
    assert torch.allclose(static.test.inputs, frames.float().mean(1))
    assert mean_frames(static) is static


def test_a_run_on_events_gets_baselines(tmp_path):
    path = folder_of(tmp_path, config(dataset="events:digits", epochs=1, timesteps=7))
    found = train_baselines(path, note=Notes())
    assert list(found) == ["ann-fp32", "ann-int8", "qnn-3bit"]
    assert {each.input for each in found.values()} == {"mean frame"}
    assert {each.timesteps for each in found.values()} == {7}
