"""Operations of a deployed network of integers, from a run of it.

The graph is the one that a chip gets, so its counts are those of the quantised network, not of the
real one it was made from. A spike of step t over a synapse with delay d arrives at step t + 1 + d;
what would arrive after the last step of a run does not happen.
"""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import NDArray

from neuro.energy.counting.fan_out import connection_fan_out
from neuro.energy.counts import Counts, Facts, Ledger
from neuro.energy.signals import Signal, check_signal
from neuro.errors import UsageError
from neuro.hardware.cuba import DECAY_BITS, Cuba
from neuro.hardware.fixed_point import Recording, run
from neuro.hardware.integer_graph import Connection, Convolution, Dense, IntegerGraph

FULL = 1 << DECAY_BITS
"""A decay that keeps nothing."""
_STATE_BITS = 24
Numbers = NDArray[np.int64]
Inputs = Mapping[str, NDArray[np.integer]]


def count_integer_run(
    graph: IntegerGraph,
    inputs: Inputs,
    *,
    steps: int | None = None,
    biases: Inputs | None = None,
    accumulator_bits: int | None = None,
    block: int = 64,
    per_step: bool = False,
) -> Ledger:
    """Run a graph on samples, some at a time, and count; see :func:`count_integer_graph`.

    Args:
        graph: what runs.
        inputs: ``[T, B, *shape]`` of every source.
        steps: to run, ``graph.steps`` if left out.
        biases: ``[B, *shape]`` of some populations.
        accumulator_bits: see :func:`neuro.hardware.fixed_point.run`.
        block: samples at once; bounds memory.
        per_step: also keep a ledger of each step.

    Raises:
        UsageError: what a run of the graph refuses.
    """
    given = [*inputs.values()]
    samples = given[0].shape[1] if given else 1
    total = Ledger({})
    for first in range(0, samples, block):
        part = slice(first, first + block)
        chosen = {name: each[:, part] for name, each in inputs.items()}
        own = {name: each[part] for name, each in (biases or {}).items()}
        recording = run(
            graph,
            chosen,
            steps=steps,
            record=list(graph.populations),
            biases=own,
            accumulator_bits=accumulator_bits,
        )
        total += count_integer_graph(graph, recording, chosen, biases=own, per_step=per_step)
    return total


def count_integer_graph(
    graph: IntegerGraph,
    recording: Recording,
    inputs: Inputs,
    *,
    biases: Inputs | None = None,
    per_step: bool = False,
) -> Ledger:
    """Count what a run did: an entry for each connection, ``a -> b``, and each population.

    - A spike is an addition for each synapse with a weight that it crosses in time; a message with
      a number is a multiply-accumulate. With a delay it enters its target's line of delay.
    - A neuron's step is, for current and potential, a product and an addition where something is
      kept of it, and a comparison, or two where it may send -1; then a bias if it has one, and a
      reset for each spike. Shifts are no arithmetic.
    - A step is active if what arrived does not sum to 0, or the neuron fired.

    Args:
        graph: what ran.
        recording: of the run, with spikes and states of all populations.
        inputs: ``[T, B, *shape]`` of every source, as in the run.
        biases: ``[B, *shape]`` of some populations, as in the run.
        per_step: also keep a ledger of each step.

    Raises:
        UsageError: populations that were not recorded, or inputs that no source could send.
    """
    _check_recorded(graph, recording)
    batch = next(iter(recording.events.values())).shape[0]
    events = _events(graph, recording, inputs)
    by_step: list[dict[str, Counts]] = [{} for _ in range(recording.steps)]
    facts: dict[str, Facts] = {}
    for connection in graph.connections:
        name = _unused(f"{connection.source} -> {connection.target}", facts)
        facts[name] = _connection_facts(graph, connection)
        found = _crossed(graph, connection, events[connection.source], recording.steps)
        for step, counts in zip(by_step, found, strict=True):
            step[name] = counts
    driven = frozenset(facts)
    for name in graph.populations:
        found = _updated(graph, name, recording, events[name], (biases or {}).get(name), batch)
        own = _unused(name, facts)
        facts[own] = _population_facts(graph, name)
        for step, counts in zip(by_step, found, strict=True):
            step[own] = counts
    layers = {name: sum((step[name] for step in by_step), Counts()) for name in facts}
    steps = tuple(Ledger(step, driven, facts, batch) for step in by_step) if per_step else ()
    return Ledger(layers, driven, facts, batch, recording.steps, steps)


def _check_recorded(graph: IntegerGraph, recording: Recording) -> None:
    missing = [
        name
        for name in graph.populations
        if name not in recording.spikes or name not in recording.u
    ]
    if missing:
        raise UsageError(
            f"spikes and states of {', '.join(missing)} were not recorded; run the graph with "
            "record=list(graph.populations)."
        )


def _events(graph: IntegerGraph, recording: Recording, inputs: Inputs) -> dict[str, Numbers]:
    """Return by name how many samples' neurons sent something, ``[T, neurons]``."""
    found = {}
    for name in graph.sources:
        given = np.ascontiguousarray(inputs[name], np.int32)
        where = f"the input {name!r}"
        check_signal(torch.from_numpy(given), _signal(graph, name), where)
        silent = np.zeros((recording.steps - len(given), *given.shape[1:]), np.int32)
        found[name] = _by_neuron(np.concatenate([given, silent]))
    found.update({name: _by_neuron(recording.spikes[name]) for name in graph.populations})
    return found


def _by_neuron(signal: NDArray[np.integer]) -> Numbers:
    sent: Numbers = np.count_nonzero(signal, axis=1).astype(np.int64)
    return sent.reshape(len(sent), -1)


def _crossed(
    graph: IntegerGraph, connection: Connection, events: Numbers, steps: int
) -> list[Counts]:
    """Return what a connection does in each step; events count in the step they arrive."""
    crossed, late, heard = (np.zeros(steps, np.int64) for _ in range(3))
    delays = np.unique(connection.delay)
    for delay in delays.tolist():
        after = 1 + delay
        if after >= steps:
            continue
        fan_out = _fan_out(graph, connection, delay)
        arrived = events[: steps - after] @ fan_out
        crossed[after:] += arrived
        if delay:
            late[after:] += arrived
    after = 1 + int(delays.min(initial=0))
    heard[after:] = events[: max(steps - after, 0)].sum(1)
    graded = _signal(graph, connection.source) == "graded"
    return [
        Counts(
            spikes_in=sent,
            macs=operations if graded else 0,
            synaptic_additions=0 if graded else operations,
            delay_pushes=delayed,
            weight_reads=operations,
            state_reads=operations,
            state_writes=operations,
            activation_reads=sent,
        )
        for sent, operations, delayed in zip(
            heard.tolist(), crossed.tolist(), late.tolist(), strict=True
        )
    ]


def _fan_out(graph: IntegerGraph, connection: Connection, delay: int) -> Numbers:
    """Return the fan-out over the synapses with one delay."""
    chosen = connection.delay == delay if connection.delay.ndim else None
    return connection_fan_out(connection.synapses, graph.shape(connection.source), chosen)


def _updated(
    graph: IntegerGraph,
    name: str,
    recording: Recording,
    events: Numbers,
    bias: NDArray[np.integer] | None,
    batch: int,
) -> list[Counts]:
    """Return what a population does in each step."""
    shape = graph.shape(name)
    registers = graph.populations[name].neuron.registers
    du, dv = (np.broadcast_to(each, shape) for each in (registers.du + 1, registers.dv))
    kept = int((du < FULL).sum() + (dv < FULL).sum())
    decays = int(((du > 0) & (du < FULL)).sum() + ((dv > 0) & (dv < FULL)).sum())
    if bias is None:
        biased = batch * int(np.count_nonzero(np.broadcast_to(registers.bias, shape)))
    else:
        biased = int(np.count_nonzero(bias))
    neurons = batch * int(np.prod(shape, dtype=np.int64))
    state = neurons + batch * int((du < FULL).sum())
    compared = neurons * (1 if registers.vth_low is None else 2)
    active = _active(registers, recording, name)
    fired = events.sum(1)
    return [
        Counts(
            spikes=spikes,
            additions=batch * kept,
            bias_additions=biased,
            decays=batch * decays,
            resets=spikes,
            comparisons=compared,
            neuron_updates=neurons,
            active_updates=busy,
            weight_reads=biased,
            state_reads=state,
            state_writes=state * (2 if registers.zeroed_before(step) else 1),
            activation_reads=neurons,
            activation_writes=spikes,
        )
        for step, (spikes, busy) in enumerate(zip(fired.tolist(), active, strict=True))
    ]


def _active(registers: Cuba, recording: Recording, name: str) -> list[int]:
    """Return at how many neurons something arrived or fired, by step.

    The current tells: it is what was kept of the one before, and what arrived.
    """
    found = []
    before = np.zeros_like(recording.u[name][0], np.int64) if recording.steps else None
    for step in range(recording.steps):
        assert before is not None
        if registers.zeroed_before(step):
            before = np.zeros_like(before)
        share = FULL - (registers.du.astype(np.int64) + 1)
        kept = np.sign(before) * (np.abs(before) * share >> DECAY_BITS)
        current = recording.u[name][step].astype(np.int64)
        busy = (current != kept) | (recording.spikes[name][step] != 0)
        found.append(int(np.count_nonzero(busy)))
        before = current
    return found


def _connection_facts(graph: IntegerGraph, connection: Connection) -> Facts:
    synapses = connection.synapses
    source, target = graph.shape(connection.source), graph.shape(connection.target)
    delays = np.unique(connection.delay).tolist()
    convolution = synapses if isinstance(synapses, Convolution) else None
    largest = int(np.abs(synapses.weight.astype(np.int64)).max(initial=0))
    outputs = int(np.prod(target, dtype=np.int64))
    kind = "linear" if isinstance(synapses, Dense) else "sparse"
    return Facts(
        kind=kind if convolution is None else "convolution",
        signal=_signal(graph, connection.source),
        parameters=synapses.weight.size,
        weights=int(np.count_nonzero(synapses.weight)),
        inputs=int(np.prod(source, dtype=np.int64)),
        outputs=outputs,
        kernel=() if convolution is None else tuple(synapses.weight.shape[2:]),
        stride=() if convolution is None else convolution.stride,
        groups=1 if convolution is None else convolution.groups,
        channels=outputs if convolution is None else len(synapses.weight),
        dense=sum(int(_fan_out(graph, connection, delay).sum()) for delay in delays),
        weight_bits=largest.bit_length() + 1,
        activation_bits=_STATE_BITS,
    )


def _population_facts(graph: IntegerGraph, name: str) -> Facts:
    shape = graph.shape(name)
    registers = graph.populations[name].neuron.registers
    neurons = int(np.prod(shape, dtype=np.int64))
    slots = max((int(each.delay.max(initial=0)) for each in graph.inputs_of(name)), default=0)
    biased = int(np.count_nonzero(np.broadcast_to(registers.bias, shape)))
    currents = int((np.broadcast_to(registers.du + 1, shape) < FULL).sum())
    return Facts(
        kind="neurons",
        signal="graded",
        parameters=biased,
        state=neurons * (1 + slots) + currents,
        inputs=neurons,
        outputs=neurons,
        neurons=neurons,
        bias=biased > 0,
        activation_bits=1 if registers.vth_low is None else 2,
    )


def _signal(graph: IntegerGraph, name: str) -> Signal:
    """Return what a source or population sends."""
    if name in graph.sources:
        return "graded" if graph.sources[name].message_bits else "binary"
    low = graph.populations[name].neuron.registers.vth_low
    return "binary" if low is None else "ternary"


def _unused(name: str, taken: Mapping[str, Facts]) -> str:
    """Return the name, numbered if a layer has it already."""
    number, found = 1, name
    while found in taken:
        number += 1
        found = f"{name} ({number})"
    return found
