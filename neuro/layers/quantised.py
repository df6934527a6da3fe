"""Synapses and inputs in the whole numbers of a chip, with gradients that pass straight through.

A quantised synapse owns the parameters of a real one, under the same names, and sends::

    I = 2^e W_int h + B / 64,   W_int = step * clip(round(W f / (step 2^e))),   h = activity / unit

in units of weights: ``f`` is how many of them a unit of the real current is worth, ``h`` counts
spikes or is a message, and ``B`` is a bias in mantissa and exponent. All these are whole numbers,
and sums of them are exact in 32-bit floats below 2^24.

Rounding has derivative 1. A weight that is cut has it for gradients that lead back, else 0.
"""

import copy
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from neuro.layers.linear_maps import LinearMap
from neuro.layers.synapse import Synapse
from neuro.neurons.fixed_point import STEPS

LARGEST_MANTISSA = (1 << 12) - 1
_NEARLY_WHOLE = 1e-3


@dataclass(frozen=True, eq=False, kw_only=True)
class Grid:
    """Where the whole numbers of a synapse lie.

    Args:
        factor: units of weights in a unit of the real weight, a number or a tensor that broadcasts
            to the weight; what a spike or message stands for is in it.
        bias_factor: units of weights in a unit of the real bias.
        exponent: e, of the weights.
        step: between two weights.
        largest: of a weight.
        bias_exponent: of the bias; the smallest that fits if left out.
        unit: the activity that a spike, or a message of 1, arrives as.
        silence: the activity over ``unit`` that no message stands for, of the shape of one sample.
        sent: a unit of weights in what the synapse sends; 1 if neurons of a chip receive it.
    """

    factor: Tensor | float
    bias_factor: float
    exponent: int
    step: int
    largest: int
    bias_exponent: int | None
    unit: float
    silence: Tensor | None
    sent: float


class QuantisedSynapse(Synapse):
    """A synapse with the weights and the bias that registers hold.

    Args:
        synapse: the real one, whose parameters it takes over.
        grid: where its whole numbers lie.
    """

    weight: Tensor
    bias: Any
    silence: Tensor | None
    factor: Tensor

    def __init__(self, synapse: Synapse, grid: Grid) -> None:
        super().__init__()
        for name, parameter in synapse.named_parameters():
            self.register_parameter(name, parameter)
        if synapse.bias is None:
            self.register_parameter("bias", None)
        unbiased = copy.copy(synapse)
        unbiased._parameters = {**synapse._parameters, "bias": None}
        # no submodules, so that parameters keep their names
        self._held = (synapse, unbiased)
        self.grid = grid
        factor = torch.as_tensor(grid.factor, dtype=synapse.weight.dtype)
        self.register_buffer("factor", factor / 2**grid.exponent, persistent=False)
        self.register_buffer("silence", grid.silence, persistent=False)

    @property
    def original(self) -> Synapse:
        """The real synapse."""
        return self._held[0]

    @property
    def linear(self) -> Synapse:
        """The same without a bias."""
        return self._held[1]

    def extra_repr(self) -> str:
        return f"{self.original}, step={self.grid.step}, exponent={self.grid.exponent}"

    def effective_weight(self) -> Tensor:
        """Return ``2^e W_int``."""
        weight: Tensor = _OnGrid.apply(  # type: ignore[no-untyped-call]
            self.wanted_weight(), self.grid.step, self.grid.largest
        )
        return weight * 2**self.grid.exponent if self.grid.exponent else weight

    def wanted_weight(self) -> Tensor:
        """Return what ``W_int`` is the nearest to."""
        return self.original.effective_weight() * self.factor

    def bias_registers(self) -> tuple[Tensor, Tensor] | None:
        """Return mantissa and exponent of ``B``, for each output or one of its neurons."""
        states = self._bias_states(self.effective_weight())
        return None if states is None else _registers(states, self.grid.bias_exponent)

    def forward(self, input: Tensor) -> Tensor:
        return self.transmit(input, self.effective_weight())

    def transmit(self, activity: Tensor, weight: Tensor) -> Tensor:
        heard: Tensor = _Whole.apply(activity, self.grid.unit)  # type: ignore[no-untyped-call]
        current = self.linear.transmit(heard, weight)
        states = self._bias_states(weight)
        if states is not None:
            rounded: Tensor = _Held.apply(  # type: ignore[no-untyped-call]
                states, self.grid.bias_exponent
            )
            current = current + (rounded / STEPS).to(current.dtype)
        return current if self.grid.sent == 1 else current * self.grid.sent

    def weight_gradient(self, delta: Tensor, activity: Tensor) -> Tensor:
        heard = activity / self.grid.unit
        if self.silence is not None:
            heard = heard + self.silence
        return self.linear.weight_gradient(delta, heard) * self.grid.sent

    def bias_gradient(self, delta: Tensor) -> Tensor:
        return self.original.bias_gradient(delta) * (self.grid.bias_factor * self.grid.sent)

    def transpose(self, delta: Tensor, weight: Tensor, input_shape: torch.Size) -> Tensor:
        error = self.linear.transpose(delta, weight, input_shape)
        return error * (self.grid.sent / self.grid.unit)

    def _bias_states(self, weight: Tensor) -> Tensor | None:
        """Return the bias and what silence makes, in steps of the state, not rounded."""
        states: Tensor | None = None
        if self.silence is not None:
            made = self.linear.transmit(self.silence.to(torch.float64)[None], weight.double())
            states = made[0] * STEPS
        if self.bias is None:
            return states
        own: Tensor = self.bias.double() * (self.grid.bias_factor * STEPS)
        own = own.reshape(-1, *[1] * (self.linear.weight.ndim - 2))
        return own if states is None else states + own


class Heard(LinearMap):
    """Real inputs as the messages that spikes carry, ``round((x - offset) / unit)``, cut to range.

    It goes for linear, with derivative 1: nothing learns before it.

    Args:
        unit: what a message of 1 stands for; broadcasts to a sample.
        offset: what silence stands for, likewise.
        lowest, highest: message.
    """

    unit: Tensor
    offset: Tensor

    def __init__(self, unit: Tensor, offset: Tensor, *, lowest: int, highest: int) -> None:
        super().__init__()
        self.register_buffer("unit", unit, persistent=False)
        self.register_buffer("offset", offset, persistent=False)
        self.lowest, self.highest = lowest, highest

    def forward(self, activity: Tensor) -> Tensor:
        messages = (activity.to(torch.float64) - self.offset).div_(self.unit).round_()
        return messages.clamp_(self.lowest, self.highest).to(activity.dtype)

    def adjoint(self, delta: Tensor, input_shape: torch.Size) -> Tensor:
        return delta


class _OnGrid(torch.autograd.Function):
    """Weights to the nearest multiple of ``step``, cut to ``largest``."""

    @staticmethod
    def forward(ctx: Any, wanted: Tensor, step: int, largest: int) -> Tensor:
        nearest = (wanted / step).round_().mul_(step)
        weight = nearest.clamp(-largest, largest)
        ctx.save_for_backward((nearest - weight).sign_().to(torch.int8))
        return weight

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        (beyond,) = ctx.saved_tensors
        gradient = grad_outputs[0]
        # descent moves against the gradient
        return gradient * ((beyond == 0) | (gradient * beyond > 0)), None, None


class _Whole(torch.autograd.Function):
    """Activity over its unit; numbers that only rounding keeps from being whole are."""

    @staticmethod
    def forward(ctx: Any, activity: Tensor, unit: float) -> Tensor:
        ctx.unit = unit
        heard = activity / unit
        whole = heard.round()
        return torch.where((heard - whole).abs_() < _NEARLY_WHOLE, whole, heard)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0] / ctx.unit, None


class _Held(torch.autograd.Function):
    """States to what mantissa and exponent hold."""

    @staticmethod
    def forward(ctx: Any, states: Tensor, exponent: int | None) -> Tensor:
        mantissa, power = _registers(states, exponent)
        return mantissa * torch.exp2(power)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0], None


@torch.no_grad()
def _registers(states: Tensor, exponent: int | None) -> tuple[Tensor, Tensor]:
    if exponent is None:
        needed = states.abs().max() / (LARGEST_MANTISSA + 0.5)
        power = torch.log2(needed.clamp(min=1.0)).ceil()
    else:
        power = torch.full((), float(exponent), dtype=states.dtype, device=states.device)
    mantissa = (states / torch.exp2(power)).round().clamp(-LARGEST_MANTISSA, LARGEST_MANTISSA)
    return mantissa, power
