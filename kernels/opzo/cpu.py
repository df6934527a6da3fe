"""The update of a feedback matrix on the CPU: Numba draws a tile of noise, BLAS multiplies it.

A tile holds the noise of a run of counters for the whole batch, a quarter of the sample after the
other; it stays in the L2 cache between the two. A small layer is one tile, laid out as it is.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro.kernels.compiled import flat, share_out
from neuro.kernels.jit import jit
from neuro.kernels.noise.cpu import COST, RUN, draw, keys_of
from neuro.kernels.noise.cpu import noise as write_out
from neuro.kernels.noise.stream import NoiseStream, quarter
from neuro.kernels.team import spread

Array = NDArray[Any]

_TILE = 1 << 18
"""Numbers in a tile, at most."""


@jit(error_model="numpy")
def _fill(
    tile: Array,  # [4 * B * width]
    samples: int,
    begin: int,  # of the counters
    width: int,
    step: int,
    layer: int,
    keys: Array,
    gaussian: bool,
    first: int,  # of the samples
    last: int,
    parallel: int,
    threads: int,
) -> None:
    if threads > 1:
        spread(parallel, threads)
        return
    words = np.empty((4, RUN), np.uint32)
    z = np.empty((4, RUN), np.float32)
    for sample in range(first, last):
        for start in range(0, width, RUN):
            count = min(RUN, width - start)
            draw(z, words, begin + start, count, sample, step, layer, keys, gaussian)
            for row in range(4):
                place = (row * samples + sample) * width + start
                target = tile[place : place + count]
                drawn = z[row]
                for i in range(count):
                    target[i] = drawn[i]


def _tiles(projection: Tensor, samples: int, stream: NoiseStream) -> Iterator[tuple[slice, Tensor]]:
    """Yield columns of M and the noise ``(B, columns)`` of their neurons, overwritten later."""
    neurons = projection.shape[1]
    if samples * neurons <= _TILE:
        yield slice(None), write_out(stream, projection.new_empty(()).expand(samples, neurons))
        return
    length = quarter(neurons)
    width = max(min(length, _TILE // (4 * samples)), 1)
    where = (stream.step, stream.layer, keys_of(stream), stream.kind == "gaussian")
    storage = projection.new_empty(4 * samples * width)
    for first in range(0, length, width):
        wide = min(width, length - first)
        numbers = storage[: 4 * samples * wide]
        tile = flat(numbers)
        share_out(_fill, (tile, samples, first, wide, *where), samples, COST * tile.size)
        rows = numbers.view(4, samples, wide)
        for row in range(4):
            start = row * length + first
            stop = min(start + wide, (row + 1) * length, neurons)
            if start < stop:
                yield slice(start, stop), rows[row, :, : stop - start]


@torch.no_grad()
def update(
    projection: Tensor, outputs: Tensor, stream: NoiseStream, keep: float, factor: float
) -> None:
    """Change ``projection`` ``(m, n)`` in place."""
    transposed = outputs.t()
    for columns, noise in _tiles(projection, len(outputs), stream):
        projection[:, columns].addmm_(transposed, noise, beta=keep, alpha=factor)


@torch.no_grad()
def response(projection: Tensor, stream: NoiseStream, samples: int) -> Tensor:
    """Return ``z M`` ``(B, m)``."""
    total = projection.new_zeros(samples, len(projection))
    for columns, noise in _tiles(projection, samples, stream):
        total.addmm_(noise, projection[:, columns].t())
    return total
