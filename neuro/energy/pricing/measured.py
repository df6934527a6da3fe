"""Joules of a stretch of work, from the machine's own counters: RAPL and NVML.

::

    with measure() as meter:
        work()                                # a GPU's work has to be waited for in here
    meter.joules, meter.seconds, meter.domains

RAPL counts what processors and their memory draw (Linux, Intel and AMD, often readable by root
alone), NVML what NVIDIA GPUs do (package nvidia-ml-py). Both count the whole device: whatever else
runs, and idling, is in the figure. Supplies, fans and disks are not.
"""

import re
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from neuro.errors import UsageError

POWERCAP = Path("/sys/class/powercap")
RAPL = "intel-rapl:"
GPU = "GPU "
"""How names of sensors begin."""
PERIOD = 0.1
"""Seconds between readings: far below the time in which a counter runs over."""

_MICRO, _MILLI = 1e-6, 1e-3
_ZONE = re.compile(rf"{RAPL}\d+(:\d+)?")
_COUNTED = re.compile(r"package-\d+|dram")
"""Zones that do not overlap: "core" and "uncore" are parts of a package, "psys" holds them all."""


class Sensor(Protocol):
    """A counter of joules."""

    name: str

    def joules(self) -> float:
        """Return the joules since the first reading."""


class Rapl:
    """A zone of the power capping interface; its counter runs over at a known number.

    Args:
        zone: folder of the zone.
        name: of the sensor.

    Raises:
        OSError: its files cannot be read.
    """

    def __init__(self, zone: Path, name: str) -> None:
        self.name = name
        self._counter = zone / "energy_uj"
        self._range = int((zone / "max_energy_range_uj").read_text()) + 1
        self._last = int(self._counter.read_text())
        self._total = 0

    def joules(self) -> float:
        now = int(self._counter.read_text())
        self._total += (now - self._last) % self._range
        self._last = now
        return _MICRO * self._total


class NvmlCounter:
    """A GPU that counts millijoules itself."""

    def __init__(self, nvml: Any, device: Any, name: str) -> None:
        self.name = name
        self._nvml, self._device = nvml, device
        self._start = self._millijoules()

    def joules(self) -> float:
        return _MILLI * (self._millijoules() - self._start)

    def _millijoules(self) -> int:
        return int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._device))


class NvmlPower:
    """A GPU that only tells what it draws, in milliwatts; summed by trapezoids."""

    def __init__(self, nvml: Any, device: Any, name: str) -> None:
        self.name = name
        self._nvml, self._device = nvml, device
        self._last, self._time, self._total = self._watts(), time.perf_counter(), 0.0

    def joules(self) -> float:
        watts, now = self._watts(), time.perf_counter()
        self._total += (now - self._time) * (watts + self._last) / 2
        self._last, self._time = watts, now
        return self._total

    def _watts(self) -> float:
        return _MILLI * float(self._nvml.nvmlDeviceGetPowerUsage(self._device))


@dataclass
class Meter:
    """What was measured; whole once the ``with`` block has ended.

    Attributes:
        seconds: of the block.
        domains: joules by sensor.
    """

    seconds: float = 0.0
    domains: Mapping[str, float] = field(default_factory=dict)

    @property
    def joules(self) -> float:
        """Of all sensors together."""
        return sum(self.domains.values())


@contextmanager
def measure(*, powercap: Path | None = None, period: float = PERIOD) -> Iterator[Meter]:
    """Measure the joules of a block with every sensor that this machine has.

    Args:
        powercap: folder of the power capping interface, if not where Linux has it.
        period: seconds between readings, above 0.

    Raises:
        UsageError: the machine has no sensor, or its counters cannot be read.
    """
    if not period > 0:
        raise UsageError(f"period must be above 0 seconds, got {period}.")
    powercap = powercap or POWERCAP
    with _nvml() as nvml:
        sensors = [*_rapl_sensors(powercap), *_nvml_sensors(nvml)]
        if not sensors:
            raise UsageError(
                f"This machine cannot measure energy: {powercap} has no RAPL zone, and NVML "
                f"{'is not there' if nvml is None else 'has no GPU'}. Estimate it with a profile, "
                "or measure on a machine with RAPL, or with an NVIDIA GPU and nvidia-ml-py."
            )
        meter = Meter()
        done = threading.Event()
        polling = threading.Thread(target=_poll, args=(sensors, done, period), daemon=True)
        start = time.perf_counter()
        before = {sensor.name: sensor.joules() for sensor in sensors}
        polling.start()
        try:
            yield meter
        finally:
            done.set()
            polling.join()
            meter.domains = {
                sensor.name: sensor.joules() - before[sensor.name] for sensor in sensors
            }
            meter.seconds = time.perf_counter() - start


def counters() -> tuple[str, ...]:
    """Return the names of the sensors that :func:`measure` reads.

    Raises:
        UsageError: the machine has no sensor, or its counters cannot be read.
    """
    with measure() as meter:
        pass
    return tuple(meter.domains)


def _poll(sensors: Sequence[Sensor], done: threading.Event, period: float) -> None:
    while not done.wait(period):
        for sensor in sensors:
            sensor.joules()


def _rapl_sensors(powercap: Path) -> list[Sensor]:
    """Return the zones whose energies add up to what processors and memory draw."""
    found: list[Sensor] = []
    for zone in sorted(powercap.glob(f"{RAPL}*")):
        if not _ZONE.fullmatch(zone.name):
            continue
        try:
            name = (zone / "name").read_text().strip()
            if _COUNTED.fullmatch(name):
                found.append(Rapl(zone, f"{zone.name} {name}"))
        except OSError as error:
            raise UsageError(
                f"{zone}: its energy cannot be read ({error.strerror}). The counters are often "
                f"open to root alone: sudo chmod a+r {zone}/energy_uj"
            ) from error
    return found


@contextmanager
def _nvml() -> Iterator[Any | None]:
    """Give the NVML package, ready; None where there is no package or no driver."""
    try:
        import pynvml
    except ModuleNotFoundError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _nvml_sensors(nvml: Any | None) -> list[Sensor]:
    """Return every GPU, by its counter where it has one."""
    if nvml is None:
        return []
    found: list[Sensor] = []
    for number in range(nvml.nvmlDeviceGetCount()):
        device = nvml.nvmlDeviceGetHandleByIndex(number)
        name = f"{GPU}{number}"
        try:
            found.append(NvmlCounter(nvml, device, name))
        except nvml.NVMLError:
            found.append(NvmlPower(nvml, device, name))
    return found
