"""The dense convolution in plain torch: the definition, and what serves above the crossing."""

from torch import Tensor
from torch.nn import functional

from neuro.kernels.event_conv2d.geometry import Geometry


def forward(spikes: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Return the currents of ``spikes`` ``[B, C, H, W]``."""
    return functional.conv2d(spikes, weight, bias, *geometry).contiguous()
