"""The report of a run: what stands beside it, and that the parts fit together."""

from itertools import pairwise
from pathlib import Path

import pytest

from neuro.config import load_reason_config
from neuro.energy.pricing.prices import energy_profile
from neuro.energy.reporting.record import check_profiles
from neuro.errors import UsageError
from neuro.layers import Network
from neuro.models.twin import baseline_network
from neuro.reports import CountOptions, compare_runs, energy_report
from neuro.reports.beside import count_twin, training_costs
from neuro.reports.run import count
from neuro.training import RunDirectory, train
from tests.export.conftest import run

__all__ = ["run"]

FEW = CountOptions(samples=8)


@pytest.fixture(scope="module")
def reasoners(tmp_path_factory) -> dict[str, Path]:
    """A tiny run of each method on one graph."""
    folder = tmp_path_factory.mktemp("reasoners")
    tiny = {"epochs": 1, "batches_per_epoch": 2, "batch_size": 4, "negatives": 4, "threads": 1}
    small = {"grsnn": {"hidden": 8}, "nbfnet": {"hidden": 8, "layers": 2}}
    for method, options in small.items():
        config = load_reason_config(
            method, dataset="nations", method=options, device="cpu", tensorboard=False,
            plots=False, **tiny,
        )  # fmt: skip
        train(config, run_dir=folder / method)
    return {method: folder / method for method in small}


def test_baselines_have_the_operations_of_their_shapes(run):
    record = energy_report(run, ["horowitz45-fp32"], options=FEW).to_json()
    names = [each["name"] for each in record["baselines"]]
    assert names == ["ann-fp32", "ann-int8", "qnn-3bit"]
    assert [each["bits"] for each in record["baselines"]] == [None, 8, 3]
    sizes = [64, 12, 10]
    for each in record["baselines"]:
        products = sum(a * b for a, b in pairwise(sizes))
        if each["bits"] is None:
            assert each["totals"]["macs"] == products
        assert 0 < each["totals"]["macs"] <= products  # a weight that is rounded to 0 is none
        (priced,) = each["profiles"]
        assert priced["priced_by"] == f"horowitz45-{'fp32' if each['bits'] is None else 'int8'}"
        ratio = record["profiles"][0]["total_pj"]["value"] / priced["total_pj"]["value"]
        assert priced["ratio"]["value"] == pytest.approx(ratio)


def test_a_twin_costs_the_same_whatever_it_sees(run):
    network = count(run, FEW).session.network
    assert isinstance(network, Network)
    twin = baseline_network(network, "ann-fp32", 4)
    assert count_twin(twin) == count_twin(twin)
    assert count_twin(twin).samples == 1


def test_chips_of_spikes_do_not_price_networks_without(run):
    record = energy_report(run, ["loihi1"], options=FEW).to_json()
    for each in record["baselines"]:
        (priced,) = each["profiles"]
        assert priced["total_pj"] is None
        assert "loihi1" in priced["reason"]
    assert record["break_even"] == []


def test_break_even_rates_are_of_layers_that_spikes_reach(run):
    record = energy_report(run, ["horowitz45-fp32", "lemaire45"], options=FEW).to_json()
    assert [row["layer"] for row in record["break_even"]] == [
        layer["name"]
        for layer in record["layers"]
        if layer["kind"] == "linear" and layer["signal"] == "binary"
    ]
    for row in record["break_even"]:
        # lemaire45 is a model of whole networks
        assert set(row["break_even"]) == set(row["synapse"]) == {"horowitz45-fp32"}
        assert 0 <= row["rate"] <= 1


def test_every_rule_has_its_cost_of_learning(run):
    costs = training_costs(count(run, FEW))
    assert list(costs) == ["bptt", "ottt", "dfa", "dkp", "zo", "opzo"]
    assert not any(isinstance(cost, str) for cost in costs.values())
    record = energy_report(run, ["horowitz45-fp32", "loihi1"], options=FEW).to_json()
    rules = record["training"]["rules"]
    for rule, cost in rules.items():
        phases = [phase.get("macs", 0) for phase in cost["phases"].values()]
        assert sum(phases) == pytest.approx(cost["totals"].get("macs", 0))
        fp32, chip = cost["profiles"]
        assert fp32["total_pj"]["value"] > 0
        assert chip["total_pj"] is None
        assert "prices no products" in chip["reason"]
        assert fp32["on_chip_pj"] is None
        assert (chip["on_chip_pj"] is None) == (rule == "bptt")
    updates = rules["opzo"]["synaptic_updates"]
    on_chip = rules["opzo"]["profiles"][1]["on_chip_pj"]
    assert on_chip["value"] == pytest.approx(120 * updates)
    assert on_chip["low"] <= on_chip["value"] <= on_chip["high"]


def test_reasoners_of_both_kinds_are_compared(reasoners):
    options = CountOptions(samples=5)
    record = compare_runs(
        [reasoners["grsnn"], reasoners["nbfnet"]], ["horowitz45-fp32"], options=options, clock=True
    ).to_json()
    spiking, other = record["runs"]
    assert spiking["totals"]["spikes"] > 0
    assert "spikes" not in other["totals"]
    assert (spiking["latency"]["steps"], other["latency"]["steps"]) == (10, 1)
    assert all(each["latency"]["seconds"] > 0 for each in record["runs"])
    assert all(each["profiles"][0]["total_pj"]["value"] > 0 for each in record["runs"])


def test_reasoners_are_compared_with_memory(reasoners):
    paths = [reasoners["grsnn"], reasoners["nbfnet"]]
    options = CountOptions(samples=5)
    found = compare_runs(paths, ["horowitz45-fp32", "loihi1"], options=options)
    spiking, other = (run["profiles"] for run in found.to_json()["runs"])
    for each in (spiking[0], other[0]):
        assert each["with_memory_pj"]["value"] > each["total_pj"]["value"]
    assert spiking[0]["ratio_with_memory"] == {"value": 1, "low": 1, "high": 1}
    assert other[0]["ratio_with_memory"]["value"] == pytest.approx(
        other[0]["with_memory_pj"]["value"] / spiking[0]["with_memory_pj"]["value"]
    )
    # events hold their memory, and nothing of a network without spikes is an event
    assert (spiking[1]["with_memory_pj"], spiking[1]["ratio_with_memory"]) == (None, None)
    assert (spiking[1]["ratio"]["value"], other[1]["ratio"]) == (1, None)
    told = found.text()
    assert "with memory, horowitz45-fp32" in told
    assert "with memory over the first, horowitz45-fp32" in told
    assert "with memory, loihi1" not in told


@pytest.mark.parametrize("method", ["grsnn", "nbfnet"])
def test_layers_of_a_reasoner_hold_its_parameters(reasoners, linked, method):
    for path in (reasoners[method], linked[method]):
        record = energy_report(path, ["horowitz45-fp32"], options=CountOptions(samples=2)).to_json()
        assert sum(layer["parameters"] for layer in record["layers"]) == record["parameters"]
        assert all(layer["kind"] for layer in record["layers"])
        rates = {layer["name"]: layer["rate"] for layer in record["layers"]}
        assert all(rate is None or 0 <= rate <= 1 for rate in rates.values())
        assert (method == "grsnn") == (rates.get("neurons") is not None)


def test_a_reasoner_has_no_baselines_of_its_own(reasoners):
    options = CountOptions(samples=5)
    record = energy_report(reasoners["nbfnet"], ["horowitz45-fp32"], options=options).to_json()
    assert (record["baselines"], record["break_even"], record["training"]) == ([], [], None)
    with pytest.raises(UsageError, match="no run of a spiking classifier"):
        energy_report(reasoners["grsnn"], ["horowitz45-fp32"], options=options, train=True)
    with pytest.raises(UsageError, match="asks 402 queries"):
        energy_report(reasoners["grsnn"], options=CountOptions(samples=10_000))


@pytest.fixture(scope="module")
def linked(tmp_path_factory) -> dict[str, Path]:
    """A tiny run of each method on one undirected graph."""
    folder = tmp_path_factory.mktemp("linked")
    path = folder / "links.tsv"
    path.write_text("".join(f"n{i}\tn{(i + j) % 30}\n" for i in range(30) for j in (1, 2, 5)))
    small = {"grsnn": {"hidden": 8}, "nbfnet": {"hidden": 8, "layers": 2}}
    for method, options in small.items():
        config = load_reason_config(
            method, graph=str(path), method=options, device="cpu", tensorboard=False,
            plots=False, epochs=1, batch_size=16, threads=1,
        )  # fmt: skip
        train(config, run_dir=folder / method)
    return {method: folder / method for method in small}


@pytest.mark.parametrize("method", ["grsnn", "nbfnet"])
def test_reasoners_have_steps(reasoners, method):
    found = energy_report(reasoners[method], options=CountOptions(samples=2, per_step=True))
    for layer in found.to_json()["layers"]:
        for kind, number in layer["counts"].items():
            assert sum(step.get(kind, 0) for step in layer["steps"]) == pytest.approx(number)


def test_links_are_pairs_that_run_both_ways(linked):
    options = CountOptions(samples=6)
    record = compare_runs(
        [linked["grsnn"], linked["nbfnet"]], ["horowitz45-fp32"], options=options, clock=True
    ).to_json()
    for each, method in zip(record["runs"], linked, strict=True):
        metrics = RunDirectory.open(linked[method]).read_json("summary.json")["metrics"]
        assert (each["measure"], each["accuracy"]) == ("auroc", metrics["auroc"])
        assert (each["what"]["unit"], each["what"]["samples"]) == ("pairs", 6)
        assert each["what"]["accuracy_samples"] == 2 * 10  # links, and as many that are none
        assert each["latency"]["seconds"] > 0
    spiking, _ = record["runs"]
    # two runs of 30 nodes, 8 neurons, 10 steps
    assert spiking["totals"]["neuron_updates"] == 2 * 30 * 8 * 10
    assert all(each["profiles"][0]["with_memory_pj"]["value"] > 0 for each in record["runs"])
    with pytest.raises(UsageError, match="asks 10 pairs"):
        energy_report(linked["grsnn"], options=CountOptions(samples=11))


def test_profiles_of_one_kind_stand_together():
    simulated, measured = energy_profile("horowitz45-fp32"), energy_profile("truenorth")
    check_profiles([simulated, energy_profile("lemaire45")], allow_mixed_kinds=False)
    check_profiles([simulated, measured], allow_mixed_kinds=True)
    with pytest.raises(UsageError, match="mixed kinds"):
        check_profiles([simulated, measured], allow_mixed_kinds=False)
