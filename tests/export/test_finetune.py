"""A run learns on as the integers it becomes, by its own rule, and gets back what they lost."""

import itertools
import json
import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from neuro.config import TrainConfig
from neuro.errors import UsageError
from neuro.export.finetune import finetune
from neuro.export.make import ExportOptions, export_run
from neuro.export.quantised import QuantisedNetwork
from neuro.export.run import compare, load_classifier, quantise_session
from neuro.hardware.targets import TARGETS
from neuro.learning import RULES, build_rule
from neuro.training import train
from neuro.training.interrupts import TrainingInterrupted

LOIHI2 = TARGETS["loihi2"]
FEW_BITS = replace(LOIHI2, weight_bits=2)


def silent(text: str) -> None:
    pass


def trained(folder: Path, rule: str = "opzo", **changes: object) -> Path:
    options = {"name": rule, **changes.pop("options", {})}
    config = TrainConfig.model_validate(
        {
            "rule": options,
            "dataset": "digits",
            "model": {"name": "mlp", "hidden": [48], "reset": "hard"},
            "timesteps": 4,
            "epochs": 1,
            "validation_fraction": 0.1,
            "tensorboard": False,
            "plots": False,
            "threads": 1,
            **changes,
        }
    )
    train(config, run_dir=folder)
    return folder


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of six epochs; read only."""
    return trained(tmp_path_factory.mktemp("runs") / "run", epochs=6)


@pytest.mark.parametrize(
    ("rule", "update"),
    [
        ("bptt", "whole"),
        *itertools.product(["ottt", "opzo", "dfa", "dkp", "zo"], ["accumulate", "online"]),
    ],
)
def test_every_rule_trains_whole_numbers(rule, update, tmp_path):
    options = {"update": "online", "local_learning": True} if update == "online" else {}
    session = load_classifier(trained(tmp_path / rule, rule, options=options, batch_size=512))
    quantised = quantise_session(session, LOIHI2, samples=32)
    before = {name: each.clone() for name, each in session.network.state_dict().items()}
    feedback = {name: each.clone() for name, each in session.rule.state_dict().items()}
    tuned = finetune(session, quantised, LOIHI2, epochs=1, lr=0.01, samples=32, note=silent)
    after = tuned.network.state_dict()
    assert after.keys() == before.keys()
    if tuned.best_epoch:
        assert all(not torch.equal(after[name], before[name]) for name in before)
    # the run is left as it was
    assert all(torch.equal(each, before[name]) for name, each in session.network.named_parameters())
    for name, each in session.rule.state_dict().items():
        assert torch.equal(each, feedback[name])
    assert tuned.quantised.layers[0].disagreement == 0
    assert tuned.quantised.layers[-1].disagreement < 1e-9


@pytest.mark.parametrize("model", ["mlp", "conv5", "resnet18"])
def test_in_one_step_ottt_gives_the_gradients_of_bptt(model, tmp_path):
    options = {"name": model, "reset": "hard"}
    options |= {"hidden": [24, 20]} if model == "mlp" else {"width": 1 / 16}
    if model == "resnet18":
        options |= {"width": 0.05}
    session = load_classifier(trained(tmp_path / "run", model=options, timesteps=1, batch_size=512))
    for synapse in session.network.synapse_nodes.values():
        synapse.bias.data.add_(0.9)  # all layers fire
    graph = quantise_session(session, LOIHI2, samples=16).graph
    inputs, targets = session.feeder.take(session.dataset.train, torch.arange(20))
    found = []
    for rule in ("ottt", "bptt"):
        network = QuantisedNetwork(session.network, graph, LOIHI2)
        generator = torch.Generator().manual_seed(0)
        learning = build_rule(network, RULES[rule].Options(), generator=generator)
        learning.learn([inputs], 1, targets, generator=generator)
        found.append({name: each.grad for name, each in network.named_parameters()})
    for name, gradient in found[0].items():
        other = found[1][name]
        assert other.norm() > 0, name
        assert (gradient - other).norm() < 1e-3 * other.norm(), name


@pytest.mark.parametrize("rule", ["bptt", "opzo"])
def test_what_few_bits_lose_is_got_back(rule, tmp_path):
    session = load_classifier(trained(tmp_path / rule, rule, epochs=6))
    quantised = quantise_session(session, FEW_BITS, samples=128)
    tuned = finetune(session, quantised, FEW_BITS, epochs=6, lr=1e-3, samples=64, note=silent)
    found = compare(session, quantised.graph)
    learnt = compare(session, tuned.quantised.graph)
    assert found.integer_accuracy < found.float_accuracy - 0.03
    assert learnt.integer_accuracy > found.integer_accuracy + 0.02
    assert tuned.validation_accuracy[tuned.best_epoch] == max(tuned.validation_accuracy)
    assert tuned.quantised.layers[0].weight_error > 0.1


@pytest.mark.parametrize(
    ("model", "rule"), [("conv5", "ottt"), ("resnet18", "opzo"), ("resnet18", "bptt")]
)
def test_convolutions_and_residual_streams_learn_on(model, rule, tmp_path):
    options = {"name": model, "width": 1 / 32, "reset": "hard"}
    session = load_classifier(trained(tmp_path / "conv", rule, model=options))
    quantised = quantise_session(session, FEW_BITS, samples=64)
    tuned = finetune(session, quantised, FEW_BITS, epochs=1, lr=1e-3, samples=64, note=silent)
    assert all(layer.disagreement < 1e-9 for layer in tuned.quantised.layers)


def test_it_is_the_same_twice_and_the_best_epoch_stays(run):
    session = load_classifier(run)
    quantised = quantise_session(session, FEW_BITS, samples=64)
    lines: list[str] = []
    one, two = (
        finetune(session, quantised, FEW_BITS, epochs=3, samples=64, note=note)
        for note in (lines.append, silent)
    )
    assert one.validation_accuracy == two.validation_accuracy
    for name, weight in one.network.state_dict().items():
        assert torch.equal(weight, two.network.state_dict()[name])
    assert one.lr == pytest.approx(session.config.lr / 10)
    assert len(lines) == 3
    assert "epoch 3 of 3" in lines[-1]
    assert f"validation accuracy {one.validation_accuracy[3]:.2%}" in lines[-1]
    assert one.quantised.graph.metadata["finetuning"]["best_epoch"] == one.best_epoch


def test_without_validation_the_last_epoch_stays(tmp_path):
    session = load_classifier(trained(tmp_path / "run", validation_fraction=0.0))
    quantised = quantise_session(session, LOIHI2, samples=32)
    tuned = finetune(session, quantised, LOIHI2, epochs=2, samples=32, note=silent)
    assert tuned.best_epoch == 2
    assert tuned.validation_accuracy == ()


def test_a_learning_rate_too_large_keeps_the_calibration(run):
    session = load_classifier(run)
    quantised = quantise_session(session, LOIHI2, samples=64)
    tuned = finetune(session, quantised, LOIHI2, epochs=1, lr=3.0, samples=64, note=silent)
    assert tuned.best_epoch == 0
    assert tuned.validation_accuracy[1] < tuned.validation_accuracy[0]


@pytest.mark.parametrize(("epochs", "lr"), [(0, None), (1, 0.0), (1, -1.0)])
def test_nonsense_is_refused(run, epochs, lr):
    session = load_classifier(run)
    quantised = quantise_session(session, LOIHI2, samples=8)
    with pytest.raises(UsageError, match="epochs >= 1"):
        finetune(session, quantised, LOIHI2, epochs=epochs, lr=lr, note=silent)


def export(run: Path, folder: Path, note: Callable[[str], None] = silent, **changes: object):
    options = {"calibrate": 64, "samples": 3, "accuracy": 100, "finetune": 2, **changes}
    return export_run(run, folder, ExportOptions(**options), note=note)


def test_an_export_says_what_fine_tuning_did(run, tmp_path):
    report = export(run, tmp_path / "out", weight_bits=2, finetune_lr=1e-3)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    tuned = manifest["finetuning"]
    assert tuned == report.record["finetuning"]
    assert (tuned["epochs"], tuned["lr"]) == (2, 1e-3)
    assert len(tuned["validation_accuracy"]) == 3
    assert 0 < tuned["calibrated_accuracy"] <= 1
    assert 0 < manifest["comparison"]["integer_accuracy"] <= 1
    assert manifest["weight_bits"] == 2
    graph = json.loads((tmp_path / "out" / "graph.json").read_text())
    assert graph["metadata"]["finetuning"]["best_epoch"] == tuned["best_epoch"]


def test_a_signal_stops_it_and_nothing_is_written(run, tmp_path):
    before = signal.getsignal(signal.SIGINT)

    def interrupt(text: str) -> None:
        if "epoch 1 of" in text:
            os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(TrainingInterrupted, match="epoch 2 of fine-tuning") as raised:
        export(run, tmp_path / "out", interrupt, finetune=50)
    assert raised.value.exit_code == 130
    assert not list(tmp_path.iterdir())
    assert signal.getsignal(signal.SIGINT) is before


def test_a_nir_graph_has_no_whole_numbers(run, tmp_path):
    with pytest.raises(UsageError, match="--finetune"):
        export(run, tmp_path / "out", to="nir")
