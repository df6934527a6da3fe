"""LIF neuron with an adaptive threshold: each spike makes the next one harder for a while."""

from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from torch import Tensor

from neuro.neurons.base import Filter, Neuron, Scalar, leak


class AdaptiveState(NamedTuple):
    """Membrane potential and adaptation, both ``[B, ...]``."""

    membrane_potential: Tensor
    adaptation: Tensor


@dataclass(frozen=True, kw_only=True)
class AdaptiveLIF(Neuron[AdaptiveState]):
    """Leaky integrate-and-fire with threshold adaptation::

        u[t] = decay * v[t-1] + input_gain * I[t]
        A[t] = threshold + beta * a[t-1]                        (adaptive threshold)
        s[t] = H(u[t] - A[t])
        v[t] = u[t] - A[t] * s[t]                               (soft reset)
        v[t] = u[t] * (1 - s[t]) + reset_value * s[t]           (hard reset)
        a[t] = adaptation_decay * a[t-1] + (1 - adaptation_decay) * s[t]

    The threshold rises only after the step of the spike. ``detach_reset`` concerns the reset of the
    potential; the path through the adaptation always carries gradients, for it is the neuron's
    memory.

    Args:
        decay: factor the potential keeps in one step, in [0, 1]. Learnable.
        adaptation_decay: factor the adaptation keeps in one step, in [0, 1]. Learnable.
        beta: strength of the adaptation, >= 0, in units of the membrane potential.
        input_gain: factor on the input current; ``1 - decay`` gives the form of the LSNN paper.
        normalise_adaptation: weigh a spike by ``1 - adaptation_decay`` (True, LSNN), so that the
            adaptation is a running firing rate in [0, 1]; or by 1 (False, e-prop).
        subtract_adaptation: whether a soft reset subtracts the adaptive threshold ``A`` (True,
            LSNN) or the fixed ``threshold`` alone (False, e-prop).

    Source: Bellec et al., "Long short-term memory and learning-to-learn in networks of spiking
    neurons" (LSNN), NeurIPS 2018; Bellec et al., "A solution to the learning dilemma for recurrent
    networks of spiking neurons" (e-prop), Nature Communications 11, 2020.
    """

    state_type: ClassVar[type[AdaptiveState]] = AdaptiveState
    decay_fields: ClassVar[tuple[str, ...]] = ("decay", "adaptation_decay")

    decay: Scalar = 0.5
    adaptation_decay: Scalar = 0.9
    beta: Scalar = 1.6
    input_gain: Scalar = 1.0
    normalise_adaptation: bool = True
    subtract_adaptation: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        if not isinstance(self.beta, Tensor) and self.beta < 0:
            raise self._refuse("beta", self.beta, ">= 0")

    @property
    def spike_weight(self) -> Scalar:
        """What a spike adds to the adaptation."""
        return 1.0 - self.adaptation_decay if self.normalise_adaptation else 1.0

    def adaptive_threshold(self, state: AdaptiveState) -> Tensor:
        """``threshold + beta * adaptation``, ``[B, ...]``."""
        return self.threshold + self.beta * state.adaptation

    def charge(self, current: Tensor, state: AdaptiveState) -> AdaptiveState:
        potential = leak(state.membrane_potential, current, self.decay, self.input_gain)
        return AdaptiveState(potential, state.adaptation)

    def distance(self, charged: AdaptiveState) -> Tensor:
        """``membrane_potential - (threshold + beta * adaptation)``."""
        return charged.membrane_potential - self.adaptive_threshold(charged)

    def reset(self, charged: AdaptiveState, spikes: Tensor) -> AdaptiveState:
        threshold = self.adaptive_threshold(charged) if self.subtract_adaptation else self.threshold
        potential = self.reset_potential(charged.membrane_potential, spikes, threshold)
        adaptation = leak(charged.adaptation, spikes, self.adaptation_decay, self.spike_weight)
        return AdaptiveState(potential, adaptation)

    def kernel_numbers(self) -> dict[str, Any]:
        return {
            "decay": self.decay,
            "input_gain": self.input_gain,
            "beta": self.beta,
            "adaptation_decay": self.adaptation_decay,
            "adaptation_weight": self.spike_weight,
            "subtract_adaptation": self.subtract_adaptation,
        }

    @property
    def filters(self) -> tuple[Filter, ...]:
        return (Filter(self.decay, self.input_gain),)
