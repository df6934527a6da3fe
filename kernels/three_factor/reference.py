"""Three-factor products in plain torch: what the other implementations must equal."""

import torch
from torch import Tensor


@torch.no_grad()
def three_factor(projection: Tensor, error: Tensor, factor: Tensor, gain: float) -> Tensor:
    """Return delta ``(B, n)``."""
    return (error @ projection).mul_(factor).mul_(gain)


@torch.no_grad()
def into(
    delta: Tensor, projection: Tensor, error: Tensor, factor: Tensor, gain: float, add: bool
) -> None:
    """Write delta ``(B, n)``, or add it."""
    found = three_factor(projection, error, factor, gain)
    delta.add_(found) if add else delta.copy_(found)


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
    delta = three_factor(projection, error, factor, gain)
    weight_sum.addmm_(delta.t(), trace)
    if bias_sum.numel():
        bias_sum.add_(delta.sum(0))
