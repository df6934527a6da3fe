"""Packed spikes on the CPU with Numba: eight entries a byte, each read or written once."""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neuro.kernels.compiled import flat, share_out
from neuro.kernels.jit import jit
from neuro.kernels.team import spread

Array = NDArray[Any]

_BYTES = np.unpackbits(np.arange(256, dtype=np.uint8)[:, None], axis=1, bitorder="little")
"""The eight bits of every byte, ``[256, 8]``."""


@jit
def _pack_bytes(
    spikes: Array,
    scale: Any,
    zero: Any,
    bits: Array,
    first: int,  # of the bytes
    last: int,
    parallel: int,
    threads: int,
) -> int:
    if threads > 1:
        return spread(parallel, threads)
    strays = 0
    for k in range(first, last):
        byte = 0
        for i in range(8):
            x = spikes[8 * k + i]
            byte |= int(x == scale) << i
            strays += int((x != scale) & (x != zero))
        bits[k] = byte
    return strays


@jit
def _unpack_bytes(
    bits: Array, table: Array, spikes: Array, first: int, last: int, parallel: int, threads: int
) -> None:
    if threads > 1:
        spread(parallel, threads)
        return
    for k in range(first, last):
        row = table[bits[k]]
        for i in range(8):
            spikes[8 * k + i] = row[i]


def pack(spikes: Tensor, scale: Tensor, bits: Tensor) -> int:
    """Fill ``bits``; return the number of entries that are neither 0 nor the scale."""
    entries, packed, spike = flat(spikes), bits.numpy(), flat(scale)[0]
    zero = spike.dtype.type(0)
    whole = entries.size // 8
    strays = share_out(_pack_bytes, (entries, spike, zero, packed), whole, entries.size)
    if whole < packed.size:
        rest = np.zeros(8, entries.dtype)
        rest[: entries.size % 8] = entries[8 * whole :]
        strays += share_out(_pack_bytes, (rest, spike, zero, packed[whole:]), 1, rest.size)
    return strays


def unpack(bits: Tensor, scale: Tensor, spikes: Tensor) -> None:
    """Fill ``spikes``."""
    entries, packed = flat(spikes), bits.numpy()
    spike = flat(scale)
    table = np.where(_BYTES, spike, spike.dtype.type(0))
    whole = entries.size // 8
    share_out(_unpack_bytes, (packed, table, entries), whole, entries.size)
    if whole < packed.size:
        entries[8 * whole :] = table[packed[whole], : entries.size % 8]
