"""The cost of counting: that both passes are of one batch, and what fails the check."""

from typing import Any

import pytest

from benchmarks import energy_cost as module
from benchmarks.command import CheckFailedError, run
from benchmarks.energy_cost import (
    COUNT,
    EVALUATE,
    KIND,
    MOST,
    WORKLOADS,
    Workload,
    check_bars,
    energy_cost,
    measure,
    ordinary_network,
)
from benchmarks.records import origin, write_result
from benchmarks.tables import render
from neuro.energy import Counts, Ledger
from neuro.models import MLP

SMALL = {
    "spiking": Workload("small", MLP(hidden=(5,)), (4,), 3, 2),
    "ordinary": Workload("small, without spikes", None, (1, 8, 8), 1, 2),
}


@pytest.mark.parametrize("name", SMALL)
def test_both_passes_are_timed(name):
    found = measure(SMALL[name], 2, 1)
    assert found["times"].keys() == {EVALUATE, COUNT}
    assert all(each["min_ms"] > 0 for each in found["times"].values())
    assert found["count_over_evaluate"]["median"] > 0
    rate = found["firing_rate"]
    assert rate is None if name == "ordinary" else 0 <= rate <= 1


def test_counts_that_differ_are_not_timed(monkeypatch):
    numbers = iter(range(9))
    monkeypatch.setattr(
        module, "count_module", lambda net, x: Ledger({"all": Counts(macs=next(numbers))})
    )
    with pytest.raises(CheckFailedError, match="two counts of one batch differ"):
        measure(SMALL["ordinary"], 1, 1)


def test_the_ordinary_network_has_the_layers_of_the_spiking_one():
    import torch

    net = ordinary_network((1, 28, 28), torch.Generator().manual_seed(0))
    spiking = WORKLOADS["mnist-conv5"]
    from neuro.models import build_model

    network = build_model(spiking.model, spiking.shape, 10, torch.Generator().manual_seed(0))
    shapes = [
        tuple(each.weight.shape)
        for each in net.modules()
        if isinstance(each, torch.nn.Conv2d | torch.nn.Linear)
    ]
    assert shapes == [tuple(each.weight.shape) for each in network.synapse_nodes.values()]


def record_of(ratio: float) -> dict[str, Any]:
    times = {name: {"median_ms": 2.0, "p20_ms": 1.0, "p80_ms": 3.0} for name in (EVALUATE, COUNT)}
    workloads = {
        name: {
            "title": each.title,
            "timesteps": each.timesteps,
            "batch_size": each.batch_size,
            "firing_rate": None if each.model is None else 0.125,
            "times": times,
            "count_over_evaluate": {"median": ratio, "p20": ratio, "p80": ratio},
        }
        for name, each in WORKLOADS.items()
    }
    command = ["python", "-m", "benchmarks.energy_cost"]
    return {**origin(command), "kind": KIND, "rounds": 3, "most": MOST, "workloads": workloads}


def test_the_check_fails_above_the_bar_or_without_a_measurement(tmp_path, capsys):
    check_bars(record_of(MOST))
    assert "at most 1.3: holds" in capsys.readouterr().out
    with pytest.raises(CheckFailedError, match="4 of 4 counts cost too much"):
        check_bars(record_of(MOST + 0.01))
    partly = record_of(1.0)
    del partly["workloads"]["mnist-ann"]
    with pytest.raises(CheckFailedError, match="not timed: mnist-ann"):
        check_bars(partly)
    write_result(tmp_path / "energy-cost.json", record_of(2.0))
    assert run(energy_cost, ["--check", "--results", str(tmp_path / "energy-cost.json")]) == 1
    assert run(energy_cost, ["--rounds", "0"]) == 2


def test_a_run_writes_a_file_that_the_readme_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "WORKLOADS", SMALL)
    file = tmp_path / "energy-cost.json"
    assert (
        run(
            energy_cost,
            ["--rounds", "1", "--warm-up", "1", "--threads", "1", "--results", str(file)],
        )
        == 0
    )
    text = render(tmp_path)
    assert "What counting operations costs" in text
    assert "small, without spikes, B = 2" in text
    assert "`python -m benchmarks.energy_cost --rounds 1" in text
