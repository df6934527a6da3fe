"""The learning rate of a baseline: given, or chosen on validation samples, never on test data.

A run's rate was chosen for spikes. What is compared with it gets a rate of its own: it is trained
whole with :data:`FACTOR` to the power of :data:`POWERS` times the run's rate, and what does best on
the run's validation samples stands, by accuracy, by the smaller loss among equals. While the best
is at an end of what was tried, one rate more is tried beyond that end, :data:`GROWTHS` at most.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from math import inf, isfinite

from neuro.errors import DivergedError, UsageError, nearest
from neuro.models.twin import BASELINES, baseline_name

FACTOR = 3
POWERS = (-1, 0, 1)
GROWTHS = 2

ROUNDED = {"ann-int8": "ann-fp32"}
"""What is not trained, and what it is made of."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """A whole training with one learning rate.

    Attributes:
        lr: learning rate at the start.
        accuracy, loss: on the validation samples after the last epoch; None if it diverged.
        steps: of the optimiser.
        seconds: of training.
    """

    lr: float
    accuracy: float | None = None
    loss: float | None = None
    steps: int = 0
    seconds: float = 0.0


def tune(lr: float, attempt: Callable[[float], Trial]) -> tuple[Trial, list[Trial]]:
    """Return the best trial and all of them, smallest learning rate first.

    Args:
        lr: of the run, which trials lie around.
        attempt: trains with a learning rate.

    Raises:
        DivergedError: every trial diverged.
    """
    trials = {power: attempt(rate_at(lr, power)) for power in POWERS}
    for _ in range(GROWTHS):
        best = _best(trials)
        if best == min(trials):
            more = best - 1
        elif best == max(trials):
            more = best + 1
        else:
            break
        trials[more] = attempt(rate_at(lr, more))
    found, tried = trials[_best(trials)], [trials[power] for power in sorted(trials)]
    if found.accuracy is None:
        rates = ", ".join(f"{each.lr:g}" for each in tried)
        raise DivergedError(
            f"Training diverged with every learning rate that was tried: {rates}. Give a lower one "
            "with --baseline-lr."
        )
    return found, tried


def rate_at(lr: float, power: int) -> float:
    """Return a learning rate to try, of three digits so that it can be given as it is told."""
    return lr if power == 0 else float(f"{lr * FACTOR**power:.3g}")


def given_rates(lr: float | Mapping[str, float] | None, timesteps: int) -> dict[str, float]:
    """Return the rates that were given, by the names baselines are kept under.

    Args:
        lr: for all, or by name; those without one choose theirs.
        timesteps: of the spiking network.

    Raises:
        UsageError: no such baseline, one that is not trained, or no rate above 0.
    """
    trained = [name for name in BASELINES if name not in ROUNDED]
    if lr is None:
        return {}
    found = {}
    for name, rate in (lr if isinstance(lr, Mapping) else dict.fromkeys(trained, lr)).items():
        if name in ROUNDED:
            raise UsageError(
                f"{name} is not trained and has no learning rate: it is {ROUNDED[name]}, rounded. "
                f"Give that of {ROUNDED[name]}."
            )
        if name not in (*trained, baseline_name("qnn", timesteps)):
            raise UsageError(
                f'No baseline "{name}" is trained.{nearest(name, trained)} Learning rates are '
                f"given for: {', '.join(trained)}."
            )
        if not (isfinite(rate) and rate > 0):
            raise UsageError(f"The learning rate of a baseline is above 0, got {rate:g}.")
        found[baseline_name(name, timesteps)] = float(rate)
    return found


def _best(trials: Mapping[int, Trial]) -> int:
    """Return the power of the best trial; the smallest, among equals."""

    def quality(power: int) -> tuple[float, float]:
        trial = trials[power]
        if trial.accuracy is None or trial.loss is None:
            return -inf, -inf
        return trial.accuracy, -trial.loss

    return max(sorted(trials), key=quality)
