"""Leaky integrate-and-fire neuron."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from torch import Tensor

from neuro.neurons.base import Filter, Neuron, Scalar, leak


class LIFState(NamedTuple):
    """State of a neuron whose only variable is the membrane potential ``[B, ...]``, after the reset."""

    membrane_potential: Tensor


@dataclass(frozen=True, kw_only=True)
class LIF(Neuron[LIFState]):
    """Leaky integrate-and-fire::

        u[t] = decay * v[t-1] + input_gain * I[t]
        s[t] = H(u[t] - threshold)
        v[t] = u[t] - threshold * s[t]                          (soft reset)
        v[t] = u[t] * (1 - s[t]) + reset_value * s[t]           (hard reset)

    The defaults are the neuron of OTTT: ``u[t+1] = decay * (u[t] - threshold * s[t]) + I[t+1]``, decay
    0.5 (tau = 2), threshold 1, soft detached reset, firing at >=, sigmoid surrogate of slope 4.
    The potential leaks towards 0 and starts at 0.

    Args:
        decay: factor the potential keeps in one step, in [0, 1]; see ``decay_from_tau``. Learnable.
        input_gain: factor on the input current; 1 - decay gives the low-pass form.

    Source: Xiao et al., "Online training through time for spiking neural networks", NeurIPS 2022, eq. 2.
    """

    decay_fields: ClassVar[tuple[str, ...]] = ("decay",)

    decay: Scalar = 0.5
    input_gain: Scalar = 1.0

    def zeros(
        self,
        shape: Sequence[int],
        *,
        device: torch.device | str | None = None,
        dtype: torch.dtype | None = None,
    ) -> LIFState:
        return LIFState(torch.zeros(tuple(shape), device=device, dtype=dtype))

    def charge(self, current: Tensor, state: LIFState) -> LIFState:
        return LIFState(leak(state.membrane_potential, current, self.decay, self.input_gain))

    def reset(self, charged: LIFState, spikes: Tensor) -> LIFState:
        return LIFState(self.reset_potential(charged.membrane_potential, spikes, self.threshold))

    @property
    def filters(self) -> tuple[Filter, ...]:
        return (Filter(self.decay, self.input_gain),)
