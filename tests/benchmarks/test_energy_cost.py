"""The cost of counting any module: both passes do the same work, and what fails the check."""

from typing import Any

import pytest
import torch

from benchmarks import energy_cost as module
from benchmarks.command import CheckFailedError, run
from benchmarks.counting import LIMIT
from benchmarks.energy_cost import (
    COUNTING,
    EVALUATION,
    KIND,
    NETWORKS,
    Workload,
    convolutions,
    energy_cost,
    measure,
    perceptron,
)
from benchmarks.records import origin, write_result
from benchmarks.tables import render
from neuro.energy import Counts, Ledger
from neuro.energy.operators.dispatch import ModuleCounter
from neuro.models import Conv5, build_model

SMALL = {"small": Workload("small", lambda: perceptron(4, 5, 2), (4,))}


def test_both_passes_are_timed():
    found = measure(SMALL["small"], 2, 1, 3, 2)
    assert found["times"].keys() == {EVALUATION, COUNTING}
    assert all(each["min_ms"] > 0 for each in found["times"].values())
    assert found["over_evaluation"]["median"] > 0


def test_counts_that_differ_are_not_timed(monkeypatch):
    numbers = iter(range(9))
    monkeypatch.setattr(
        ModuleCounter, "count", lambda self, x: Ledger({"all": Counts(macs=next(numbers))})
    )
    with pytest.raises(CheckFailedError, match="two counts of one batch differ"):
        measure(SMALL["small"], 1, 1, 3, 2)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_take_their_samples(name):
    workload = NETWORKS[name]
    found = ModuleCounter(workload.build().eval()).count(torch.rand(1, *workload.shape))
    assert found.total.macs > 1e5


def test_the_convolutions_are_those_of_the_spiking_network():
    spiking = build_model(Conv5(width=0.5), (1, 28, 28), 10)
    weights = [
        tuple(each.weight.shape)
        for each in convolutions(1, 28, 0.5).modules()
        if isinstance(each, torch.nn.Conv2d | torch.nn.Linear)
    ]
    assert weights == [tuple(each.weight.shape) for each in spiking.synapse_nodes.values()]


def record_of(ratio: float) -> dict[str, Any]:
    times = {name: {"median_ms": 2.0} for name in (EVALUATION, COUNTING)}
    found = {"title": "small", "times": times}
    found["over_evaluation"] = {"median": ratio, "p20": ratio, "p80": ratio}
    command = ["python", "-m", "benchmarks.energy_cost"]
    return {**origin(command), "kind": KIND, "networks": {"small": found}}


def test_the_check_fails_above_the_bar(tmp_path, capsys):
    file = tmp_path / "energy-cost.json"
    write_result(file, record_of(LIMIT))
    assert run(energy_cost, ["--check", "--results", str(file)]) == 0
    write_result(file, record_of(LIMIT + 0.01))
    assert run(energy_cost, ["--check", "--results", str(file)]) == 1
    assert "Counting costs more than 1.3 times: small" in capsys.readouterr().err
    assert run(energy_cost, ["--batches", "0"]) == 2


def test_a_run_writes_a_file_that_the_readme_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "NETWORKS", SMALL)
    monkeypatch.setattr(module, "check_limit", lambda record: None)  # of tiny networks none holds
    threads = torch.get_num_threads()
    options = ["--rounds", "1", "--warm-up", "1", "--batch-size", "3"]
    try:
        assert run(energy_cost, [*options, "--results", str(tmp_path / "energy-cost.json")]) == 0
    finally:
        torch.set_num_threads(threads)
    text = render(tmp_path)
    assert "What counting any module costs" in text
    assert "| small |" in text
    assert "8 batches of 3" in text
    assert "`python -m benchmarks.energy_cost --rounds 1 --warm-up 1 --batch-size 3`" in text
