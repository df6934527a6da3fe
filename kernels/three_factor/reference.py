"""The sigmoid factor in plain torch: the definition the other implementations must match."""

import torch
from torch import Tensor


@torch.no_grad()
def sigmoid_factor(
    feedback: Tensor, distance: Tensor, delta: Tensor, *, slope: float, gain: float
) -> None:
    """Fill ``delta``."""
    e = torch.mul(distance, slope, out=delta).abs_().neg_().exp_()
    torch.div(e, (1 + e).square_(), out=delta)
    delta.mul_(feedback).mul_(gain * slope)
