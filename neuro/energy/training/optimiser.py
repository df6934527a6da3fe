"""What an optimiser step takes, with the norms that are looked at before and after it."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, get_args

from neuro.energy.training.parts import Columns, Tally
from neuro.errors import UsageError

OptimiserName = Literal["adam", "adamw", "sgd"]
NORMS = "norms"
"""Where what is done once a step stands, whatever trains."""

_DECAYS: dict[OptimiserName, float] = {"adam": 0.0, "adamw": 0.01, "sgd": 0.0}
_MOMENTS = {"decays": 2, "multiplications": 6, "additions": 4, "functions": 2}

CHECKS: Columns = {"macs": 2, "weight_reads": 1, "state_reads": 1}
"""Of a trained number: norms of all gradients before a step, of all weights after."""

CHECKS_OF_TENSOR: Columns = {"functions": 2, "macs": 2}
"""Its own two norms, and their squares in those of all."""

CHECKS_OF_STEP: Columns = {"functions": 2, "comparisons": 2}
"""Roots of both sums, and whether they are finite."""

CLIPPING: Columns = {"multiplications": 1, "state_reads": 1, "state_writes": 1}
"""Of a gradient's number: ``g <- min(1, limit / (norm + eps)) g``."""

CLIPPING_OF_STEP: Columns = {
    "comparisons": 2,
    "additions": 1,
    "functions": 1,
    "multiplications": 1,
}
"""The norm against the limit, and the factor."""


@dataclass(frozen=True, kw_only=True)
class Optimiser:
    """Options of an optimiser that decide what its step takes.

    Attributes:
        name: of the optimiser.
        weight_decay: only whether there is any matters; None is the default of the name.
        momentum: of ``sgd``; only whether there is any matters.
        nesterov: ``sgd`` looks ahead along the velocity.
        gradient_clip: largest norm of the whole gradient, or None. Whether a batch exceeds it is
            not known here: each is counted as one that does.

    Raises:
        UsageError: another optimiser.
    """

    name: OptimiserName = "adam"
    weight_decay: float | None = None
    momentum: float = 0.9
    nesterov: bool = False
    gradient_clip: float | None = None

    def __post_init__(self) -> None:
        if self.name not in get_args(OptimiserName):
            raise UsageError(
                f'The operations of the optimiser "{self.name}" are not known; those of '
                f"{', '.join(get_args(OptimiserName))} are."
            )

    @property
    def moments(self) -> int:
        """Numbers kept from step to step for each one that trains."""
        return int(self.momentum != 0) if self.name == "sgd" else 2

    def step(self, weight_decay: float | None = None) -> Columns:
        """Return what a step takes of one trained number; its gradient is a state.

        ::

            adam    m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g g
                    w <- w - c m / (c' sqrt(v) + eps)
            adamw   w <- (1 - lr d) w, and the same
            sgd     v <- b v + g,  w <- w - lr v
                    nesterov: w <- w - lr (g + b v); without momentum: w <- w - lr g

        Weight decay d of ``adam`` and ``sgd`` makes ``g <- g + d w`` before.

        Args:
            weight_decay: of these numbers, where they have one of their own.
        """
        columns = Counter({"weight_reads": 1, "state_reads": 1, "state_writes": 1})
        columns.update({"state_reads": self.moments, "state_writes": self.moments})
        if self.name != "sgd":
            columns.update(_MOMENTS)
        else:
            columns.update({"multiplications": 1, "additions": 1})
            if self.moments:
                columns.update({"decays": 1, "additions": 1})
            if self.nesterov:
                columns.update({"multiplications": 1, "additions": 1})
        own = self.weight_decay if weight_decay is None else weight_decay
        if own if own is not None else _DECAYS[self.name]:
            decoupled = self.name == "adamw"
            columns.update({"decays": 1} if decoupled else {"multiplications": 1, "additions": 1})
        return columns


class Trained(NamedTuple):
    """Numbers that an optimiser moves, and the tensors they lie in, by layer."""

    layer: str
    numbers: int
    tensors: int
    weight_decay: float | None = None


def count_steps(tally: Tally, trained: Sequence[Trained], optimiser: Optimiser, times: int) -> None:
    """Count so many steps on all that trains: checks and limits of the norms, and the moves."""
    clips = optimiser.gradient_clip is not None
    for each in trained:
        numbers = each.numbers * times
        tally.add(each.layer, numbers, optimiser.step(each.weight_decay))
        tally.add(each.layer, numbers, CHECKS)
        tally.add(each.layer, each.tensors * times, CHECKS_OF_TENSOR)
        if clips:
            tally.add(each.layer, numbers, CLIPPING)
    tally.add(NORMS, times, CHECKS_OF_STEP)
    if clips:
        tally.add(NORMS, times, CLIPPING_OF_STEP)
