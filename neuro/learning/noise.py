"""Perturbations for zeroth-order estimation: i.i.d. with zero mean and ``E[z z^T] = I``."""

from math import prod
from typing import Literal

import torch
from torch import Tensor

NoiseKind = Literal["gaussian", "rademacher", "sphere"]


def draw_noise(kind: NoiseKind, like: Tensor, generator: torch.Generator) -> Tensor:
    """Draw one perturbation per sample and neuron.

    gaussian: ``z ~ N(0, I)``. rademacher: ``z = +-1`` with equal odds. sphere: uniform on the
    sphere of radius ``sqrt(n)`` for n neurons, so that ``E[z z^T] = I`` there too.

    Args:
        kind: the distribution.
        like: ``(B, ...)``, gives shape, type and device.
        generator: on the same device as ``like``.

    Returns:
        ``(B, ...)``.
    """
    if kind == "rademacher":
        signs = torch.empty_like(like, memory_format=torch.contiguous_format)
        return signs.bernoulli_(0.5, generator=generator).mul_(2).sub_(1)
    noise = torch.empty_like(like, memory_format=torch.contiguous_format)
    noise.normal_(generator=generator)
    if kind == "sphere":
        flat = noise.flatten(1)
        length = torch.linalg.vector_norm(flat, dim=1, keepdim=True)
        radius = float(prod(like.shape[1:])) ** 0.5
        on_sphere: Tensor = (flat * (radius / length)).view_as(like)
        return on_sphere
    return noise
