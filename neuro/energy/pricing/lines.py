"""A bill: lines of amounts times constants, and what they come to by layer and by term."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from neuro.energy.pricing.scenarios import Array, Scenarios

MEMORY = "memory: "
"""How the names of the terms of the memory model begin."""


@dataclass(frozen=True)
class Line:
    """An amount of each of some constants.

    Attributes:
        layer: it belongs to; None for what belongs to no layer.
        term: under which it is summed.
        amounts: by name of constant.
    """

    layer: str | None
    term: str
    amounts: Mapping[str, float]

    @property
    def memory(self) -> bool:
        """Whether it is of the memory model."""
        return self.term.startswith(MEMORY)


@dataclass
class Bill:
    """Joules in every scenario.

    Attributes:
        total: of the lines that count.
        memory: of those that stand apart.
        layers: of the total, by layer.
        terms: of all lines, those that stand apart too.
        used: constants of the total.
    """

    total: Array
    memory: Array
    layers: dict[str, Array] = field(default_factory=dict)
    terms: dict[str, Array] = field(default_factory=dict)
    used: dict[str, None] = field(default_factory=dict)

    def add(self, layer: str | None, term: str, joules: Array, *, apart: bool = False) -> None:
        """Add joules; those that stand apart are in no total and no layer."""
        before = self.terms.get(term)
        self.terms[term] = joules if before is None else before + joules
        if apart:
            self.memory = self.memory + joules
            return
        self.total = self.total + joules
        if layer is not None:
            self.layers[layer] = self.layers[layer] + joules


def bill(
    lines: Iterable[Line],
    layers: Iterable[str],
    rows: Mapping[str, Array],
    scenarios: Scenarios,
    *,
    include_memory: bool,
) -> Bill:
    """Price lines.

    Each row is summed in the order of the lines, number by number, so that two equal bills are
    equal to the last bit.
    """
    nothing = scenarios.nothing
    found = Bill(nothing, nothing)
    found.layers = dict.fromkeys(layers, nothing)
    for line in lines:
        apart = line.memory and not include_memory
        found.terms.setdefault(line.term, nothing)
        for name, amount in line.amounts.items():
            if amount:
                found.add(line.layer, line.term, amount * rows[name], apart=apart)
                if not apart:
                    found.used[name] = None
    return found
