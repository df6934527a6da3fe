"""The integer graph step by step, one sample at a time: what every other engine must equal.

Plain numpy in 64 bits, every synapse laid out by itself; where a chip's simulator would hold a
number in 32 bits, it is wrapped to 32. Equations in :mod:`neuro.hardware.integer_graph`.
"""

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuro.hardware.integer_graph import (
    DECAY_BITS,
    STATE_SHIFT,
    WIDTH,
    Connection,
    Convolution,
    Dense,
    IntegerGraph,
    Neuron,
    target_shape,
)
from neuro.hardware.microcode import GradedSpikes, SoftReset

Long = NDArray[np.int64]

HALF = 1 << (WIDTH - 1)


class Synapses(NamedTuple):
    """Single synapses of one delay: target, source and weight of each."""

    targets: Long
    sources: Long
    weights: Long


Wiring = list[dict[int, Synapses]]
"""Synapses of every connection of a graph, by delay."""


class Trace(NamedTuple):
    """What a population did: spikes (graded ones: the numbers they carry), current and potential
    after the reset, ``[T, *shape]``."""

    spikes: Long
    u: Long
    v: Long


def run_sample(
    graph: IntegerGraph,
    inputs: Mapping[str, NDArray[np.integer]],
    steps: int,
    *,
    accumulator_bits: int | None = None,
    wiring: Wiring | None = None,
) -> dict[str, Trace]:
    """Run one sample and return what every population did.

    Args:
        graph: what runs.
        inputs: ``[T, *shape]`` of every source; after T steps nothing more arrives.
        steps: to run.
        accumulator_bits: bits, beside the sign, of the register in which what arrives is summed;
            it wraps. None for one that holds any sum.
        wiring: of the graph, for many samples; made if left out.
    """
    sent = {name: np.zeros((steps, _size(graph.shape(name))), np.int64) for name in graph.sources}
    for name, spikes in inputs.items():
        sent[name][: len(spikes)] = spikes[:steps].reshape(min(len(spikes), steps), -1)
    for name, population in graph.populations.items():
        sent[name] = np.zeros((steps, _size(population.shape)), np.int64)
    wiring = wired(graph) if wiring is None else wiring
    traces = {name: ([], []) for name in graph.populations}  # type: dict[str, tuple[list[Long], list[Long]]]
    state = {name: np.zeros((2, sent[name].shape[1]), np.int64) for name in graph.populations}

    for step in range(steps):
        for name, population in graph.populations.items():
            arrived = np.zeros(sent[name].shape[1], np.int64)
            for connection, by_delay in zip(graph.connections, wiring, strict=True):
                if connection.target != name:
                    continue
                for delay, synapses in by_delay.items():
                    if step - 1 - delay >= 0:
                        total = np.zeros_like(arrived)
                        spikes = sent[connection.source][step - 1 - delay]
                        np.add.at(
                            total, synapses.targets, synapses.weights * spikes[synapses.sources]
                        )
                        arrived += shifted(wrap32(total), connection.weight_exponent)
            if accumulator_bits is not None:
                arrived = wrapped(arrived, accumulator_bits)
            if population.neuron.registers.zeroed_before(step):
                state[name][:] = 0
            spikes, u, v = advance(
                population.neuron, population.shape, wrap32(arrived), *state[name]
            )
            sent[name][step] = spikes
            state[name][:] = u, v
            traces[name][0].append(u)
            traces[name][1].append(v)
    return {
        name: Trace(
            *(
                np.array(rows, np.int64).reshape(steps, *population.shape)
                for rows in (sent[name], *traces[name])
            )
        )
        for name, population in graph.populations.items()
    }


def advance(
    kind: Neuron, shape: tuple[int, ...], arrived: Long, u: Long, v: Long
) -> tuple[Long, Long, Long]:
    """Return spikes, current and potential of one step, all ``[neurons]``."""
    neuron = kind.registers
    du, dv, vth, bias = (
        np.broadcast_to(each, shape).reshape(-1).astype(np.int64)
        for each in (neuron.du, neuron.dv, neuron.vth, neuron.bias)
    )
    u = wrap32(decay(u, du + 1) + wrap32(arrived << STATE_SHIFT))
    u = np.where(u > HALF, u - 2 * HALF, np.where(u <= -HALF, u + 2 * HALF, u))
    v = np.clip(wrap32(decay(v, dv) + u + bias), -(HALF - 1), HALF - 1)
    spikes = (v > vth << STATE_SHIFT).astype(np.int64)
    if neuron.vth_low is not None:
        low = np.broadcast_to(neuron.vth_low, shape).reshape(-1).astype(np.int64)
        spikes -= v < low << STATE_SHIFT
    if isinstance(kind, SoftReset):
        return spikes, u, v - spikes * (vth << STATE_SHIFT)
    rest = np.where(spikes != 0, 0, v)
    if isinstance(kind, GradedSpikes):
        held = v - (vth << STATE_SHIFT) if kind.payload == "excess" else v
        spikes = spikes * np.minimum(held >> kind.shift, kind.highest_message)
    return spikes, u, rest


def decay(x: Long, d: Long) -> Long:
    """``x * (4096 - d) / 4096``, rounded towards zero."""
    product = x * ((1 << DECAY_BITS) - d)
    decayed: Long = np.sign(product) * (np.abs(product) >> DECAY_BITS)
    return decayed


def shifted(total: Long, exponent: int) -> Long:
    """A sum of weights times two to the exponent, rounded down, as the sum is shifted."""
    return wrap32(total << exponent) if exponent > 0 else total >> -exponent


def wrapped(x: Long, bits: int) -> Long:
    """``x`` in a register of so many bits beside the sign."""
    return ((x + (1 << bits)) & ((2 << bits) - 1)) - (1 << bits)


def wrap32(x: Long) -> Long:
    return wrapped(x, 31)


def wired(graph: IntegerGraph) -> Wiring:
    """Return the synapses of every connection."""
    return [unrolled(each, graph.shape(each.source)) for each in graph.connections]


def unrolled(connection: Connection, source: tuple[int, ...]) -> dict[int, Synapses]:
    """Return by delay the synapses of a connection from a shape."""
    synapses = connection.synapses
    if isinstance(synapses, Convolution):
        return {int(connection.delay): _positions(synapses, source)}
    weights = synapses.weight.astype(np.int64).reshape(-1)
    delays = np.broadcast_to(connection.delay, synapses.weight.shape).reshape(-1)
    if isinstance(synapses, Dense):
        targets, sources = np.indices(synapses.weight.shape).reshape(2, -1)
    else:
        sources = synapses.sources.astype(np.int64)
        targets = np.repeat(np.arange(len(synapses.starts) - 1), np.diff(synapses.starts))
    found = {}
    for delay in np.unique(delays):
        chosen = delays == delay
        found[int(delay)] = Synapses(targets[chosen], sources[chosen], weights[chosen])
    return found


def _positions(synapses: Convolution, source: tuple[int, ...]) -> Synapses:
    """Return every synapse of a convolution: all positions of each weight that see the source."""
    outputs, rows, columns = target_shape(synapses, source)
    _, height, width = source
    per_group = synapses.weight.shape[1]
    targets, sources, weights = [], [], []
    for o, c, i, j in np.ndindex(synapses.weight.shape):
        channel = o // (outputs // synapses.groups) * per_group + c
        y, row = _seen(0, i, rows, height, synapses)
        x, column = _seen(1, j, columns, width, synapses)
        place = ((o * rows + y)[:, None] * columns + x).reshape(-1)
        targets.append(place)
        sources.append(((channel * height + row)[:, None] * width + column).reshape(-1))
        weights.append(np.full(len(place), synapses.weight[o, c, i, j], np.int64))
    return Synapses(np.concatenate(targets), np.concatenate(sources), np.concatenate(weights))


def _seen(axis: int, tap: int, count: int, size: int, synapses: Convolution) -> tuple[Long, Long]:
    """Return which of ``count`` targets see the source through a row or column of the kernel, and
    where."""
    target = np.arange(count)
    seen = target * synapses.stride[axis] + tap * synapses.dilation[axis] - synapses.padding[axis]
    inside = (seen >= 0) & (seen < size)
    return target[inside], seen[inside]


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
