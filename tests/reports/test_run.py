"""Runs and exports opened and counted: what is counted is what runs."""

import shutil
from pathlib import Path

import pytest
import torch

from neuro.errors import CheckpointError, UsageError
from neuro.reports import CountOptions, count
from neuro.reports.classifier import input_signal
from neuro.training import RunDirectory
from tests.export.conftest import quick, run, trained

__all__ = ["run"]


def test_a_classifier_is_counted_on_its_test_set(run):
    found = count(run, CountOptions(samples=24))
    ledger, what = found.subject.ledger, found.subject.what
    assert (ledger.samples, ledger.timesteps) == (24, 4)
    assert sum(each.samples for each in found.subject.batches) == 24
    assert len(found.subject.batches) == 8
    summary = RunDirectory.open(run).read_json("summary.json")
    assert found.subject.accuracy == summary["metrics"]["test_accuracy"]
    assert (what["accuracy_samples"], what["checkpoint"]) == (297, "last")
    assert found.subject.parameters == summary["metrics"]["parameters"]


def test_spikes_are_those_of_an_evaluation(run):
    found = count(run, CountOptions(samples=297))
    rates = RunDirectory.open(run).read_json("summary.json")["firing_rates"]
    assert rates
    for name, rate in rates.items():
        counts, facts = found.subject.ledger.layers[name], found.subject.ledger.facts[name]
        # rates are means of 32-bit floats
        assert counts.spikes / (297 * 4 * facts.neurons) == pytest.approx(rate, rel=1e-5)


def test_counting_twice_gives_the_same(run):
    first, second = (count(run, CountOptions(samples=8)).subject for _ in range(2))
    assert first.ledger == second.ledger


def test_a_run_that_did_not_finish_is_judged_on_what_is_counted(run, tmp_path):
    copy = Path(shutil.copytree(run, tmp_path / "r"))
    RunDirectory.open(copy).set_state("interrupted")
    found = count(copy, CountOptions(samples=40)).subject
    assert found.what["accuracy_samples"] == 40
    whole = count(copy, CountOptions(samples=297)).subject
    summary = RunDirectory.open(run).read_json("summary.json")
    assert whole.accuracy == summary["metrics"]["test_accuracy"]


@pytest.mark.parametrize("summary", ["{}", '{"metrics": []}'])
def test_a_damaged_summary_is_told(run, tmp_path, summary):
    copy = Path(shutil.copytree(run, tmp_path / "r"))
    (copy / "summary.json").write_text(summary)
    with pytest.raises(CheckpointError, match=r"summary\.json is damaged"):
        count(copy, CountOptions(samples=2))


def test_a_run_without_a_checkpoint_has_nothing_to_count(run, tmp_path):
    shutil.copytree(run, tmp_path / "r", ignore=shutil.ignore_patterns("checkpoints"))
    with pytest.raises(UsageError, match="no checkpoint yet"):
        count(tmp_path / "r")


@pytest.mark.parametrize(
    ("changes", "signal"),
    [
        ({}, "real"),
        ({"encoding": {"name": "rate"}}, "binary"),
        ({"encoding": {"name": "latency"}}, "binary"),
    ],
)
def test_what_enters_the_network_follows_from_the_encoding(tmp_path, changes, signal):
    folder = trained(tmp_path / "r", epochs=1, **changes)
    found = count(folder, CountOptions(samples=8))
    assert found.session is not None
    assert input_signal(found.session) == found.subject.what["signal"] == signal
    first = found.subject.ledger.layers["linear1"]
    assert bool(first.macs) == (signal == "real")
    assert bool(first.synaptic_additions) == (signal != "real")


def test_frames_of_events_are_graded(tmp_path):
    folder = trained(tmp_path / "r", dataset="events:digits", model={"name": "mlp", "hidden": [8]})
    found = count(folder, CountOptions(samples=8))
    assert found.subject.what["signal"] == "graded"


def test_an_export_is_counted_as_it_was_placed(run, tmp_path):
    quick(run, tmp_path / "e", samples=10)
    found = count(tmp_path / "e").subject
    assert found.ledger.samples == 10
    assert [each.samples for each in found.batches] == [8, 2]
    assert found.placement is not None
    assert (found.placement.cores, found.placement.chips) == (1, 1)
    assert found.placement.messages > 0
    assert found.placement.hops_east_west == found.placement.hops_north_south == 0  # a single core
    assert count(tmp_path / "e", CountOptions(samples=3)).subject.ledger.samples == 3


def test_an_export_is_refused_what_it_does_not_have(run, tmp_path):
    quick(run, tmp_path / "e")
    with pytest.raises(UsageError, match="holds 1 to 3"):
        count(tmp_path / "e", CountOptions(samples=4))
    with pytest.raises(UsageError, match="--checkpoint is of runs"):
        count(tmp_path / "e", CountOptions(checkpoint="best"))
    quick(run, tmp_path / "n", to="nir")
    with pytest.raises(UsageError, match="NIR graph"):
        count(tmp_path / "n")


def test_a_clock_runs_the_very_network(run):
    found = count(run, CountOptions(samples=4))
    assert found.run_once is not None
    readout = found.run_once()
    assert readout.logits.shape == (1, 10)  # type: ignore[attr-defined]
    assert torch.isfinite(readout.logits).all()  # type: ignore[attr-defined]
