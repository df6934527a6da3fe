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

    A chip holds a synapse once for every population it drives, rounded for each: with several grids
    it sends a current for each, one behind the other along the channels, and :class:`Copy` takes
    one of them.

    Args:
        synapse: the real one, whose parameters it takes over.
        grids: where the whole numbers of each copy lie; they share ``unit`` and ``silence``.
        biased: whether the bias is added here; else where the currents of several synapses meet, in
            :class:`SharedBias`.
    """

    weight: Tensor
    bias: Any
    silence: Tensor | None

    def __init__(self, synapse: Synapse, *grids: Grid, biased: bool = True) -> None:
        super().__init__()
        for name, parameter in synapse.named_parameters():
            self.register_parameter(name, parameter)
        if synapse.bias is None:
            self.register_parameter("bias", None)
        unbiased = copy.copy(synapse)
        unbiased._parameters = {**synapse._parameters, "bias": None}
        # no submodules, so that parameters keep their names
        self._held = (synapse, unbiased)
        self.grids, self.biased = grids, biased
        for copy_of, grid in enumerate(grids):
            factor = torch.as_tensor(grid.factor, dtype=synapse.weight.dtype)
            self.register_buffer(f"factor{copy_of}", factor / 2**grid.exponent, persistent=False)
        self.register_buffer("silence", grids[0].silence, persistent=False)

    @property
    def original(self) -> Synapse:
        """The real synapse."""
        return self._held[0]

    @property
    def linear(self) -> Synapse:
        """The same without a bias."""
        return self._held[1]

    def extra_repr(self) -> str:
        exponents = ", ".join(f"{grid.exponent}" for grid in self.grids)
        return f"{self.original}, step={self.grids[0].step}, exponent={exponents}"

    def effective_weight(self) -> Tensor:
        """Return ``2^e W_int``, of all copies one behind the other."""
        weight = self.original.effective_weight()
        copies = [self._on_grid(weight, number) for number in range(len(self.grids))]
        return copies[0] if len(copies) == 1 else torch.cat(copies)

    def copied_weight(self, number: int) -> Tensor:
        """Return ``2^e W_int`` of a copy."""
        return self._on_grid(self.original.effective_weight(), number)

    def wanted_weight(self, number: int) -> Tensor:
        """Return what ``W_int`` of a copy is the nearest to."""
        return self.original.effective_weight() * self.get_buffer(f"factor{number}")

    def bias_registers(self) -> tuple[Tensor, Tensor] | None:
        """Return mantissa and exponent of ``B``, for each output or one of its neurons."""
        states = self.bias_states(0)
        return None if states is None else held(states, self.grids[0].bias_exponent)

    def _on_grid(self, weight: Tensor, number: int) -> Tensor:
        grid = self.grids[number]
        whole: Tensor = _OnGrid.apply(  # type: ignore[no-untyped-call]
            weight * self.get_buffer(f"factor{number}"), grid.step, grid.largest
        )
        return whole * 2**grid.exponent if grid.exponent else whole

    def forward(self, input: Tensor) -> Tensor:
        return self.transmit(input, self.effective_weight())

    def transmit(self, activity: Tensor, weight: Tensor) -> Tensor:
        grid = self.grids[0]
        heard: Tensor = _Whole.apply(activity, grid.unit)  # type: ignore[no-untyped-call]
        current = self.linear.transmit(heard, weight)
        states = self.bias_states(0, weight) if self.biased else None
        if states is not None:
            current = current + _in_weights(states, grid.bias_exponent, current)
        return current if grid.sent == 1 else current * grid.sent

    def weight_gradient(self, delta: Tensor, activity: Tensor) -> Tensor:
        heard = activity / self.grids[0].unit
        if self.silence is not None:
            heard = heard + self.silence
        return torch.cat(
            [
                self.linear.weight_gradient(part, heard) * grid.sent
                for part, grid in zip(self._parts(delta), self.grids, strict=True)
            ]
        )

    def bias_gradient(self, delta: Tensor) -> Tensor:
        parts = [
            self.original.bias_gradient(part) * (grid.bias_factor * grid.sent)
            for part, grid in zip(self._parts(delta), self.grids, strict=True)
        ]
        return sum(parts[1:], parts[0])

    def transpose(self, delta: Tensor, weight: Tensor, input_shape: torch.Size) -> Tensor:
        error = self.linear.transpose(delta, weight, input_shape)
        return error * (self.grids[0].sent / self.grids[0].unit)

    def _parts(self, delta: Tensor) -> list[Tensor]:
        """Return the errors of each copy's current."""
        if len(self.grids) == 1:
            return [delta]
        return [part.contiguous() for part in delta.chunk(len(self.grids), 1)]

    def bias_states(self, number: int, weight: Tensor | None = None) -> Tensor | None:
        """Return bias and what silence makes of a copy, in steps of the state, not rounded.

        Args:
            number: of the copy.
            weight: its effective weight, if it is known.
        """
        grid = self.grids[number]
        if self.silence is not None and weight is None:
            weight = self.copied_weight(number)
        states: Tensor | None = None
        if self.silence is not None and weight is not None:
            made = self.linear.transmit(self.silence.to(torch.float64)[None], weight.double())
            states = made[0] * STEPS
        if self.bias is None:
            return states
        own: Tensor = self.bias.double() * (grid.bias_factor * STEPS)
        own = own.reshape(-1, *[1] * (self.linear.weight.ndim - 2))
        return own if states is None else states + own


class Copy(LinearMap):
    """The current of one copy of a synapse that a chip holds several times.

    Args:
        number: of the copy.
        copies: that there are.
    """

    def __init__(self, number: int, copies: int) -> None:
        super().__init__()
        self.number, self.copies = number, copies

    def extra_repr(self) -> str:
        return f"{self.number} of {self.copies}"

    def forward(self, activity: Tensor) -> Tensor:
        return activity.chunk(self.copies, 1)[self.number]

    def adjoint(self, delta: Tensor, input_shape: torch.Size) -> Tensor:
        whole = delta.new_zeros(input_shape)
        whole.chunk(self.copies, 1)[self.number].copy_(delta)
        return whole


class SharedBias(LinearMap):
    """The biases of all synapses into a population, in its one register.

    It goes for linear: errors pass it unchanged, and each synapse has the gradient of its bias.

    Args:
        copies: synapses, and which of its copies each sends there.
    """

    def __init__(self, *copies: tuple[QuantisedSynapse, int]) -> None:
        super().__init__()
        # no submodules: the synapses are nodes of their own
        self._copies = copies
        first, number = copies[0]
        self.bias_exponent = first.grids[number].bias_exponent

    def states(self) -> Tensor | None:
        """Return their sum in steps of the state, not rounded; None if there is none."""
        found = [
            each
            for synapse, number in self._copies
            if (each := synapse.bias_states(number)) is not None
        ]
        return sum(found[1:], found[0]) if found else None

    def bias_registers(self) -> tuple[Tensor, Tensor] | None:
        """Return mantissa and exponent, for each output or one of its neurons."""
        states = self.states()
        return None if states is None else held(states, self.bias_exponent)

    def forward(self, activity: Tensor) -> Tensor:
        states = self.states()
        if states is None:
            return activity
        return activity + _in_weights(states, self.bias_exponent, activity)

    def adjoint(self, delta: Tensor, input_shape: torch.Size) -> Tensor:
        return delta


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
        mantissa, power = held(states, exponent)
        return mantissa * torch.exp2(power)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0], None


def _in_weights(states: Tensor, exponent: int | None, like: Tensor) -> Tensor:
    """Return states as registers hold them, in units of weights."""
    rounded: Tensor = _Held.apply(states, exponent)  # type: ignore[no-untyped-call]
    return (rounded / STEPS).to(like.dtype)


@torch.no_grad()
def held(states: Tensor, exponent: int | None) -> tuple[Tensor, Tensor]:
    """Return the mantissa and the exponent of a bias, given in steps of the state.

    Args:
        states: not rounded.
        exponent: that it must have; the smallest that fits if left out.
    """
    if exponent is None:
        needed = states.abs().max() / (LARGEST_MANTISSA + 0.5)
        power = torch.log2(needed.clamp(min=1.0)).ceil()
    else:
        power = torch.full((), float(exponent), dtype=states.dtype, device=states.device)
    mantissa = (states / torch.exp2(power)).round().clamp(-LARGEST_MANTISSA, LARGEST_MANTISSA)
    return mantissa, power
