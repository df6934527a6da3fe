"""Runs side by side: how well they do, their operations, energy and latency."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from neuro.energy.pricing.account import Account, ratio
from neuro.energy.pricing.machine import Machine, Measurement
from neuro.energy.reporting.record import (
    SCHEMA,
    Pricing,
    Subject,
    machine_among,
    open_profiles,
    opening,
    priced,
    total,
)
from neuro.energy.reporting.report import DEFAULT_PROFILES, Report
from neuro.errors import UsageError
from neuro.hardware import HardwareProfile
from neuro.reports.opening import CountOptions
from neuro.reports.run import Counted, count

REPETITIONS = 5
Found = Account | Measurement


def compare_runs(
    paths: Sequence[Path],
    profiles: Sequence[str | Path | Pricing] = DEFAULT_PROFILES,
    *,
    options: CountOptions | None = None,
    clock: bool = False,
    allow_mixed_kinds: bool = False,
) -> Report:
    """Count runs or exports on their test data and price them with the same profiles.

    Args:
        paths: folders of runs or exports, two or more.
        profiles: names of hardware profiles, paths of own ones, or profiles; "measured" reads
            this machine's counters, as :func:`neuro.reports.energy.energy_report`.
        options: what to count of each.
        clock: also measure here and now what one sample takes.
        allow_mixed_kinds: let measured and simulated prices stand in one column.

    Raises:
        CheckpointError, DataError: as :func:`neuro.reports.run.count`.
        UsageError: likewise, or fewer than two runs, or mixed kinds without leave.
    """
    if len(paths) < 2:
        raise UsageError("A comparison takes two runs or more.")
    prices = open_profiles(profiles, allow_mixed_kinds=allow_mixed_kinds)
    counted = [count(path, options, machine=machine_among(prices)) for path in paths]
    first = counted[0].subject
    begun = [(profile, first.account(profile)) for profile in prices]
    return Report(
        {
            "schema": SCHEMA,
            "estimate": True,
            "profiles": [_sources(*each) for each in begun],
            "runs": [_run(each, first, begun, clock=clock) for each in counted],
        }
    )


def _sources(profile: Pricing, found: Found) -> dict[str, Any]:
    told = priced(found)
    if isinstance(profile, Machine):
        told["notes"] = []  # each run has its own
    return {key: told[key] for key in ("name", "scope", "notes", "citations")}


def _run(
    counted: Counted, first: Subject, begun: Sequence[tuple[Pricing, Found]], *, clock: bool
) -> dict[str, Any]:
    subject = counted.subject
    seconds = _seconds(counted.run_once) if clock and counted.run_once is not None else None
    record = opening(subject)
    return {
        **{key: each for key, each in record.items() if key not in ("schema", "estimate")},
        "totals": subject.ledger.per_sample.total.to_json(),
        "profiles": [_priced(subject, first, *each) for each in begun],
        "latency": {"steps": subject.ledger.timesteps, "seconds": seconds},
    }


def _priced(subject: Subject, first: Subject, profile: Pricing, begun: Found) -> dict[str, Any]:
    """Price a run; ``begun`` is the first one's price."""
    found = subject.account(profile)
    told = priced(found)
    over = with_memory = None  # measurements share no constants
    prices_both = begun.total.value > 0 and found.total.value > 0
    if isinstance(profile, HardwareProfile) and prices_both:
        over = _over(subject, first, profile)
        if _has_memory(begun) and _has_memory(found):
            with_memory = _over(subject, first, profile, memory=True)
    return {
        **total(found),
        "ratio": over,
        "with_memory_pj": told["with_memory_pj"],
        "ratio_with_memory": with_memory,
        **{key: told[key] for key in ("excluded", "measurement")},
    }


def _over(
    subject: Subject, first: Subject, profile: HardwareProfile, *, memory: bool = False
) -> dict[str, float]:
    """Return the energy over the first one's, constants drawn once for both."""
    return ratio(
        subject.ledger,
        first.ledger,
        profile,
        placement=subject.placement,
        other_placement=first.placement,
        include_memory=memory,
    ).to_json()


def _has_memory(found: Found) -> bool:
    return isinstance(found, Account) and found.with_memory is not None


def _seconds(run_once: Callable[[], object]) -> float:
    """Return the median time of one sample, after one to warm up."""
    run_once()
    taken = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        run_once()
        taken.append(time.perf_counter() - started)
    return median(taken)
