"""A convolutional synapse driven by spikes, as one operation of torch, differentiable once."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Protocol

import torch
from torch import Tensor

from neuro.kernels.compiled import (
    DTYPES,
    TRITON_DTYPES,
    numba_unavailable,
    triton_devices,
    triton_unavailable,
)
from neuro.kernels.density import (
    Cost,
    Ways,
    by_density,
    note_by_density,
    unmeasured_on_gpu,
)
from neuro.kernels.dispatch import Implementation, Op, request
from neuro.kernels.event_conv2d.geometry import Geometry
from neuro.kernels.event_linear.op import check_kinds
from neuro.kernels.unrecorded import is_plain_call

_VECTOR = 16
"""Numbers in a vector of 64 bytes; twice the bytes cost twice as much in either way."""


class _Forward(Protocol):
    def __call__(
        self, spikes: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry
    ) -> Tensor: ...


def forward_cost(
    spikes: tuple[int, ...], weight: tuple[int, ...], geometry: Geometry | None = None
) -> Cost:
    """Return the expected cost of the currents for the shapes of spikes and weight.

    ``geometry`` left out: the sides of the plane stay as they are.
    """
    batch, channels, height, breadth = spikes
    outputs, _, *kernel = weight
    if geometry is None:
        geometry = Geometry((1, 1), (kernel[0] // 2, kernel[1] // 2), (1, 1), 1)
    rows, columns = (geometry.output_size(spikes[2 + k], kernel[k], k) for k in (0, 1))
    positions = batch * rows * columns
    taps = kernel[0] * kernel[1]
    fan_in = weight[1] * taps
    vectors = -(-(outputs // geometry.groups) // _VECTOR)
    inputs = batch * channels * height * breadth
    # A stride drops most taps of an event, but the loop has to ask for each.
    share = min(1.0, 2 * rows * columns / max(height * breadth, 1))
    apart = 1.0 if geometry.stride == geometry.dilation == (1, 1) else 3.0
    return Cost(
        dense=positions * outputs * min(0.042 * fan_in, 1.8 + 0.0142 * fan_in),
        fixed=80e3
        + 0.25 * inputs
        + 0.7 * outputs * fan_in
        + 0.4 * positions * vectors * geometry.groups * _VECTOR,
        full=inputs * (3 + taps * share * (1.0 * vectors + (apart - 1.0))),
    )


def _reference() -> _Forward:
    from neuro.kernels.event_conv2d.reference import forward

    return forward


def _numba() -> _Forward:
    from neuro.kernels.event_conv2d.cpu import forward

    return forward


def _triton() -> _Forward:
    from neuro.kernels.event_conv2d.gpu import forward

    return forward


def _examples() -> dict[str, Cost]:
    sizes = ((128, 16, 32), (128, 64, 32), (128, 64, 8), (128, 128, 8), (128, 2, 32))
    return {
        f"{batch} x {channels} x {side} x {side} -> {max(channels, 16)}, 3 x 3": forward_cost(
            (batch, channels, side, side), (max(channels, 16), channels, 3, 3)
        )
        for batch, channels, side in sizes
    }


EVENT_CONV2D: Op[_Forward] = Op(
    "event_conv2d",
    (
        Implementation("numba", _numba, ("cpu",), DTYPES, numba_unavailable),
        Implementation(
            "triton", _triton, triton_devices, TRITON_DTYPES, unmeasured_on_gpu(triton_unavailable)
        ),
        Implementation("reference", _reference),
    ),
    note_by_density(_examples),
)

Pair = int | Sequence[int]


def event_conv2d(
    spikes: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: Pair = 1,
    padding: Pair = 0,
    dilation: Pair = 1,
    groups: int = 1,
) -> Tensor:
    """Return the currents that spikes drive through a convolutional synapse.

    Every spike adds its kernel patch, scaled by it, to the currents it reaches::

        I[b, o, y, x] = bias[o] + sum over c, ky, kx with s != 0 of s * W[o, c, ky, kx]
        s = spikes[b, c, y * stride + ky * dilation - padding, x * stride + kx * dilation - padding]

    Everything said of :func:`neuro.kernels.event_linear` holds: on events the cost goes with the
    number of spikes, above a density the dense convolution serves, a zero contributes nothing on
    events, and results differ by rounding alone. Gradients are those of the dense convolution.

    Args:
        spikes: ``[B, C, H, W]``, floating: 0 and 1, or any scaled or graded spikes.
        weight: ``[O, C / groups, kh, kw]``.
        bias: ``[O]`` or none.
        stride: of rows and columns, one number for both or two.
        padding: rows and columns of zeros on either side.
        dilation: distance of neighbouring taps.
        groups: of channels, each seeing its own inputs alone.

    Returns:
        ``[B, O, OH, OW]``, contiguous.

    Raises:
        ValueError: shapes, dtypes, devices or numbers do not fit.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    read = _read if torch.compiler.is_compiling() else _remember
    pairs = _hashable(stride), _hashable(padding), _hashable(dilation)
    geometry = read(spikes.shape, weight.shape, *pairs, groups)
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"event_conv2d: bias is {tuple(bias.shape)}, expected ({len(weight)},), one number "
            "for each channel of the currents"
        )
    check_kinds("event_conv2d", spikes, weight=weight, bias=bias)
    if is_plain_call(spikes, weight, bias):
        return _currents(spikes, weight, bias, geometry)
    currents: Tensor = _event_conv2d(spikes, weight, bias, *geometry)
    return currents


def _hashable(value: Pair) -> Pair:
    return value if isinstance(value, int) else tuple(value)


def _read(
    spikes: torch.Size, weight: torch.Size, stride: Pair, padding: Pair, dilation: Pair, groups: int
) -> Geometry:
    """Return the geometry that the arguments mean, having checked that the shapes have one."""
    geometry = Geometry(
        _pair("stride", stride, 1),
        _pair("padding", padding, 0),
        _pair("dilation", dilation, 1),
        groups,
    )
    shapes = f"got {tuple(spikes)} and {tuple(weight)}, {groups} groups"
    if len(spikes) != 4 or len(weight) != 4 or groups < 1:
        raise ValueError(
            f"event_conv2d: spikes are [B, C, H, W] and the weight is [O, C / groups, kh, kw], "
            f"{shapes}"
        )
    if spikes[1] != weight[1] * groups or weight[0] % groups:
        raise ValueError(
            f"event_conv2d: the weight's second size times the groups is that of the channels, and "
            f"its first a multiple of the groups; {shapes}"
        )
    sizes = [geometry.output_size(spikes[2 + k], weight[2 + k], k) for k in (0, 1)]
    if min(sizes) < 1 or 0 in weight:
        raise ValueError(
            f"event_conv2d: the kernel does not fit into the padded plane, {shapes}, "
            f"padding {geometry.padding}, dilation {geometry.dilation}"
        )
    return geometry


_remember = lru_cache(maxsize=1024)(_read)


def _pair(name: str, value: Pair, least: int) -> tuple[int, int]:
    pair = (value, value) if isinstance(value, int) else tuple(value)
    if len(pair) != 2 or min(pair) < least:
        raise ValueError(
            f"event_conv2d: {name} is a number of at least {least}, or two of them, got {value}"
        )
    return pair[0], pair[1]


@lru_cache(maxsize=1024)
def _ways(
    spikes: torch.Size,
    weight: torch.Size,
    geometry: Geometry,
    device: torch.device,
    dtype: torch.dtype,
    requested: Any,  # decides, see by_density
) -> Ways[_Forward]:
    return by_density(EVENT_CONV2D, device, dtype, forward_cost(spikes, weight, geometry))


def _currents(spikes: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    known = spikes.shape, weight.shape, geometry, spikes.device, spikes.dtype
    return _ways(*known, request()).serving(spikes)(spikes, weight, bias, geometry)


@torch.library.custom_op("neuro::event_conv2d", mutates_args=())
def _event_conv2d(
    spikes: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    return _currents(spikes, weight, bias, _geometry(stride, padding, dilation, groups))


@_event_conv2d.register_fake
def _(
    spikes: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    geometry = _geometry(stride, padding, dilation, groups)
    sizes = [geometry.output_size(spikes.shape[2 + k], weight.shape[2 + k], k) for k in (0, 1)]
    return spikes.new_empty(len(spikes), len(weight), *sizes)


def _geometry(
    stride: Sequence[int], padding: Sequence[int], dilation: Sequence[int], groups: int
) -> Geometry:
    pairs = [(each[0], each[1]) for each in (stride, padding, dilation)]
    return Geometry(pairs[0], pairs[1], pairs[2], groups)


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*inputs[:2])
    ctx.geometry = inputs[3:]


def _differentiate(ctx: Any, of_currents: Tensor) -> Any:
    spikes, weight = ctx.saved_tensors
    stride, padding, dilation, groups = ctx.geometry
    found = torch.ops.aten.convolution_backward(
        of_currents,
        spikes,
        weight,
        [len(weight)],
        list(stride),
        list(padding),
        list(dilation),
        False,
        [0, 0],
        groups,
        list(ctx.needs_input_grad[:3]),
    )
    return (*found, None, None, None, None)


_event_conv2d.register_autograd(_differentiate, setup_context=_setup)
