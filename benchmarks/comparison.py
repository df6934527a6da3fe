"""Means over seeds, and whether a difference between two rules is beyond noise."""

from collections.abc import Mapping, Sequence
from math import isnan, nan, sqrt
from statistics import fmean, stdev
from typing import Any

from scipy import stats

SIGNIFICANCE = 0.05


def mean_and_std(values: Sequence[float]) -> dict[str, float | None]:
    """Return mean and sample standard deviation (ddof = 1; None for a single value)."""
    return {
        "mean": fmean(values),
        "std": stdev(values) if len(values) > 1 else None,
    }


def paired_difference(
    values: Mapping[int, float], baseline: Mapping[int, float]
) -> dict[str, Any] | None:
    """Compare two rules seed by seed with a two-sided paired t-test.

    With differences ``d_s = values[s] - baseline[s]`` over the n seeds both have::

        t = mean(d) / (std(d) / sqrt(n)),    n - 1 degrees of freedom

    Runs of one seed share initial weights, validation split and batch order, hence the pairing.
    "Beyond noise" means p < 0.05. Differences that are all equal have p = 0, or 1 if they are zero.

    Args:
        values: accuracy by seed.
        baseline: the same of the rule compared with.

    Returns:
        n, mean and std of d, half the width of the 95 % confidence interval of the mean, p and the
        verdict (the last three None for n = 1); None without a common seed.
    """
    seeds = sorted(set(values) & set(baseline))
    if not seeds:
        return None
    differences = [values[seed] - baseline[seed] for seed in seeds]
    count = len(differences)
    result: dict[str, Any] = {"n": count, **mean_and_std(differences)}
    if count < 2:
        return {**result, "ci95": None, "p_value": None, "beyond_noise": None}
    spread = result["std"]
    quantile = float(stats.t.ppf(1 - SIGNIFICANCE / 2, count - 1))
    p_value = nan
    if max(differences) - min(differences) > 1e-12:
        p_value = float(stats.ttest_1samp(differences, 0.0).pvalue)
    if isnan(p_value):
        p_value = 1.0 if abs(result["mean"]) < 1e-12 else 0.0
    return {
        **result,
        "ci95": quantile * spread / sqrt(count),
        "p_value": p_value,
        "beyond_noise": p_value < SIGNIFICANCE,
    }
