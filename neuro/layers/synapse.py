"""Synapses: linear maps from presynaptic activity to input current, with hand-written adjoints.

A synapse is an ordinary ``torch.nn`` layer that also knows, without autograd, the three products a
learning rule needs. For current ``I = W h + b``, its error ``delta = dL/dI`` and activity ``h``::

    weight gradient   dL/dW = sum_b delta_b h_b^T
    bias gradient     dL/db = sum_b delta_b
    transpose         dL/dh = W^T delta

Scaled weight standardisation (Brock et al. 2021, eq. 1; used without batch normalisation so that
every time step stands alone) replaces ``W`` by::

    W^ = gain * (W - mean(W)) / sqrt(var(W) * fan_in + eps)        per output unit
"""

import math
from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuro.errors import UsageError
from neuro.kernels import event_conv2d, event_linear

STANDARDISATION_EPS = 1e-4


class Synapse(nn.Module, ABC):
    """What every synapse offers besides being a ``torch.nn`` layer."""

    weight: Tensor
    bias: Any  # a parameter or None; torch declares it differently in Linear and Conv2d

    event_driven: bool = False
    """Take currents from events where those are few enough to be faster. They are summed in another
    order than in the dense product, so a potential within rounding of its threshold may tip over.
    """

    def effective_weight(self) -> Tensor:
        """Return the weight that acts on activity; differentiable in the parameters."""
        return self.weight

    @abstractmethod
    def transmit(self, activity: Tensor, weight: Tensor) -> Tensor:
        """Return the current ``weight * activity + bias`` for a given effective weight."""

    def transmit_events(self, activity: Tensor, weight: Tensor) -> Tensor:
        """The same, from events where those are few enough to be faster."""
        return self.transmit(activity, weight)

    @abstractmethod
    def weight_gradient(self, delta: Tensor, activity: Tensor) -> Tensor:
        """Return ``sum_b delta_b activity_b^T`` in the shape of the weight."""

    @abstractmethod
    def bias_gradient(self, delta: Tensor) -> Tensor:
        """Return ``delta`` summed over the batch and, for convolutions, over positions."""

    @abstractmethod
    def transpose(self, delta: Tensor, weight: Tensor, input_shape: torch.Size) -> Tensor:
        """Return ``weight^T delta``, the error of the presynaptic activity."""


class Linear(nn.Linear, Synapse):
    """Dense synapse, ``I = W h + b``; activity ``(B, in_features)``."""

    def forward(self, input: Tensor) -> Tensor:
        return self.transmit(input, self.effective_weight())

    def transmit(self, activity: Tensor, weight: Tensor) -> Tensor:
        if self.event_driven:
            return self.transmit_events(activity, weight)
        return functional.linear(activity, weight, self.bias)

    def transmit_events(self, activity: Tensor, weight: Tensor) -> Tensor:
        return event_linear(activity, weight, self.bias)

    def weight_gradient(self, delta: Tensor, activity: Tensor) -> Tensor:
        return delta.t() @ activity

    def bias_gradient(self, delta: Tensor) -> Tensor:
        return delta.sum(0)

    def transpose(self, delta: Tensor, weight: Tensor, input_shape: torch.Size) -> Tensor:
        return delta @ weight


class Conv2d(nn.Conv2d, Synapse):
    """Convolutional synapse with zero padding; activity ``(B, C, H, W)``."""

    def forward(self, input: Tensor) -> Tensor:
        return self.transmit(input, self.effective_weight())

    def transmit(self, activity: Tensor, weight: Tensor) -> Tensor:
        if self.event_driven:
            return self.transmit_events(activity, weight)
        return functional.conv2d(
            activity, weight, self.bias, self.stride, self._padding, self.dilation, self.groups
        )

    def transmit_events(self, activity: Tensor, weight: Tensor) -> Tensor:
        return event_conv2d(
            activity, weight, self.bias, self.stride, self._padding, self.dilation, self.groups
        )

    def weight_gradient(self, delta: Tensor, activity: Tensor) -> Tensor:
        return self._backward(delta, activity, self.weight, (False, True, False))[1]

    def bias_gradient(self, delta: Tensor) -> Tensor:
        return delta.sum((0, 2, 3))

    def transpose(self, delta: Tensor, weight: Tensor, input_shape: torch.Size) -> Tensor:
        # Only the shape of the activity matters for this product: an expanded zero stores nothing.
        activity = delta.new_zeros(()).expand(input_shape)
        return self._backward(delta, activity, weight, (True, False, False))[0]

    @property
    def _padding(self) -> tuple[int, ...]:
        if isinstance(self.padding, str) or self.padding_mode != "zeros":
            raise UsageError(
                f"convolutional synapses pad with a number of zeros, got padding={self.padding!r}, "
                f"padding_mode={self.padding_mode!r}."
            )
        return tuple(self.padding)

    def _backward(
        self, delta: Tensor, activity: Tensor, weight: Tensor, wanted: tuple[bool, bool, bool]
    ) -> tuple[Tensor, Tensor, Tensor]:
        gradients: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
            delta,
            activity,
            weight,
            None,
            list(self.stride),
            list(self._padding),
            list(self.dilation),
            False,
            [0, 0],
            self.groups,
            list(wanted),
        )
        return gradients


class _Standardise(torch.autograd.Function):
    """Forward and closed-form backward of :func:`standardise` on a matrix ``(out, fan_in)``.

    With ``c = W - mean``, ``r = 1 / sqrt(var * n + eps)``, ``u = c r`` and ``G = dL/dW^``::

        dL/dgain = sum(G u)        dL/dW = gain * r * (G - mean(G) - u * sum(G u) * n / (n - 1))
    """

    @staticmethod
    def forward(ctx: Any, weight: Tensor, gain: Tensor) -> Tensor:
        fan_in = weight.shape[1]
        freedom = max(fan_in - 1, 1)
        centred = weight - weight.mean(1, keepdim=True)
        squares = torch.linalg.vector_norm(centred, dim=1, keepdim=True).square()
        scale = torch.rsqrt(squares * (fan_in / freedom) + STANDARDISATION_EPS)
        unit = centred.mul_(scale)
        ctx.save_for_backward(unit, scale, gain)
        return unit * gain

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, Tensor]:
        unit, scale, gain = ctx.saved_tensors
        gradient = grad_outputs[0]
        fan_in = unit.shape[1]
        along = torch.linalg.vecdot(gradient, unit).unsqueeze(1)
        projection = along * (-fan_in / max(fan_in - 1, 1))
        weight_gradient = gradient - gradient.mean(1, keepdim=True)
        weight_gradient.addcmul_(unit, projection).mul_(gain * scale)
        return weight_gradient, along


def standardise(weight: Tensor, gain: Tensor) -> Tensor:
    """Return ``gain * (W - mean) / sqrt(var * fan_in + eps)`` per output unit (unbiased variance).

    Args:
        weight: ``(out, ...)``; everything after the first axis is fan-in.
        gain: ``(out, 1, ...)``, one number an output unit.

    Returns:
        The standardised weight, same shape; differentiable once.
    """
    flat: Tensor = _Standardise.apply(weight.flatten(1), gain.flatten(1))  # type: ignore[no-untyped-call]
    return flat.view_as(weight)


class ScaledWSLinear(Linear):
    """Dense synapse with scaled weight standardisation and a learnable gain per output unit."""

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        super().__init__(in_features, out_features, bias)
        _require_spread(in_features)
        self.gain = nn.Parameter(torch.ones(out_features, 1))

    def effective_weight(self) -> Tensor:
        return standardise(self.weight, self.gain)


class ScaledWSConv2d(Conv2d):
    """Convolutional synapse with scaled weight standardisation and a gain per output channel."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        stride: int = 1,
        padding: int = 0,
        bias: bool = True,
    ) -> None:
        super().__init__(in_channels, out_channels, kernel_size, stride, padding, bias=bias)
        _require_spread(math.prod(self.weight.shape[1:]))
        self.gain = nn.Parameter(torch.ones(out_channels, 1, 1, 1))

    def effective_weight(self) -> Tensor:
        return standardise(self.weight, self.gain)


def _require_spread(fan_in: int) -> None:
    if fan_in < 2:
        raise UsageError(
            "weight standardisation needs a fan-in of at least 2 (one weight has no variance), got "
            f"{fan_in}. Widen the layer before, or use synapses without standardisation."
        )


def initialise(synapse: Synapse, generator: torch.Generator | None) -> None:
    """Draw the weights: convolutions Kaiming normal (fan-out), dense layers as below, bias 0.

    Dense layers are ``N(0, 1 / fan_in)`` with standardisation and ``N(0, 2 / fan_in)`` without. A
    standardised layer computes the same at any scale of its weights, but its gradient goes with
    ``1 / |W|``: the initial scale sets how far a learning step turns the weights.
    """
    with torch.no_grad():
        if isinstance(synapse, nn.Conv2d):
            nn.init.kaiming_normal_(
                synapse.weight, mode="fan_out", nonlinearity="relu", generator=generator
            )
        elif isinstance(synapse, ScaledWSLinear):
            std = synapse.in_features**-0.5
            nn.init.normal_(synapse.weight, 0.0, std, generator=generator)
        else:
            nn.init.kaiming_normal_(synapse.weight, nonlinearity="relu", generator=generator)
        if synapse.bias is not None:
            nn.init.zeros_(synapse.bias)
