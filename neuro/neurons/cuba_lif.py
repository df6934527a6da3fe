"""Current-based LIF neuron: the input is filtered by a synaptic current before the membrane."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from neuro.neurons.base import Filter, Neuron, Scalar, leak


class CurrentState(NamedTuple):
    """Synaptic current and membrane potential, both ``[B, ...]``."""

    synaptic_current: Tensor
    membrane_potential: Tensor


@dataclass(frozen=True, kw_only=True)
class CubaLIF(Neuron[CurrentState]):
    """Current-based leaky integrate-and-fire::

        i[t] = current_decay * i[t-1] + input_gain * I[t]
        u[t] = voltage_decay * v[t-1] + i[t]
        s[t] = H(u[t] - threshold)
        v[t] = u[t] - threshold * s[t]                          (soft reset)
        v[t] = u[t] * (1 - s[t]) + reset_value * s[t]           (hard reset)

    The membrane takes the current of the same step, as Loihi and NIR readers do. A spike leaves the
    synaptic current alone.

    Args:
        current_decay: factor the synaptic current keeps in one step, in [0, 1]. Learnable.
        voltage_decay: factor the membrane potential keeps in one step, in [0, 1]. Learnable.
        input_gain: factor on the input current.

    Source: Davies et al., "Loihi: a neuromorphic manycore processor with on-chip learning", IEEE
    Micro 38(1), 2018, whose hard reset to 0 is ``reset_mode="hard"`` here.
    """

    state_type: ClassVar[type[CurrentState]] = CurrentState
    decay_fields: ClassVar[tuple[str, ...]] = ("current_decay", "voltage_decay")

    current_decay: Scalar = 0.5
    voltage_decay: Scalar = 0.5
    input_gain: Scalar = 1.0

    def charge(self, current: Tensor, state: CurrentState) -> CurrentState:
        synaptic = leak(state.synaptic_current, current, self.current_decay, self.input_gain)
        return CurrentState(synaptic, leak(state.membrane_potential, synaptic, self.voltage_decay))

    def reset(self, charged: CurrentState, spikes: Tensor) -> CurrentState:
        potential = self.reset_potential(charged.membrane_potential, spikes, self.threshold)
        return CurrentState(charged.synaptic_current, potential)

    def kernel_numbers(self) -> dict[str, Any]:
        return {
            "decay": self.voltage_decay,
            "current_decay": self.current_decay,
            "input_gain": self.input_gain,
        }

    @property
    def filters(self) -> tuple[Filter, ...]:
        return (Filter(self.current_decay, self.input_gain), Filter(self.voltage_decay, 1.0))
