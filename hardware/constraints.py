"""What a chip refuses: registers and weights out of range, each named with its limit's source.

These limits hold for single numbers; what a core holds in all is counted in ``cores.py``.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuro.errors import UsageError
from neuro.hardware.integer_graph import (
    Connection,
    Cuba,
    GradedSpikes,
    IntegerGraph,
    Population,
)
from neuro.hardware.profile import HardwareProfile, Quantity

MICROCODE = "loihi2-microcode"
"""Profile of a chip whose neurons run programs of one's own."""


@dataclass(frozen=True)
class Violation:
    """One limit that a network exceeds.

    Args:
        constraint: name of the limit in the profile.
        where: population, connection or source that exceeds it.
        found: what it asks for.
        limit: what there is, and who says so; None where the profile has nothing of the kind.
        advice: what to do.
    """

    constraint: str
    where: str
    found: int
    limit: Quantity | None
    advice: str

    @property
    def unpublished(self) -> bool:
        """Whether the limit only stands in for a number that is not public."""
        return self.limit is not None and self.limit.kind == "unpublished"

    def __str__(self) -> str:
        name = self.constraint.replace("_", " ")
        if self.limit is None:
            return f"{name}: {self.where} needs {self.found:,}; this chip has none. {self.advice}"
        doubt = ", not a published number" if self.unpublished else ""
        return (
            f"{name}: {self.where} needs {self.found:,}, the limit is {self.limit.value:,.0f} "
            f"{self.limit.unit} ({self.limit.source}, {self.limit.year}{doubt}). {self.advice}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        limit = self.limit
        return {
            "constraint": self.constraint,
            "where": self.where,
            "found": self.found,
            "limit": None if limit is None else limit.value,
            "source": None if limit is None else limit.source,
            "unpublished": self.unpublished,
            "advice": self.advice,
        }


class ConstraintError(UsageError):
    """A network does not fit a chip; ``violations`` says why, one by one."""

    def __init__(self, profile: str, violations: list[Violation]) -> None:
        reasons = "\n".join(f"  {violation}" for violation in violations)
        super().__init__(f"the network does not fit {profile}:\n{reasons}")
        self.violations = violations


def violations(graph: IntegerGraph, profile: HardwareProfile) -> list[Violation]:
    """Return every register, weight, delay and message that the chip cannot hold.

    Raises:
        UsageError: the profile lacks one of the limits.
    """
    found: list[Violation] = []
    for source in graph.sources.values():
        advice = "Encode the input in spikes, 0 or 1."
        found += _of_messages(f"source {source.name!r}", source.message_bits, profile, advice)
    for population in graph.populations.values():
        found += _of_program(population, profile)
        found += _of_registers(population, profile)
    for connection in graph.connections:
        found += _of_connection(connection, profile)
    return found


def require(graph: IntegerGraph, profile: HardwareProfile) -> None:
    """Raise ConstraintError with all that :func:`violations` finds, if it finds any."""
    found = violations(graph, profile)
    if found:
        raise ConstraintError(profile.name, found)


def _of_messages(
    where: str, bits: int, profile: HardwareProfile, advice: str
) -> Iterator[Violation]:
    limit = profile.limits.get("graded_spike_bits")
    if bits > (0 if limit is None else limit.value):
        yield Violation("graded_spike_bits", where, bits, limit, advice)


def _of_program(population: Population, profile: HardwareProfile) -> Iterator[Violation]:
    neuron = population.neuron
    if isinstance(neuron, Cuba):
        return
    where = f"population {population.name!r}"
    if "own_programs" not in profile.limits:
        whose = f"{where}, whose neurons {neuron.difference},"
        advice = f"{neuron.instead} Or take {MICROCODE}."
        yield Violation("own_programs", whose, 1, None, advice)
    if isinstance(neuron, GradedSpikes):
        yield from _of_messages(where, neuron.message_bits, profile, "Let its spikes carry less.")


def _of_registers(population: Population, profile: HardwareProfile) -> Iterator[Violation]:
    neuron = population.neuron.registers
    where = f"population {population.name!r}"
    slower = "Choose decays that the register holds; quantise again."
    smaller = "Scale weights, thresholds and biases of the layer down together."
    for register, values, advice in (
        ("du", neuron.du, slower),
        ("dv", neuron.dv, slower),
        ("vth", neuron.vth, smaller),
        ("bias_mantissa", neuron.bias_mant, "Shift the mantissa right and raise its exponent."),
        ("bias_exponent", neuron.bias_exp, smaller),
    ):
        yield from _out_of_range(register, where, values, profile, advice)


def _of_connection(connection: Connection, profile: HardwareProfile) -> Iterator[Violation]:
    where = f"connection {connection.source!r} -> {connection.target!r}"
    yield from _out_of_range(
        "delay", where, connection.delay, profile, "Shorten the delays, or add a relay population."
    )
    exponent = np.asarray(connection.weight_exponent)
    yield from _out_of_range("weight_exponent", where, exponent, profile, "Quantise again.")
    weight = connection.synapses.weight
    lost = int(np.count_nonzero(weight % (1 << max(-connection.weight_exponent, 0))))
    advice = "Use exponent 0, or weights that it divides."
    yield from _above("weight_exponent_remainder", where, lost, profile, advice)
    if not weight.size:
        return
    least, most = int(weight.min()), int(weight.max())
    advice = "Quantise the weights to this range."
    if least >= 0:
        yield from _above("excitatory_weight_maximum", where, most, profile, advice)
    elif most <= 0:
        yield from _below("inhibitory_weight_minimum", where, least, profile, advice)
    else:
        yield from _out_of_range("mixed_weight", where, weight, profile, advice)
        odd = int(np.count_nonzero(weight & 1))
        if odd:
            yield Violation(
                "mixed_weight_odd",
                where,
                odd,
                profile.limit("mixed_weight_odd"),
                "Weights of both signs are stored halved: round them to even numbers.",
            )


def _out_of_range(
    name: str, where: str, values: NDArray[Any], profile: HardwareProfile, advice: str
) -> Iterator[Violation]:
    """Yield what exceeds the limits ``<name>_minimum`` and ``<name>_maximum``."""
    if not values.size:
        return
    yield from _below(f"{name}_minimum", where, int(values.min()), profile, advice)
    yield from _above(f"{name}_maximum", where, int(values.max()), profile, advice)


def _below(
    name: str, where: str, found: int, profile: HardwareProfile, advice: str
) -> Iterator[Violation]:
    limit = profile.limit(name)
    if found < limit.value:
        yield Violation(name, where, found, limit, advice)


def _above(
    name: str, where: str, found: int, profile: HardwareProfile, advice: str
) -> Iterator[Violation]:
    limit = profile.limit(name)
    if found > limit.value:
        yield Violation(name, where, found, limit, advice)
