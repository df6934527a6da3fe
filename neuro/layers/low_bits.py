"""Layers of few bits with gradients: numbers rounded to whole multiples of a step that is learnt.

They are for networks without time; :mod:`neuro.layers.quantised` has the registers of a chip, whose
steps are given. A sum of products of two such layers is a sum of products of small whole numbers,
times one constant an output channel.
"""

import copy
import math
from typing import Any

import torch
from torch import Tensor, nn

from neuro.errors import UsageError
from neuro.layers.synapse import Conv2d, Linear, ScaledWSConv2d, ScaledWSLinear, Synapse

_TRIED = 100
_ENOUGH = 1 << 18


class Quantiser(nn.Module):
    """Rounds to a grid: ``y = step * round(clip(x / step, lowest, highest))``.

    Unsigned numbers of b bits are 0 to ``2^b - 1`` steps, signed ones ``-n`` to ``n`` steps with
    ``n = 2^(b-1) - 1``, symmetric. Rounding has derivative 1, clipping its own, and the step learns
    by what follows, divided by ``sqrt(numbers * highest)``: LSQ (Esser et al., "Learned step size
    quantization", ICLR 2020). What is held is ``w`` of ``step = start * exp(w)``, so that a step
    stays above 0 and an optimiser changes it in proportion, as of thresholds in TQT (Jain et al.,
    "Trained quantization thresholds", MLSys 2020).

    With several rows each has its step, in units of the root mean square of the row, for which
    gradients take it as a constant: the steps of weights grow as the weights do, however small
    these were when training began.

    Args:
        bits: b >= 1, or >= 2 if signed.
        signed: whether there are numbers below 0.
        rows: of what is rounded, along its first axis; None for one step in all.

    Raises:
        UsageError: bits that leave nothing but 0.
    """

    start: Tensor

    def __init__(self, bits: int, *, signed: bool, rows: int | None = None) -> None:
        super().__init__()
        if bits < 1 + signed:
            kind = "signed" if signed else "unsigned"
            raise UsageError(f"{kind} numbers need at least {1 + signed} bits, got {bits}.")
        self.bits, self.signed, self.rows = bits, signed, rows
        self.highest = (1 << bits - signed) - 1
        self.lowest = -self.highest if signed else 0
        shape = () if rows is None else (rows,)
        self.register_buffer("start", torch.ones(shape))
        self.log_step = nn.Parameter(torch.zeros(shape))

    def extra_repr(self) -> str:
        return f"bits={self.bits}, signed={self.signed}"

    def forward(self, x: Tensor) -> Tensor:
        step = self._learning_step(x)
        whole: Tensor = _Round.apply(  # type: ignore[no-untyped-call]
            (x / step).clamp(self.lowest, self.highest)
        )
        return whole * step

    def step(self, x: Tensor) -> Tensor:
        """Return the steps that ``x`` is rounded to; they broadcast to it."""
        step = self.start * self.log_step.exp()
        if self.rows is None:
            return step
        return (step * _sizes(x)).view(-1, *[1] * (x.ndim - 1))

    @torch.no_grad()
    def fit(self, x: Tensor) -> None:
        """Take the step with the least squared error on ``x``, of 100 up to what cuts nothing."""
        rows = _thinned(x.flatten())[None] if self.rows is None else x.flatten(1)
        if not self.signed:
            rows = rows.clamp(min=0)
        largest = rows.abs().amax(1, keepdim=True) / self.highest
        largest = torch.where(largest > 0, largest, 1.0)
        best, least = largest, torch.full_like(largest, math.inf)
        for number in range(_TRIED, 0, -1):
            step = largest * (number / _TRIED)
            rounded = (rows / step).round_().clamp_(self.lowest, self.highest).mul_(step)
            error = rounded.sub_(rows).square_().sum(1, keepdim=True)
            best = torch.where(error < least, step, best)
            least = torch.minimum(error, least)
        self.start.copy_(best[0, 0] if self.rows is None else best[:, 0] / _sizes(x))
        self.log_step.zero_()

    def _learning_step(self, x: Tensor) -> Tensor:
        """Return the steps, with the gradient that learning wants."""
        share = 1 / math.sqrt(x[0].numel() * self.highest)
        step = self.step(x)
        return step.detach() + (step - step.detach()) * share


class Rectifier(nn.Module):
    """``gain * max(0, x)``, of b bits ``gain * step * round(clip(x / step, 0, 2^b - 1))``.

    Args:
        gain: constant factor; it can go into the weights that follow.
        bits: b; None for no rounding.
    """

    def __init__(self, *, gain: float = 1.0, bits: int | None = None) -> None:
        super().__init__()
        self.gain = gain
        self.quantiser = None if bits is None else Quantiser(bits, signed=False)

    def extra_repr(self) -> str:
        return f"gain={self.gain:g}"

    def forward(self, current: Tensor) -> Tensor:
        value = torch.relu(current) if self.quantiser is None else self.quantiser(current)
        return value if self.gain == 1 else value * self.gain


class LowBit(Synapse):
    """What makes a synapse one of few bits: its effective weight is rounded, its bias is not."""

    quantiser: Quantiser

    def effective_weight(self) -> Tensor:
        rounded: Tensor = self.quantiser(super().effective_weight())
        return rounded


class LowBitLinear(LowBit, Linear):
    """Dense synapse of few bits."""


class LowBitConv2d(LowBit, Conv2d):
    """Convolutional synapse of few bits."""


class LowBitScaledWSLinear(LowBit, ScaledWSLinear):
    """Dense synapse of few bits; the standardised weight is what is rounded."""


class LowBitScaledWSConv2d(LowBit, ScaledWSConv2d):
    """Convolutional synapse of few bits; the standardised weight is what is rounded."""


_KINDS: dict[type[nn.Module], type[LowBit]] = {
    Linear: LowBitLinear,
    Conv2d: LowBitConv2d,
    ScaledWSLinear: LowBitScaledWSLinear,
    ScaledWSConv2d: LowBitScaledWSConv2d,
}


def low_bit(synapse: Synapse, bits: int) -> LowBit:
    """Return a copy of a synapse whose weights have ``bits``, with a step an output channel.

    Raises:
        UsageError: a synapse of another kind than the four of this package, or fewer than 2 bits.
    """
    kind = _KINDS.get(type(synapse))
    if kind is None:
        raise UsageError(
            f"{type(synapse).__name__} has no form of few bits; there is one of "
            f"{', '.join(each.__name__ for each in _KINDS)}."
        )
    found: Any = copy.deepcopy(synapse)
    found.__class__ = kind  # all it holds stays as it is
    found.quantiser = Quantiser(bits, signed=True, rows=len(synapse.weight))
    found.quantiser.to(synapse.weight)
    found.quantiser.fit(synapse.effective_weight())
    low: LowBit = found
    return low


class _Round(torch.autograd.Function):
    """To the nearest whole number, with derivative 1."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.round()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        return grad_outputs[0]


@torch.no_grad()
def _sizes(x: Tensor) -> Tensor:
    """Return the root mean square of each row, 1 for a row of zeros."""
    sizes = x.flatten(1).square().mean(1).sqrt()
    return torch.where(sizes > 0, sizes, 1.0)


def _thinned(numbers: Tensor) -> Tensor:
    """Return evenly taken ones, enough of them."""
    return numbers[:: max(1, -(-len(numbers) // _ENOUGH))]
