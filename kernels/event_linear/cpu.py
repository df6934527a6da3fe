"""Currents from spike events on the CPU with Numba.

The rows of spikes become lists of events. The weight is cut into tiles of a few output neurons,
each transposed into scratch that stays in the L2 cache while all rows go over it: a row's currents
are summed in registers and written once.
"""

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba.np.numpy_support import carray
from numpy.typing import NDArray
from torch import Tensor, float64

from neuro.kernels.compiled import flat, share_out
from neuro.kernels.event_lists import empty_tile, fill_tile, list_events, mark_events, tile_vectors
from neuro.kernels.jit import jit
from neuro.kernels.team import spread
from neuro.kernels.vectors import BYTES, WORD, gather_rows, lanes, pointer, prefetch, scatter_row

Array = NDArray[Any]


class _Events(NamedTuple):
    """Events of row b are those from ``starts[b]`` to ``starts[b + 1]``."""

    starts: Array
    places: Array
    values: Array


_SMALL = 1 << 19
"""Spikes of fewer numbers are searched by one thread in one call: sharing out takes longer."""


@cache
def _finder(double: bool) -> Any:
    dtype = np.float64 if double else np.float32

    @jit
    def find(address: int, rows: int, width: int) -> tuple[Array, Array, Array]:
        numbers = carray(pointer(address), (rows * width,), dtype)
        bits = np.empty(rows * ((width + WORD - 1) // WORD), np.uint64)
        starts = np.zeros(rows + 1, np.int64)
        mark_events(numbers, width, bits, starts[1:], 0, rows, 0, 1)
        for row in range(rows):
            starts[row + 1] += starts[row]
        places, values = np.empty(starts[rows], np.uint32), np.empty(starts[rows], dtype)
        list_events(numbers, width, bits, starts, places, values, 0, rows, 0, 1)
        return starts, places, values

    return find


def _find(spikes: Tensor) -> _Events:
    rows, width = spikes.shape
    if rows * width < _SMALL:
        return _Events(*_finder(spikes.dtype == float64)(spikes.data_ptr(), rows, width))
    numbers = flat(spikes)
    bits = np.empty(rows * -(-width // WORD), np.uint64)
    starts = np.zeros(rows + 1, np.int64)
    share_out(mark_events, (numbers, width, bits, starts[1:]), rows, numbers.size)
    np.cumsum(starts, out=starts)
    events = int(starts[-1])
    places, values = np.empty(events, np.uint32), np.empty(events, numbers.dtype)
    lists = (numbers, width, bits, starts, places, values)
    share_out(list_events, lists, rows, numbers.size // 4 + 8 * events)
    return _Events(starts, places, values)


@cache
def _forward_kernel(vectors: int) -> Any:
    @jit
    def run(
        starts: Array,  # [B + 1]
        index: Array,  # [E]
        value: Array,  # [E]
        weight: Array,  # [N_out * N_in]
        inputs: int,
        outputs: int,
        bias: Array,  # [N_out padded to tiles]
        currents: Array,  # [B * N_out]
        rows: int,
        first: int,  # of range(tiles * rows), all rows of one tile after another
        last: int,
        parallel: int,
        threads: int,
    ) -> None:
        if threads > 1:
            spread(parallel, threads)
            return
        line = BYTES // weight.itemsize
        width = vectors * line
        tile = np.empty(inputs * width, weight.dtype)
        part = np.empty(width, weight.dtype)
        while first < last:
            output = first // rows * width
            row = first % rows
            end = min(rows, row + last - first)
            first += end - row
            count = min(width, outputs - output)
            fill_tile(weight, inputs, output, count, tile, 0, width, width)
            following = (output + width) * inputs if first < last else weight.size
            asked, needed = 0, min(width * inputs, weight.size - following) // line
            for b in range(row, end):
                share = (b + 1 - row) * needed // (end - row)
                for k in range(asked, share):
                    prefetch(weight, following + k * line)
                asked = share
                at = b * outputs + output
                if count == width:
                    gather_rows(
                        tile,
                        index,
                        value,
                        starts[b],
                        starts[b + 1],
                        bias,
                        output,
                        currents,
                        at,
                        vectors,
                    )
                else:
                    gather_rows(
                        tile, index, value, starts[b], starts[b + 1], bias, output, part, 0, vectors
                    )
                    for j in range(count):
                        currents[at + j] = part[j]

    return run


@cache
def _weight_kernel(vectors: int, adds: bool) -> Any:
    @jit
    def run(
        starts: Array,
        index: Array,
        value: Array,
        of_currents: Array,  # [B * N_out]
        inputs: int,
        outputs: int,
        of_weight: Array,  # [N_out * N_in]
        rows: int,
        first: int,  # of the tiles
        last: int,
        parallel: int,
        threads: int,
    ) -> None:
        if threads > 1:
            spread(parallel, threads)
            return
        width = vectors * (64 // of_currents.itemsize)
        tile = np.empty(inputs * width, of_currents.dtype)
        part = np.zeros(width, of_currents.dtype)
        for number in range(first, last):
            output = number * width
            count = min(width, outputs - output)
            if adds:
                fill_tile(of_weight, inputs, output, count, tile, 0, width, width)
            else:
                tile[:] = 0
            for b in range(rows):
                at = b * outputs + output
                if count == width:
                    scatter_row(
                        tile, index, value, starts[b], starts[b + 1], of_currents, at, vectors
                    )
                else:
                    for j in range(count):
                        part[j] = of_currents[at + j]
                    scatter_row(tile, index, value, starts[b], starts[b + 1], part, 0, vectors)
            empty_tile(tile, width, of_weight, inputs, output, count)

    return run


def forward(spikes: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the currents of ``spikes`` ``[B, N_in]``."""
    (rows, inputs), outputs = spikes.shape, len(weight)
    currents = spikes.new_empty(rows, outputs)
    if not currents.numel():
        return currents
    events = _find(spikes.contiguous())
    matrix = flat(weight.contiguous())
    vectors = tile_vectors(outputs, matrix.dtype)
    width = vectors * lanes(matrix.dtype)
    tiles = -(-outputs // width)
    padded = np.zeros(tiles * width, matrix.dtype)
    if bias is not None:
        padded[:outputs] = bias.numpy()
    kernel = _forward_kernel(vectors)
    operands = (*events, matrix, inputs, outputs, padded, flat(currents), rows)
    share_out(kernel, operands, tiles * rows, (events.places.size + rows + inputs) * outputs)
    return currents


def weight_gradient(of_currents: Tensor, spikes: Tensor) -> Tensor:
    """Return ``sum_b g_b spikes_b^T``."""
    found = spikes.new_empty(of_currents.shape[1], spikes.shape[1])
    _gather_weights(found, of_currents, spikes, adds=False)
    return found


def add_weight_gradient(total: Tensor, of_currents: Tensor, spikes: Tensor) -> None:
    """Add ``sum_b g_b spikes_b^T`` to ``total``, contiguous."""
    _gather_weights(total, of_currents, spikes, adds=True)


def _gather_weights(found: Tensor, of_currents: Tensor, spikes: Tensor, *, adds: bool) -> None:
    (rows, inputs), outputs = spikes.shape, of_currents.shape[1]
    if not found.numel():
        return
    events = _find(spikes.contiguous())
    gradient = flat(of_currents.contiguous())
    vectors = tile_vectors(outputs, gradient.dtype)
    kernel = _weight_kernel(vectors, adds)
    operands = (*events, gradient, inputs, outputs, flat(found), rows)
    tiles = -(-outputs // (vectors * lanes(gradient.dtype)))
    share_out(kernel, operands, tiles, (events.places.size + inputs) * outputs)
