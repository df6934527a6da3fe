"""Run an integer graph on many samples at once, every register as on the chip, bit for bit.

Samples are taken in blocks that stay in cache, and the blocks are shared among threads; a spike
costs one row of weights, and silence nothing. The same numbers come, one sample at a time and
without compiled code, from :mod:`neuro.hardware.fixed_point_reference`.
"""

import os
from collections.abc import Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuro.errors import UsageError, nearest
from neuro.hardware.cuba_update import MEASURES, update
from neuro.hardware.integer_graph import (
    STATE_SHIFT,
    Connection,
    Convolution,
    Dense,
    IntegerGraph,
    Integers,
    Population,
)
from neuro.hardware.microcode import GradedSpikes, SoftReset
from neuro.hardware.transmission import Transmission, channels_last, prepare

Array = NDArray[Any]

_IN_CACHE = 1 << 20
"""Bytes of signals and states that a block of samples may take."""
_LARGEST_BLOCK = 256


class Extremes(NamedTuple):
    """What the registers of a population had to hold, over all samples, steps and neurons.

    ``largest_input``: of what arrives in a step, in units of weights, before the accumulator wraps;
    ``largest_u``, ``largest_v``: before they wrap and are clipped. Then how often that happened,
    and how often a graded spike had more to say than its bits carry.
    """

    largest_input: int
    largest_u: int
    largest_v: int
    wrapped_inputs: int
    wrapped_u: int
    clipped_v: int
    clipped_messages: int = 0

    def merged(self, other: "Extremes") -> "Extremes":
        """Return those of two runs together."""
        largest = map(max, self[:3], other[:3])
        times = (one + two for one, two in zip(self[3:], other[3:], strict=True))
        return Extremes(*largest, *times)


@dataclass(frozen=True, eq=False, kw_only=True)
class Recording:
    """What a graph did with B samples.

    Args:
        steps: T, time steps that were run.
        spikes: of the recorded populations, ``[T, B, *shape]``.
        u: their currents after each step, the same shape.
        v: their potentials after the reset of each step, the same shape.
        final_u: currents ``[B, *shape]`` after the last step, of the recorded and the output.
        final_v: potentials, likewise.
        output_counts: ``[B, *shape]``, spikes of each neuron of the output; of graded ones, and of
            those that may be -1, the sum.
        events: spikes (of any size and sign) of each sample ``[B]``, of every source and
            population.
        extremes: of every population: whether its registers were wide enough.
    """

    steps: int
    spikes: Mapping[str, Integers]
    u: Mapping[str, Integers]
    v: Mapping[str, Integers]
    final_u: Mapping[str, Integers]
    final_v: Mapping[str, Integers]
    output_counts: NDArray[np.int64]
    events: Mapping[str, NDArray[np.int64]]
    extremes: Mapping[str, Extremes]


def run(
    graph: IntegerGraph,
    inputs: Mapping[str, NDArray[np.integer]],
    *,
    steps: int | None = None,
    record: Collection[str] = (),
    record_states: bool = True,
    biases: Mapping[str, NDArray[np.integer]] | None = None,
    accumulator_bits: int | None = None,
    threads: int | None = None,
) -> Recording:
    """Run a graph from rest; see :mod:`neuro.hardware.integer_graph` for its equations.

    Args:
        graph: what runs.
        inputs: ``[T, B, *shape]`` integers of every source; after T steps nothing more arrives.
        steps: to run, ``graph.steps`` if left out.
        record: populations whose every step is kept.
        record_states: keep their u and v, too; without, a third of the memory.
        biases: ``[B, *shape]`` of some populations, in units of the state: what a host writes into
            their bias registers before each sample, in place of those of the graph.
        accumulator_bits: bits, beside the sign, of the register in which what arrives in a step is
            summed, 21 on Loihi 1; it wraps. None for one that holds any sum, as in Lava.
        threads: that share the samples; all cores by default.

    Raises:
        UsageError: an input is missing, of another shape, or holds what its source cannot send; or
            weights whose sum may not fit 32 bits.
    """
    steps = graph.steps if steps is None else steps
    biases = biases or {}
    batch = _check_inputs(graph, inputs, biases, steps)
    for name in record:
        if name not in graph.populations:
            raise UsageError(f"no population {name!r} to record.{nearest(name, graph.populations)}")
    _check_sums(graph)
    prepared = _Prepared(graph, biases, accumulator_bits)
    kept = _Kept(graph, batch, steps, record, record_states)
    size = min(max(1, _IN_CACHE // max(prepared.bytes_per_sample, 1)), _LARGEST_BLOCK)
    edges = list(range(0, batch, size))
    blocks = [slice(first, min(first + size, batch)) for first in edges]
    workers = min(threads or len(os.sched_getaffinity(0)), len(blocks))
    if workers <= 1:
        measures = [_run_block(prepared, inputs, steps, block, kept) for block in blocks]
    else:
        with ThreadPoolExecutor(workers) as pool:
            measures = list(
                pool.map(lambda block: _run_block(prepared, inputs, steps, block, kept), blocks)
            )
    return kept.recording(steps, measures)


def answers(graph: IntegerGraph, recording: Recording) -> NDArray[np.int64]:
    """Return the class ``[B]`` that the output decided for; of equals, the first."""
    decided = (
        recording.output_counts if graph.decoding == "spikes" else recording.final_v[graph.output]
    )
    neurons = int(np.prod(decided.shape[1:]))
    best: NDArray[np.int64] = decided.reshape(len(decided), neurons).argmax(1)
    return best


def worst_case_inputs(graph: IntegerGraph) -> dict[str, int]:
    """Return by population the largest sum that could ever arrive in a step, in units of weights.

    Every source and neuron sends the largest number it can, with the sign of its weight.
    """
    worst = dict.fromkeys(graph.populations, 0)
    for connection in graph.connections:
        total = _largest_sum(connection) * _largest_message(graph, connection.source)
        exponent = connection.weight_exponent
        worst[connection.target] += total << exponent if exponent > 0 else total >> -exponent
    return worst


def _largest_sum(connection: Connection) -> int:
    synapses = connection.synapses
    sizes = np.abs(synapses.weight.astype(np.int64))
    if isinstance(synapses, Dense | Convolution):
        return int(sizes.reshape(len(sizes), -1).sum(1).max(initial=0))
    totals = np.zeros(len(synapses.starts) - 1, np.int64)
    targets = np.repeat(np.arange(len(totals)), np.diff(synapses.starts))
    np.add.at(totals, targets, sizes)
    return int(totals.max(initial=0))


def _largest_message(graph: IntegerGraph, name: str) -> int:
    return max(map(abs, graph.end(name).message_range))


def _check_sums(graph: IntegerGraph) -> None:
    for connection in graph.connections:
        total = _largest_sum(connection) * _largest_message(graph, connection.source)
        if total << max(connection.weight_exponent, 0) >= 1 << 31:
            raise UsageError(
                f"from {connection.source!r} to {connection.target!r} as much as {total} may "
                f"arrive in a step, times 2^{connection.weight_exponent}: more than 32 bits hold. "
                "Use smaller weights, or fewer bits in a message."
            )


def _check_inputs(
    graph: IntegerGraph,
    inputs: Mapping[str, NDArray[np.integer]],
    biases: Mapping[str, NDArray[np.integer]],
    steps: int,
) -> int:
    """Return the number of samples."""
    if inputs.keys() != graph.sources.keys():
        raise UsageError(
            f"the graph has the sources {sorted(graph.sources)}, got inputs for {sorted(inputs)}."
        )
    batches = set()
    for name, source in graph.sources.items():
        given = inputs[name]
        if not np.issubdtype(given.dtype, np.integer) and given.dtype != np.bool_:
            raise UsageError(f"the input {name!r} is of {given.dtype}; a chip takes integers.")
        if given.ndim < 2 or given.shape[2:] != source.shape or len(given) > steps:
            raise UsageError(
                f"the input {name!r} is of shape {given.shape}; expected [T, B, *{source.shape}] "
                f"with T of {steps} steps at most."
            )
        low, high = source.message_range
        if given.size and not (given.min() >= low and given.max() <= high):
            raise UsageError(
                f"the input {name!r} holds {given.min()} to {given.max()}; {source.message_bits} "
                f"message bits carry {low} to {high}."
            )
        batches.add(given.shape[1])
    for name, bias in biases.items():
        if name not in graph.populations:
            raise UsageError(
                f"no population {name!r} has biases.{nearest(name, graph.populations)}"
            )
        shape = graph.shape(name)
        if not np.issubdtype(bias.dtype, np.integer) or bias.shape[1:] != shape:
            raise UsageError(
                f"the biases of {name!r} are {bias.dtype} {bias.shape}; expected integers "
                f"[B, *{shape}]."
            )
        batches.add(len(bias))
    if len(batches) > 1:
        raise UsageError(f"the inputs hold {sorted(batches)} samples; expected one number.")
    return batches.pop() if batches else 1


class _Prepared:
    """A graph whose synapses and registers lie as the compiled loops want them."""

    def __init__(
        self,
        graph: IntegerGraph,
        biases: Mapping[str, NDArray[np.integer]],
        accumulator_bits: int | None,
    ) -> None:
        self.graph = graph
        shapes = {name: graph.shape(name) for name in (*graph.sources, *graph.populations)}
        self.places = {name: channels_last(shape) for name, shape in shapes.items()}
        self.sent: dict[str, list[tuple[str, Transmission]]] = {name: [] for name in shapes}
        self.slots = dict.fromkeys(graph.populations, 1)
        for each in graph.connections:
            for part in prepare(each, shapes[each.source], shapes[each.target]):
                self.sent[each.source].append((each.target, part))
                self.slots[each.target] = max(self.slots[each.target], max(part.delays) + 1)
        self.bound = 1 << (accumulator_bits or 0)
        self.updates = {}
        for name, population in graph.populations.items():
            registers = _registers(population, self.places[name])
            if name in biases:
                registers = np.repeat(registers, self.places[name].size // registers.shape[1], 1)
            uniform = registers.shape[1] == 1
            ternary = population.neuron.registers.vth_low is not None
            step = update(
                uniform=uniform,
                ternary=ternary,
                soft=isinstance(population.neuron, SoftReset),
                graded=isinstance(population.neuron, GradedSpikes),
                accumulator=accumulator_bits is not None,
            )
            self.updates[name] = (step, registers, _payload(population))
        self.biases = {
            name: bias.reshape(len(bias), -1)[:, self.places[name]].astype(np.int64)
            for name, bias in biases.items()
        }
        self.bytes_per_sample = 4 * (
            sum(self.places[name].size for name in graph.sources)
            + sum(self.places[name].size * (3 + slots) for name, slots in self.slots.items())
        )

    def advance(
        self, name: str, block: slice, arrived: Array, state: Array, events: Array, measures: Array
    ) -> None:
        """Take the samples of a block, ``[B, N]``, one step on."""
        take_step, registers, payload = self.updates[name]
        spikes, u, v = state
        if name not in self.biases:
            take_step(arrived, u, v, spikes, registers, payload, self.bound, events, measures)
            return
        for sample, bias in enumerate(self.biases[name][block]):
            own, one = np.vstack([registers[:-1], bias]), slice(sample, sample + 1)
            take_step(
                arrived[one],
                u[one],
                v[one],
                spikes[one],
                own,
                payload,
                self.bound,
                events[one],
                measures,
            )


def _registers(population: Population, places: Array) -> NDArray[np.int64]:
    neuron = population.neuron.registers
    low = np.zeros((), np.int64) if neuron.vth_low is None else neuron.vth_low.astype(np.int64)
    rows = [
        neuron.du.astype(np.int64) + 1,
        neuron.dv.astype(np.int64),
        neuron.vth.astype(np.int64) << STATE_SHIFT,
        low << STATE_SHIFT,
        neuron.bias,
    ]
    if all(row.size == 1 for row in rows):
        return np.array([row.reshape(1) for row in rows])
    return np.array([np.broadcast_to(row, population.shape).reshape(-1)[places] for row in rows])


def _payload(population: Population) -> NDArray[np.int64]:
    """Return how much of the threshold graded spikes leave out, their shift, and the greatest."""
    neuron = population.neuron
    if not isinstance(neuron, GradedSpikes):
        return np.zeros(3, np.int64)
    share = int(neuron.payload == "excess")
    return np.array([share, neuron.shift, neuron.highest_message], np.int64)


class _Kept:
    """Arrays that the blocks fill, each in its own samples."""

    def __init__(
        self,
        graph: IntegerGraph,
        batch: int,
        steps: int,
        record: Collection[str],
        states: bool,
    ) -> None:
        self.graph = graph
        self.record = tuple(dict.fromkeys(record))
        shapes = {name: population.shape for name, population in graph.populations.items()}

        def arrays(names: Sequence[str], *lead: int) -> dict[str, Integers]:
            return {name: np.zeros((*lead, *shapes[name]), np.int32) for name in names}

        names = (self.record, *((self.record if states else (),) * 2))
        self.history = tuple(arrays(each, steps, batch) for each in names)
        ends = tuple(dict.fromkeys((*self.record, graph.output)))
        self.final = tuple(arrays(ends, batch) for _ in range(2))
        self.output_counts = np.zeros((batch, *shapes[graph.output]), np.int64)
        self.events = {
            name: np.zeros(batch, np.int64) for name in (*graph.sources, *graph.populations)
        }

    def recording(self, steps: int, measures: Sequence[Mapping[str, Array]]) -> Recording:
        extremes = {}
        for name in self.graph.populations:
            found = np.array([each[name] for each in measures]).reshape(-1, len(MEASURES))
            largest, times = found[:, :3].max(0, initial=0), found[:, 3:].sum(0)
            extremes[name] = Extremes(*(int(each) for each in (*largest, *times)))
        spikes, u, v = self.history
        return Recording(
            steps=steps,
            spikes=spikes,
            u=u,
            v=v,
            final_u=self.final[0],
            final_v=self.final[1],
            output_counts=self.output_counts,
            events=self.events,
            extremes=extremes,
        )


def _run_block(
    prepared: _Prepared,
    inputs: Mapping[str, NDArray[np.integer]],
    steps: int,
    block: slice,
    kept: _Kept,
) -> dict[str, Array]:
    """Run the samples of a block and return the measures of every population."""
    graph = prepared.graph
    count = block.stop - block.start
    sizes = {name: prepared.places[name].size for name in graph.populations}
    rings = {
        name: np.zeros((prepared.slots[name], count, size), np.int32)
        for name, size in sizes.items()
    }
    states = {name: np.zeros((3, count, size), np.int32) for name, size in sizes.items()}
    counts = np.zeros((count, sizes[graph.output]), np.int64)
    measures = {name: np.zeros(len(MEASURES), np.int64) for name in sizes}
    sources = {
        name: _Frames(prepared, name, given[:, block], rings) for name, given in inputs.items()
    }
    for step in range(steps):
        for name, population in graph.populations.items():
            arrived = rings[name][step % prepared.slots[name]]
            if population.neuron.registers.zeroed_before(step):
                states[name][1:] = 0
            prepared.advance(
                name, block, arrived, states[name], kept.events[name][block], measures[name]
            )
            if name in kept.record:
                for history, state in zip(kept.history, states[name], strict=True):
                    if name in history:
                        _place(prepared, name, state, history[name][step, block])
            if name == graph.output:
                counts += states[name][0]
        for frames in sources.values():
            frames.send(step, kept.events[frames.name][block])
        for name in graph.populations:
            for target, part in prepared.sent[name]:
                part.send(states[name][0], rings[target], step + 1)
    _place(prepared, graph.output, counts, kept.output_counts[block])
    for final, index in zip(kept.final, (1, 2), strict=True):
        for name, array in final.items():
            _place(prepared, name, states[name][index], array[block])
    return measures


class _Frames:
    """What one source sends, step by step; what a frame causes is kept while it does not change."""

    def __init__(
        self, prepared: _Prepared, name: str, given: Array, rings: Mapping[str, Integers]
    ) -> None:
        self.name = name
        self.given = given.reshape(*given.shape[:2], -1)
        self.places = prepared.places[name]
        self.targets = [(part, rings[target]) for target, part in prepared.sent[name]]
        self.constant = [
            step > 0 and np.array_equal(self.given[step], self.given[step - 1])
            for step in range(len(given))
        ]
        self.caused: list[Integers] = []

    def send(self, step: int, events: Array) -> None:
        """Send a step's frame and add its spikes to the events of each sample."""
        if step >= len(self.given):
            return
        again = self.constant[step]
        keeps = again or (step + 1 < len(self.constant) and self.constant[step + 1])
        if not again:
            self.frame = np.ascontiguousarray(self.given[step][:, self.places], np.int32)
            self.count = np.count_nonzero(self.frame, axis=1)
            self.caused = []
        events += self.count
        for number, (part, ring) in enumerate(self.targets):
            if not keeps:
                part.send(self.frame, ring, step + 1)
                continue
            if not again:
                caused = np.zeros((max(part.delays) + 1, *ring.shape[1:]), np.int32)
                part.send(self.frame, caused, 0)
                self.caused.append(caused)
            for delay in part.delays:
                ring[(step + 1 + delay) % len(ring)] += self.caused[number][delay]


def _place(prepared: _Prepared, name: str, state: Array, into: Array) -> None:
    """Copy ``[B, N]`` into ``[B, *shape]``."""
    shape = prepared.graph.shape(name)
    if len(shape) == 3:
        into[:] = np.moveaxis(state.reshape(len(state), *shape[1:], shape[0]), -1, 1)
    else:
        into[:] = state.reshape(into.shape)
