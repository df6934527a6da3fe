"""Measuring on a made-up sysfs tree and a made-up NVML, and refusing where there is neither."""

import sys
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import pytest

from neuro.energy import measure
from neuro.energy.pricing.measured import Rapl
from neuro.errors import UsageError
from tests.energy.counters import RANGE, spend, zone


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """Return the zones of two packages with parts, on a machine without NVML."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    return {
        label: zone(tmp_path, name, label, 1000)
        for name, label in (
            ("intel-rapl:0", "package-0"),
            ("intel-rapl:0:0", "core"),
            ("intel-rapl:0:1", "dram"),
            ("intel-rapl:1", "package-1"),
            ("intel-rapl:2", "psys"),
            ("intel-rapl-mmio:0", "package-0 again"),
        )
    }


def test_packages_and_memory_are_summed_and_parts_are_not(machine, tmp_path):
    with measure(powercap=tmp_path) as meter:
        for place, microjoules in zip(
            machine.values(), (1, 10, 100, 1000, 10**4, 10**5), strict=True
        ):
            spend(place, 10**6 * microjoules)
    assert meter.domains == pytest.approx(
        {"intel-rapl:0 package-0": 1, "intel-rapl:0:1 dram": 100, "intel-rapl:1 package-1": 1000}
    )
    assert meter.joules == pytest.approx(1101)
    assert meter.seconds > 0


def test_a_counter_that_runs_over_goes_on(tmp_path):
    place = zone(tmp_path, "intel-rapl:0", "package-0", RANGE - 10)
    sensor = Rapl(place, "package")
    spend(place, 30)
    assert sensor.joules() == pytest.approx(30e-6)
    spend(place, RANGE)
    assert sensor.joules() == pytest.approx((30 + RANGE) * 1e-6)


def test_a_counter_is_read_on_the_way(machine, tmp_path):
    """Two turns of the counter in one block are not one."""
    with measure(powercap=tmp_path, period=0.005) as meter:
        for _ in range(4):
            spend(machine["package-0"], RANGE * 3 // 4)
            time.sleep(0.1)
    assert meter.joules == pytest.approx(3 * RANGE * 1e-6, rel=1e-6)


def test_joules_are_there_after_an_error_too(machine, tmp_path):
    meters = []

    def work() -> None:
        with measure(powercap=tmp_path) as meter:
            meters.append(meter)
            spend(machine["package-0"], 2_000_000)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        work()
    assert meters[0].joules == pytest.approx(2)


def test_a_machine_without_sensors_says_so(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", None)
    with (
        pytest.raises(UsageError, match=r"cannot measure energy: .* no RAPL zone, and NVML is not"),
        measure(powercap=tmp_path),
    ):
        pytest.fail("nothing to measure with")
    with pytest.raises(UsageError, match="period must be above 0"), measure(period=0):
        pytest.fail("no period")


def test_a_closed_counter_says_how_to_open_it(machine, tmp_path, monkeypatch):
    read = Path.read_text

    def refuse(path: Path, *arguments, **options) -> str:
        if path.name == "energy_uj":
            raise PermissionError(13, "Permission denied")
        return read(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", refuse)
    with (
        pytest.raises(UsageError, match=r"Permission denied.*sudo chmod a\+r .*energy_uj"),
        measure(powercap=tmp_path),
    ):
        pytest.fail("a counter that cannot be read")


class Nvml(ModuleType):
    """NVML with one GPU that counts millijoules and one that tells its watts."""

    class NVMLError(Exception):
        pass

    def __init__(self, driver: bool = True) -> None:
        super().__init__("pynvml")
        self.driver, self.open = driver, False
        self.spent = 5000

    def nvmlInit(self) -> None:
        if not self.driver:
            raise self.NVMLError("Driver Not Loaded")
        self.open = True

    def nvmlShutdown(self) -> None:
        self.open = False

    def nvmlDeviceGetCount(self) -> int:
        return 2

    def nvmlDeviceGetHandleByIndex(self, number: int) -> SimpleNamespace:
        return SimpleNamespace(number=number)

    def nvmlDeviceGetTotalEnergyConsumption(self, device: SimpleNamespace) -> int:
        if device.number == 1:
            raise self.NVMLError("Not Supported")
        return self.spent

    def nvmlDeviceGetPowerUsage(self, device: SimpleNamespace) -> int:
        return 50_000


def test_gpus_count_or_are_sampled(tmp_path, monkeypatch):
    nvml = Nvml()
    monkeypatch.setitem(sys.modules, "pynvml", nvml)
    with measure(powercap=tmp_path, period=0.005) as meter:
        assert nvml.open
        nvml.spent += 1500
        time.sleep(0.05)
    assert not nvml.open
    assert meter.domains["GPU 0"] == pytest.approx(1.5)
    assert meter.domains["GPU 1"] == pytest.approx(50 * meter.seconds, rel=0.05)


def test_a_driver_that_is_not_there_is_no_gpu(machine, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "pynvml", Nvml(driver=False))
    with measure(powercap=tmp_path) as meter:
        spend(machine["package-1"], 10**6)
    assert meter.joules == pytest.approx(1)
