"""The energy report of a run or an export."""

from collections.abc import Sequence
from pathlib import Path

from neuro.energy.pricing.prices import energy_profile
from neuro.energy.reporting.record import check_profiles, make_record
from neuro.energy.reporting.report import DEFAULT_PROFILES, Report
from neuro.hardware.profile import HardwareProfile
from neuro.reports.beside import break_even_rates, fair_baselines, training_costs
from neuro.reports.opening import CountOptions
from neuro.reports.run import count


def energy_report(
    path: Path,
    profiles: Sequence[str | Path | HardwareProfile] = DEFAULT_PROFILES,
    *,
    options: CountOptions | None = None,
    train: bool = False,
    allow_mixed_kinds: bool = False,
) -> Report:
    """Count a run or an export on its test data, price it, and set fair networks beside it.

    Args:
        path: folder of a run, or of an export of integers.
        profiles: names of hardware profiles, paths of own ones, or profiles.
        options: what to count.
        train: train the baselines that have not been trained yet, so that their accuracy is known.
        allow_mixed_kinds: let measured and simulated prices stand in one column.

    Raises:
        CheckpointError, DataError: as :func:`neuro.reports.run.count`.
        UsageError: likewise, or an unknown profile, or mixed kinds without leave.
    """
    options = options or CountOptions()
    priced = open_profiles(profiles, allow_mixed_kinds=allow_mixed_kinds)
    counted = count(path, options)
    baselines = fair_baselines(path, counted, priced, options, train=train)
    record = make_record(
        counted.subject,
        priced,
        baselines=baselines,
        break_even=break_even_rates(counted, baselines, priced),
        training=training_costs(counted),
        allow_mixed_kinds=allow_mixed_kinds,
    )
    return Report(record)


def open_profiles(
    profiles: Sequence[str | Path | HardwareProfile], *, allow_mixed_kinds: bool
) -> list[HardwareProfile]:
    """Read profiles, before anything that takes time.

    Raises:
        UsageError: one is unknown, or has no prices, or their kinds do not go together.
        DataError: one is incomplete.
    """
    found = [energy_profile(p) if isinstance(p, str | Path) else p for p in profiles]
    check_profiles(found, allow_mixed_kinds=allow_mixed_kinds)
    return found
