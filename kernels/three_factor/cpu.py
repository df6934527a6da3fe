"""Three-factor products on the CPU: Numba makes a tile of delta, BLAS the weight gradient of it."""

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro.kernels.compiled import flat, share_out

Array = NDArray[Any]

_RUN = 512
_TILE = 256
"""Neurons whose delta is held at once on the way to the weight gradient."""


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _fill(
    delta: Array,  # [B * width]
    projection: Array,  # [m, n]
    error: Array,  # [B, m]
    factor: Array,  # [B, n]
    first: int,
    width: int,
    lo: int,
    hi: int,
    gain: Any,
    zero: Any,
) -> None:
    outputs = error.shape[1]
    total = np.empty(_RUN, delta.dtype)
    for start in range(0, width, _RUN):
        n = min(_RUN, width - start)
        here = first + start
        for sample in range(lo, hi):
            for i in range(n):
                total[i] = zero
            k = 0
            while k + 4 <= outputs:
                p0 = projection[k, here : here + n]
                p1 = projection[k + 1, here : here + n]
                p2 = projection[k + 2, here : here + n]
                p3 = projection[k + 3, here : here + n]
                e0 = error[sample, k]
                e1 = error[sample, k + 1]
                e2 = error[sample, k + 2]
                e3 = error[sample, k + 3]
                for i in range(n):
                    four = (e0 * p0[i] + e1 * p1[i]) + (e2 * p2[i] + e3 * p3[i])
                    total[i] = total[i] + four
                k += 4
            while k < outputs:
                p = projection[k, here : here + n]
                e = error[sample, k]
                for i in range(n):
                    total[i] = total[i] + e * p[i]
                k += 1
            psi = factor[sample, here : here + n]
            target = delta[sample * width + start : sample * width + start + n]
            for i in range(n):
                target[i] = (total[i] * psi[i]) * gain


def three_factor(projection: Tensor, error: Tensor, factor: Tensor, gain: float) -> Tensor:
    """Return delta ``(B, n)``."""
    delta = torch.empty_like(factor)
    _tile(delta, projection, error, factor, 0, projection.shape[1], gain)
    return delta


@torch.no_grad()
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
    neurons, samples = projection.shape[1], len(error)
    storage = error.new_empty(samples * min(_TILE, neurons))
    for first in range(0, neurons, _TILE):
        width = min(_TILE, neurons - first)
        delta = storage[: samples * width].view(samples, width)
        _tile(delta, projection, error, factor, first, width, gain)
        rows = slice(first, first + width)
        weight_sum[rows].addmm_(delta.t(), trace)
        if bias_sum.numel():
            bias_sum[rows].add_(delta.sum(0))


def _tile(
    delta: Tensor,
    projection: Tensor,
    error: Tensor,
    factor: Tensor,
    first: int,
    width: int,
    gain: float,
) -> None:
    """Fill ``delta`` ``(B, width)`` for neurons from ``first`` on."""
    result = flat(delta)
    matrix, errors, factors = projection.numpy(), error.numpy(), factor.numpy()
    number = result.dtype.type

    def work(lo: int, hi: int) -> int:
        _fill(result, matrix, errors, factors, first, width, lo, hi, number(gain), number(0))
        return 0

    if result.size:
        share_out(work, len(error), 4 * result.size)
