"""How dense spikes are, told from a sample: in a few microseconds, whatever their number."""

from typing import Any

import numpy as np
from numba.np.numpy_support import carray
from numpy.typing import NDArray
from torch import Tensor, float64

from neuro.kernels.jit import jit
from neuro.kernels.vectors import BYTES, WORD, count_bits, nonzero_word, pointer, prefetch

Array = NDArray[Any]

_LOOKS = 256
_FIRST_LOOKS = 64
_STRIDE = 0x9E3779B9
"""2^32 over the golden ratio: its multiples lie evenly, however many, and follow no plane."""
_AHEAD = 16
"""Looks by which memory is asked before it is read: no stream that the processor would foresee."""
_BELOW, _ABOVE = 0.5, 1.5
"""What the first looks say is believed where it is less, or more, than so much of the limit."""


@jit
def _place(look: int, words: int) -> Any:
    """Return where a look goes: to every word in turn, or all over if there are too many."""
    if words > _LOOKS:
        look = ((look * _STRIDE & 0xFFFFFFFF) * words) >> 32
    return min(look, words - 1) * WORD


@jit
def _sample(numbers: Array, limit: float) -> float:
    words = (numbers.size + WORD - 1) // WORD
    looks = min(words, _LOOKS)
    lines = WORD * numbers.itemsize // BYTES
    seen = events = 0
    for look in range(-_AHEAD, looks):
        ahead = _place(look + _AHEAD, words)
        for line in range(lines):
            prefetch(numbers, ahead + line * (WORD // lines))
        if look < 0:
            continue
        place = _place(look, words)
        there = min(WORD, numbers.size - place)
        seen += there
        events += count_bits(nonzero_word(numbers, place, there))
        told = events < _BELOW * limit * seen or events > _ABOVE * limit * seen
        if told and words > _LOOKS and look + 1 == _FIRST_LOOKS:
            break
    return events / seen


@jit
def _sample_at(address: int, size: int, double: bool, limit: float) -> float:
    if double:
        return _sample(carray(pointer(address), (size,), np.float64), limit)
    return _sample(carray(pointer(address), (size,), np.float32), limit)


def estimate_density(spikes: Tensor, limit: float = float("nan")) -> float:
    """Return the share of elements that are not zero.

    Exact for up to 16,384 of them; of more, so many from all over are looked at, or a quarter of
    these where that tells ``limit`` from it. The same for the same spikes.

    Args:
        spikes: on the CPU, of 32 or 64 bits.
        limit: the density that matters; none by default.
    """
    if not spikes.is_contiguous():
        spikes = spikes.contiguous()
    size = spikes.numel()
    if not size:
        return 0.0
    density: float = _sample_at(spikes.data_ptr(), size, spikes.dtype == float64, limit)
    return density
