"""Constants in many worlds at once: as given, each alone at its bounds, and drawn.

Each constant is a row; the columns are one world each: all constants at their values; for each
constant in turn, it alone at its low and at its high; then draws, of every constant independently
and log-uniform between its bounds::

    x = low (high / low)^u,        u uniform in [0, 1)
"""

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuro.energy.pricing.prices import Constant, Prices
from neuro.hardware import Quantity

Array = NDArray[np.float64]

TAILS = (0.05, 0.95)
DRAWS = 10_000


class Interval(NamedTuple):
    """An estimate: all constants at their values, and 5 and 95 % of the draws.

    Where a source gives its value as a bound (a minimum, say) the value lies outside.
    """

    value: float
    low: float
    high: float

    def to_json(self, scale: float = 1.0) -> dict[str, float]:
        """Return it as JSON has it, in units of ``scale``."""
        return {name: number / scale for name, number in self._asdict().items()}


class Sensitivity(NamedTuple):
    """A total with one constant at its bounds, all others at their values."""

    constant: str
    low: float
    high: float


class Scenarios:
    """The constants of one or more profiles, drawn once for all.

    A constant that two profiles share (the same quantity under the same name) is one row.

    Args:
        prices: of each profile.
        draws: how many, at least 1.
        seed: of the draws.
    """

    def __init__(self, prices: Iterable[Prices], draws: int = DRAWS, seed: int = 0) -> None:
        self._constants: dict[tuple[str, Quantity], Constant] = {
            (each.name, each.quantity): each
            for given in prices
            for each in given.constants.values()
        }
        known, shape = list(self._constants), (len(self._constants), draws)
        uniform = np.random.default_rng(seed).random(shape)
        self._rows: dict[tuple[str, Quantity], Array] = {}
        for place, key in enumerate(known):
            constant = self._constants[key]
            row = np.full(1 + 2 * len(known) + draws, constant.value)
            row[1 + 2 * place : 3 + 2 * place] = constant.low, constant.high
            row[1 + 2 * len(known) :] = (
                constant.low * (constant.high / constant.low) ** uniform[place]
            )
            self._rows[key] = row

    @property
    def nothing(self) -> Array:
        """Zero joules in every world."""
        return np.zeros_like(next(iter(self._rows.values())))

    def rows(self, prices: Prices) -> Mapping[str, Array]:
        """Return the rows of a profile's constants, by name."""
        return {name: self._rows[name, each.quantity] for name, each in prices.constants.items()}

    def interval(self, joules: NDArray[Any]) -> Interval:
        """Return what a row of results says."""
        low, high = np.quantile(joules[1 + 2 * len(self._constants) :], TAILS)
        return Interval(float(joules[0]), float(low), float(high))

    def sensitivity(self, joules: NDArray[Any], used: Iterable[str]) -> tuple[Sensitivity, ...]:
        """Return what each of the constants does to a result, the widest first."""
        names, wanted = [name for name, _ in self._constants], set(used)
        found = [
            Sensitivity(name, *map(float, joules[1 + 2 * place : 3 + 2 * place]))
            for place, name in enumerate(names)
            if name in wanted
        ]
        return tuple(sorted(found, key=lambda each: each.low - each.high))
