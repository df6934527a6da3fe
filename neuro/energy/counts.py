"""Operations by kind, and a ledger of them by layer.

What is an operation is decided by what a signal is declared to be, never by the values it happens
to have: a spike times a weight is an addition, a real or a whole number times a weight is not.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import reduce
from operator import add
from types import MappingProxyType


@dataclass(frozen=True, kw_only=True)
class Counts:
    """How often each kind of operation happened; means are allowed, negatives are not.

    An accumulator begins with the first thing it sums (a bias, a boundary), so a sum of n products
    is n multiply-accumulates.

    Attributes:
        spikes: neurons that fired.
        synaptic_additions: additions that a spike causes, of one number to one accumulator (AC).
        additions: other additions and subtractions.
        multiplications: products that are not accumulated.
        macs: products of real or whole numbers that are (MAC).
        comparisons: of two numbers: thresholds, maxima, rectifiers.
        functions: roots, reciprocals and exponentials.
        neuron_updates: steps of neurons; their arithmetic stands in the other columns.
    """

    spikes: float = 0
    synaptic_additions: float = 0
    additions: float = 0
    multiplications: float = 0
    macs: float = 0
    comparisons: float = 0
    functions: float = 0
    neuron_updates: float = 0

    def __post_init__(self) -> None:
        for name, number in asdict(self).items():
            if not number >= 0:
                raise ValueError(f"Counts: {name} must be at least 0, got {number}")

    def __add__(self, other: "Counts") -> "Counts":
        """Return what happened in both."""
        return Counts(
            **{
                each.name: getattr(self, each.name) + getattr(other, each.name)
                for each in fields(self)
            }
        )

    def over(self, number: int) -> "Counts":
        """Return the mean over ``number`` queries or samples."""
        return Counts(**{name: count / number for name, count in asdict(self).items()})

    def to_json(self) -> dict[str, float]:
        """Return the counts that are not zero."""
        return {name: count for name, count in asdict(self).items() if count}


@dataclass(frozen=True)
class Ledger:
    """Counts of layers by name.

    Attributes:
        layers: in the order of the network.
        driven: layers in which everything happens because a spike came. With twice the spikes
            they count twice as much; the others count the same.
    """

    layers: Mapping[str, Counts]
    driven: frozenset[str] = field(default=frozenset())

    def __post_init__(self) -> None:
        unknown = self.driven - self.layers.keys()
        if unknown:
            raise ValueError(f"Ledger: driven names {sorted(unknown)}, which are no layers")
        object.__setattr__(self, "layers", MappingProxyType(dict(self.layers)))

    def __add__(self, other: "Ledger") -> "Ledger":
        """Return the counts of both, layer by layer."""
        none = Counts()
        names = dict.fromkeys([*self.layers, *other.layers])
        layers = {
            name: self.layers.get(name, none) + other.layers.get(name, none) for name in names
        }
        return Ledger(layers, self.driven | other.driven)

    def over(self, number: int) -> "Ledger":
        """Return the mean over ``number`` queries or samples."""
        layers = {name: counts.over(number) for name, counts in self.layers.items()}
        return Ledger(layers, self.driven)

    @property
    def total(self) -> Counts:
        """All layers together."""
        return reduce(add, self.layers.values(), Counts())

    @property
    def driven_total(self) -> Counts:
        """The layers that spikes drive, together."""
        chosen = [counts for name, counts in self.layers.items() if name in self.driven]
        return reduce(add, chosen, Counts())

    def to_json(self) -> dict[str, dict[str, float]]:
        """Return the counts that are not zero, by layer."""
        return {name: counts.to_json() for name, counts in self.layers.items()}


def linear(rows: int, inputs: int, outputs: int) -> Counts:
    """Return the counts of ``W x + b`` of real numbers for ``rows`` vectors."""
    return Counts(macs=rows * inputs * outputs)


def layer_norm(rows: int, features: int) -> Counts:
    """Return the counts of a layer norm over ``rows`` vectors.

    ::

        m = sum(x) / d,  c = x - m,  v = sum(c c) / d + epsilon,  y = (c / sqrt(v)) weight + bias
    """
    each = rows * features
    return Counts(
        additions=2 * each + rows,
        multiplications=each + 2 * rows,
        macs=2 * each,
        functions=rows,
    )
