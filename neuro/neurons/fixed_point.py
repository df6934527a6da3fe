"""The neurons of a chip with integer registers, with gradients that pass straight through."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from neuro.neurons.base import Filter, Neuron, Scalar
from neuro.neurons.cuba_lif import CurrentState

STEPS = 64
"""Steps of a potential in a unit of weights."""


@dataclass(frozen=True, kw_only=True)
class FixedPointLIF(Neuron[CurrentState]):
    """Current-based leaky integrate-and-fire in whole numbers, as Loihi computes it::

        n_i[t] = trunc(current_decay * n_i[t-1]) + round(64 I[t])
        n_u[t] = trunc(voltage_decay * n_v[t-1]) + n_i[t]
        s[t]   = n_u[t] > n_threshold
        n_v[t] = n_u[t] - n_threshold * s[t]   (soft reset)   or   n_u[t] (1 - s[t])   (hard)

    ``I`` comes in units of weights; the state is in real units, ``v = n_v / steps``, and kept in 64
    bits, from which every whole number comes back exactly. Rounding has derivative 1, so gradients
    are those of the CubaLIF of the same decays and an input gain of ``64 / steps``. Registers are
    taken to be wide enough: nothing wraps and nothing is cut.

    Args:
        steps: of the state in one real unit of the potential, > 0.
        current_decay, voltage_decay: whole numbers of 1/4096.
        threshold: a whole number of steps, in real units.
        dtype: of spikes and currents.
    """

    state_type: ClassVar[type[CurrentState]] = CurrentState
    decay_fields: ClassVar[tuple[str, ...]] = ("current_decay", "voltage_decay")

    steps: float
    current_decay: Scalar
    voltage_decay: Scalar
    inclusive: bool = False
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.steps > 0:
            raise self._refuse("steps", self.steps, "positive")
        if self.inclusive:
            raise self._refuse("inclusive", self.inclusive, "False: a chip fires above a threshold")
        if isinstance(self.reset_value, Tensor) or self.reset_value != 0:
            raise self._refuse("reset_value", self.reset_value, "0, as on a chip")

    def zeros(
        self,
        shape: Sequence[int],
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> CurrentState:
        """The state at rest, in 64 bits whatever ``dtype``."""
        return super().zeros(shape, device=device, dtype=torch.float64)

    def charge(self, current: Tensor, state: CurrentState) -> CurrentState:
        synaptic: Tensor = _Arrived.apply(current, self.steps)  # type: ignore[no-untyped-call]
        if not _never(self.current_decay):
            synaptic = self._faded(state.synaptic_current, self.current_decay) + synaptic
        potential = self._faded(state.membrane_potential, self.voltage_decay) + synaptic
        return CurrentState(synaptic, potential)

    def distance(self, charged: CurrentState) -> Tensor:
        """``membrane_potential - threshold`` in real units; its sign is that of whole numbers."""
        whole: Tensor = _Counted.apply(  # type: ignore[no-untyped-call]
            charged.membrane_potential, self.steps
        )
        bar = self.threshold * self.steps
        above = whole - (torch.round(bar) if isinstance(bar, Tensor) else round(bar))
        return (above / self.steps).to(self.dtype)

    def reset(self, charged: CurrentState, spikes: Tensor) -> CurrentState:
        potential = self.reset_potential(
            charged.membrane_potential, spikes.to(torch.float64), self.threshold
        )
        return CurrentState(charged.synaptic_current, potential)

    @property
    def filters(self) -> tuple[Filter, ...]:
        gain = STEPS / self.steps
        if _never(self.current_decay):
            return (Filter(self.voltage_decay, gain),)
        return (Filter(self.current_decay, gain), Filter(self.voltage_decay, 1.0))

    def _faded(self, values: Tensor, decay: Scalar) -> Tensor:
        faded: Tensor = _Faded.apply(values, decay, self.steps)  # type: ignore[no-untyped-call]
        return faded


def _never(decay: Scalar) -> bool:
    """Whether nothing is kept from one step to the next."""
    return not isinstance(decay, Tensor) and decay == 0


class _Arrived(torch.autograd.Function):
    """Units of weights to real units, in 64 bits, by way of whole steps."""

    @staticmethod
    def forward(ctx: Any, current: Tensor, steps: float) -> Tensor:
        ctx.gain, ctx.dtype = STEPS / steps, current.dtype
        return (current.to(torch.float64) * STEPS).round_().div_(steps)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return (grad_outputs[0] * ctx.gain).to(ctx.dtype), None


class _Faded(torch.autograd.Function):
    """What is kept of a state, rounded toward zero in whole steps."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, decay: Scalar, steps: float) -> Tensor:
        ctx.decay = decay
        return (values * steps).round_().mul_(decay).trunc_().div_(steps)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None, None]:
        return grad_outputs[0] * ctx.decay, None, None


class _Counted(torch.autograd.Function):
    """A state in whole steps."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, steps: float) -> Tensor:
        ctx.steps = steps
        return (values * steps).round_()

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> tuple[Tensor, None]:
        return grad_outputs[0] * ctx.steps, None
