"""Exports of trained runs: what is in the folder, and what is refused before there is one."""

import json
import os
import shutil
import signal
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import torch

from neuro.config import ReasonConfig
from neuro.errors import CheckpointError, UsageError
from neuro.export.folder import FORMS, NEEDED, read_export
from neuro.export.make import ExportOptions, export_run
from neuro.export.run import first_test_samples, load_classifier
from neuro.hardware.constraints import ConstraintError
from neuro.hardware.fixed_point import answers
from neuro.hardware.fixed_point import run as simulate
from neuro.hardware.integer_graph import read_graph
from neuro.hardware.lava.netx import read_net
from neuro.hardware.targets import Target, target_named
from neuro.layers import INPUT, Network, Spiking
from neuro.neurons import AdaptiveLIF
from neuro.training import RunDirectory
from neuro.training.checkpoint import checkpoint_names, load_checkpoint, save_checkpoint
from tests.export.conftest import QUICK, quick, trained


def files(folder: Path) -> set[str]:
    return {str(each.relative_to(folder)) for each in folder.rglob("*") if each.is_file()}


@pytest.mark.parametrize("form", FORMS)
def test_a_folder_holds_what_its_form_needs(run, tmp_path, form):
    report = quick(run, tmp_path / "e", to=form)
    assert files(tmp_path / "e") == {"manifest.json", *NEEDED[form]}
    export = read_export(tmp_path / "e")
    assert {**export.manifest, **report.record} == export.manifest
    for key, value in {
        "to": form,
        "run": str(run),
        "method": "opzo",
        "dataset": "digits",
        "model": "mlp",
        "checkpoint": "last",
        **({"dialect": "generic"} if form == "nir" else {"profile": "loihi2", "steps": 6}),
    }.items():
        assert export.manifest[key] == value
    assert len(export.samples()) == 3
    kind = export.samples().inputs[INPUT].dtype.kind
    assert kind == ("f" if form == "nir" else "i")
    assert (report.placement is None) == (form == "nir")


def test_the_graph_in_the_folder_answers_as_the_network_does(run, tmp_path):
    report = quick(run, tmp_path / "e", samples=200, calibrate=256, accuracy=None)
    comparison = report.record["comparison"]
    assert comparison["samples"] == 297
    assert comparison["agreement"] > 0.9
    export = read_export(tmp_path / "e")
    held, session = export.samples(), load_classifier(run)
    found = answers(export.graph(), simulate(export.graph(), held.inputs))
    images = session.dataset.test.inputs[:200] / session.dataset.scale
    expected = session.network.run([images] * 4).logits.argmax(1).numpy()
    assert np.mean(found == expected) > 0.9
    np.testing.assert_array_equal(held.targets, session.dataset.test.targets[:200].numpy())


def test_the_report_counts_what_lies_in_the_folder(run, tmp_path):
    record = quick(run, tmp_path / "e").record
    placed = record["placement"]
    assert (placed["profile"], placed["chips"], placed["cores_used"]) == ("loihi2", 1, 1)
    assert placed["neurons"] == 12 + 10
    assert placed["synapses"] == 64 * 12 + 12 * 10
    whole = json.loads((tmp_path / "e" / "placement.json").read_text())
    assert len(whole["cores"]) == 1
    assert {**whole, **placed} == {**whole, "neurons": 22, "synapses": 888}
    assert [layer["name"] for layer in record["layers"]] == ["lif1", "readout"]
    assert "comparison" not in record


def test_a_net_file_holds_the_graph_beside_it(run, tmp_path):
    quick(run, tmp_path / "e", to="netx")
    graph, net = read_graph(tmp_path / "e"), read_net(tmp_path / "e" / "network.net")
    for ours, theirs in zip(graph.connections, net.connections, strict=True):
        weight = ours.synapses.weight << ours.weight_exponent
        np.testing.assert_array_equal(weight, theirs.synapses.weight)
    for name, population in graph.populations.items():
        theirs = net.populations[name].cuba
        np.testing.assert_array_equal(population.cuba.vth, theirs.vth)
        bias = population.cuba.bias_mant << population.cuba.bias_exp
        np.testing.assert_array_equal(bias, np.squeeze(theirs.bias_mant << theirs.bias_exp))


def test_a_job_for_lava_holds_the_same_samples(run, tmp_path):
    quick(run, tmp_path / "e", to="lava")
    job = json.loads((tmp_path / "e" / "lava" / "job.json").read_text())
    assert (job["samples"], job["steps"], job["populations"]) == (3, 6, ["lif1", "readout"])
    with np.load(tmp_path / "e" / "lava" / "inputs.npz") as stored:
        given = stored["input.input"]
    held = read_export(tmp_path / "e").samples().inputs[INPUT]
    np.testing.assert_array_equal(given[:, :4].swapaxes(0, 1), held)
    assert not given[:, 4:].any()
    graph = (tmp_path / "e" / "graph.npz").read_bytes()
    assert (tmp_path / "e" / "lava" / "graph.npz").stat().st_size == len(graph)


def test_a_nir_file_says_its_dialect(run, tmp_path):
    record = quick(run, tmp_path / "e", to="nir", dialect="norse").record
    with h5py.File(tmp_path / "e" / "network.nir") as file:
        assert file["node/metadata/target"][()] == b"norse"
        assert len(file["node/nodes"]) == record["nodes"]


def test_samples_are_those_that_evaluate_sees(tmp_path, monkeypatch):
    """Also where spikes are drawn at random, batch by batch."""
    run = trained(tmp_path / "r", encoding={"name": "rate"}, evaluation_batch_size=16)
    session = load_classifier(run)
    few, many = first_test_samples(session, 3), first_test_samples(session, 40)
    assert many.inputs[INPUT].shape == (4, 40, 1, 8, 8)
    assert 0.1 < many.inputs[INPUT].mean() < 0.9
    np.testing.assert_array_equal(few.inputs[INPUT], many.inputs[INPUT][:, :3])
    seen: list[torch.Tensor] = []
    run_network = Network.run

    def watched(network: Network, steps: Iterable[torch.Tensor]) -> Any:
        seen.append(torch.stack(list(steps)))
        return run_network(network, list(seen[-1]))

    monkeypatch.setattr(Network, "run", watched)
    session.test()
    given = torch.cat(seen, dim=1)[:, :40].numpy()
    np.testing.assert_array_equal(given, many.inputs[INPUT])


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"to": "lav"}, "no export to 'lav'.*Did you mean \"lava\""),
        ({"profile": "loih2"}, "no chip is called 'loih2'.*Did you mean \"loihi2\""),
        ({"to": "nir", "dialect": "nors"}, "no NIR dialect 'nors'.*Did you mean \"norse\""),
        ({"to": "lava", "profile": "loihi2-microcode"}, "neurons that Lava does not have"),
        ({"chips": 0}, "--chips must be at least 1, got 0"),
        ({"samples": 0}, "--samples must be at least 1"),
        ({"calibrate": 0}, "--calibrate must be at least 1"),
        ({"accuracy": -1}, "--accuracy must be at least 0"),
        ({"samples": 298}, "--samples 298: the test set holds 297"),
        ({"to": "nir", "samples": 298}, "--samples 298: the test set holds 297"),
        ({"accuracy": 298}, "--accuracy 298: the test set holds 297"),
        ({"calibrate": 5000}, r"--calibrate 5000: the training set holds 1,?350"),
        ({"profile": "loihi1"}, "input: inputs are real numbers.*spikes of loihi1 carry none"),
    ],
)
def test_what_cannot_be_is_refused_and_leaves_nothing(run, tmp_path, changes, said):
    with pytest.raises(UsageError, match=said) as caught:
        quick(run, tmp_path / "a" / "e", **changes)
    assert "\n" not in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_a_run_with_soft_reset_is_refused_with_the_command_that_trains_another(soft, tmp_path):
    for form in FORMS:
        with pytest.raises(UsageError, match=r"lif1 of .* subtracts its threshold") as caught:
            quick(soft, tmp_path / "e", to=form)
        command = f"neuro train --config {soft}/config.json --set 'model.reset=\"hard\"'"
        assert command in str(caught.value)
        assert ("--profile loihi2-microcode" in str(caught.value)) == (form == "loihi")
        assert list(tmp_path.iterdir()) == []
    record = quick(soft, tmp_path / "e", profile="loihi2-microcode").record
    assert record["profile"] == "loihi2-microcode"


def test_neurons_that_adapt_are_refused_by_name(run, tmp_path, monkeypatch):
    def adapting(*given: Any, **options: Any) -> Any:
        session = load_classifier(*given, **options)
        session.network.nodes["lif1"] = Spiking(AdaptiveLIF(reset_mode="hard"))
        return session

    monkeypatch.setattr("neuro.export.make.load_classifier", adapting)
    with pytest.raises(UsageError, match="lif1: AdaptiveLIF is no neuron of Loihi's"):
        quick(run, tmp_path / "e")
    with pytest.raises(UsageError, match=r"lif1.*AdaptiveLIF has no NIR form"):
        quick(run, tmp_path / "e", to="nir")
    assert list(tmp_path.iterdir()) == []


def test_a_network_too_large_is_refused_with_the_chips_it_takes(run, tmp_path, monkeypatch):
    def small(name: str) -> Target:
        target = target_named(name)
        profile = target.profile
        limits = {
            **profile.limits,
            "cores": replace(profile.limits["cores"], value=2),
            "neurons_per_core": replace(profile.limits["neurons_per_core"], value=4),
        }
        return replace(target, profile=replace(profile, limits=limits))

    monkeypatch.setattr("neuro.export.make.target_named", small)
    with pytest.raises(ConstraintError, match="the network does not fit loihi2") as caught:
        quick(run, tmp_path / "e")
    assert "the network, on 1 chip, needs 6, the limit is 2" in str(caught.value)
    assert "Allow 3 chips (--chips 3)" in str(caught.value)
    assert list(tmp_path.iterdir()) == []
    assert quick(run, tmp_path / "e", chips=3).record["placement"]["chips"] == 3
    assert quick(run, tmp_path / "f", chips=None).record["placement"]["chips"] == 3


@pytest.mark.parametrize("form", FORMS)
def test_a_signal_in_the_middle_leaves_nothing(run, tmp_path, monkeypatch, form):
    def stopped(*_: Any) -> None:
        assert any(tmp_path.iterdir())
        os.kill(os.getpid(), signal.SIGINT)

    monkeypatch.setattr("neuro.export.make.write_samples", stopped)
    with pytest.raises(KeyboardInterrupt):
        quick(run, tmp_path / "e", to=form)
    assert list(tmp_path.iterdir()) == []


def test_a_run_without_a_checkpoint(run, tmp_path):
    (tmp_path / "r").mkdir()
    shutil.copy(run / "config.json", tmp_path / "r")
    with pytest.raises(CheckpointError, match=r'no checkpoint "last".*has saved none yet'):
        quick(tmp_path / "r", tmp_path / "e")
    with pytest.raises(CheckpointError, match="There is no run folder"):
        quick(tmp_path / "none", tmp_path / "none" / "e")
    assert sorted(each.name for each in tmp_path.iterdir()) == ["r"]


def test_the_best_checkpoint_may_be_another_network(run, tmp_path):
    folder = shutil.copytree(run, tmp_path / "r") / "checkpoints"
    assert {"last", "best"} <= set(checkpoint_names(folder))
    last = load_checkpoint(folder, "last")
    tensors = {
        name: -tensor if name == "network/nodes.linear1.weight" else tensor
        for name, tensor in last.tensors.items()
    }
    save_checkpoint(folder, "last", replace(last, tensors=tensors))
    weights = {}
    for name, origin in (("best", run), ("last", run), ("best", folder.parent)):
        quick(origin, tmp_path / f"{len(weights)}", checkpoint=name)
        export = read_export(tmp_path / f"{len(weights)}")
        assert export.manifest["checkpoint"] == name
        weights[len(weights)] = export.graph().connections[0].synapses.weight
    quick(folder.parent, tmp_path / "other")
    other = read_export(tmp_path / "other").graph().connections[0].synapses.weight
    np.testing.assert_array_equal(weights[0], weights[1])
    np.testing.assert_array_equal(weights[0], weights[2])
    assert np.corrcoef(weights[0].ravel(), other.ravel())[0, 1] < -0.9
    with pytest.raises(CheckpointError, match=r'no checkpoint "bset".*Did you mean "best"'):
        quick(run, tmp_path / "none", checkpoint="bset")


def test_a_run_of_graph_reasoning_is_refused(graphs, tmp_path):
    method = {"name": "nbfnet", "hidden": 4, "layers": 1}
    config = ReasonConfig.model_validate({"method": method, "graph": str(graphs / "ring")})
    RunDirectory.create(tmp_path / "r", config).unlock()
    with pytest.raises(UsageError, match="trained nbfnet, which answers questions of a graph"):
        quick(tmp_path / "r", tmp_path / "e")
    assert [each.name for each in tmp_path.iterdir()] == ["r"]


def test_options_have_defaults_and_progress_is_told(run, tmp_path):
    told: list[str] = []
    export_run(run, tmp_path / "e", replace(QUICK, accuracy=10), note=told.append)
    assert told == [
        "Quantising for loihi2 on 32 training samples.",
        "Comparing accuracies on the test set.",
    ]
    assert ExportOptions() == ExportOptions(
        to="loihi", profile="loihi2", chips=1, calibrate=256, samples=20, checkpoint="last"
    )
