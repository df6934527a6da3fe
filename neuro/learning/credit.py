"""Spatial credit ``g = dL/ds`` of a layer, written out or as the products it is made of."""

from typing import NamedTuple, TypeAlias

import torch
from torch import Tensor

from neuro.kernels import three_factor, three_factor_into


class SentBack(NamedTuple):
    """Credit ``g = M e`` of a layer: ``projection = M^T`` ``(m, n)`` and the error ``(B, m)``."""

    projection: Tensor
    error: Tensor
    layer_shape: tuple[int, ...]

    def written_out(self) -> Tensor:
        """Return ``g``, ``(B, *layer_shape)``."""
        return (self.error @ self.projection).view(-1, *self.layer_shape)


Credit: TypeAlias = Tensor | SentBack


class SentThrough(NamedTuple):
    """Error ``delta = gain * (M e) * factor`` of a layer's input current."""

    sent: SentBack
    factor: Tensor
    gain: float

    def written_out(self) -> Tensor:
        """Return ``delta``, of the factor's shape."""
        projection, error, _ = self.sent
        return three_factor(projection, error.contiguous(), self.factor, gain=self.gain)

    def write_into(self, delta: Tensor, *, add: bool = False) -> None:
        """Write the same where it is wanted, contiguous, or add it to what is there."""
        projection, error, _ = self.sent
        error = error.contiguous()
        three_factor_into(delta, projection, error, self.factor, gain=self.gain, add=add)


def write_out(credit: Tensor | SentBack | SentThrough) -> Tensor:
    """Return the tensor that ``credit`` stands for."""
    return credit if isinstance(credit, torch.Tensor) else credit.written_out()


def add_credit(first: Credit | None, second: Credit) -> Credit:
    """Return the sum; what is alone stays as it is."""
    return second if first is None else write_out(first) + write_out(second)
