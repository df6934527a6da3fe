"""Three-factor products on a GPU with Triton: the error of a tile of neurons stays in registers."""

import torch
import triton
import triton.language as tl
from torch import Tensor

_SAMPLES = 16
_NEURONS = 32
_INPUTS = 64


@triton.jit
def _delta(
    projection,
    error,
    factor,
    gain,
    b,
    i,
    samples,
    neurons,
    OUTPUTS: tl.constexpr,
    B: tl.constexpr,
    N: tl.constexpr,
    ACC: tl.constexpr,
):
    """Return delta of samples ``b`` and neurons ``i``, zero beyond the batch and the layer."""
    total = tl.full([B, N], 0.0, ACC)
    for k in range(OUTPUTS):
        e = tl.load(error + b * OUTPUTS + k, mask=b < samples, other=0.0)
        p = tl.load(projection + k * neurons + i, mask=i < neurons, other=0.0)
        total += e[:, None] * p[None, :]
    mask = (b < samples)[:, None] & (i < neurons)[None, :]
    psi = tl.load(factor + b[:, None] * neurons + i[None, :], mask=mask, other=0.0)
    return (total * psi) * gain


@triton.jit
def _fill(
    delta,
    projection,
    error,
    factor,
    numbers,
    samples,
    neurons,
    OUTPUTS: tl.constexpr,
    ADD: tl.constexpr,
    B: tl.constexpr,
    N: tl.constexpr,
    ACC: tl.constexpr,
):
    b = tl.program_id(0) * B + tl.arange(0, B)
    i = tl.program_id(1) * N + tl.arange(0, N)
    gain = tl.load(numbers)
    tile = _delta(projection, error, factor, gain, b, i, samples, neurons, OUTPUTS, B, N, ACC)
    mask = (b < samples)[:, None] & (i < neurons)[None, :]
    where = delta + b[:, None] * neurons + i[None, :]
    if ADD:
        tile += tl.load(where, mask=mask, other=0.0)
    tl.store(where, tile, mask=mask)


@triton.jit
def _gradient(
    projection,
    error,
    factor,
    trace,
    weight_sum,
    bias_sum,
    numbers,
    samples,
    neurons,
    inputs,
    OUTPUTS: tl.constexpr,
    BIAS: tl.constexpr,
    B: tl.constexpr,
    N: tl.constexpr,
    J: tl.constexpr,
    ACC: tl.constexpr,
):
    i = tl.program_id(0) * N + tl.arange(0, N)
    j = tl.program_id(1) * J + tl.arange(0, J)
    gain = tl.load(numbers)
    total = tl.full([N, J], 0.0, ACC)
    summed = tl.full([N], 0.0, ACC)
    for start in range(0, samples, B):
        b = start + tl.arange(0, B)
        tile = _delta(projection, error, factor, gain, b, i, samples, neurons, OUTPUTS, B, N, ACC)
        mask = (b < samples)[:, None] & (j < inputs)[None, :]
        a = tl.load(trace + b[:, None] * inputs + j[None, :], mask=mask, other=0.0)
        total = tl.dot(tl.trans(tile), a, total, input_precision="ieee", out_dtype=ACC)
        summed += tl.sum(tile, 0)
    mask = (i < neurons)[:, None] & (j < inputs)[None, :]
    where = weight_sum + i[:, None] * inputs + j[None, :]
    tl.store(where, tl.load(where, mask=mask, other=0.0) + total, mask=mask)
    if BIAS and tl.program_id(1) == 0:
        mask = i < neurons
        before = tl.load(bias_sum + i, mask=mask, other=0.0)
        tl.store(bias_sum + i, before + summed, mask=mask)


def _working(tensor: Tensor) -> tl.dtype:
    return tl.float64 if tensor.element_size() == 8 else tl.float32


def three_factor(projection: Tensor, error: Tensor, factor: Tensor, gain: float) -> Tensor:
    """Return delta ``(B, n)``."""
    delta = torch.empty_like(factor)
    into(delta, projection, error, factor, gain, add=False)
    return delta


def into(
    delta: Tensor, projection: Tensor, error: Tensor, factor: Tensor, gain: float, add: bool
) -> None:
    """Write delta ``(B, n)``, or add it."""
    (samples, outputs), neurons = error.shape, projection.shape[1]
    if delta.numel():
        _fill[(triton.cdiv(samples, _SAMPLES), triton.cdiv(neurons, _NEURONS))](
            delta,
            projection,
            error,
            factor,
            projection.new_tensor([gain]),
            samples,
            neurons,
            OUTPUTS=outputs,
            ADD=add,
            B=_SAMPLES,
            N=_NEURONS,
            ACC=_working(factor),
        )


def three_factor_gradient(
    projection: Tensor,
    error: Tensor,
    factor: Tensor,
    trace: Tensor,
    weight_sum: Tensor,
    bias_sum: Tensor,
    gain: float,
) -> None:
    """Add to ``weight_sum`` ``(n, N_in)`` and, unless it is empty, to ``bias_sum`` ``(n,)``."""
    (samples, outputs), (neurons, inputs) = error.shape, weight_sum.shape
    if not samples or not weight_sum.numel():
        return
    _gradient[(triton.cdiv(neurons, _NEURONS), triton.cdiv(inputs, _INPUTS))](
        projection,
        error,
        factor,
        trace,
        weight_sum,
        bias_sum,
        projection.new_tensor([gain]),
        samples,
        neurons,
        inputs,
        OUTPUTS=outputs,
        BIAS=bias_sum.numel() > 0,
        B=_SAMPLES,
        N=_NEURONS,
        J=_INPUTS,
        ACC=_working(factor),
    )
