"""Runs side by side: how well they do, their operations, energy and latency."""

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from neuro.energy.pricing.account import ratio
from neuro.energy.pricing.machine import Machine
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
from neuro.reports.opening import CountOptions
from neuro.reports.run import Counted, count

REPETITIONS = 5


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
    return Report(
        {
            "schema": SCHEMA,
            "estimate": True,
            "profiles": [_sources(profile, counted[0]) for profile in prices],
            "runs": [_run(each, counted[0].subject, prices, clock=clock) for each in counted],
        }
    )


def _sources(profile: Pricing, counted: Counted) -> dict[str, Any]:
    told = priced(counted.subject.account(profile))
    if isinstance(profile, Machine):
        told["notes"] = []  # each run has its own
    return {key: told[key] for key in ("name", "scope", "notes", "citations")}


def _run(
    counted: Counted, first: Subject, profiles: Sequence[Pricing], *, clock: bool
) -> dict[str, Any]:
    subject = counted.subject
    seconds = _seconds(counted.run_once) if clock and counted.run_once is not None else None
    record = opening(subject)
    return {
        **{key: each for key, each in record.items() if key not in ("schema", "estimate")},
        "totals": subject.ledger.per_sample.total.to_json(),
        "profiles": [_priced(subject, first, profile) for profile in profiles],
        "latency": {"steps": subject.ledger.timesteps, "seconds": seconds},
    }


def _priced(subject: Subject, first: Subject, profile: Pricing) -> dict[str, Any]:
    found = subject.account(profile)
    told = priced(found)
    return {
        **total(found),
        "ratio": _over(subject, first, profile),
        **{key: told[key] for key in ("excluded", "measurement")},
    }


def _over(subject: Subject, first: Subject, profile: Pricing) -> dict[str, float] | None:
    """Return the energy over the first one's, constants drawn once for both.

    None where these are measurements, which share no constants, or the first has no price.
    """
    if isinstance(profile, Machine) or not first.account(profile).total.value > 0:
        return None
    return ratio(
        subject.ledger,
        first.ledger,
        profile,
        placement=subject.placement,
        other_placement=first.placement,
    ).to_json()


def _seconds(run_once: Callable[[], object]) -> float:
    """Return the median time of one sample, after one to warm up."""
    run_once()
    taken = []
    for _ in range(REPETITIONS):
        started = time.perf_counter()
        run_once()
        taken.append(time.perf_counter() - started)
    return median(taken)
