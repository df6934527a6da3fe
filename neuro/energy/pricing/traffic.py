"""The memory model: what numbers cost to fetch, by the size of what they lie in.

Weights, states and activations of a layer each lie in a memory of their own, just large enough. A
number has the bits of the arithmetic, or fewer if it needs fewer; a spike is an event, the address
of its neuron. Sums that spikes add to are kept like states. Weights that are made anew for each
sample have room like those that were learnt.

Between the sizes whose price is known an access costs in proportion; below the smallest it costs as
much as there; what fits in none lies in DRAM. A number that was fetched is used ``reuse`` times
before it is fetched again.
"""

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from neuro.energy.counts import Counts, Facts
from neuro.energy.pricing.lines import MEMORY, Line
from neuro.energy.pricing.prices import DRAM, Prices
from neuro.energy.signals import Signal
from neuro.errors import UsageError

SPIKE_BITS = 2
"""Whoever sends no more bits sends spikes, with or without a sign."""


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """How often a number is used for each time it is fetched, at least once.

    Attributes:
        weight_reuse: of a weight: by samples of a batch, by positions of a convolution.
        activation_reuse: of what a layer reads.

    Raises:
        UsageError: below 1.
    """

    weight_reuse: float = 1.0
    activation_reuse: float = 1.0

    def __post_init__(self) -> None:
        for name in ("weight_reuse", "activation_reuse"):
            if not getattr(self, name) >= 1:
                raise UsageError(f"{name} must be at least 1, got {getattr(self, name)}.")


def memory_lines(
    layer: str, counts: Counts, facts: Facts, prices: Prices, traffic: Traffic
) -> Iterator[Line]:
    """Yield what a layer's reads and writes cost, at most one line a term."""
    word = prices.word_bits
    weight_bits = min(facts.weight_bits, word)
    kept = max(facts.parameters, facts.weights)
    incoming = _event_bits(facts.signal, facts.inputs, word)
    outgoing = min(facts.activation_bits, word)
    if facts.activation_bits <= SPIKE_BITS:
        outgoing = _address_bits(facts.outputs) + facts.activation_bits - 1
    yield from _line(
        layer,
        "weights",
        prices,
        (counts.weight_reads * weight_bits / traffic.weight_reuse, kept * weight_bits),
    )
    state = (counts.state_reads + counts.state_writes) * word
    yield from _line(layer, "state", prices, (state, max(facts.state, facts.outputs) * word))
    yield from _line(
        layer,
        "activations",
        prices,
        (counts.activation_reads * incoming / traffic.activation_reuse, facts.inputs * incoming),
        (counts.activation_writes * outgoing, facts.outputs * outgoing),
    )


def _event_bits(signal: Signal, senders: int, word: int) -> int:
    """Return the bits of what comes in: a number, or an event with its address."""
    if signal == "real":
        return word
    return _address_bits(senders) + {"binary": 0, "ternary": 1, "graded": word}[signal]


def _address_bits(neurons: int) -> int:
    return max(1, (neurons - 1).bit_length())


def _line(layer: str, term: str, prices: Prices, *moved: tuple[float, float]) -> Iterator[Line]:
    """Yield the line of ``moved`` bits, each in a memory of so many bits, if there are any."""
    amounts: dict[str, float] = {}
    for bits, capacity in moved:
        if bits:
            for name, share in level(capacity, prices.levels, beyond=_beyond(prices)).items():
                amounts[name] = amounts.get(name, 0.0) + bits * share
    if amounts:
        yield Line(layer, f"{MEMORY}{term}", amounts)


def _beyond(prices: Prices) -> str | None:
    return DRAM if DRAM in prices.constants else None


def level(
    capacity: float,
    levels: Sequence[tuple[float, str]],
    *,
    beyond: str | None = None,
    from_nothing: bool = False,
) -> dict[str, float]:
    """Return the share that each level's price has in that of a memory of some capacity.

    Args:
        capacity: in the unit of the levels.
        levels: capacities and names of prices, smallest first.
        beyond: name of the price where it fits in none; None for that of the largest.
        from_nothing: whether prices fall to 0 with the capacity below the smallest level; else
            they stay.
    """
    sizes = [size for size, _ in levels]
    place = bisect_left(sizes, capacity)
    if place == len(sizes):
        return {beyond or levels[-1][1]: 1.0}
    size, name = levels[place]
    if place == 0:
        return {name: capacity / size if from_nothing else 1.0}
    below, cheaper = levels[place - 1]
    share = (capacity - below) / (size - below)
    return {cheaper: 1 - share, name: share}
