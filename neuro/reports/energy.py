"""The energy report of a run or an export."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from neuro.energy.reporting.record import Pricing, machine_among, make_record, open_profiles
from neuro.energy.reporting.report import DEFAULT_PROFILES, Report
from neuro.errors import UsageError
from neuro.hardware.profile import HardwareProfile
from neuro.reports.beside import break_even_rates, fair_baselines, training_costs
from neuro.reports.opening import CountOptions
from neuro.reports.run import count


def energy_report(
    path: Path,
    profiles: Sequence[str | Path | Pricing] = DEFAULT_PROFILES,
    *,
    options: CountOptions | None = None,
    train: bool = False,
    baseline_lr: float | Mapping[str, float] | None = None,
    allow_mixed_kinds: bool = False,
) -> Report:
    """Count a run or an export on its test data, price it, and set fair networks beside it.

    Args:
        path: folder of a run, or of an export of integers.
        profiles: names of hardware profiles, paths of own ones, or profiles; "measured" runs the
            network on the counted samples for some seconds and reads this machine's counters.
        options: what to count.
        train: train the baselines that have not been trained yet, so that their accuracy is known.
        baseline_lr: their learning rate in place of chosen ones, for all or by name
            (:func:`neuro.reports.baselines.train_baselines`).
        allow_mixed_kinds: let measured and simulated prices stand in one column.

    Raises:
        CheckpointError, DataError: as :func:`neuro.reports.run.count`.
        UsageError: likewise, or a learning rate where nothing is to be trained, or an unknown
            profile, or mixed kinds without leave, or "measured" of an export, or on a machine
            without counters.
    """
    if baseline_lr is not None and not train:
        raise UsageError("--baseline-lr is of baselines that are trained: give --baselines, too.")
    options = options or CountOptions()
    priced = open_profiles(profiles, allow_mixed_kinds=allow_mixed_kinds)
    counted = count(path, options, machine=machine_among(priced))
    prices = [each for each in priced if isinstance(each, HardwareProfile)]
    baselines = fair_baselines(path, counted, prices, options, train=train, lr=baseline_lr)
    record = make_record(
        counted.subject,
        priced,
        baselines=baselines,
        break_even=break_even_rates(counted, baselines, prices),
        training=training_costs(counted),
        allow_mixed_kinds=allow_mixed_kinds,
    )
    return Report(record)
