"""The relational product on the CPU with Numba: no message is ever written to memory.

Forward shares out runs of nodes with about equally many edges. Backward walks the same edges and
adds to their sources and relations, where two nodes may meet: so it shares out columns, which never
do. No sum depends on who makes it, hence no atomics, and equal bits for any number of threads.

Either goes over the nodes a band of columns at a time, wide enough to read whole pages: narrow ones
of rows a power of two apart would share a few sets of the cache, and touch as many pages.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from neuro.kernels.compiled import flat, share_out
from neuro.kernels.jit import jit
from neuro.kernels.relational_graph import RelationalGraph
from neuro.kernels.relational_spmm.aggregates import (
    NOTHING,
    Aggregated,
    Aggregates,
    Gradients,
    empty,
)
from neuro.kernels.relational_spmm.rows import gather_messages, send_gradients
from neuro.kernels.team import spread
from neuro.kernels.vectors import lanes

Array = NDArray[Any]

_RUNS = 16
"""Runs of nodes that are shared out."""
_BAND = 64
"""Vectors of columns that are taken through all nodes at once."""


@cache
def _forward_kernel(what: int, bounded: int, vectors: int) -> Any:
    @jit
    def run(
        features: Array,  # [N * W]
        relation: Array,  # [R * W]
        boundary: Array,  # [N * W], empty unless bounded
        starts: Array,
        sources: Array,
        relations: Array,
        runs: Array,  # rows from runs[k] to runs[k + 1]
        width: int,
        band: int,  # columns, and the next; whole tiles
        tile: int,
        total: Array,  # [N * W], and so the next; empty if not asked for
        squares: Array,
        maximum: Array,
        minimum: Array,
        maximum_places: Array,
        minimum_places: Array,
        first: int,  # of bands * runs
        last: int,
        parallel: int,
        threads: int,
    ) -> None:
        if threads > 1:
            spread(parallel, threads)
            return
        count = runs.size - 1
        for item in range(first, last):
            begin = item // count * band
            end = min(width, begin + band)
            for row in range(runs[item % count], runs[item % count + 1]):
                at = row * width
                if not bounded and starts[row] == starts[row + 1]:
                    for array in (total, squares, maximum, minimum):
                        if array.size:
                            array[at + begin : at + end] = 0
                    for names in (maximum_places, minimum_places):
                        if names.size:
                            names[at + begin : at + end] = NOTHING
                    continue
                for column in range(begin, end, tile):
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
                        at + column,
                        what,
                        bounded,
                        vectors,
                    )

    return run


@cache
def _backward_kernel(what: int, bounded: int, with_relation: int) -> Any:
    @jit
    def run(
        features: Array,
        relation: Array,
        boundary: Array,
        starts: Array,
        sources: Array,
        relations: Array,
        width: int,
        band: int,  # vectors
        of_total: Array,  # [N * W], and so the next
        of_squares: Array,
        of_maximum: Array,
        of_minimum: Array,
        maximum_places: Array,
        minimum_places: Array,
        of_features: Array,  # [N * W], to be added to
        of_boundary: Array,
        of_relation: Array,  # [R * W], to be added to; empty if not wanted
        first: int,  # of the vectors of columns
        last: int,
        parallel: int,
        threads: int,
    ) -> None:
        if threads > 1:
            spread(parallel, threads)
            return
        vector = 64 // features.itemsize
        for begin in range(first, last, band):
            end = min(last, begin + band)
            for row in range(starts.size - 1):
                for column in range(begin * vector, end * vector, vector):
                    send_gradients(
                        features,
                        relation,
                        boundary,
                        sources,
                        relations,
                        starts[row],
                        starts[row + 1],
                        width,
                        column,
                        of_total,
                        of_squares,
                        of_maximum,
                        of_minimum,
                        maximum_places,
                        minimum_places,
                        row * width + column,
                        of_features,
                        of_boundary,
                        of_relation,
                        what,
                        bounded,
                        with_relation,
                    )

    return run


def _runs(starts: Array, count: int) -> Array:
    """Cut the rows into ``count`` runs of about equally many edges; a row counts as two."""
    load = starts + 2 * np.arange(len(starts))
    return np.searchsorted(load, np.linspace(0, load[-1], count + 1))


def _tile(vectors: int, most: int) -> int:
    """Return how many vectors to keep in registers: all bands are whole tiles."""
    return next(count for count in range(most, 0, -1) if _BAND % count == vectors % count == 0)


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
        vector = lanes(flat(features).dtype)
        band = _BAND * vector
        tile = _tile(wide // vector, 2 if extremes else 4)
        starts = flat(graph.in_starts.contiguous())
        operands = (
            flat(features),
            flat(relation),
            flat(features[:0] if first is None else first),
            starts,
            flat(graph.in_sources.contiguous()),
            flat(graph.in_relations.contiguous()),
            _runs(starts, _RUNS),
            wide,
            band,
            tile * vector,
            *map(flat, found),
        )
        kernel = _forward_kernel(int(asked), int(boundary is not None), tile)
        items = -(-wide // band) * _RUNS
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
    """Send gradients back along the edges."""
    width = features.shape[1]
    credit = [_whole_vectors(features, each) for each in gradients]
    first = None if boundary is None else _whole_vectors(features, boundary)
    relation, features = _whole_vectors(features, relation), _whole_vectors(features, features)
    found = Gradients(
        torch.zeros_like(features),
        torch.zeros_like(relation) if of_relation else relation.new_empty(0),
        features.new_empty(0 if first is None else features.shape),
    )
    if features.numel():
        wide = features.shape[1]
        operands = (
            flat(features),
            flat(relation),
            flat(features[:0] if first is None else first),
            flat(graph.in_starts.contiguous()),
            flat(graph.in_sources.contiguous()),
            flat(graph.in_relations.contiguous()),
            wide,
            _BAND,
            *map(flat, credit),
            *map(flat, (found.features, found.boundary, found.relation)),
        )
        kernel = _backward_kernel(int(asked), int(first is not None), int(of_relation))
        items = wide // lanes(flat(features).dtype)
        share_out(kernel, operands, items, (graph.edges + graph.nodes) * wide)
    return Gradients(*(_cut(each, width) for each in found))


def _cut(rows: Tensor, width: int) -> Tensor:
    return rows[:, :width].contiguous() if rows.dim() == 2 else rows
