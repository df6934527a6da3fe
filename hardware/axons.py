"""Which synapses reach a block of neurons, counted from shapes.

A block is a run of neurons in the order in which their population is cut. Every source neuron that
reaches the block holds one input axon of its core, and behind it a list of its synapses there
(``synapse_memory.py``). The synapses of a dense connection reach consecutive neurons and carry no
index; all others do. Of a convolution every synapse is stored (it is unrolled), unless the chip
keeps kernels: then a list holds a channel's kernels once.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from neuro.hardware.integer_graph import (
    Connection,
    Convolution,
    Dense,
    IntegerGraph,
    Sparse,
    target_shape,
)
from neuro.hardware.synapse_memory import Indices


@dataclass(frozen=True)
class FanIn:
    """The lists of synapses through which a connection reaches a block.

    Args:
        axons: source neurons that reach it.
        synapses: from them to it.
        stored: synapses in each list, as the core stores them.
        times: how many lists there are of each.
    """

    axons: int
    synapses: int
    stored: Indices
    times: Indices


class Afferents(Protocol):
    """Synapses of one connection, by the places of its targets."""

    indexed: bool
    """Whether a synapse names its target."""

    def fan_in(self, start: int, stop: int) -> FanIn:
        """Return what reaches the neurons at the places ``start <= place < stop``."""

    def reached_by(self, start: int, stop: int) -> Indices:
        """Return which source neurons reach them, each once, in C order of their population."""


def cut_by_position(graph: IntegerGraph, population: str) -> bool:
    """Return whether a population is cut between positions rather than between channels.

    Neurons at one position of a feature map read the same neurons, whatever their channel; kept
    together they share input axons.
    """
    return any(isinstance(each.synapses, Convolution) for each in graph.inputs_of(population))


def places(graph: IntegerGraph, population: str) -> Indices:
    """Return the neuron, in C order, at each place of the order in which a population is cut."""
    shape = graph.shape(population)
    neurons = np.arange(np.prod(shape, dtype=np.int64)).reshape(shape)
    if cut_by_position(graph, population):
        neurons = np.moveaxis(neurons, 0, -1)
    return neurons.reshape(-1)


def afferents(graph: IntegerGraph, connection: Connection, keeps_kernels: bool) -> Afferents:
    """Return a connection's synapses by the places of its targets.

    Args:
        graph: it belongs to.
        connection: one of the graph's.
        keeps_kernels: whether the chip stores a kernel once in a core.
    """
    synapses, sent = connection.synapses, graph.shape(connection.source)
    if isinstance(synapses, Convolution):
        return ConvolutionAfferents(synapses, sent, keeps_kernels)
    sources = int(np.prod(sent, dtype=np.int64))
    if isinstance(synapses, Dense):
        return DenseAfferents(sources)
    return SparseAfferents(synapses, sources, places(graph, connection.target))


class DenseAfferents:
    """Every source reaches every target."""

    indexed = False

    def __init__(self, sources: int) -> None:
        self._sources = sources

    def fan_in(self, start: int, stop: int) -> FanIn:
        """Return ``sources`` lists of all targets."""
        targets = stop - start
        return FanIn(
            self._sources,
            self._sources * targets,
            np.array([targets], np.int64),
            np.array([self._sources], np.int64),
        )

    def reached_by(self, start: int, stop: int) -> Indices:
        """Return all sources."""
        return np.arange(self._sources, dtype=np.int64)


class SparseAfferents:
    """Single synapses, in compressed rows of the targets' places."""

    indexed = True

    def __init__(self, synapses: Sparse, sources: int, order: Indices) -> None:
        starts = synapses.starts.astype(np.int64)
        lengths = np.diff(starts)[order]
        self._starts = np.concatenate([[0], np.cumsum(lengths)])
        # where each row began, repeated over the row, less where it begins now
        shift = np.repeat(starts[:-1][order] - self._starts[:-1], lengths)
        self._sources_of = synapses.sources[shift + np.arange(self._starts[-1])]
        self._sources = sources

    def _lists(self, start: int, stop: int) -> Indices:
        """Return for every source how many of its synapses reach the block."""
        row = self._sources_of[self._starts[start] : self._starts[stop]]
        return np.bincount(row, minlength=self._sources)

    def fan_in(self, start: int, stop: int) -> FanIn:
        """Return the list of each source that has a synapse there."""
        lists = self._lists(start, stop)
        stored = lists[lists > 0]
        return FanIn(len(stored), int(stored.sum()), stored, np.ones(len(stored), np.int64))

    def reached_by(self, start: int, stop: int) -> Indices:
        """Return the sources that have a synapse there."""
        return np.flatnonzero(self._lists(start, stop))


class ConvolutionAfferents:
    """Shared synapses; targets are placed position by position, all channels of each together.

    A block is at most three boxes: the channels it has of its first position, whole positions, and
    the channels it has of its last.
    """

    def __init__(self, synapses: Convolution, source: tuple[int, ...], keeps_kernels: bool) -> None:
        self._channels, heights, widths = target_shape(synapses, source)
        self._groups = synapses.groups
        self._group_sources, *kernel = synapses.weight.shape[1:]
        self._taps = int(np.prod(kernel))
        self._positions = source[1] * source[2]
        self._keeps_kernels = keeps_kernels
        self.indexed = not keeps_kernels
        rows, inside_rows = _taps(synapses, 0, heights, source[1])
        columns, inside_columns = _taps(synapses, 1, widths, source[2])
        # [height, width, kernel rows, kernel columns], -1 in the padding
        site = rows[:, None, :, None] * source[2] + columns[None, :, None, :]
        inside = inside_rows[:, None, :, None] & inside_columns[None, :, None, :]
        self._sites = np.where(inside, site, -1).reshape(heights * widths, self._taps)
        first = np.arange(self._groups) * (self._channels // self._groups)
        self._group_bounds = first, first + self._channels // self._groups

    def _boxes(self, start: int, stop: int) -> list[tuple[int, int, int, int]]:
        """Return first and last position, first and last channel of each box."""
        (top, first), (bottom, last) = divmod(start, self._channels), divmod(stop, self._channels)
        if top == bottom:
            return [(top, top + 1, first, last)]
        boxes = [(top, top + 1, first, self._channels)]
        if bottom > top + 1:
            boxes.append((top + 1, bottom, 0, self._channels))
        if last:
            boxes.append((bottom, bottom + 1, 0, last))
        return boxes

    def _shares(self, boxes: list[tuple[int, int, int, int]]) -> tuple[Indices, Indices]:
        """Return the kinds of groups, by the channels each box has of them, and each one's kind."""
        lower, upper = self._group_bounds
        shares = np.array(
            [
                np.clip(np.minimum(upper, last) - np.maximum(lower, first), 0, None)
                for _, _, first, last in boxes
            ]
        )
        if self._groups == 1:
            return shares.T, np.zeros(1, np.int64)
        kinds, kind_of = np.unique(shares.T, axis=0, return_inverse=True)
        return kinds, kind_of.reshape(-1)

    def _lists(self, boxes: list[tuple[int, int, int, int]], kinds: Indices) -> Indices:
        """Return ``[kinds, positions]``: synapses from a source there into the block."""
        taps = np.empty((len(boxes), self._positions), np.int64)
        for row, (first, last, _, _) in zip(taps, boxes, strict=True):
            sites = self._sites[first:last].reshape(-1)
            row[:] = np.bincount(sites[sites >= 0], minlength=self._positions)
        return kinds @ taps

    def _in_block(self, boxes: list[tuple[int, int, int, int]], kind: Indices) -> int:
        """Return how many channels of a group of a kind have a neuron in the block."""
        if any(last - first == self._channels for _, _, first, last in boxes):
            return self._channels // self._groups
        # two boxes are the end of one position and the beginning of the next
        return min(int(kind.sum()), self._channels // self._groups)

    def fan_in(self, start: int, stop: int) -> FanIn:
        """Return the list of each source that has a synapse there, or each channel's kernels."""
        boxes = self._boxes(start, stop)
        kinds, kind_of = self._shares(boxes)
        lists = self._lists(boxes, kinds)
        # sources of a position in all groups of a kind
        alike = np.bincount(kind_of, minlength=len(kinds)) * self._group_sources
        reached = np.count_nonzero(lists, axis=1)
        axons, synapses = int(reached @ alike), int(lists.sum(axis=1) @ alike)
        if self._keeps_kernels:
            kernels = [self._in_block(boxes, kind) * self._taps for kind in kinds]
            stored = np.where(reached > 0, np.array(kernels, np.int64), 0)
            return FanIn(axons, synapses, stored[stored > 0], alike[stored > 0])
        kind, position = np.nonzero(lists)
        return FanIn(axons, synapses, lists[kind, position], alike[kind])

    def reached_by(self, start: int, stop: int) -> Indices:
        """Return the sources that have a synapse there."""
        boxes = self._boxes(start, stop)
        kinds, kind_of = self._shares(boxes)
        lists = self._lists(boxes, kinds)
        reached = []
        for kind, row in enumerate(lists):
            first = np.flatnonzero(kind_of == kind) * self._group_sources
            channels = (first[:, None] + np.arange(self._group_sources)).reshape(-1, 1)
            reached.append((channels * self._positions + np.flatnonzero(row)).reshape(-1))
        return np.concatenate(reached)


def _taps(
    synapses: Convolution, axis: int, targets: int, sources: int
) -> tuple[Indices, NDArray[np.bool_]]:
    """Return ``[targets, kernel]``: where each tap reads along an axis, and whether it is there."""
    kernel = np.arange(synapses.weight.shape[2 + axis]) * synapses.dilation[axis]
    start = np.arange(targets) * synapses.stride[axis] - synapses.padding[axis]
    site = start[:, None] + kernel
    return site, (site >= 0) & (site < sources)
