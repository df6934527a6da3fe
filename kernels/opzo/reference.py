"""The update of a feedback matrix in plain torch: what the other implementations must equal."""

import torch
from torch import Tensor

from neuro.kernels.noise.reference import noise
from neuro.kernels.noise.stream import NoiseStream


@torch.no_grad()
def update(
    projection: Tensor, outputs: Tensor, stream: NoiseStream, keep: float, factor: float
) -> None:
    """Change ``projection`` ``(m, n)`` in place."""
    projection.mul_(keep).add_(outputs.t() @ _noise(projection, len(outputs), stream), alpha=factor)


@torch.no_grad()
def response(projection: Tensor, stream: NoiseStream, samples: int) -> Tensor:
    """Return ``z M`` ``(B, m)``."""
    return _noise(projection, samples, stream) @ projection.t()


def _noise(projection: Tensor, samples: int, stream: NoiseStream) -> Tensor:
    return noise(stream, projection.new_empty(()).expand(samples, projection.shape[1]))
