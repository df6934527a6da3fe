"""Packed spikes on a GPU with Triton: one program per block of bytes."""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 128
"""Bytes a program, so 1024 entries."""


@triton.jit
def _pack(spikes, scale, bits, strays, entries, BLOCK: tl.constexpr):
    program = tl.program_id(0).to(tl.int64)
    byte = program * BLOCK + tl.arange(0, BLOCK)
    place = tl.arange(0, 8)
    entry = byte[:, None] * 8 + place[None, :]
    x = tl.load(spikes + entry, mask=entry < entries, other=0.0)
    fired = (x == tl.load(scale)) & (entry < entries)
    packed = tl.sum(fired.to(tl.int32) << place[None, :], axis=1)
    tl.store(bits + byte, packed.to(tl.uint8), mask=byte * 8 < entries)
    stray = (x != 0.0) & (fired == 0)
    tl.store(strays + program, tl.sum(tl.sum(stray.to(tl.int32), axis=1), axis=0))


@triton.jit
def _unpack(bits, scale, spikes, entries, BLOCK: tl.constexpr):
    entry = tl.program_id(0).to(tl.int64) * (8 * BLOCK) + tl.arange(0, 8 * BLOCK)
    mask = entry < entries
    byte = tl.load(bits + entry // 8, mask=mask, other=0).to(tl.int32)
    fired = (byte >> (entry % 8).to(tl.int32)) & 1
    x = tl.load(scale)
    tl.store(spikes + entry, tl.where(fired == 1, x, 0.0), mask=mask)


def pack(spikes: Tensor, scale: Tensor, bits: Tensor) -> int:
    """Fill ``bits``; return the number of entries that are neither 0 nor the scale."""
    programs = triton.cdiv(len(bits), _BLOCK)
    if not programs:
        return 0
    strays = torch.empty(programs, dtype=torch.int32, device=bits.device)
    _pack[(programs,)](spikes, scale, bits, strays, spikes.numel(), BLOCK=_BLOCK)
    return int(strays.sum())


def unpack(bits: Tensor, scale: Tensor, spikes: Tensor) -> None:
    """Fill ``spikes``."""
    programs = triton.cdiv(len(bits), _BLOCK)
    if programs:
        _unpack[(programs,)](bits, scale, spikes, spikes.numel(), BLOCK=_BLOCK)
