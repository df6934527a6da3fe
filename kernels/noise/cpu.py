"""Noise on the CPU with Numba, in loops that vectorise."""

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro.kernels.compiled import flat, share_out
from neuro.kernels.jit import jit
from neuro.kernels.noise import stream as definition
from neuro.kernels.noise.stream import LN, ROUNDS, NoiseStream, round_keys
from neuro.kernels.team import spread

Array = NDArray[Any]

RUN = 512
"""Counters drawn at once: four times as many neurons, whose noise stays in the L1 cache."""

COST = 4
"""Of a number, in updates of a plain neuron."""

_ROUNDS = ROUNDS
_M0, _M1 = (np.uint64(each) for each in definition.MULTIPLIERS)
_WORD, _SHIFT = np.uint64(definition.WORD), np.uint64(32)
_LN2, _TURN = np.float32(definition.LN_2), np.float32(definition.QUARTER_TURN)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7 = (np.float32(each) for each in LN)
_S1, _S2, _S3 = (np.float32(each) for each in definition.SIN)
_C1, _C2, _C3, _C4 = (np.float32(each) for each in definition.COS)
_ZERO, _ONE, _HALF_WAY = np.float32(0), np.float32(1), np.float32(1.5)
_NINE, _TOP = np.uint32(9), np.uint32(31)
_FIRST, _SECOND = np.uint32(1), np.uint32(2)


@jit(error_model="numpy")
def _draw_words(
    words: Array, first: int, count: int, sample: int, step: int, layer: int, keys: Array
) -> None:
    w0, w1, w2, w3 = words[0], words[1], words[2], words[3]
    for i in range(count):
        # Words of 32 bits in lanes of 64, where a product fits whole.
        a = np.uint64(first + i)
        b = np.uint64(sample)
        c = np.uint64(step)
        d = np.uint64(layer)
        for r in range(_ROUNDS):
            product = _M0 * a
            other = _M1 * c
            a = (other >> _SHIFT) ^ b ^ keys[r, 0]
            c = (product >> _SHIFT) ^ d ^ keys[r, 1]
            b = other & _WORD
            d = product & _WORD
        w0[i] = np.uint32(a)
        w1[i] = np.uint32(b)
        w2[i] = np.uint32(c)
        w3[i] = np.uint32(d)


@jit(error_model="numpy")
def _normal_pairs(word: Array, other: Array, even: Array, odd: Array, count: int) -> None:
    for i in range(count):
        bits = np.float32(np.int32((word[i] >> _NINE << _FIRST) | _FIRST)).view(np.int32)
        exponent = np.float32(np.int32(151) - (bits >> np.int32(23)))
        mantissa = (bits & np.int32(0x7FFFFF)) | np.int32(0x3F800000)
        h = np.int32(mantissa).view(np.float32) - _HALF_WAY
        ln = ((((((_L7 * h + _L6) * h + _L5) * h + _L4) * h + _L3) * h + _L2) * h + _L1) * h + _L0
        radius = np.float32(math.sqrt(max(exponent * _LN2 - ln, _ZERO)))
        delta = np.float32(np.int32(other[i])) * _TURN
        square = delta * delta
        sine = delta * (((_S3 * square + _S2) * square + _S1) * square + _ONE)
        cosine = (((_C4 * square + _C3) * square + _C2) * square + _C1) * square + _ONE
        minus = np.int32((word[i] & _FIRST) << _TOP)
        minus_too = np.int32((word[i] & _SECOND) << (_TOP - _FIRST))
        less = np.float32(radius * (cosine - sine)).view(np.int32)
        more = np.float32(radius * (cosine + sine)).view(np.int32)
        even[i] = np.int32(less ^ minus).view(np.float32)
        odd[i] = np.int32(more ^ minus_too).view(np.float32)


@jit(error_model="numpy")
def draw(
    z: Array,
    words: Array,
    first: int,
    count: int,
    sample: int,
    step: int,
    layer: int,
    keys: Array,
    gaussian: bool,
) -> None:
    """Fill ``z[:, :count]`` with the noise of ``count`` counters from ``first`` on.

    Rows of ``z``, ``[4, RUN]`` float32, are quarters of the sample; ``words``, of that shape in
    uint32, is scratch.
    """
    _draw_words(words, first, count, sample, step, layer, keys)
    if gaussian:
        _normal_pairs(words[0], words[1], z[0], z[1], count)
        _normal_pairs(words[2], words[3], z[2], z[3], count)
        return
    for row in range(4):
        word, signs = words[row], z[row]
        for i in range(count):
            signs[i] = _ONE if word[i] >> _TOP else -_ONE


@jit(error_model="numpy")
def _samples(
    result: Array,
    neurons: int,
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
    length = (neurons + 3) // 4
    words = np.empty((4, RUN), np.uint32)
    z = np.empty((4, RUN), np.float32)
    for sample in range(first, last):
        for counter in range(0, length, RUN):
            count = min(RUN, length - counter)
            draw(z, words, counter, count, sample, step, layer, keys, gaussian)
            for row in range(4):
                start = row * length + counter
                stop = min(start + count, neurons)
                target = result[sample * neurons + start : sample * neurons + stop]
                drawn = z[row]
                for i in range(stop - start):
                    target[i] = drawn[i]


def keys_of(stream: NoiseStream) -> Array:
    """Return the keys of all rounds, ``[10, 2]`` uint64."""
    return np.array(round_keys(stream.seed), np.uint64)


def noise(stream: NoiseStream, like: Tensor) -> Tensor:
    """Return ``z``, of the shape, dtype and device of ``like`` ``[B, ...]``."""
    result = torch.empty_like(like, memory_format=torch.contiguous_format)
    samples, neurons = like.shape[0], like.shape[1:].numel()
    where = (stream.step, stream.layer, keys_of(stream), stream.kind == "gaussian")
    if result.numel():
        share_out(_samples, (flat(result), neurons, *where), samples, COST * result.numel())
    return result
