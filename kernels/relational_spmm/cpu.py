"""The relational product on the CPU with Numba: no message is ever written to memory.

A tile is a few vectors of columns, of all rows. Work is cut into tiles times runs of rows with
about equally many edges, and goes tile by tile: what a tile gathers stays in the L2 cache, where
whole rows of a large batch would not, and a thread's tiles are no other's. So the gradient of the
relations needs a sum of its own only for each run of rows, not for each thread; their number, and
with it every rounding, goes by the sizes alone.
"""

from functools import cache
from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from neuro.kernels.compiled import flat, share_out
from neuro.kernels.relational_graph import RelationalGraph
from neuro.kernels.relational_spmm.aggregates import (
    BOUNDARY,
    NOTHING,
    Aggregated,
    Aggregates,
    Gradients,
    empty,
)
from neuro.kernels.relational_spmm.rows import gather_gradients, gather_messages
from neuro.kernels.team import spread
from neuro.kernels.vectors import lanes

Array = NDArray[Any]

_RUNS = 16
"""Runs of rows, for messages."""
_ITEMS = 32
"""Tiles times runs that are enough, for gradients: each run has a sum for every relation."""


@cache
def _forward_kernel(what: int, bounded: int, vectors: int) -> Any:
    @numba.njit(nogil=True, cache=True)
    def run(
        features: Array,  # [N * W]
        relation: Array,  # [R * W]
        boundary: Array,  # [N * W], empty unless bounded
        starts: Array,
        sources: Array,
        relations: Array,
        runs: Array,  # rows from runs[k] to runs[k + 1]
        width: int,
        total: Array,  # [N * W], and so the next; empty if not asked for
        squares: Array,
        maximum: Array,
        minimum: Array,
        maximum_places: Array,
        minimum_places: Array,
        first: int,  # of tiles * runs
        last: int,
        parallel: int,
        threads: int,
    ) -> None:
        if threads > 1:
            spread(parallel, threads)
            return
        tile = vectors * (64 // features.itemsize)
        count = runs.size - 1
        for item in range(first, last):
            column = item // count * tile
            for row in range(runs[item % count], runs[item % count + 1]):
                at = row * width + column
                if not bounded and starts[row] == starts[row + 1]:
                    for array in (total, squares, maximum, minimum):
                        if array.size:
                            array[at : at + tile] = 0
                    for names in (maximum_places, minimum_places):
                        if names.size:
                            names[at : at + tile] = NOTHING
                    continue
                gather_messages(
                    features,
                    relation,
                    boundary,
                    sources,
                    relations,
                    starts[row],
                    starts[row + 1],
                    width,
                    column,
                    total,
                    squares,
                    maximum,
                    minimum,
                    maximum_places,
                    minimum_places,
                    at,
                    what,
                    bounded,
                    vectors,
                )

    return run


@cache
def _backward_kernel(what: int, bounded: int, with_relation: int, vectors: int) -> Any:
    @numba.njit(nogil=True, cache=True)
    def run(
        features: Array,
        relation: Array,
        boundary: Array,
        starts: Array,
        destinations: Array,
        relations: Array,
        runs: Array,
        width: int,
        of_total: Array,
        of_squares: Array,
        of_features: Array,
        of_boundary: Array,
        of_relation: Array,  # [runs * R * W], to be added to; empty if not wanted
        first: int,
        last: int,
        parallel: int,
        threads: int,
    ) -> None:
        if threads > 1:
            spread(parallel, threads)
            return
        tile = vectors * (64 // features.itemsize)
        count = runs.size - 1
        for item in range(first, last):
            column = item // count * tile
            for row in range(runs[item % count], runs[item % count + 1]):
                gather_gradients(
                    features,
                    relation,
                    boundary,
                    destinations,
                    relations,
                    starts[row],
                    starts[row + 1],
                    width,
                    column,
                    of_total,
                    of_squares,
                    of_features,
                    of_boundary,
                    row * width + column,
                    of_relation,
                    item % count * relation.size,
                    what,
                    bounded,
                    with_relation,
                    vectors,
                )

    return run


@cache
def _extremes_kernel(adds: bool, bounded: bool, with_relation: bool) -> Any:
    @numba.njit(nogil=True, cache=True)
    def run(
        features: Array,
        relation: Array,
        sources: Array,
        relations: Array,
        width: int,
        used: int,  # columns that are not there to fill up vectors
        nodes: int,
        of_extremes: Array,  # [N * W]
        places: Array,  # [N * W]
        of_features: Array,  # to be added to, and so the next two
        of_boundary: Array,
        of_relation: Array,  # [R * W ...]
        first: int,  # of the vectors of columns
        last: int,
        parallel: int,
        threads: int,
    ) -> None:
        if threads > 1:
            spread(parallel, threads)
            return
        lanes = 64 // features.itemsize
        for tile in range(first, last):
            for row in range(nodes):
                for column in range(tile * lanes, min(used, (tile + 1) * lanes)):
                    place = places[row * width + column]
                    credit = of_extremes[row * width + column]
                    if place >= 0:
                        source = sources[place] * width + column
                        kind = relations[place] * width + column
                        if adds:
                            of_features[source] += credit
                            if with_relation:
                                of_relation[kind] += credit
                        else:
                            of_features[source] += credit * relation[kind]
                            if with_relation:
                                of_relation[kind] += credit * features[source]
                    elif bounded and place == BOUNDARY:
                        of_boundary[row * width + column] += credit

    return run


def _runs(starts: Array, count: int) -> Array:
    """Cut the rows into ``count`` runs of about equally many edges; a row counts as two."""
    load = starts + 2 * np.arange(len(starts))
    return np.searchsorted(load, np.linspace(0, load[-1], count + 1))


def _vectors(width: int, dtype: Any, most: int) -> int:
    """Return how many vectors of columns a tile has: all tiles have as many."""
    columns = width // lanes(dtype)
    return next(count for count in range(most, 0, -1) if columns % count == 0)


def _whole_vectors(features: Tensor, rows: Tensor) -> Tensor:
    """Return rows filled up with zeros to a width that is one of vectors of features."""
    spare = -features.shape[1] % (64 // features.element_size())
    return functional.pad(rows, (0, spare)) if spare and rows.dim() == 2 else rows.contiguous()


def forward(
    features: Tensor,
    relation: Tensor,
    boundary: Tensor | None,
    graph: RelationalGraph,
    asked: Aggregates,
) -> Aggregated:
    """Return the aggregates of all messages, one pass over the edges for each tile."""
    width = features.shape[1]
    first = None if boundary is None else _whole_vectors(features, boundary)
    relation, features = _whole_vectors(features, relation), _whole_vectors(features, features)
    found = empty(features, asked)
    if features.numel():
        extremes = bool(asked & (Aggregates.MAXIMUM | Aggregates.MINIMUM))
        wide = features.shape[1]
        vectors = _vectors(wide, flat(features).dtype, 2 if extremes else 4)
        starts = flat(graph.in_starts.contiguous())
        runs = _runs(starts, _RUNS)
        operands = (
            flat(features),
            flat(relation),
            flat(features[:0] if first is None else first),
            starts,
            flat(graph.in_sources.contiguous()),
            flat(graph.in_relations.contiguous()),
            runs,
            wide,
            *map(flat, found),
        )
        kernel = _forward_kernel(int(asked), int(boundary is not None), vectors)
        items = wide // (vectors * lanes(operands[0].dtype)) * _RUNS
        share_out(kernel, operands, items, (graph.edges + graph.nodes) * wide)
    return Aggregated(*(_cut(each, width) for each in found))


def backward(
    gradients: Aggregated,
    features: Tensor,
    relation: Tensor,
    boundary: Tensor | None,
    graph: RelationalGraph,
    asked: Aggregates,
    of_relation: bool,
) -> Gradients:
    """Gather each source's gradient over the edges that leave it, then add that of extremes.

    An extreme's gradient goes along one edge, so that of all is sent, column by column.
    """
    width = features.shape[1]
    total, squares, *extremes = (_whole_vectors(features, each) for each in gradients)
    first = None if boundary is None else _whole_vectors(features, boundary)
    relation, features = _whole_vectors(features, relation), _whole_vectors(features, features)
    sums = asked & (Aggregates.SUM | Aggregates.SQUARES)
    room = torch.empty_like if sums else torch.zeros_like
    of_features = room(features)
    of_boundary = features.new_empty(0) if first is None else room(features)
    relation_sums = features.new_zeros(0)
    if features.numel():
        wide = features.shape[1]
        tiles = wide // lanes(flat(features).dtype)
        count = -(-_ITEMS // tiles) if sums else 1
        if of_relation:
            relation_sums = features.new_zeros(count, *relation.shape)
        results = tuple(map(flat, (of_features, of_boundary, relation_sums)))
        numbers = flat(features), flat(relation)
        if sums:
            starts = flat(graph.out_starts.contiguous())
            operands = (
                *numbers,
                flat(features[:0] if first is None else first),
                starts,
                flat(graph.out_destinations.contiguous()),
                flat(graph.out_relations.contiguous()),
                _runs(starts, count),
                wide,
                flat(total),
                flat(squares),
                *results,
            )
            kind = int(sums | (asked & Aggregates.ADD))
            kernel = _backward_kernel(kind, int(first is not None), int(of_relation), 1)
            share_out(kernel, operands, tiles * count, (graph.edges + graph.nodes) * wide)
        ends = flat(graph.in_sources.contiguous()), flat(graph.in_relations.contiguous())
        kernel = _extremes_kernel(Aggregates.ADD in asked, first is not None, of_relation)
        for of_extremes, places in zip(extremes[:2], extremes[2:], strict=True):
            if of_extremes.dim() == 2:
                where = (wide, width, graph.nodes, flat(of_extremes), flat(places))
                share_out(kernel, (*numbers, *ends, *where, *results), tiles, features.numel())
    return Gradients(
        _cut(of_features, width),
        _cut(_in_order(relation_sums, relation), width) if of_relation else relation_sums,
        _cut(of_boundary, width),
    )


def _cut(rows: Tensor, width: int) -> Tensor:
    return rows[:, :width].contiguous() if rows.dim() == 2 else rows


def _in_order(sums: Tensor, relation: Tensor) -> Tensor:
    """Add up the sums of all runs, always in their order."""
    if not sums.numel():
        return relation.new_zeros(relation.shape)
    total = sums[0]
    for each in sums[1:]:
        total += each
    return total
