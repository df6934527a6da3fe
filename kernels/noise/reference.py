"""Noise in plain torch: the definition the other implementations must equal."""

import torch
from torch import Tensor

from neuro.kernels.noise.stream import (
    COS,
    LN,
    LN_2,
    MULTIPLIERS,
    QUARTER_TURN,
    ROUNDS,
    SIN,
    WORD,
    NoiseStream,
    quarter,
    round_keys,
)


@torch.no_grad()
def noise(stream: NoiseStream, like: Tensor) -> Tensor:
    """Return ``z``, of the shape, dtype and device of ``like`` ``[B, ...]``."""
    samples, neurons = like.shape[0], like.shape[1:].numel()
    if not like.numel():
        return torch.empty_like(like, memory_format=torch.contiguous_format)
    position = torch.arange(quarter(neurons), device=like.device)
    sample = torch.arange(samples, device=like.device)[:, None]
    words = philox(position, sample, stream.step, stream.layer, stream.seed)
    if stream.kind == "rademacher":
        quarters = [(each >> 31).to(torch.float32) * 2 - 1 for each in words]
    else:
        quarters = [*_normal_pair(words[0], words[1]), *_normal_pair(words[2], words[3])]
    z = torch.cat(quarters, 1)[:, :neurons]
    return z.to(like.dtype).reshape(like.shape).contiguous()


def philox(
    first: Tensor, second: Tensor, third: int, fourth: int, seed: int
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the four words (int64, below 2^32) of Philox-4x32-10 at a counter."""
    third_word = torch.full_like(first + second, third)
    counter = (
        first.expand_as(third_word),
        second.expand_as(third_word),
        third_word,
        torch.full_like(third_word, fourth),
    )
    for r in range(ROUNDS):
        a, b, c, d = counter
        low, high = round_keys(seed)[r]
        product, other = _multiply(MULTIPLIERS[0], a), _multiply(MULTIPLIERS[1], c)
        counter = (other[0] ^ b ^ low, other[1], product[0] ^ d ^ high, product[1])
    return counter


def _multiply(constant: int, word: Tensor) -> tuple[Tensor, Tensor]:
    """Return the high and low 32 bits of a product, which does not fit a signed 64-bit number."""
    low, high = (word & 0xFFFF) * constant, (word >> 16) * constant
    carried = high + (low >> 16)
    return carried >> 16, ((carried & 0xFFFF) << 16) | (low & 0xFFFF)


def _normal_pair(word: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    number = ((word >> 9 << 1) | 1).to(torch.float32)
    bits = number.view(torch.int32)
    exponent = (151 - (bits >> 23)).to(torch.float32)
    h = ((bits & 0x7FFFFF) | 0x3F800000).view(torch.float32) - 1.5
    # torch's root in single precision may be an ulp off; by way of double it is rounded exactly.
    radius = (exponent * LN_2 - _polynomial(LN, h)).clamp(min=0).double().sqrt().float()
    signed = torch.where(other > WORD >> 1, other - WORD - 1, other)
    delta = signed.to(torch.int32).to(torch.float32) * QUARTER_TURN
    square = delta * delta
    sine = delta * (_polynomial((1.0, *SIN), square))
    cosine = _polynomial((1.0, *COS), square)
    return (
        torch.where(word & 1 != 0, -1.0, 1.0) * (radius * (cosine - sine)),
        torch.where(word & 2 != 0, -1.0, 1.0) * (radius * (cosine + sine)),
    )


def _polynomial(coefficients: tuple[float, ...], x: Tensor) -> Tensor:
    *lower, value = coefficients
    total = torch.full_like(x, value)
    for coefficient in reversed(lower):
        total = total * x + coefficient
    return total
