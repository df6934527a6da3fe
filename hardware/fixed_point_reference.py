"""The integer graph step by step, one sample at a time: what every other engine must equal.

Plain numpy in 64 bits, every synapse laid out in a matrix; where a chip's simulator would hold a
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
    Cuba,
    Dense,
    IntegerGraph,
    target_shape,
)
from neuro.hardware.microcode import SoftReset

Long = NDArray[np.int64]

HALF = 1 << (WIDTH - 1)


class Trace(NamedTuple):
    """What a population did: spikes, current and potential after the reset, ``[T, *shape]``."""

    spikes: Long
    u: Long
    v: Long


def run_sample(
    graph: IntegerGraph,
    inputs: Mapping[str, NDArray[np.integer]],
    steps: int,
    *,
    accumulator_bits: int | None = None,
) -> dict[str, Trace]:
    """Run one sample and return what every population did.

    Args:
        graph: what runs.
        inputs: ``[T, *shape]`` of every source; after T steps nothing more arrives.
        steps: to run.
        accumulator_bits: bits, beside the sign, of the register in which what arrives is summed;
            it wraps. None for one that holds any sum.
    """
    sent = {name: np.zeros((steps, _size(graph.shape(name))), np.int64) for name in graph.sources}
    for name, spikes in inputs.items():
        sent[name][: len(spikes)] = spikes[:steps].reshape(min(len(spikes), steps), -1)
    for name, population in graph.populations.items():
        sent[name] = np.zeros((steps, _size(population.shape)), np.int64)
    matrices = [unrolled(each, graph.shape(each.source)) for each in graph.connections]
    traces = {name: ([], []) for name in graph.populations}  # type: dict[str, tuple[list[Long], list[Long]]]
    state = {name: np.zeros((2, sent[name].shape[1]), np.int64) for name in graph.populations}

    for step in range(steps):
        for name, population in graph.populations.items():
            arrived = np.zeros(sent[name].shape[1], np.int64)
            for connection, by_delay in zip(graph.connections, matrices, strict=True):
                if connection.target != name:
                    continue
                for delay, matrix in by_delay.items():
                    if step - 1 - delay >= 0:
                        total = wrap32(matrix @ sent[connection.source][step - 1 - delay])
                        arrived += shifted(total, connection.weight_exponent)
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
    kind: Cuba | SoftReset, shape: tuple[int, ...], arrived: Long, u: Long, v: Long
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
    return spikes, u, np.where(spikes != 0, 0, v)


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


def unrolled(connection: Connection, source: tuple[int, ...]) -> dict[int, Long]:
    """Return by delay the matrix ``[targets, sources]`` of a connection from a shape."""
    synapses = connection.synapses
    rows = _size(target_shape(synapses, source))
    matrices: dict[int, Long] = {}

    def add(target: int, origin: int, weight: int, delay: int) -> None:
        if delay not in matrices:
            matrices[delay] = np.zeros((rows, _size(source)), np.int64)
        matrices[delay][target, origin] += weight

    if isinstance(synapses, Convolution):
        for target, origin, weight in _positions(synapses, source):
            add(target, origin, weight, int(connection.delay))
        return matrices
    delays = np.broadcast_to(connection.delay, synapses.weight.shape)
    if isinstance(synapses, Dense):
        for target in range(rows):
            for origin in range(_size(source)):
                weight, delay = synapses.weight[target, origin], delays[target, origin]
                add(target, origin, int(weight), int(delay))
        return matrices
    for target in range(rows):
        for synapse in range(synapses.starts[target], synapses.starts[target + 1]):
            weight, delay = synapses.weight[synapse], delays[synapse]
            add(target, int(synapses.sources[synapse]), int(weight), int(delay))
    return matrices


def _positions(synapses: Convolution, source: tuple[int, ...]) -> list[tuple[int, int, int]]:
    """Return target, source and weight of every synapse of a convolution."""
    outputs, rows, columns = target_shape(synapses, source)
    _, height, width = source
    per_group, kernel_rows, kernel_columns = synapses.weight.shape[1:]
    found = []
    for o, y, x in np.ndindex(outputs, rows, columns):
        first = o // (outputs // synapses.groups) * per_group
        for c, i, j in np.ndindex(per_group, kernel_rows, kernel_columns):
            row = y * synapses.stride[0] + i * synapses.dilation[0] - synapses.padding[0]
            column = x * synapses.stride[1] + j * synapses.dilation[1] - synapses.padding[1]
            if 0 <= row < height and 0 <= column < width:
                target = (o * rows + y) * columns + x
                origin = ((first + c) * height + row) * width + column
                found.append((target, origin, int(synapses.weight[o, c, i, j])))
    return found


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
