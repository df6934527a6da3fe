"""What Lava computes otherwise than an integer graph says.

Lava on a CPU checks next to nothing: it wraps, clips or cuts off bits, and says nothing of it.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from neuro.errors import UsageError
from neuro.hardware.integer_graph import (
    WIDTH,
    Connection,
    Convolution,
    IntegerGraph,
    Integers,
    Population,
)

LAVA_DELAY = 63

_REGISTERS = {
    "du": (-1, 4095),
    "dv": (0, 4096),
    "vth": (0, 131071),
    "vth_low": (-131072, 0),
    "bias_mant": (-4096, 4095),
    "bias_exp": (0, 7),
}
"""Where they are wider than a chip's, Lava's models compute with what only a simulator holds."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that stands in the way.

    Args:
        rule: its name, the same for all of its kind.
        where: population or connection.
        message: what was found, what is expected, what to do.
    """

    rule: str
    where: str
    message: str

    def __str__(self) -> str:
        return f"{self.where}: {self.message} [{self.rule}]"


def refuse(findings: Iterable[Finding]) -> None:
    """Raise if there is any finding.

    Raises:
        UsageError: with all of them.
    """
    found = list(findings)
    if len(found) == 1:
        raise UsageError(str(found[0]))
    if found:
        listed = "".join(f"\n- {each}" for each in found)
        raise UsageError(f"the graph has {len(found)} faults:{listed}")


def lava_findings(graph: IntegerGraph, *, steps: int | None = None) -> list[Finding]:
    """Return what Lava's models in fixed point would compute otherwise than the graph says.

    Args:
        graph: what is to run.
        steps: that are to run, ``graph.steps`` if left out.
    """
    steps = graph.steps if steps is None else steps
    found: list[Finding] = []
    for population in graph.populations.values():
        found += _register_findings(population)
        found += reset_findings(population, steps)
    for connection in graph.connections:
        if isinstance(connection.synapses, Convolution):
            found += _convolution_findings(graph, connection)
        else:
            found += _delay_findings(connection)
            found += weight_findings(connection)
    return found


def stored(weight: Integers, bits: int = 8) -> Integers:
    """Return weights as a synapse of Loihi keeps them; equal to ``weight`` where it can.

    All positive or all negative ones keep ``bits`` bits of 8; where signs are mixed, the sign takes
    the least of them, so that eight bits are left for even numbers from -256 to 254.
    """
    if not weight.size:
        return weight
    mixed = weight.min() < 0 < weight.max()
    sign = -1 if weight.max() <= 0 and not weight.min() >= 0 else 1
    clipped = np.clip(sign * weight.astype(np.int32), -256 if mixed else 0, 255)
    dropped = 8 - bits + mixed
    kept: Integers = sign * (clipped >> dropped << dropped)
    return kept


def weight_findings(connection: Connection) -> list[Finding]:
    """Return what a synapse would clip or cut off of the weights of a connection."""
    weight = connection.synapses.weight
    if np.array_equal(stored(weight), weight):
        return []
    low, high = int(weight.min()), int(weight.max())
    allowed = (-256, 254) if low < 0 < high else (0, 255) if low >= 0 else (-255, 0)
    if low < allowed[0] or high > allowed[1]:
        rule = "weight-range"
        message = (
            f"weights from {low} to {high}; those of such signs go from {allowed[0]} to "
            f"{allowed[1]}. Scale them down."
        )
    else:
        rule = "odd-weights"
        message = (
            "odd weights; where signs are mixed, a synapse keeps even ones alone. Round them to "
            "even numbers."
        )
    return [Finding(rule=rule, where=where(connection), message=message)]


def reset_findings(population: Population, steps: int) -> Iterator[Finding]:
    """Yield what Lava's LIFReset cannot do of what a population does within so many steps."""
    neuron = population.cuba
    if neuron.start is None or neuron.start >= steps:
        return
    if neuron.vth_low is not None:
        yield Finding(
            rule="ternary-reset",
            where=where(population),
            message="Lava's TernaryLIF cannot be zeroed at a step; leave out start.",
        )
    if neuron.interval is not None and neuron.start >= neuron.interval:
        yield Finding(
            rule="reset-start",
            where=where(population),
            message=(
                f"zeroed every {neuron.interval} steps, but only from step {neuron.start} on; "
                "Lava's LIFReset begins within the first interval."
            ),
        )


def where(part: Population | Connection) -> str:
    """Return how a message names a population or a connection."""
    if isinstance(part, Population):
        return f"population {part.name!r}"
    return f"connection {part.source!r} -> {part.target!r}"


def divisible(connection: Connection) -> bool:
    """Tell whether a shift to the right drops no bit of any weight."""
    return not (connection.synapses.weight % (1 << max(-connection.weight_exponent, 0))).any()


def _register_findings(population: Population) -> Iterator[Finding]:
    neuron = population.cuba
    for name, (low, high) in _REGISTERS.items():
        value = getattr(neuron, name)
        if value is None or (value.min() >= low and value.max() <= high):
            continue
        yield Finding(
            rule="register",
            where=where(population),
            message=f"{name} of {value.min()} to {value.max()}; its register holds {low}..{high}.",
        )


def _delay_findings(connection: Connection) -> Iterator[Finding]:
    delay = connection.delay
    if delay.size and (delay.min() < 0 or delay.max() > LAVA_DELAY):
        yield Finding(
            rule="delay",
            where=where(connection),
            message=f"delays of {delay.min()} to {delay.max()}; a synapse has 0..{LAVA_DELAY}.",
        )


def _convolution_findings(graph: IntegerGraph, connection: Connection) -> Iterator[Finding]:
    if connection.delay.any():
        yield Finding(
            rule="convolution-delay",
            where=where(connection),
            message="Lava's Conv has no delays. Write the same synapses out as sparse ones.",
        )
    if not divisible(connection):
        yield Finding(
            rule="convolution-exponent",
            where=where(connection),
            message=(
                "Lava's Conv has no exponent; a negative one is put into the weights, which "
                f"2^{-connection.weight_exponent} does not divide."
            ),
        )
    weight = np.abs(connection.synapses.weight.astype(np.int64))
    most = int(weight.reshape(len(weight), -1).sum(1).max(initial=0))
    if connection.source in graph.sources:
        most *= max(map(abs, graph.sources[connection.source].message_range))
    if most << max(connection.weight_exponent, 0) >= 1 << (WIDTH - 1):
        yield Finding(
            rule="convolution-width",
            where=where(connection),
            message=f"as much as {most} may arrive in a step; Lava's Conv wraps at {WIDTH} bits.",
        )
