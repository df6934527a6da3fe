"""Leaky integrator: a read-out whose output is its membrane potential."""

from dataclasses import dataclass
from typing import ClassVar

from torch import Tensor

from neuro.neurons.base import Dynamics, Filter, MembraneState, Scalar, leak


@dataclass(frozen=True, kw_only=True)
class LeakyIntegrator(Dynamics[MembraneState]):
    """Non-spiking read-out::

        v[t] = decay * v[t-1] + input_gain * I[t]

    ``step`` returns the membrane potential itself as the output; nothing fires, nothing resets.

    Args:
        decay: factor the potential keeps in one step, in [0, 1]; 1 sums the input. Learnable.
        input_gain: factor on the input current; ``1 - decay`` gives a running mean.

    Source: Neftci, Mostafa & Zenke, "Surrogate gradient learning in spiking neural networks", IEEE
    Signal Processing Magazine 36(6), 2019 (read-out units).
    """

    state_type: ClassVar[type[MembraneState]] = MembraneState
    decay_fields: ClassVar[tuple[str, ...]] = ("decay",)

    decay: Scalar = 0.9
    input_gain: Scalar = 1.0

    def charge(self, current: Tensor, state: MembraneState) -> MembraneState:
        return MembraneState(leak(state.membrane_potential, current, self.decay, self.input_gain))

    def step(self, current: Tensor, state: MembraneState) -> tuple[Tensor, MembraneState]:
        """One time step; returns the membrane potential ``[B, ...]`` and the state."""
        charged = self.charge(current, state)
        return charged.membrane_potential, charged

    @property
    def filters(self) -> tuple[Filter, ...]:
        return (Filter(self.decay, self.input_gain),)
