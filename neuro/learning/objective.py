"""The loss of one time step and its first-order error at the output."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional


class Objective(NamedTuple):
    """Mix of cross-entropy and mean squared error at each step, averaged over time.

    With one-hot target ``y``, logits ``o[t]``, m classes and T steps::

        L[t] = ((1 - beta) * CE(o[t], y) + beta * mean_c (o_c[t] - y_c)^2) / T
        e[t] = dL[t]/do[t] = ((1 - beta) * (softmax(o[t]) - y) + beta * 2 (o[t] - y) / m) / T

    Source: OTTT (Xiao et al. 2022), whose loss OPZO's framework keeps. Values are per sample:
    the mean over the batch enters once, where a rule forms a weight gradient.
    """

    mse_weight: float
    timesteps: int

    def losses(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return ``L[t]`` for each sample, ``(B, m), (B,) -> (B,)``; differentiable."""
        cross_entropy = functional.cross_entropy(logits, targets, reduction="none")
        squares = (logits - _one_hot(logits, targets)).square().mean(1)
        mixed = (1 - self.mse_weight) * cross_entropy + self.mse_weight * squares
        return mixed / self.timesteps

    def errors(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return ``e[t]`` for each sample, ``(B, m), (B,) -> (B, m)``."""
        wanted = _one_hot(logits, targets)
        entropy_part = (1 - self.mse_weight) * (torch.softmax(logits, 1) - wanted)
        square_part = self.mse_weight * 2 / logits.shape[1] * (logits - wanted)
        return (entropy_part + square_part) / self.timesteps


def _one_hot(logits: Tensor, targets: Tensor) -> Tensor:
    # torch's own checks the targets each time: as long as the rest of a small loss
    return torch.zeros_like(logits).scatter_(1, targets[:, None], 1.0)
