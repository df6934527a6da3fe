"""Fixed linear maps between layers, each with its adjoint: pooling, flattening, scaling, adding.

The adjoint ``A^T`` of a map ``A`` satisfies ``<A x, y> = <x, A^T y>``; learning rules use it to
carry an error back through the map and need no autograd for it. Because the maps are linear, the
eligibility trace of their output is the map applied to the trace of their input.
"""

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuro.errors import UsageError


class LinearMap(nn.Module, ABC):
    """A parameter-free linear map of one tensor."""

    @abstractmethod
    def forward(self, activity: Tensor) -> Tensor: ...

    @abstractmethod
    def adjoint(self, delta: Tensor, input_shape: torch.Size) -> Tensor:
        """Return the error of the input, given the error ``delta`` of the output."""


class AvgPool2d(LinearMap):
    """Average over non-overlapping ``size x size`` windows, ``(B, C, H, W) -> (B, C, H/s, W/s)``.

    Rows and columns that do not fill a window are left out, as in ``torch.nn.AvgPool2d``.
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size

    def extra_repr(self) -> str:
        return f"size={self.size}"

    def forward(self, activity: Tensor) -> Tensor:
        return average_pool(activity, self.size)

    def adjoint(self, delta: Tensor, input_shape: torch.Size) -> Tensor:
        height, width = input_shape[-2:]
        spread = upsample(delta / self.size**2, self.size)
        missing = (0, width - spread.shape[-1], 0, height - spread.shape[-2])
        return functional.pad(spread, missing) if any(missing) else spread


class GlobalAvgPool2d(LinearMap):
    """Average over all positions, ``(B, C, H, W) -> (B, C)``."""

    def forward(self, activity: Tensor) -> Tensor:
        return activity.mean((-2, -1))

    def adjoint(self, delta: Tensor, input_shape: torch.Size) -> Tensor:
        positions = input_shape[-2] * input_shape[-1]
        return (delta / positions)[..., None, None].expand(input_shape).contiguous()


class Flatten(LinearMap):
    """``(B, ...) -> (B, N)``."""

    def forward(self, activity: Tensor) -> Tensor:
        return activity.flatten(1)

    def adjoint(self, delta: Tensor, input_shape: torch.Size) -> Tensor:
        return delta.reshape(input_shape)


class Scale(LinearMap):
    """Multiply by a constant factor."""

    def __init__(self, factor: float) -> None:
        super().__init__()
        self.factor = factor

    def extra_repr(self) -> str:
        return f"factor={self.factor:g}"

    def forward(self, activity: Tensor) -> Tensor:
        return activity * self.factor

    def adjoint(self, delta: Tensor, input_shape: torch.Size) -> Tensor:
        return delta * self.factor


class Add(nn.Module):
    """Sum of several currents, the junction of a residual branch; the adjoint copies the error."""

    def forward(self, *currents: Tensor) -> Tensor:
        if len(currents) < 2:
            raise UsageError("Add joins at least two inputs; give the node two input names.")
        shapes = {tuple(current.shape) for current in currents}
        if len(shapes) > 1:
            raise UsageError(f"Add joins inputs of one shape, got {sorted(shapes)}.")
        total = currents[0] + currents[1]
        for current in currents[2:]:
            total = total + current
        return total


def average_pool(activity: Tensor, size: int) -> Tensor:
    """Average ``size x size`` windows, ``(..., H, W) -> (..., H // size, W // size)``.

    Rows are added first, along memory, then columns: on a CPU several times faster than
    ``torch.nn.functional.avg_pool2d``, which equals it up to rounding.
    """
    height, width = (side // size * size for side in activity.shape[-2:])
    total = activity[..., 0:height:size, :width]
    for offset in range(1, size):
        total = total + activity[..., offset:height:size, :width]
    pooled = total[..., 0::size]
    for offset in range(1, size):
        pooled = pooled + total[..., offset::size]
    return pooled / size**2


def upsample(activity: Tensor, size: int) -> Tensor:
    """Repeat each position ``size`` times along both axes, ``(..., H, W) -> (..., H*s, W*s)``."""
    *lead, height, width = activity.shape
    return (
        activity[..., :, None, :, None]
        .expand(*lead, height, size, width, size)
        .reshape(*lead, height * size, width * size)
    )
