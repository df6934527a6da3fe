"""Populations cut into blocks: what any run of their neurons takes of a core."""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from neuro.hardware.axons import Afferents, afferents, places
from neuro.hardware.cores import Load
from neuro.hardware.integer_graph import Connection, IntegerGraph, Sparse
from neuro.hardware.synapse_memory import Indices, index_bits, list_bits, synapse_format


@dataclass(frozen=True)
class Block:
    """A run of a population's neurons that one core holds.

    Args:
        population: its name.
        start: first place of the order in which the population is cut.
        stop: place after the last.
    """

    population: str
    start: int
    stop: int


class CutPopulation:
    """A population in the order in which it is cut.

    Args:
        graph: it belongs to.
        name: of the population.
        keeps_kernels: whether a core stores a convolution's kernels once.
    """

    def __init__(self, graph: IntegerGraph, name: str, keeps_kernels: bool) -> None:
        self.name = name
        self.order = places(graph, name)
        self.size = len(self.order)
        self.inputs = [
            Input(number, graph, connection, keeps_kernels, self.order)
            for number, connection in enumerate(graph.connections)
            if connection.target == name
        ]
        neuron, shape = graph.populations[name].neuron.registers, graph.shape(name)
        self._decays = _registers([neuron.du, neuron.dv], shape, self.order)
        self._thresholds = _registers([neuron.vth], shape, self.order)

    def load(self, start: int, stop: int, before: int) -> Load:
        """Return what a block takes of a core with ``before`` neurons, output axons left out."""
        total = Load(
            neurons=stop - start,
            decays=frozenset((int(du), int(dv)) for du, dv in _among(self._decays, start, stop)),
            thresholds=frozenset(int(vth) for (vth,) in _among(self._thresholds, start, stop)),
        )
        for each in self.inputs:
            total += each.load(start, stop, before)
        return total


class Input:
    """One connection into a cut population.

    Args:
        number: of the connection in the graph.
        graph: it belongs to.
        connection: itself.
        keeps_kernels: whether a core stores a convolution's kernels once.
        order: neuron at each place of the target.
    """

    def __init__(
        self,
        number: int,
        graph: IntegerGraph,
        connection: Connection,
        keeps_kernels: bool,
        order: Indices,
    ) -> None:
        self.number = number
        self.source = connection.source
        self.afferents: Afferents = afferents(graph, connection, keeps_kernels)
        self._delays = _longest_delays(connection, order)
        self._format = synapse_format(connection)

    def load(self, start: int, stop: int, before: int) -> Load:
        """Return what the synapses take; an index tells all neurons of the core so far apart."""
        fan_in = self.afferents.fan_in(start, stop)
        if not fan_in.axons:
            return Load()
        indexed = index_bits(before + stop - start) if self.afferents.indexed else 0
        stored_as = replace(self._format, index_bits=indexed)
        return Load(
            input_axons=fan_in.axons,
            synapse_bits=int(list_bits(fan_in.stored, stored_as.synapse_bits) @ fan_in.times),
            synapses=fan_in.synapses,
            longest_delay=int(self._delays[start:stop].max()),
            formats=frozenset([stored_as]),
        )


def _longest_delays(connection: Connection, order: Indices) -> Indices:
    """Return the longest delay into the neuron at each place."""
    delay, synapses = connection.delay.astype(np.int64), connection.synapses
    if not delay.ndim:
        return np.broadcast_to(delay, order.shape)
    if isinstance(synapses, Sparse):
        longest = np.zeros(len(order), np.int64)
        targets = np.repeat(np.arange(len(order)), np.diff(synapses.starts))
        np.maximum.at(longest, targets, delay)
    else:
        longest = delay.max(axis=1, initial=0)
    return longest[order]


def _registers(
    values: list[NDArray[np.int32]], shape: tuple[int, ...], order: Indices
) -> NDArray[np.int32]:
    """Return ``[places, registers]``, or one row where all neurons share them."""
    if all(value.size == 1 for value in values):
        return np.array([[int(value.reshape(())) for value in values]], np.int32)
    return np.stack([np.broadcast_to(value, shape).reshape(-1)[order] for value in values], axis=1)


def _among(rows: NDArray[np.int32], start: int, stop: int) -> NDArray[np.int32]:
    return rows if len(rows) == 1 else np.unique(rows[start:stop], axis=0)
