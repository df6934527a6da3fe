"""Leaky integrate-and-fire neuron."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from neuro.neurons.base import Filter, MembraneState, Neuron, Scalar, leak


@dataclass(frozen=True, kw_only=True)
class LIF(Neuron[MembraneState]):
    """Leaky integrate-and-fire::

        u[t] = decay * v[t-1] + input_gain * I[t]
        s[t] = H(u[t] - threshold)
        v[t] = u[t] - threshold * s[t]                          (soft reset)
        v[t] = u[t] * (1 - s[t]) + reset_value * s[t]           (hard reset)

    The defaults are the neuron of OTTT: ``u[t+1] = decay * (u[t] - threshold * s[t]) + I[t+1]``,
    decay 0.5 (tau = 2), threshold 1, soft detached reset, firing at >=, sigmoid surrogate of
    slope 4. The potential leaks towards 0 and starts at 0.

    Args:
        decay: factor the potential keeps in one step, in [0, 1]; see ``decay_from_tau``. Learnable.
        input_gain: factor on the input current; ``1 - decay`` gives the low-pass form.

    Source: Xiao et al., "Online training through time for spiking neural networks", NeurIPS 2022.
    """

    state_type: ClassVar[type[MembraneState]] = MembraneState
    decay_fields: ClassVar[tuple[str, ...]] = ("decay",)

    decay: Scalar = 0.5
    input_gain: Scalar = 1.0

    def charge(self, current: Tensor, state: MembraneState) -> MembraneState:
        return MembraneState(leak(state.membrane_potential, current, self.decay, self.input_gain))

    def reset(self, charged: MembraneState, spikes: Tensor) -> MembraneState:
        potential = self.reset_potential(charged.membrane_potential, spikes, self.threshold)
        return MembraneState(potential)

    def kernel_numbers(self) -> dict[str, Any]:
        return {"decay": self.decay, "input_gain": self.input_gain}

    @property
    def filters(self) -> tuple[Filter, ...]:
        return (Filter(self.decay, self.input_gain),)
