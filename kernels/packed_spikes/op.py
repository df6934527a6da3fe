"""Spike trains packed to one bit a spike, and unpacked again, exactly."""

from collections.abc import Sequence
from math import prod
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from neuro.kernels.compiled import (
    DTYPES,
    TRITON_DTYPES,
    numba_unavailable,
    triton_devices,
    triton_unavailable,
)
from neuro.kernels.dispatch import Implementation, Op, choose


class _Pack(Protocol):
    def __call__(self, spikes: Tensor, scale: Tensor, bits: Tensor) -> int: ...


class _Unpack(Protocol):
    def __call__(self, bits: Tensor, scale: Tensor, spikes: Tensor) -> None: ...


class Functions(NamedTuple):
    """Both directions of one implementation, on contiguous tensors and a scale of one element.

    ``pack`` fills ``bits`` and returns how many entries are neither 0 nor the scale.
    """

    pack: _Pack
    unpack: _Unpack


def _reference() -> Functions:
    from neuro.kernels.packed_spikes.reference import pack, unpack

    return Functions(pack, unpack)


def _numba() -> Functions:
    from neuro.kernels.packed_spikes.cpu import pack, unpack

    return Functions(pack, unpack)


def _triton() -> Functions:
    from neuro.kernels.packed_spikes.gpu import pack, unpack

    return Functions(pack, unpack)


PACKED_SPIKES: Op[Any] = Op(
    "packed_spikes",
    (
        Implementation("numba", _numba, ("cpu",), DTYPES, numba_unavailable),
        Implementation("triton", _triton, triton_devices, TRITON_DTYPES, triton_unavailable),
        Implementation("reference", _reference),
    ),
)


def pack_spikes(spikes: Tensor, *, scale: float = 1.0) -> Tensor:
    """Pack a spike train to one bit per entry.

    ::

        bits[k] = sum_i 2^i * [x[8 k + i] = scale],   i = 0 .. 7,   x the entries in row order

    The last byte is filled up with zeros. Bits carry no gradient. Every entry is looked at, so
    that :func:`unpack_spikes` gives back exactly what was packed; on a GPU the call waits for the
    answer.

    Args:
        spikes: floating point, any shape, every entry 0 or ``scale`` (a -0 counts as 0).
        scale: what a spike is, rounded to the dtype of ``spikes``.

    Returns:
        ``[ceil(n / 8)]`` uint8 for n entries.

    Raises:
        ValueError: ``spikes`` is not floating, or an entry is neither 0 nor ``scale``.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    if not spikes.is_floating_point():
        raise ValueError(f"pack_spikes: spikes must be a floating dtype, got {spikes.dtype}")
    packed: Tensor = _pack(spikes, float(scale))
    return packed


def unpack_spikes(
    bits: Tensor, shape: Sequence[int], *, dtype: torch.dtype, scale: float = 1.0
) -> Tensor:
    """Unpack what :func:`pack_spikes` packed.

    ::

        x[8 k + i] = scale * (bits[k] >> i & 1)

    Args:
        bits: ``[ceil(n / 8)]`` uint8, contiguous.
        shape: of the result, n entries.
        dtype: of the result, floating.
        scale: what a spike is, rounded to ``dtype``.

    Returns:
        The spikes, contiguous.

    Raises:
        ValueError: ``bits`` is not of that kind or length, or ``dtype`` is not floating.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    if not dtype.is_floating_point:
        raise ValueError(f"unpack_spikes: dtype must be floating, got {dtype}")
    expected = (_bytes(prod(shape)),)
    if bits.dtype != torch.uint8 or bits.shape != expected or not bits.is_contiguous():
        raise ValueError(
            f"unpack_spikes: bits for shape {tuple(shape)} are contiguous uint8 {expected}, got "
            f"{bits.dtype} {tuple(bits.shape)}; pass on what pack_spikes returned"
        )
    unpacked: Tensor = _unpack(bits, list(shape), dtype, float(scale))
    return unpacked


def _bytes(entries: int) -> int:
    return (entries + 7) // 8


@torch.library.custom_op("neuro::pack_spikes", mutates_args=())
def _pack(spikes: Tensor, scale: float) -> Tensor:
    bits = spikes.new_empty(_bytes(spikes.numel()), dtype=torch.uint8)
    function = choose(PACKED_SPIKES, spikes.device, spikes.dtype).function.pack
    strays = function(spikes.detach().contiguous(), spikes.new_full((1,), scale), bits)
    if strays:
        raise ValueError(
            f"pack_spikes: {strays} of {spikes.numel()} entries are neither 0 nor {scale:g}; only "
            f"what a spiking layer emits can be packed"
        )
    return bits


@torch.library.custom_op("neuro::unpack_spikes", mutates_args=())
def _unpack(bits: Tensor, shape: Sequence[int], dtype: torch.dtype, scale: float) -> Tensor:
    spikes = bits.new_empty(shape, dtype=dtype)
    function = choose(PACKED_SPIKES, bits.device, dtype).function.unpack
    function(bits, spikes.new_full((1,), scale), spikes)
    return spikes


@_pack.register_fake
def _(spikes: Tensor, scale: float) -> Any:
    return spikes.new_empty(_bytes(spikes.numel()), dtype=torch.uint8)


@_unpack.register_fake
def _(bits: Tensor, shape: Sequence[int], dtype: torch.dtype, scale: float) -> Any:
    return bits.new_empty(shape, dtype=dtype)
