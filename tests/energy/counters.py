"""Made-up counters of energy: a sysfs tree, whose zones count what they are told."""

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from neuro.energy.pricing import machine, measured

RANGE = 262_143_328_850


def zone(folder: Path, name: str, label: str, energy: int) -> Path:
    place = folder / name
    place.mkdir(parents=True)
    (place / "name").write_text(f"{label}\n")
    (place / "max_energy_range_uj").write_text(f"{RANGE}\n")
    (place / "energy_uj").write_text(f"{energy}\n")
    return place


def spend(place: Path, microjoules: int) -> None:
    """Let a counter run on, over its end if need be."""
    counter, written = place / "energy_uj", place / "written"
    written.write_text(f"{(int(counter.read_text()) + microjoules) % (RANGE + 1)}\n")
    written.replace(counter)  # at once: who reads meanwhile must not find an empty file


def counted_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a folder be where Linux has its counters, on a machine without NVML."""
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setattr(measured, "POWERCAP", folder)


@contextmanager
def running_on(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Give this machine a package that draws about a watt, and make intervals short."""
    place = zone(folder, "intel-rapl:0", "package-0", 1000)
    counted_here(folder, monkeypatch)
    monkeypatch.setattr(machine, "SECONDS", 0.03)
    done = threading.Event()

    def draw() -> None:
        before = time.perf_counter()
        while not done.wait(0.001):
            now = time.perf_counter()
            spend(place, 1 + round(1e6 * (now - before)))
            before = now

    drawing = threading.Thread(target=draw, daemon=True)
    drawing.start()
    try:
        yield
    finally:
        done.set()
        drawing.join()
