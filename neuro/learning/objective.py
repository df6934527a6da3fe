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
        return self._mixed(cross_entropy, logits - _one_hot(logits, targets))

    def errors(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Return ``e[t]`` for each sample, ``(B, m), (B,) -> (B, m)``."""
        return self.at(logits, targets)[1]

    def at(self, logits: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
        """Return ``L[t]`` and ``e[t]`` for each sample, ``(B,)`` and ``(B, m)``."""
        wanted = _one_hot(logits, targets)
        distance = logits - wanted
        log_probability = torch.log_softmax(logits, 1)
        cross_entropy = functional.nll_loss(log_probability, targets, reduction="none")
        weight = self.mse_weight
        errors = log_probability.exp().sub_(wanted).mul_((1 - weight) / self.timesteps)
        errors.add_(distance, alpha=2 * weight / (logits.shape[1] * self.timesteps))
        return self._mixed(cross_entropy, distance), errors

    def _mixed(self, cross_entropy: Tensor, distance: Tensor) -> Tensor:
        squares = distance.square().mean(1)
        return torch.lerp(cross_entropy, squares, self.mse_weight) / self.timesteps


def _one_hot(logits: Tensor, targets: Tensor) -> Tensor:
    # torch's own checks the targets each time: as long as the rest of a small loss
    return torch.zeros_like(logits).scatter_(1, targets[:, None], 1.0)
