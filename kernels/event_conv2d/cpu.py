"""Convolutional currents from spike events on the CPU with Numba.

Every event adds its kernel patch to a plane of currents whose channels lie side by side, as those
of the weight do: the inner loop is a few whole vectors. Without stride and dilation a row of a
patch is one run of them, and a margin takes what hangs over, so that nothing is asked. What is
inside is transposed to ``[O, H, W]`` while it is in cache.

Events go by segments of the plane, so that the part of it they touch stays in the L1 cache.
"""

from functools import cache, lru_cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neuro.kernels.compiled import flat, share_out
from neuro.kernels.event_conv2d.geometry import Geometry
from neuro.kernels.event_lists import fill_tile, list_word, tile_vectors
from neuro.kernels.jit import jit
from neuro.kernels.team import spread
from neuro.kernels.vectors import (
    SQUARE,
    WORD,
    add_scaled,
    lanes,
    nonzero_word,
    repeat_row,
    transpose_square,
)

Array = NDArray[Any]


class _Plane(NamedTuple):
    """How patches fall on a plane of ``shape`` positions whose currents begin at ``margin``.

    ``corner[y * W + x]``: position where the patch of an event at (y, x) begins, if its taps are
    neighbours. Else ``rows[y * kh + ky]`` and ``columns[x * kw + kx]`` say where a tap falls, -1 if
    on no current. Taps are counted in the order of growing positions, the reverse of the kernel's.
    """

    shape: tuple[int, int]
    margin: tuple[int, int]
    corner: Array
    rows: Array
    columns: Array


@lru_cache(maxsize=64)
def _lay_out(
    inputs: tuple[int, int], kernel: tuple[int, int], size: tuple[int, int], geometry: Geometry
) -> _Plane:
    nothing = np.empty(0, np.int64)
    if not _neighbours(geometry):
        rows, columns = (_taps(inputs[k], kernel[k], size[k], geometry, k) for k in (0, 1))
        return _Plane(size, (0, 0), nothing, rows, columns)
    margin, shape, begin = [], [], []
    for axis, padding in enumerate(geometry.padding):
        before = max(0, kernel[axis] - 1 - padding)
        margin.append(before)
        shape.append(before + max(size[axis], inputs[axis] + padding))
        begin.append(np.arange(inputs[axis]) + (padding - (kernel[axis] - 1) + before))
    corner = (begin[0][:, None] * shape[1] + begin[1]).ravel()
    return _Plane((shape[0], shape[1]), (margin[0], margin[1]), corner, nothing, nothing)


def _neighbours(geometry: Geometry) -> bool:
    """Tell whether neighbouring taps of an event fall on neighbouring currents."""
    return geometry.stride == geometry.dilation == (1, 1)


def _taps(inputs: int, kernel: int, size: int, geometry: Geometry, axis: int) -> Array:
    reach = geometry.dilation[axis] * np.arange(kernel)[::-1]
    ahead = np.arange(inputs)[:, None] + geometry.padding[axis] - reach
    place, between = np.divmod(ahead, geometry.stride[axis])
    inside = (between == 0) & (place >= 0) & (place < size)
    return np.where(inside, place, -1).ravel()


@jit
def _list_events(
    numbers: Array,
    at: int,  # where a sample [C * H * W] begins
    channels: int,
    size: int,  # H * W
    groups: int,
    bits: Array,  # [segments * C], scratch
    starts: Array,  # [segments * groups + 1]
    events: Array,  # [C * H * W] uint64: channel of the group above, y * W + x below bit 32
) -> None:
    """List the events by segment of the plane, then by channel."""
    segments = (size + WORD - 1) // WORD
    in_group = channels // groups
    # Memory is read as it lies: the planes are often a multiple of 4 KiB long, and numbers of all
    # of them at once would push each other out of the cache.
    for c in range(channels):
        for segment in range(segments):
            x = segment * WORD
            bits[segment * channels + c] = nonzero_word(numbers, at + c * size + x, size - x)
    e = 0
    for segment in range(segments):
        for group in range(groups):
            starts[segment * groups + group] = e
            for member in range(in_group):
                found = bits[segment * channels + group * in_group + member]
                code = (np.uint64(member) << np.uint64(32)) + np.uint64(segment * WORD)
                e = list_word(found, code, events, e, events.size)
    starts[segments * groups] = e


@jit
def _write_plane(
    plane: Array,
    at: int,  # where the currents begin
    width: int,  # numbers of a position
    pitch: int,  # numbers of a row
    currents: Array,
    to: int,
    count: int,
    height: int,
    breadth: int,
) -> None:
    """Write the first ``count`` channels of the plane as ``[count, height, breadth]``."""
    size = height * breadth
    for y in range(height):
        for j in range(0, count, SQUARE):
            # The last block overlaps the one before where sizes are no multiples of a block.
            j = min(j, max(count - SQUARE, 0))
            for x in range(0, breadth, SQUARE):
                x = min(x, max(breadth - SQUARE, 0))
                source = at + y * pitch + x * width + j
                target = to + j * size + y * breadth + x
                if count >= SQUARE and breadth >= SQUARE:
                    transpose_square(plane, source, width, currents, target, size)
                else:
                    for k in range(min(SQUARE, count)):
                        for i in range(min(SQUARE, breadth)):
                            currents[target + k * size + i] = plane[source + i * width + k]


@cache
def _forward_kernel(vectors: int, kernel_breadth: int, neighbours: bool) -> Any:
    across = vectors * kernel_breadth

    @jit
    def run(
        spikes: Array,  # [B * C * H * W]
        shape: Any,  # C, H, W
        tiles: Array,  # [groups * tiles of a group * C / groups * kh * kw * width]
        bias: Array,  # [groups * tiles of a group * width]
        kernel_height: int,
        plane_shape: Any,  # and so the next four: of _Plane
        margin: Any,
        corner: Array,
        rows: Array,
        columns: Array,
        currents: Array,  # [B * O * OH * OW]
        outputs: Any,  # O, OH, OW
        groups: int,
        first: int,  # of the samples
        last: int,
        parallel: int,
        threads: int,
    ) -> None:
        if threads > 1:
            spread(parallel, threads)
            return
        channels, size, breadth = shape[0], shape[1] * shape[2], shape[2]
        out_size = outputs[1] * outputs[2]
        width = vectors * (64 // spikes.itemsize)
        pitch = plane_shape[1] * width
        in_group = outputs[0] // groups
        tiles_in_group = (in_group + width - 1) // width
        patch = kernel_height * kernel_breadth * width
        tile_size = channels // groups * patch
        segments = (size + WORD - 1) // WORD
        most = channels // groups - 1
        bits = np.empty(segments * channels, np.uint64)
        starts = np.empty(segments * groups + 1, np.int64)
        events = np.empty(channels * size, np.uint64)
        plane = np.empty(plane_shape[0] * pitch, spikes.dtype)
        for b in range(first, last):
            sample = b * channels * size
            _list_events(spikes, sample, channels, size, groups, bits, starts, events)
            for number in range(groups * tiles_in_group):
                group = number // tiles_in_group
                output = number % tiles_in_group * width
                of_group = sample + group * (channels // groups) * size
                repeat_row(plane, plane_shape[0] * plane_shape[1], bias, number * width, vectors)
                for segment in range(segments):
                    start = starts[segment * groups + group]
                    for e in range(start, starts[segment * groups + group + 1]):
                        member = np.intp(events[e] >> np.uint64(32))
                        place = np.intp(events[e] & np.uint64(0xFFFFFFFF))
                        value = spikes[of_group + member * size + place]
                        taps = number * tile_size + (most - member) * patch
                        if neighbours:
                            to = corner[place] * width
                            add_scaled(plane, to, pitch, tiles, taps, value, kernel_height, across)
                        else:
                            y = place // breadth
                            x = place - y * breadth
                            for ky in range(kernel_height):
                                row = rows[y * kernel_height + ky]
                                for kx in range(kernel_breadth if row >= 0 else 0):
                                    column = columns[x * kernel_breadth + kx]
                                    if column >= 0:
                                        to = row * pitch + column * width
                                        tap = taps + (ky * kernel_breadth + kx) * width
                                        add_scaled(plane, to, 0, tiles, tap, value, 1, vectors)
                _write_plane(
                    plane,
                    margin[0] * pitch + margin[1] * width,
                    width,
                    pitch,
                    currents,
                    (b * outputs[0] + group * in_group + output) * out_size,
                    min(width, in_group - output),
                    outputs[1],
                    outputs[2],
                )

    return run


@jit
def _fill_tiles(weight: Array, outputs: int, taps: int, groups: int, width: int) -> Array:
    """Return the weight ``[O, taps]`` as tiles, those of a group after another, taps reversed."""
    outputs = outputs // groups
    in_group = (outputs + width - 1) // width
    tiles = np.empty(groups * in_group * taps * width, weight.dtype)
    for number in range(groups * in_group):
        group = number // in_group
        first = number % in_group * width
        last_tap = ((number + 1) * taps - 1) * width
        count = min(width, outputs - first)
        fill_tile(weight, taps, group * outputs + first, count, tiles, last_tap, width, -width)
    return tiles


def forward(spikes: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Return the currents of ``spikes`` ``[B, C, H, W]``."""
    batch, *shape = spikes.shape
    outputs, taps, *sides = weight.shape
    kernel = (sides[0], sides[1])
    taps *= kernel[0] * kernel[1]
    size = (
        geometry.output_size(shape[1], kernel[0], 0),
        geometry.output_size(shape[2], kernel[1], 1),
    )
    currents = spikes.new_empty(batch, outputs, *size)
    if not currents.numel():
        return currents
    groups = geometry.groups
    numbers, found = flat(spikes.contiguous()), flat(currents)
    in_group = outputs // groups
    vectors = tile_vectors(in_group, numbers.dtype)
    width = vectors * lanes(numbers.dtype)
    padded = np.zeros((groups, -(-in_group // width) * width), numbers.dtype)
    if bias is not None:
        padded[:, :in_group] = bias.numpy().reshape(groups, in_group)
    run = _forward_kernel(vectors, kernel[1], _neighbours(geometry))
    operands = (
        numbers,
        tuple(shape),
        _fill_tiles(flat(weight.contiguous()), outputs, taps, groups, width),
        padded.reshape(-1),
        kernel[0],
        *_lay_out((shape[1], shape[2]), kernel, size, geometry),
        found,
        (outputs, *size),
        groups,
    )
    share_out(run, operands, batch, numbers.size + 4 * found.size)
    return currents
