"""Perturbations for zeroth-order estimation: i.i.d. with zero mean and ``E[z z^T] = I``.

A seed names a perturbation, and whoever needs it can draw it again.
"""

from typing import Literal, NamedTuple

import torch
from torch import Tensor

from neuro.kernels import NoiseStream
from neuro.kernels import noise as write_out

NoiseKind = Literal["gaussian", "rademacher", "sphere"]


class LayerNoise(NamedTuple):
    """The perturbation z of one layer at one time step, ``(B, *layer_shape)``.

    ``stream`` names numbers drawn independently; ``radius`` ``(B,)``, if any, scales each sample's;
    ``held`` are the numbers, where they are kept from one use to the next.
    """

    stream: NoiseStream
    samples: int
    layer_shape: tuple[int, ...]
    radius: Tensor | None = None
    held: Tensor | None = None

    def values(self, like: Tensor) -> Tensor:
        """Write z out, in the dtype and on the device of ``like``."""
        z = self.independent(like)
        return z if self.radius is None else z * _by_sample(self.radius, z)

    def independent(self, like: Tensor) -> Tensor:
        """Write out the numbers of the stream, before any radius."""
        if self.held is not None:
            return self.held
        return write_out(self.stream, like.new_empty((self.samples, *self.layer_shape)))

    def scaled(self, per_sample: Tensor) -> Tensor:
        """Return ``per_sample`` ``(B, ...)`` times what z has over the numbers of the stream."""
        if self.radius is None:
            return per_sample
        return per_sample * _by_sample(self.radius, per_sample)


def draw_seed(generator: torch.Generator) -> int:
    """Draw the seed of a batch's perturbations."""
    seed = torch.randint(2**62, (), generator=generator, device=generator.device)
    return int(seed)


def layer_noise(
    kind: NoiseKind,
    seed: int,
    layer: int,
    step: int,
    like: Tensor,
    layer_shape: tuple[int, ...],
    *,
    hold: bool = False,
) -> LayerNoise:
    """Name the perturbation of a layer at a time step.

    gaussian: ``z ~ N(0, I)``. rademacher: ``z = +-1`` with equal odds. sphere: uniform on the
    sphere of radius ``sqrt(n)`` for n neurons, so that ``E[z z^T] = I`` there too.

    Args:
        kind: the distribution.
        seed: of the batch.
        layer, step: tell perturbations of one batch apart.
        like: any tensor of the batch, for its size, dtype and device.
        layer_shape: ``(N,)`` or ``(C, H, W)``.
        hold: draw it now and keep it.
    """
    stream = NoiseStream("rademacher" if kind == "rademacher" else "gaussian", seed, layer, step)
    noise = LayerNoise(stream, like.shape[0], tuple(layer_shape))
    if hold:
        noise = noise._replace(held=noise.independent(like))
    if kind != "sphere":
        return noise
    lengths = torch.linalg.vector_norm(noise.values(like).flatten(1), dim=1)
    return noise._replace(radius=torch.Size(layer_shape).numel() ** 0.5 / lengths)


def _by_sample(numbers: Tensor, like: Tensor) -> Tensor:
    return numbers.view(-1, *(1,) * (like.dim() - 1))
