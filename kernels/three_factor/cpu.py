"""Three-factor products on the CPU, tile by tile.

The products are BLAS's own work: written out in Numba, that of an error with few outputs and a
feedback matrix took three times as long.
"""

import torch
from torch import Tensor

_TILE = 1 << 17
"""Numbers of delta held at once on the way to a weight gradient: they stay in the L2 cache."""
_NARROWEST = 128
_LARGE = 1 << 22
"""Numbers of delta from which on it leaves the last cache between its product and its factor."""
_TILE_OF_SAMPLES = 1 << 19
"""Numbers of delta that are then made at once; fewer rows would slow the product down."""


@torch.no_grad()
def three_factor(projection: Tensor, error: Tensor, factor: Tensor, gain: float) -> Tensor:
    """Return delta ``(B, n)``."""
    delta = torch.empty_like(factor)
    into(delta, projection, error, factor, gain, add=False)
    return delta


@torch.no_grad()
def into(
    delta: Tensor, projection: Tensor, error: Tensor, factor: Tensor, gain: float, add: bool
) -> None:
    """Write delta ``(B, n)``, or add it."""
    error = error * gain
    samples = len(error)
    if factor.numel() >= _LARGE:
        samples = max(_TILE_OF_SAMPLES // factor.shape[1], 1)
    for first in range(0, len(error), max(samples, 1)):
        some = slice(first, first + samples)
        if add:
            delta[some].addcmul_(torch.mm(error[some], projection), factor[some])
        else:
            torch.mm(error[some], projection, out=delta[some]).mul_(factor[some])


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
    error = error * gain
    neurons, width = projection.shape[1], max(_NARROWEST, _TILE // max(len(error), 1))
    for first in range(0, neurons, width):
        some = slice(first, first + width)
        delta = torch.mm(error, projection[:, some]).mul_(factor[:, some])
        weight_sum[some].addmm_(delta.t(), trace)
        if bias_sum.numel():
            bias_sum[some].add_(delta.sum(0))
