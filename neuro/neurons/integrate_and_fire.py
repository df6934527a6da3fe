"""Integrate-and-fire neuron: no leak."""

from dataclasses import dataclass
from typing import Any, ClassVar

from torch import Tensor

from neuro.neurons.base import Filter, MembraneState, Neuron, Scalar, leak


@dataclass(frozen=True, kw_only=True)
class IF(Neuron[MembraneState]):
    """Integrate-and-fire, the perfect integrator::

        u[t] = v[t-1] + input_gain * I[t]
        s[t] = H(u[t] - threshold)
        v[t] = u[t] - threshold * s[t]                          (soft reset)
        v[t] = u[t] * (1 - s[t]) + reset_value * s[t]           (hard reset)

    With the soft reset no charge is lost: ``v[T] = sum_t I[t] - threshold * (number of spikes)``.

    Args:
        input_gain: factor on the input current.

    Source: Abbott, "Lapicque's introduction of the integrate-and-fire model neuron (1907)", Brain
    Research Bulletin 50, 1999.
    """

    state_type: ClassVar[type[MembraneState]] = MembraneState

    input_gain: Scalar = 1.0

    def charge(self, current: Tensor, state: MembraneState) -> MembraneState:
        return MembraneState(leak(state.membrane_potential, current, 1.0, self.input_gain))

    def reset(self, charged: MembraneState, spikes: Tensor) -> MembraneState:
        potential = self.reset_potential(charged.membrane_potential, spikes, self.threshold)
        return MembraneState(potential)

    def kernel_numbers(self) -> dict[str, Any]:
        return {"decay": 1.0, "input_gain": self.input_gain}

    @property
    def filters(self) -> tuple[Filter, ...]:
        return (Filter(1.0, self.input_gain),)
