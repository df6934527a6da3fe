"""The rate of spikes at which a spiking layer costs what the same layer of another network does.

With prices given, a synapse fed by spikes costs ``fixed + r * full``: ``r`` is the share of its
synaptic operations that happen, the mean rate of its inputs weighted by their fan-out over all
steps, and ``full`` what they would cost if every input fired at every step. Against a layer that
costs ``c``::

    r* = (c - fixed) / full

Biases are fixed. So are neurons and rectifiers, which stand behind synapses and are taken in or
left out: their updates happen whether spikes come or not, and what depends on their own spikes
stays as it was counted.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from neuro.energy.counts import Counts, Ledger
from neuro.errors import UsageError
from neuro.layers import INPUT, Add, LinearMap, Network, ReadoutIntegrator, Spiking

Price = Callable[[Ledger], Mapping[str, float]]
"""Joules of each layer of a ledger; twice the counts have to cost twice as much."""

_EVENTS = ("binary", "ternary", "graded")


@dataclass(frozen=True)
class BreakEven:
    """Of one synapse.

    Attributes:
        layer: its name.
        rate: r, as counted.
        synapse: r* of the synapse alone; None if what is fixed costs too much already. Above 1 it
            wins at any rate.
        with_neurons: r* with the neurons behind it, against the rectifiers behind the other.
    """

    layer: str
    rate: float
    synapse: float | None
    with_neurons: float | None

    def to_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


def break_even(
    network: Network, spiking: Ledger, other: Ledger, price: Price, other_price: Price | None = None
) -> tuple[BreakEven, ...]:
    """Return the break-even rates of all synapses that spikes reached.

    Synapses fed by real numbers have none, nor have those that no spike reached: what their spikes
    would cost was never seen. Neurons that several synapses feed are shared out evenly.

    Args:
        network: the spiking one.
        spiking: its counts, with facts.
        other: those of a network with the same layer names, as its twin has.
        price: of the spiking network, and of the other unless it has its own.
        other_price: of the other.

    Raises:
        UsageError: a synapse that the other does not have, or counts without facts.
    """
    ours, theirs = spiking.per_sample, other.per_sample
    priced = other_price or price
    behind = neurons_behind(network)
    shares = {name: 0 for names in behind.values() for name in names}
    for names in behind.values():
        for name in names:
            shares[name] += 1
    found = []
    for name in network.synapse_nodes:
        if name not in ours.facts or name not in theirs.layers:
            raise UsageError(
                f"break-even: {name} was not counted in both networks, with its facts."
            )
        facts, counts = ours.facts[name], ours.layers[name]
        operations = counts.synaptic_additions + (counts.macs if facts.signal == "graded" else 0)
        if facts.signal not in _EVENTS or not operations:
            continue
        rate = operations / (facts.dense * ours.timesteps)
        fixed = _fixed(counts)
        driven = _without(counts, fixed)
        full = _cost(price, ours, name, driven) / rate
        left = _cost(priced, theirs, name) - _cost(price, ours, name, fixed)
        alone = _rate(left, full)
        for each in behind[name]:
            left += (_cost(priced, theirs, each) - _cost(price, ours, each)) / shares[each]
        found.append(BreakEven(name, rate, alone, _rate(left, full)))
    return tuple(found)


def neurons_behind(network: Network) -> dict[str, tuple[str, ...]]:
    """Return, by synapse, the layers of neurons that its current reaches."""
    reached: dict[str, set[str]] = {INPUT: set()}
    found: dict[str, list[str]] = {name: [] for name in network.synapse_nodes}
    for name, module in network.nodes.items():
        arriving = set().union(*(reached[source] for source in network.sources[name]))
        if name in found:
            reached[name] = {name}
        elif isinstance(module, Spiking | ReadoutIntegrator):
            for synapse in sorted(arriving):
                found[synapse].append(name)
            reached[name] = set()
        else:
            reached[name] = arriving if isinstance(module, LinearMap | Add) else set()
    return {name: tuple(names) for name, names in found.items()}


def _fixed(counts: Counts) -> Counts:
    """Return what a synapse does without any spike: its biases, and their movement."""
    biases = counts.bias_additions
    return Counts(
        bias_additions=biases, weight_reads=biases, state_reads=biases, state_writes=biases
    )


def _without(counts: Counts, part: Counts) -> Counts:
    taken = asdict(part)
    return Counts(**{name: number - taken[name] for name, number in asdict(counts).items()})


def _cost(price: Price, ledger: Ledger, name: str, counts: Counts | None = None) -> float:
    """Return the joules of one layer, of all its counts or of some."""
    if name not in ledger.layers:
        return 0.0
    facts = {name: ledger.facts[name]} if name in ledger.facts else {}
    chosen = {name: ledger.layers[name] if counts is None else counts}
    return price(Ledger(chosen, facts=facts, timesteps=ledger.timesteps))[name]


def _rate(left: float, full: float) -> float | None:
    return left / full if full > 0 and left > 0 else None
