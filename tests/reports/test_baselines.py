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
from neuro.errors import CheckpointError, DataError, DivergedError, UsageError
from neuro.reports.baselines import read_baselines, train_baselines
from neuro.reports.timeless import mean_frames
from neuro.training import load_run, train
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
    assert budget["optimizer"] == "adam"
    assert budget["calibration_samples"] == 256
    assert found["ann-int8"].budget["epochs"] == 0
    assert found["ann-int8"].budget["from"] == "ann-fp32"


def test_the_accuracy_is_that_of_the_network_that_was_kept(made):
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


def test_each_arm_chose_its_rate_on_validation_samples(made):
    path, found, notes = made
    for name in ("ann-fp32", "qnn-3bit"):
        baseline, budget = found[name], found[name].budget
        rates = {float(rate): accuracy for rate, accuracy in budget["rates"].items()}
        assert list(rates) == sorted(rates)
        assert {0.001, 0.003, 0.009} <= rates.keys()
        assert rates[baseline.lr] == max(rates.values())
        inside = min(rates) < baseline.lr < max(rates)
        assert inside or len(rates) == 5
        told = [note for note in notes if note.startswith(f"{name}, learning rate")]
        assert len([note for note in told if "epoch" not in note]) == len(rates)
        assert len([note for note in told if "epoch" in note]) == 4 * len(rates)
        assert 0 < budget["seconds"] < budget["tuning_seconds"]
        assert accuracy_on_validation_samples(path, baseline) == rates[baseline.lr]
        assert not (path / "baselines" / name / "trials").exists()
    floats, rounded = found["ann-fp32"], found["ann-int8"]
    assert (rounded.lr, rounded.budget["rates"]) == (floats.lr, floats.budget["rates"])
    assert rounded.budget["tuning_seconds"] == 0


def accuracy_on_validation_samples(path: Path, baseline: Any) -> float:
    _, session = load_run(path)
    held_out = session.partition.validation
    inputs, targets = session.feeder.take(session.dataset.train, held_out)
    right = baseline.network.run([inputs]).logits.argmax(1) == targets
    return int(right.sum()) / len(held_out)


def test_a_chosen_rate_that_is_given_makes_the_same_baseline(made, tmp_path):
    _, found, _ = made
    rate = found["qnn-3bit"].lr
    path = folder_of(tmp_path, config(validation_fraction=0.1))
    again = train_baselines(path, which=["qnn"], lr={"qnn": rate}, note=Notes())["qnn-3bit"]
    assert same_weights(again, found["qnn-3bit"])
    assert (again.accuracy, again.lr) == (found["qnn-3bit"].accuracy, rate)
    assert (again.budget["rates"], again.budget["tuning_seconds"]) == ({}, 0)
    assert again.budget["seconds"] > 0


def same_weights(one: Any, other: Any) -> bool:
    mine, theirs = one.network.state_dict(), other.network.state_dict()
    return all(torch.equal(mine[name], theirs[name]) for name in theirs)


def test_a_rate_is_given_to_some_and_the_others_choose(tmp_path):
    path = folder_of(tmp_path, config(epochs=1))
    found = train_baselines(path, lr={"qnn-3bit": 0.002}, note=Notes())
    assert (found["qnn-3bit"].lr, found["qnn-3bit"].budget["rates"]) == (0.002, {})
    assert len(found["ann-fp32"].budget["rates"]) >= 3


def test_another_learning_rate_is_not_passed_off_as_done(made):
    path, found, _ = made
    with pytest.raises(UsageError, match=r"ann-fp32 with a .* of 0\.\d+, not 0\.5\. Remove"):
        train_baselines(path, which=["ann-fp32"], lr=0.5, note=Notes())
    rates = {"ann-fp32": found["ann-fp32"].lr, "qnn": found["qnn-3bit"].lr}
    assert train_baselines(path, lr=rates, note=Notes()).keys() == found.keys()


def test_a_given_rate_is_not_passed_off_as_chosen(tmp_path):
    path = folder_of(tmp_path, config(epochs=1))
    train_baselines(path, lr=0.002, note=Notes())
    record = path / "baselines" / "qnn-3bit" / "baseline.json"
    kept = json.loads(record.read_text())
    for key in ("rates", "tuning_seconds"):  # kept before rates were chosen
        del kept["budget"][key]
    record.write_text(json.dumps(kept))
    assert read_baselines(path)["qnn-3bit"].budget["rates"] == {}
    notes = Notes()
    told = r"ann-fp32 .*; ann-int8 .*; qnn-3bit with a given learning rate of 0\.002, not with a ch"
    with pytest.raises(UsageError, match=told):
        train_baselines(path, note=notes)
    assert train_baselines(path, lr=0.002, note=notes).keys() == read_baselines(path).keys()
    assert all("is there" in note for note in notes)


def test_to_round_what_was_trained_otherwise_is_refused_first(tmp_path):
    path = folder_of(tmp_path, config(epochs=1))
    train_baselines(path, which=["ann-fp32"], lr=0.002, note=Notes())
    notes = Notes()
    with pytest.raises(UsageError, match="otherwise: ann-fp32 with a given"):
        train_baselines(path, which=["qnn", "ann-int8"], note=notes)
    assert notes == []


def test_a_run_without_validation_samples_is_given_a_rate(tmp_path):
    path = folder_of(tmp_path, config(epochs=1, validation_fraction=0))
    for lr in (None, {"qnn": 0.001}):
        with pytest.raises(UsageError, match=r"validation_fraction 0.*--baseline-lr"):
            train_baselines(path, lr=lr, note=Notes())
    assert not (path / "baselines").exists()
    assert len(train_baselines(path, lr=0.001, note=Notes())) == 3


def test_nothing_is_kept_where_every_trial_diverges(tmp_path):
    path = folder_of(tmp_path, config(epochs=1, lr=3e19, optimizer={"name": "sgd"}))
    with pytest.raises(
        DivergedError, match=r"tried: 1\.11e\+18, 3\.33e\+18, 1e\+19, 3e\+19, 9e\+19"
    ):
        train_baselines(path, which=["ann-fp32"], note=Notes())
    assert read_baselines(path) == {}
    with pytest.raises(DivergedError, match="Give baselines a lower learning rate"):
        train_baselines(path, which=["ann-fp32"], lr=3e19, note=Notes())


def test_a_trial_that_diverges_is_the_worst_and_not_made_again(tmp_path, monkeypatch):
    from neuro.reports import baselines

    def diverge(session: Any, *arguments: Any, **words: Any) -> str:
        if session.config.lr < 0.003:
            raise DivergedError("infinity")
        return train_epoch(session, *arguments, **words)

    train_epoch = baselines.train_epoch
    monkeypatch.setattr(baselines, "train_epoch", diverge)
    path = folder_of(tmp_path, config(epochs=1))
    with pytest.raises(TrainingInterrupted):
        train_baselines(path, which=["ann-fp32"], note=stop_when("ann-fp32, learning rate 0.003"))
    monkeypatch.setattr(baselines, "train_epoch", train_epoch)
    found = train_baselines(path, which=["ann-fp32"], note=Notes())["ann-fp32"]
    assert found.budget["rates"]["0.001"] is None
    assert found.lr >= 0.003
    assert read_baselines(path)["ann-fp32"].budget == found.budget


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


def stop_when(opening: str) -> Any:
    """Return a listener that has this process stopped when it is told something."""

    def listen(text: str) -> None:
        if text.startswith(opening):
            os.kill(os.getpid(), signal.SIGTERM)

    return listen


def test_a_signal_leaves_what_is_finished(tmp_path):
    path = folder_of(tmp_path, config(epochs=2))
    both = {"which": ["ann-fp32", "qnn"], "lr": 0.003}
    stop = stop_when("qnn-3bit, learning rate 0.003, epoch 1")
    with pytest.raises(TrainingInterrupted, match=r"of the baseline qnn-3bit .*; baselines and"):
        train_baselines(path, **both, note=stop)
    assert list(read_baselines(path)) == ["ann-fp32"]
    notes = Notes()
    assert list(train_baselines(path, **both, note=notes)) == ["ann-fp32", "qnn-3bit"]
    assert notes[0].startswith("ann-fp32 is there")


@pytest.mark.parametrize("moment", ["0.009, epoch 1", "0.003: validation"])
def test_a_signal_leaves_trials_that_are_finished(made, tmp_path, moment):
    _, found, _ = made
    path = folder_of(tmp_path, config())
    with pytest.raises(TrainingInterrupted) as caught:
        train_baselines(
            path, which=["ann-fp32"], note=stop_when(f"ann-fp32, learning rate {moment}")
        )
    assert caught.value.exit_code == 128 + signal.SIGTERM
    assert read_baselines(path) == {}
    notes = Notes()
    again = train_baselines(path, which=["ann-fp32"], note=notes)["ann-fp32"]
    for rate in ("0.001", "0.003"):
        (told,) = (note for note in notes if note.startswith(f"ann-fp32, learning rate {rate}"))
        assert ": validation accuracy" in told
    assert any(note.startswith("ann-fp32, learning rate 0.009, epoch 1") for note in notes)
    assert again.budget["rates"] == found["ann-fp32"].budget["rates"]
    assert again.budget["steps"] == found["ann-fp32"].budget["steps"]
    assert same_weights(again, found["ann-fp32"])
    assert not (path / "baselines" / "ann-fp32" / "trials").exists()


def test_a_damaged_trial_is_told(tmp_path):
    path = folder_of(tmp_path, config(epochs=1))
    with pytest.raises(TrainingInterrupted):
        train_baselines(path, which=["ann-fp32"], note=stop_when("ann-fp32, learning rate 0.003"))
    (weights,) = path.glob("baselines/ann-fp32/trials/0.001-*.safetensors")
    weights.write_bytes(b"no")
    with pytest.raises(DataError, match=r"ann-fp32 is damaged: its trial with .* 0\.001 cannot"):
        train_baselines(path, which=["ann-fp32"], note=Notes())


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
    train_baselines(path, which=["ann-fp32"], lr=0.003, note=Notes())
    damaged(path, file, change)
    for use in (read_baselines, lambda run: train_baselines(run, note=Notes())):
        with pytest.raises(DataError, match=message) as caught:
            use(path)
        assert "Remove the folder" in str(caught.value)


def test_weights_that_are_gone_are_damage(tmp_path):
    path = folder_of(tmp_path, config(epochs=1))
    train_baselines(path, which=["ann-fp32"], lr=0.003, note=Notes())
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
    for lr, told in (
        ({"ann-int8": 0.1}, "ann-int8 is not trained .* Give that of ann-fp32"),
        ({"qnn-4bit": 0.1}, r'No baseline "qnn-4bit" is trained.*Did you mean "qnn"'),
        ({"qnn": 0.0}, "above 0, got 0"),
        (float("nan"), "above 0, got nan"),
    ):
        with pytest.raises(UsageError, match=told):
            train_baselines(path, lr=lr, note=Notes())
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
    found = train_baselines(path, lr=0.003, note=Notes())
    assert list(found) == ["ann-fp32", "ann-int8", "qnn-3bit"]
    assert {each.input for each in found.values()} == {"mean frame"}
    assert {each.timesteps for each in found.values()} == {7}
