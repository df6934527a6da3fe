"""Which events a profile's quantities price, and how many of them a layer's counts hold.

An arithmetic profile prices additions and multiplications; a neuromorphic one events (a synaptic
operation, a neuron's update) whose figures hold the memory and arithmetic that go with them; a
processor's the work of a dense machine, which skips nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass

from neuro.energy.counts import Counts, Facts

EVENTS_BESIDE = frozenset({"spikes", "spikes_in", "active_updates"})
"""Columns that are no operations: what they cause stands in others."""
MOVEMENT = frozenset(
    {"weight_reads", "state_reads", "state_writes", "activation_reads", "activation_writes"}
)
"""Columns that the memory model prices, or that go with an event."""


@dataclass(frozen=True)
class Event:
    """What one quantity prices.

    Attributes:
        amount: events that a layer's counts hold, given its facts (if known) and time steps.
        covers: columns whose operations go with the event.
        once_a_spike: whether it is a message, of which a placement knows the number.
    """

    amount: Callable[[Counts, Facts | None, int], float]
    covers: Callable[[Counts], frozenset[str]]
    once_a_spike: bool = False


_ADDITIONS = frozenset({"synaptic_additions", "additions", "bias_additions", "resets", "macs"})
_MULTIPLICATIONS = frozenset({"multiplications", "decays", "macs"})
_SYNAPSES = frozenset({"synaptic_additions"}) | MOVEMENT
_ALL = frozenset(asdict(Counts())) - EVENTS_BESIDE


def _neurons(counts: Counts) -> frozenset[str]:
    """Return what goes with updates; a bias is kept by the neuron, wherever it is counted."""
    if not counts.neuron_updates:
        return frozenset({"bias_additions"}) | MOVEMENT
    return _ALL - {"synaptic_additions", "macs", "delay_pushes"}


def active(counts: Counts) -> float:
    """Updates of neurons in which something happened; a neuron that fired was active."""
    return min(max(counts.active_updates, counts.spikes), counts.neuron_updates)


def _dense(counts: Counts, facts: Facts | None, timesteps: int) -> float:
    """Return multiply-accumulates of a machine that computes every synapse and every neuron."""
    synapses = counts.macs + counts.synaptic_additions
    if facts is not None and facts.dense:
        synapses = facts.dense * (1 if facts.constant else timesteps)
    other = 0.0 if counts.neuron_updates else counts.additions + counts.multiplications
    return synapses + counts.neuron_updates + other


def _synapses(counts: Counts, facts: Facts | None, timesteps: int) -> float:
    return counts.synaptic_additions


def _spikes(counts: Counts, facts: Facts | None, timesteps: int) -> float:
    return counts.spikes


EVENTS: Mapping[str, Event] = {
    "addition": Event(
        lambda counts, facts, steps: counts.all_additions,
        lambda counts: _ADDITIONS | {"neuron_updates"},
    ),
    "multiplication": Event(
        lambda counts, facts, steps: counts.all_multiplications,
        lambda counts: _MULTIPLICATIONS | {"neuron_updates"},
    ),
    "mac_equivalent": Event(_dense, lambda counts: _ALL),
    "synaptic_operation": Event(_synapses, lambda counts: _SYNAPSES),
    "synaptic_operation_convolution": Event(_synapses, lambda counts: _SYNAPSES),
    "neuron_update": Event(lambda counts, facts, steps: counts.neuron_updates, _neurons),
    "neuron_update_active": Event(lambda counts, facts, steps: active(counts), _neurons),
    "neuron_update_inactive": Event(
        lambda counts, facts, steps: counts.neuron_updates - active(counts), _neurons
    ),
    "neuron_access": Event(lambda counts, facts, steps: counts.neuron_updates, _neurons),
    "neuron_integration": Event(lambda counts, facts, steps: active(counts), _neurons),
    "spike": Event(_spikes, lambda counts: frozenset()),
    "spike_within_tile": Event(_spikes, lambda counts: frozenset(), once_a_spike=True),
    "message": Event(_spikes, lambda counts: frozenset(), once_a_spike=True),
    "message_in": Event(_spikes, lambda counts: frozenset(), once_a_spike=True),
}
"""By name of quantity, less ``_energy``; a latency has the same name and ``_time``."""


def events_of(known: Mapping[str, object], suffix: str, facts: Facts | None) -> list[str]:
    """Return the events of a layer that have a price (or a latency).

    Args:
        known: quantities of a profile, by name.
        suffix: ``_energy`` or ``_time``.
        facts: of the layer. A convolution has prices of its own where the profile gives them.
    """
    there = [name for name in EVENTS if f"{name}{suffix}" in known]
    own = "synaptic_operation_convolution"
    if facts is not None and facts.kind == "convolution" and own in there:
        there.remove("synaptic_operation")
    elif own in there:
        there.remove(own)
    return there
