"""What the event kernels on the CPU share: lists of nonzero inputs, and tiles of a matrix.

A tile holds a few columns of the transpose: ``tile[i, j] = matrix[first + j, i]``, so that all that
one input feeds lies side by side. Its width is a number of vectors that a running sum can keep in
registers; what the matrix does not fill is zero.
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuro.kernels.jit import jit
from neuro.kernels.team import spread
from neuro.kernels.vectors import (
    SQUARE,
    WORD,
    count_bits,
    lanes,
    lowest_bit,
    nonzero_word,
)
from neuro.kernels.vectors import transpose_square as _transpose_square

Array = NDArray[Any]

MOST_VECTORS = 4


def tile_vectors(outputs: int, dtype: Any) -> int:
    """Return the width of tiles for so many outputs, in vectors."""
    needed = -(-max(outputs, 1) // lanes(dtype))
    return -(-needed // -(-needed // MOST_VECTORS))


@jit
def mark_events(
    numbers: Array,  # [rows * width]
    width: int,
    bits: Array,  # [rows * ceil(width / 64)] uint64, to be filled: a bit a number
    counts: Array,  # [rows], to be filled
    first: int,
    last: int,
    parallel: int,
    threads: int,
) -> None:
    """Note for rows ``first`` to ``last`` where they are not zero, and how often."""
    if threads > 1:
        spread(parallel, threads)
        return
    words = (width + WORD - 1) // WORD
    for row in range(first, last):
        count = 0
        for word in range(words):
            found = nonzero_word(numbers, row * width + word * WORD, width - word * WORD)
            bits[row * words + word] = found
            count += count_bits(found)
        counts[row] = count


@jit
def list_word(bits: Any, first: Any, index: Array, e: int, room: int) -> int:
    """Write ``first`` plus the place of every bit to ``index[e:]``; return the next e.

    Four are written without asking whether they are there, so that a processor that guesses the
    number of events wrongly loses nothing; a further event overwrites what is not. ``room``: end
    of the part of ``index`` that may be written to.
    """
    after: int = e + count_bits(bits)
    if e + 4 <= room:
        for k in range(e, e + 4):
            index[k] = first + np.uint64(lowest_bit(bits))
            bits &= bits - np.uint64(1)
        e += 4
    while e < after:
        index[e] = first + np.uint64(lowest_bit(bits))
        bits &= bits - np.uint64(1)
        e += 1
    return after


@jit
def list_events(
    numbers: Array,
    width: int,
    bits: Array,
    starts: Array,
    index: Array,
    value: Array,
    first: int,
    last: int,
    parallel: int,
    threads: int,
) -> None:
    """Write place in the row and value of every event of rows ``first`` to ``last``."""
    if threads > 1:
        spread(parallel, threads)
        return
    words = (width + WORD - 1) // WORD
    room = starts[last]
    for row in range(first, last):
        e = starts[row]
        for word in range(words):
            e = list_word(bits[row * words + word], np.uint64(word * WORD), index, e, room)
        for k in range(starts[row], e):
            value[k] = numbers[row * width + index[k]]


@jit
def fill_tile(
    matrix: Array, columns: int, first: int, count: int, tile: Array, to: int, width: int, step: int
) -> None:
    """Fill a tile with rows ``first`` to ``first + count`` of ``matrix``, transposed.

    Column i of the matrix goes to ``tile[to + i * step:]``; a step of ``-width`` reverses them.
    """
    whole_rows = count - count % SQUARE
    whole_columns = columns - columns % SQUARE
    for j in range(0, whole_rows, SQUARE):
        start = (first + j) * columns
        for i in range(0, whole_columns, SQUARE):
            _transpose_square(matrix, start + i, columns, tile, to + i * step + j, step)
        for k in range(j, j + SQUARE):
            for i in range(whole_columns, columns):
                tile[to + i * step + k] = matrix[(first + k) * columns + i]
    for k in range(whole_rows, count):
        for i in range(columns):
            tile[to + i * step + k] = matrix[(first + k) * columns + i]
    for i in range(columns if count < width else 0):
        tile[to + i * step + count : to + i * step + width] = 0


@jit
def empty_tile(
    tile: Array, width: int, matrix: Array, columns: int, first: int, count: int
) -> None:
    """Write a tile back: rows ``first`` to ``first + count`` of ``matrix`` are its columns."""
    whole_rows = count - count % SQUARE
    whole_columns = columns - columns % SQUARE
    for j in range(0, whole_rows, SQUARE):
        start = (first + j) * columns
        for i in range(0, whole_columns, SQUARE):
            _transpose_square(tile, i * width + j, width, matrix, start + i, columns)
        for k in range(j, j + SQUARE):
            for i in range(whole_columns, columns):
                matrix[(first + k) * columns + i] = tile[i * width + k]
    for k in range(whole_rows, count):
        for i in range(columns):
            matrix[(first + k) * columns + i] = tile[i * width + k]
