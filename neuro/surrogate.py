"""Surrogate gradients: a hard threshold forward, a smooth bump backward.

A spike is the Heaviside step ``s = H(x)`` of ``x = membrane_potential - threshold``; its true
derivative is zero almost everywhere. Each class here names a smooth step ``primitive(x)`` and uses
its derivative ``psi(x) = d primitive / dx`` in place of ``dH/dx`` (Neftci, Mostafa & Zenke,
"Surrogate gradient learning in spiking neural networks", IEEE Signal Processing Magazine 36(6),
2019).

============= ======================================== ======================= ==============
name          psi(x)                                   peak psi(0)             primitive
============= ======================================== ======================= ==============
sigmoid       ``k sig(k x) (1 - sig(k x))``            ``k / 4``               0 to 1
atan          ``(a/2) / (1 + (pi a x / 2)^2)``         ``a / 2``               0 to 1
triangle      ``max(0, 1 - |x|/w) / w``                ``1 / w``               0 to 1
rectangle     ``1/w`` where ``|x| < w/2``, else 0      ``1 / w``               0 to 1
fast_sigmoid  ``1 / (1 + k |x|)^2``                    ``1``                   -1/k to 1/k
gaussian      ``exp(-x^2 / (2 s^2)) / (s sqrt(2pi))``  ``1 / (s sqrt(2 pi))``  0 to 1
============= ======================================== ======================= ==============
"""

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass, fields
from typing import Any

import torch
from torch import Tensor

from neuro.errors import UsageError
from neuro.kernels.surrogates import reference as psi


def heaviside(x: Tensor, *, inclusive: bool = True) -> Tensor:
    """``H(x)``: 1 where ``x >= 0`` (``x > 0`` if not inclusive), else 0, in the dtype of ``x``."""
    # Comparing into a float copy is eight times faster on a CPU than casting a bool tensor.
    spikes = x.detach().clone()
    return spikes.ge_(0) if inclusive else spikes.gt_(0)


class _Spike(torch.autograd.Function):
    """Heaviside forward, ``grad * surrogate.derivative(x)`` backward."""

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, surrogate: "Surrogate", inclusive: bool) -> Tensor:
        return heaviside(x, inclusive=inclusive)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, "Surrogate", bool], output: Tensor) -> None:
        x, ctx.surrogate, _ = inputs
        ctx.save_for_backward(x)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (x,) = ctx.saved_tensors
        return grad_outputs[0] * ctx.surrogate.derivative(x), None, None


@dataclass(frozen=True)
class Surrogate(ABC):
    """A smooth step and its derivative, both elementwise. Every field is a positive float."""

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value > 0):
                owner = type(self).__name__
                raise UsageError(f"{owner}.{field.name} must be positive and finite, got {value}")

    @property
    def kernel_name(self) -> str | None:
        """Name of this surrogate in fused kernels; ``None`` if they do not have it."""
        names = [name for name, each in SURROGATES.items() if each is type(self)]
        return names[0] if names else None

    @property
    def sharpness(self) -> float:
        """The number of a surrogate that has one: slope, alpha, width or sigma."""
        (only,) = fields(self)
        number: float = getattr(self, only.name)
        return number

    @property
    @abstractmethod
    def peak(self) -> float:
        """The largest value of :meth:`derivative`, reached at ``x = 0``."""

    @abstractmethod
    def primitive(self, x: Tensor) -> Tensor:
        """The smooth step at ``x``; any shape, same shape and dtype returned."""

    @abstractmethod
    def derivative(self, x: Tensor) -> Tensor:
        """``psi(x) = d primitive(x) / dx``; any shape, same shape and dtype returned."""

    def spike(self, x: Tensor, *, inclusive: bool = True) -> Tensor:
        """``s = H(x)`` forward; ``ds/dx = psi(x)`` in autograd.

        Args:
            x: membrane_potential - threshold, any shape, floating point.
            inclusive: whether a neuron exactly at its threshold fires (``x >= 0``, not ``x > 0``).

        Returns:
            0 or 1, shape and dtype of ``x``.
        """
        if torch.is_grad_enabled() and x.requires_grad:
            spikes: Tensor = _Spike.apply(x, self, inclusive)  # type: ignore[no-untyped-call]
            return spikes
        return heaviside(x, inclusive=inclusive)


@dataclass(frozen=True)
class Sigmoid(Surrogate):
    """``sig(k x)``, psi = ``k sig(k x) (1 - sig(k x))``, peak ``k / 4``.

    Args:
        slope: k > 0, in 1 / membrane potential. 4 makes the peak 1.

    Source: Xiao et al., "Online training through time for spiking neural networks", NeurIPS 2022,
    whose public code uses k = 4.
    """

    slope: float = 4.0

    @property
    def peak(self) -> float:
        return self.slope / 4

    def primitive(self, x: Tensor) -> Tensor:
        return torch.sigmoid(self.slope * x)

    def derivative(self, x: Tensor) -> Tensor:
        return psi.sigmoid(x, self.slope)


@dataclass(frozen=True)
class ATan(Surrogate):
    """``atan(pi a x / 2) / pi + 1/2``, psi = ``(a/2) / (1 + (pi a x / 2)^2)``, peak ``a / 2``.

    Args:
        alpha: a > 0, in 1 / membrane potential. 2 makes the peak 1.

    Source: Fang et al., "Incorporating learnable membrane time constant to enhance learning of
    spiking neural networks", ICCV 2021 (a = 2).
    """

    alpha: float = 2.0

    @property
    def peak(self) -> float:
        return self.alpha / 2

    def primitive(self, x: Tensor) -> Tensor:
        return torch.atan(x * (math.pi * self.alpha / 2)) / math.pi + 0.5

    def derivative(self, x: Tensor) -> Tensor:
        return psi.atan(x, self.alpha)


@dataclass(frozen=True)
class Triangle(Surrogate):
    """Two parabolas from 0 to 1, psi = ``max(0, 1 - |x| / w) / w``, peak ``1 / w``.

    The primitive is ``1/2 + y - y |y| / 2`` with ``y = clamp(x / w, -1, 1)``.

    Args:
        width: w > 0, half the support, in membrane potential.

    Source: Esser et al., PNAS 113(41), 2016; Bellec et al., NeurIPS 2018, who damp the peak to 0.3.
    """

    width: float = 1.0

    @property
    def peak(self) -> float:
        return 1 / self.width

    def primitive(self, x: Tensor) -> Tensor:
        inside = (x / self.width).clamp(-1.0, 1.0)
        return 0.5 + inside - 0.5 * inside * inside.abs()

    def derivative(self, x: Tensor) -> Tensor:
        return psi.triangle(x, self.width)


@dataclass(frozen=True)
class Rectangle(Surrogate):
    """``clamp(x / w + 1/2, 0, 1)``, psi = ``1/w`` where ``|x| < w/2``, else 0, peak ``1 / w``.

    Args:
        width: w > 0, the whole support, in membrane potential.

    Source: Wu et al., "Spatio-temporal backpropagation for training high-performance spiking neural
    networks", Frontiers in Neuroscience 12, 2018 (w is their a_1).
    """

    width: float = 1.0

    @property
    def peak(self) -> float:
        return 1 / self.width

    def primitive(self, x: Tensor) -> Tensor:
        return (x / self.width + 0.5).clamp(0.0, 1.0)

    def derivative(self, x: Tensor) -> Tensor:
        return psi.rectangle(x, self.width)


@dataclass(frozen=True)
class FastSigmoid(Surrogate):
    """``x / (1 + k |x|)``, psi = ``1 / (1 + k |x|)^2``, peak 1 for every k.

    The primitive rises from -1/k to 1/k and is left so, as published: a steeper slope narrows the
    bump without raising it.

    Args:
        slope: k > 0, in 1 / membrane potential.

    Source: Zenke & Ganguli, "SuperSpike", Neural Computation 30(6), 2018; Neftci et al. 2019.
    """

    slope: float = 10.0

    @property
    def peak(self) -> float:
        return 1.0

    def primitive(self, x: Tensor) -> Tensor:
        return x / (1.0 + self.slope * x.abs())

    def derivative(self, x: Tensor) -> Tensor:
        return psi.fast_sigmoid(x, self.slope)


@dataclass(frozen=True)
class Gaussian(Surrogate):
    """``(1 + erf(x / (s sqrt 2))) / 2``, psi = normal density of std s, peak ``1/(s sqrt(2 pi))``.

    Args:
        sigma: s > 0, in membrane potential. 0.5 makes the peak 0.798.

    Source: Yin, Corradi & Bohte, "Accurate and efficient time-domain classification with adaptive
    spiking recurrent neural networks", Nature Machine Intelligence 3, 2021 (their single Gaussian).
    """

    sigma: float = 0.5

    @property
    def peak(self) -> float:
        return 1 / (self.sigma * math.sqrt(2 * math.pi))

    def primitive(self, x: Tensor) -> Tensor:
        return 0.5 + 0.5 * torch.erf(x / (self.sigma * math.sqrt(2)))

    def derivative(self, x: Tensor) -> Tensor:
        return psi.gaussian(x, self.sigma)


SURROGATES: dict[str, type[Surrogate]] = {
    "sigmoid": Sigmoid,
    "atan": ATan,
    "triangle": Triangle,
    "rectangle": Rectangle,
    "fast_sigmoid": FastSigmoid,
    "gaussian": Gaussian,
}
