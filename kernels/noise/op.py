"""Noise as an operation of torch."""

from typing import Any, Protocol, cast, get_args

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
from neuro.kernels.noise.stream import Kind, NoiseStream
from neuro.kernels.unrecorded import UnrecordedOp


class _Function(Protocol):
    def __call__(self, stream: NoiseStream, like: Tensor) -> Tensor: ...


def _reference() -> _Function:
    from neuro.kernels.noise.reference import noise

    return noise


def _numba() -> _Function:
    from neuro.kernels.noise.cpu import noise

    return noise


def _triton() -> _Function:
    from neuro.kernels.noise.gpu import noise

    return noise


NOISE: Op[_Function] = Op(
    "noise",
    (
        Implementation("numba", _numba, ("cpu",), DTYPES, numba_unavailable),
        Implementation("triton", _triton, triton_devices, TRITON_DTYPES, triton_unavailable),
        Implementation("reference", _reference),
    ),
)


def noise(stream: NoiseStream, like: Tensor) -> Tensor:
    """Write out the noise that a stream names.

    Every implementation gives the same bits, on every device; single precision is what is drawn,
    other dtypes hold its values. See :mod:`neuro.kernels.noise.stream` for the definition.

    Args:
        stream: kind, seed, layer and step.
        like: ``[B, ...]``; gives shape, dtype and device.

    Returns:
        ``z``, independent from one entry to the next, with mean 0 and variance 1.

    Raises:
        ValueError: the stream is out of range, or ``like`` is not floating or has no batch.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    check_stream(stream, "noise")
    if not like.is_floating_point() or like.dim() < 1:
        raise ValueError(f"noise: needs floating [B, ...], got {like.dtype} {tuple(like.shape)}")
    return cast(Tensor, _NOISE(*stream, like))


def check_stream(stream: NoiseStream, op: str) -> None:
    """Raise ValueError where a stream is out of range."""
    if stream.kind not in get_args(Kind):
        raise ValueError(f"{op}: noise is {' or '.join(get_args(Kind))}, got {stream.kind!r}")
    for name, value, bits in (
        ("seed", stream.seed, 63),
        ("layer", stream.layer, 32),
        ("step", stream.step, 32),
    ):
        if not 0 <= value < 1 << bits:
            raise ValueError(f"{op}: {name} of the noise must lie in [0, 2^{bits}), got {value}")


def _noise(kind: str, seed: int, layer: int, step: int, like: Tensor) -> Tensor:
    stream = NoiseStream(cast(Kind, kind), seed, layer, step)
    return choose(NOISE, like.device, like.dtype).function(stream, like)


def _noise_like(*arguments: Any) -> Tensor:
    return torch.empty_like(arguments[-1], memory_format=torch.contiguous_format)


_NOISE = UnrecordedOp("neuro::noise", _noise, _noise_like)
