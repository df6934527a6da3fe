"""What a sample takes on a machine of made-up counters and a made-up clock, and its report."""

import json
import sys
from copy import deepcopy
from pathlib import Path

import pytest
import torch
from torch import nn

from neuro.energy import report
from neuro.energy.pricing import machine as machines
from neuro.energy.pricing import measured
from neuro.energy.pricing.account import significant
from neuro.energy.pricing.machine import Machine
from neuro.energy.reporting.record import open_profiles
from neuro.energy.reporting.report import Report
from neuro.errors import UsageError
from tests.energy.counters import counted_here, running_on, spend, zone
from tests.energy.records import record
from tests.energy.test_measured import Nvml
from tests.energy.test_report import network, spikes

CPU = torch.device("cpu")
SAMPLES, PASSES, PASS = 10, 4, 0.3
IDLE = 0.5
"""Watts of waiting."""


class Clock:
    """A clock that only work and waiting move on; while it waits the machine draws."""

    def __init__(self, place: Path) -> None:
        self.now, self._place = 0.0, place

    def perf_counter(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        spend(self._place, round(1e6 * IDLE * seconds))


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    counted_here(tmp_path, monkeypatch)
    return zone(tmp_path, "intel-rapl:0", "package-0", 1000)


@pytest.fixture
def dram(tmp_path, package) -> Path:
    return zone(tmp_path, "intel-rapl:0:0", "dram", 1000)


@pytest.fixture
def clock(package, monkeypatch) -> Clock:
    found = Clock(package)
    monkeypatch.setattr(machines, "time", found)
    monkeypatch.setattr(measured, "time", found)
    return found


def test_a_sample_takes_what_was_counted_over_all_that_ran(package, dram, clock):
    """Interval k of 5 takes k joules a pass in the package, and half a joule in memory."""
    calls = 0

    def work() -> None:
        nonlocal calls
        interval = (calls - 1) // PASSES  # after one pass to warm up; 0 finds out how many
        calls += 1
        clock.now += PASS
        spend(package, 10**6 * max(interval, 0))
        spend(dram, 500_000)

    found = Machine.here().measure(work, SAMPLES, CPU)
    assert calls == 1 + PASSES + 5 * PASSES
    assert found.passes == 5 * PASSES
    assert found.seconds == pytest.approx(PASS / SAMPLES)
    assert found.total == pytest.approx((3.5 / SAMPLES, 1.7 / SAMPLES, 5.3 / SAMPLES))
    assert found.counters["intel-rapl:0 package-0"] == pytest.approx((0.3, 0.12, 0.48))
    assert found.counters["intel-rapl:0:0 dram"] == pytest.approx((0.05, 0.05, 0.05))
    idle = IDLE * PASS / SAMPLES
    assert found.idle == pytest.approx((idle, idle, idle))
    assert found.above_idle == pytest.approx((0.35 - idle, 0.17 - idle, 0.53 - idle))
    assert any("drew 15 mJ" in note and "340 mJ" in note for note in found.notes)
    assert any("other processes" in line for line in found.excluded)
    assert not any("memory, which has no counter" in line for line in found.excluded)


def test_waiting_may_draw_more_and_is_told(package, clock):
    def work() -> None:
        clock.now += 2.0
        spend(package, 400_000)  # 0.2 W

    found = Machine.here().measure(work, 1, CPU)
    assert found.passes == 5  # one is long enough
    assert found.above_idle.value == pytest.approx(0.4 - 2 * IDLE)
    assert any("-600 mJ" in note for note in found.notes)
    assert "memory, which has no counter here" in found.excluded
    assert significant(-0.6) == "-600 mJ"


def test_a_counter_that_stands_still_is_refused(package, clock):
    def work() -> None:
        clock.now += 2.0

    with pytest.raises(UsageError, match=r"intel-rapl:0 package-0\) stood still .* for 2.0 s"):
        Machine.here().measure(work, 1, CPU)


def test_what_runs_on_a_device_without_counter_is_refused(tmp_path, package, monkeypatch):
    with pytest.raises(UsageError, match=r"runs on cuda:0, .* package-0\. Install nvidia-ml-py"):
        Machine.here().check(torch.device("cuda:0"))
    Machine.here().check(CPU)
    counted_here(tmp_path / "none", monkeypatch)
    monkeypatch.setitem(sys.modules, "pynvml", Nvml())
    here = Machine.here()
    assert here.counters == ("GPU 0", "GPU 1")
    here.check(torch.device("cuda:0"))
    with pytest.raises(UsageError, match=r"runs on cpu, .* GPU 0, GPU 1\. Run it where RAPL"):
        here.check(CPU)


def test_the_machine_is_measured_and_stands_with_its_kind(package):
    (found,) = open_profiles(["measured"], allow_mixed_kinds=False)
    assert isinstance(found, Machine)
    open_profiles(["measured", "truenorth"], allow_mixed_kinds=False)
    open_profiles(["measured", "loihi1"], allow_mixed_kinds=True)
    with pytest.raises(UsageError, match=r"measured \(measured\) and loihi1 \(simulated\)"):
        open_profiles(["measured", "loihi1"], allow_mixed_kinds=False)
    with pytest.raises(UsageError, match="Two hardware profiles are called measured"):
        open_profiles(["measured", "measured"], allow_mixed_kinds=False)


def test_without_counters_nothing_is_counted(tmp_path, monkeypatch):
    counted_here(tmp_path, monkeypatch)

    class Untouched:
        def __iter__(self):
            pytest.fail("samples were asked for")

    with pytest.raises(UsageError, match="This machine cannot measure energy"):
        report(network(), Untouched(), ["measured"], signals="binary")


@pytest.mark.parametrize("form", ["text", "md", "latex", "html", "json"])
@pytest.mark.parametrize("profiles", [["measured"], ["measured", "horowitz45-fp32"]])
def test_models_are_measured_and_told_in_every_form(tmp_path, monkeypatch, profiles, form):
    model = network().train()
    twin = nn.Sequential(nn.Flatten(0, 1), nn.Linear(4, 3))
    loader = ((each, None) for each in [spikes(), spikes()])
    with running_on(tmp_path, monkeypatch):
        found = report(model, loader, profiles, signals="binary", allow_mixed_kinds=True)
        beside = report(twin, [(torch.randn(2, 1, 4), None)], profiles, baselines={"same": twin},
                        allow_mixed_kinds=True)  # fmt: skip
    assert model.training
    first = found.to_json()["profiles"][0]
    assert (first["name"], first["kinds"], first["family"]) == (
        "measured",
        ["measured"],
        "measured",
    )
    assert 0 < first["total_pj"]["low"] <= first["total_pj"]["value"] <= first["total_pj"]["high"]
    (term,) = first["terms"]
    assert term == {"name": "intel-rapl:0 package-0", "pj": first["total_pj"]}
    told = first["measurement"]
    watts = first["total_pj"]["value"] * 1e-12 / told["seconds"]
    assert 0.1 < watts < 10  # the counter runs at one, whatever runs
    for other in found.to_json()["profiles"][1:]:
        assert set(other) == set(first)
        assert other["measurement"] is None
    (baseline,) = beside.to_json()["baselines"]
    assert baseline["profiles"][0]["total_pj"] is None
    assert "Only the network itself is measured" in baseline["profiles"][0]["reason"]
    for each in (found, beside):
        written = each.write(form)
        assert "measured" in written
        assert "GPUs, if there are any" in written
        assert Report.from_json(json.loads(each.write("json"))).write(form) == written


def test_bands_are_called_what_they_are():
    alone, mixed = record(), record()
    entry = deepcopy(alone["profiles"][0])
    entry |= {"name": "measured", "kind": "measured", "kinds": ["measured"], "layers": [],
              "sensitivity": [], "terms": [], "with_memory_pj": None,
              "measurement": {"intervals": 5}}  # fmt: skip
    alone |= {"profiles": [entry], "baselines": [], "training": None}
    mixed |= {"profiles": [*mixed["profiles"], entry], "baselines": [], "training": None}
    told = Report.from_json(alone).text()
    assert "constants" not in told
    assert "Energy by layer" not in told
    assert "the band is of the intervals" in " ".join(told.split())
    page = Report.from_json(mixed).html()
    assert page.count("from 5 to 95 % of the constants") == 2
    assert page.count("from 5 to 95 % of the intervals") == 1
    assert "Energy by counter" in page
    assert "constants alone" in Report.from_json(mixed).text()
