"""What a sample takes on this very machine: the network runs, and its counters are read.

Passes over the samples are repeated for as long as a counter needs. Before each such interval the
machine waits as long, and what it drew meanwhile is told apart::

    total      = joules of the interval / samples that ran in it
    idle       = watts of waiting * seconds of the interval / samples that ran in it
    above idle = total - idle
"""

import platform
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import numpy as np
import torch

from neuro.energy.pricing.account import PICO, significant
from neuro.energy.pricing.measured import GPU, RAPL, Meter, counters, measure
from neuro.energy.pricing.prices import Family
from neuro.energy.pricing.scenarios import TAILS, Interval
from neuro.errors import UsageError

MEASURED = "measured"
"""Stands for this machine among the names of hardware profiles."""
SECONDS = 1.0
"""An interval lasts at least so long: GPUs renew their counters some ten times a second."""
REPEATS = 5


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What a sample took, in joules: over all intervals, and the 5 and 95 % points of them.

    Attributes:
        total: of all counters, whatever else ran.
        idle: what waiting as long drew, before each interval.
        above_idle: the difference.
        counters: of the total, by counter.
        samples: in a pass.
        passes: in all intervals together.
        seconds: that a sample took.
        notes: how it was measured, and what of it idling is.
        excluded: what the counters hold, and what they do not.
        citations: counters and processors.
    """

    total: Interval
    idle: Interval
    above_idle: Interval
    counters: Mapping[str, Interval]
    samples: int
    passes: int
    seconds: float
    notes: tuple[str, ...]
    excluded: tuple[str, ...]
    citations: tuple[str, ...]
    family: ClassVar[Family] = "measured"

    def to_json(self) -> dict[str, Any]:
        """Return it with the keys of an account, in picojoules, and how it was measured."""
        return {
            "name": MEASURED,
            "kind": "measured",
            "kinds": ["measured"],
            "scope": "all that this machine's counters count while the network runs",
            "total_pj": self.total.to_json(PICO),
            "with_memory_pj": None,
            "spread_pj": None,
            "layers": [],
            "terms": [
                {"name": name, "pj": each.to_json(PICO)} for name, each in self.counters.items()
            ],
            "sensitivity": [],
            "excluded": list(self.excluded),
            "notes": list(self.notes),
            "citations": list(self.citations),
            "measurement": {
                "intervals": REPEATS,
                "passes": self.passes,
                "seconds": self.seconds,
                "idle_pj": self.idle.to_json(PICO),
                "above_idle_pj": self.above_idle.to_json(PICO),
            },
        }


@dataclass(frozen=True)
class Machine:
    """This machine, where a hardware profile may stand.

    Attributes:
        counters: names of its counters of energy.
    """

    counters: tuple[str, ...]
    name: ClassVar[str] = MEASURED
    family: ClassVar[Family] = "measured"

    @classmethod
    def here(cls) -> "Machine":
        """Find the counters.

        Raises:
            UsageError: there are none, or they cannot be read.
        """
        return cls(counters())

    def check(self, device: torch.device) -> None:
        """Check that what a network runs on has a counter.

        Raises:
            UsageError: others may have, but the total would hold nothing of the network.
        """
        gpu = device.type == "cuda"
        if not self._of(GPU if gpu else RAPL):
            raise UsageError(
                f"The network runs on {device}, of which this machine counts no energy; it counts "
                f"that of {', '.join(self.counters)}. "
                + ("Install nvidia-ml-py" if gpu else "Run it where RAPL can be read")
                + ", or estimate it with a profile."
            )

    def measure(
        self, work: Callable[[], object], samples: int, device: torch.device
    ) -> Measurement:
        """Measure what a sample takes.

        Args:
            work: runs the network over all samples.
            samples: how many those are.
            device: that it runs on.

        Raises:
            UsageError: it is a device without counter, or no counter counted.
        """
        self.check(device)
        work()  # what is compiled is compiled now
        _, seconds = _pass_for_a_while(work, device)
        runs = [_repeat(work, seconds, device) for _ in range(REPEATS)]
        each_ran = np.array([samples * run.passes for run in runs])

        def of_a_sample(joules: Iterable[float]) -> Interval:
            row = np.array(list(joules))
            low, high = np.quantile(row / each_ran, TAILS)
            return Interval(float(row.sum() / each_ran.sum()), float(low), float(high))

        idle = of_a_sample(run.idle for run in runs)
        above = of_a_sample(run.running.joules - run.idle for run in runs)
        found = Measurement(
            total=of_a_sample(run.running.joules for run in runs),
            idle=idle,
            above_idle=above,
            counters={
                name: of_a_sample(run.running.domains[name] for run in runs)
                for name in self.counters
            },
            samples=samples,
            passes=sum(run.passes for run in runs),
            seconds=float(sum(run.running.seconds for run in runs) / each_ran.sum()),
            notes=(
                f"{REPEATS} intervals of {SECONDS:g} s or more, {sum(run.passes for run in runs)} "
                f"passes over {samples} samples in all; the band is of the intervals",
                f"waiting as long as a sample takes, the machine drew {significant(idle.value)}, "
                f"measured before each interval: {significant(above.value)} of the total are above "
                "that",
            ),
            excluded=tuple(self._left_out()),
            citations=tuple(self._sources()),
        )
        return found

    def _of(self, kind: str) -> list[str]:
        return [name for name in self.counters if name.startswith(kind)]

    def _left_out(self) -> Iterator[str]:
        yield (
            "nothing of the devices that are counted: the total holds them whole, with idling and "
            "whatever other processes did meanwhile"
        )
        yield "power supplies, fans and disks"
        yield "loading and encoding of samples, which was done before"
        if not self._of(RAPL):
            yield "processors and their memory, which have no counter here"
        elif not any(name.endswith("dram") for name in self.counters):
            yield "memory, which has no counter here"
        if not self._of(GPU):
            yield "GPUs, if there are any: they have no counter here"

    def _sources(self) -> Iterator[str]:
        today = date.today().isoformat()
        if named := self._of(RAPL):
            yield f"RAPL counters of {_processor()} ({', '.join(named)}), read on {today}"
        if named := self._of(GPU):
            kinds = dict.fromkeys(map(torch.cuda.get_device_name, range(torch.cuda.device_count())))
            which = f" of {', '.join(kinds)}" if kinds else ""
            yield f"NVML counters{which} ({', '.join(named)}), read on {today}"


class _Repeat(NamedTuple):
    """An interval, and the joules that waiting as long takes."""

    idle: float
    running: Meter
    passes: int


def _repeat(work: Callable[[], object], seconds: float, device: torch.device) -> _Repeat:
    with measure() as waiting:
        time.sleep(seconds)
    with measure() as running:
        passes, _ = _pass_for_a_while(work, device)
    if not running.joules > 0:
        raise UsageError(
            f"This machine's counters ({', '.join(running.domains)}) stood still while the network "
            f"ran for {running.seconds:.1f} s: they count nothing. Estimate with a profile."
        )
    return _Repeat(waiting.joules / waiting.seconds * running.seconds, running, passes)


def _pass_for_a_while(work: Callable[[], object], device: torch.device) -> tuple[int, float]:
    """Work until an interval is long enough; return how often, and the seconds."""
    passes, start = 0, time.perf_counter()
    while (seconds := time.perf_counter() - start) < SECONDS or not passes:
        work()
        passes += 1
        if device.type == "cuda":
            torch.cuda.synchronize(device)
    return passes, seconds


def _processor() -> str:
    table = Path("/proc/cpuinfo")
    for line in table.read_text("utf-8", "replace").splitlines() if table.exists() else ():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()
