"""Noise on a GPU with Triton: every neuron draws its own words."""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from neuro.kernels.noise import stream as definition
from neuro.kernels.noise.stream import LN, NoiseStream, quarter

_BLOCK = 256

_M0, _M1 = (tl.constexpr(each) for each in definition.MULTIPLIERS)
_K0, _K1 = (tl.constexpr(each) for each in definition.KEY_STEPS)
_ROUNDS = tl.constexpr(definition.ROUNDS)
_LN2, _TURN = tl.constexpr(definition.LN_2), tl.constexpr(definition.QUARTER_TURN)
_L0, _L1, _L2, _L3, _L4, _L5, _L6, _L7 = (tl.constexpr(each) for each in LN)
_S1, _S2, _S3 = (tl.constexpr(each) for each in definition.SIN)
_C1, _C2, _C3, _C4 = (tl.constexpr(each) for each in definition.COS)


@triton.jit
def draw(i, sample, QUARTER, step, layer, low, high, GAUSSIAN: tl.constexpr):
    """Return z (float32) of neurons ``i`` of samples ``sample``, tensors of one shape.

    ``low`` and ``high`` are the words of the seed, uint32.
    """
    row = i // QUARTER
    a = (i % QUARTER).to(tl.uint32)
    b = sample.to(tl.uint32)
    c = tl.full(a.shape, 0, tl.uint32) + step.to(tl.uint32)
    d = tl.full(a.shape, 0, tl.uint32) + layer.to(tl.uint32)
    for _ in tl.static_range(_ROUNDS):
        product = a.to(tl.uint64) * _M0
        other = c.to(tl.uint64) * _M1
        a = (other >> 32).to(tl.uint32) ^ b ^ low
        c = (product >> 32).to(tl.uint32) ^ d ^ high
        b = other.to(tl.uint32)
        d = product.to(tl.uint32)
        low = (low + _K0).to(tl.uint32)
        high = (high + _K1).to(tl.uint32)
    if GAUSSIAN:
        word = tl.where(row < 2, a, c)
        angle = tl.where(row < 2, b, d)
        number = ((word >> 9 << 1) | 1).to(tl.int32).to(tl.float32)
        bits = number.to(tl.int32, bitcast=True)
        exponent = (151 - (bits >> 23)).to(tl.float32)
        h = ((bits & 0x7FFFFF) | 0x3F800000).to(tl.float32, bitcast=True) - 1.5
        ln = ((((((_L7 * h + _L6) * h + _L5) * h + _L4) * h + _L3) * h + _L2) * h + _L1) * h + _L0
        radius = tl.sqrt_rn(tl.maximum(exponent * _LN2 - ln, 0.0))
        delta = angle.to(tl.int32, bitcast=True).to(tl.float32) * _TURN
        square = delta * delta
        sine = delta * (((_S3 * square + _S2) * square + _S1) * square + 1.0)
        cosine = (((_C4 * square + _C3) * square + _C2) * square + _C1) * square + 1.0
        even = row % 2 == 0
        z = radius * tl.where(even, cosine - sine, cosine + sine)
        negative = tl.where(even, word & 1, (word >> 1) & 1) != 0
        return tl.where(negative, -z, z)
    else:
        word = tl.where(row < 2, tl.where(row == 0, a, b), tl.where(row == 2, c, d))
        return tl.where(word >> 31 != 0, 1.0, -1.0)


@triton.jit
def _fill(
    result,
    size,
    neurons,
    QUARTER,
    step,
    layer,
    low,
    high,
    GAUSSIAN: tl.constexpr,
    BLOCK: tl.constexpr,
):
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    z = draw(
        index % neurons,
        index // neurons,
        QUARTER,
        step,
        layer,
        low.to(tl.uint32),
        high.to(tl.uint32),
        GAUSSIAN,
    )
    tl.store(result + index, z, mask=index < size)


def counters(stream: NoiseStream, neurons: int) -> dict[str, Any]:
    """Return what :func:`draw` needs besides the neurons."""
    return {
        "QUARTER": max(quarter(neurons), 1),
        "step": stream.step,
        "layer": stream.layer,
        "low": stream.seed & definition.WORD,
        "high": stream.seed >> 32,
        "GAUSSIAN": stream.kind == "gaussian",
    }


def noise(stream: NoiseStream, like: Tensor) -> Tensor:
    """Return ``z``, of the shape, dtype and device of ``like`` ``[B, ...]``."""
    result = torch.empty_like(like, memory_format=torch.contiguous_format)
    size, neurons = like.numel(), like.shape[1:].numel()
    if size:
        _fill[(triton.cdiv(size, _BLOCK),)](
            result,
            size,
            neurons,
            **counters(stream, neurons),
            BLOCK=_BLOCK,
            enable_fp_fusion=False,
        )
    return result
