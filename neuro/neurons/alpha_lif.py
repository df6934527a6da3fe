"""Alpha-function LIF neuron: equal time constants of current and membrane, peak-normalised."""

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor

from neuro.errors import UsageError
from neuro.neurons.base import Filter, Neuron, ResetMode, Scalar, leak
from neuro.neurons.cuba_lif import CurrentState

GRSNN_DECAY = math.exp(-1 / 4)


@dataclass(frozen=True, kw_only=True)
class AlphaLIF(Neuron[CurrentState]):
    """Current-based LIF whose postsynaptic potential is an alpha function::

        i[t] = decay * i[t-1] + gain * I[t]
        u[t] = decay * v[t-1] + i[t] + membrane_current
        s[t] = H(u[t] - threshold)
        v[t] = u[t] * (1 - s[t])                                (hard reset, differentiable)

    Between resets one unit of input at step 0 gives ``u[k] = gain * (k + 1) * decay^k``. With
    ``decay = exp(-1/tau)`` and ``gain = e/tau`` this is the alpha function
    ``(t/tau) exp(1 - t/tau)`` up to its sampling, of peak 1 in continuous time.

    The defaults are the neuron of GRSNN: tau 4 (decay 0.7788, gain 0.6796), threshold 2, firing at
    >=, hard reset to 0 that gradients pass through. There the first step has no synaptic input,
    only the membrane current: step from rest with a zero current and the membrane current.

    Args:
        decay: factor both variables keep in one step, in (0, 1); ``decay_from_tau(tau,
            "exponential")``. Learnable.
        input_gain: factor on the input current; None ties it to the decay,
            ``e/tau = -e * ln(decay)``, also while the decay is learnt.

    Source: Xiao, Zhu, He & Lin, "Temporal spiking neural networks with synaptic delay for graph
    reasoning", ICML 2024, as discretised in its public code.
    """

    state_type: ClassVar[type[CurrentState]] = CurrentState
    decay_fields: ClassVar[tuple[str, ...]] = ("decay",)

    threshold: Scalar = 2.0
    reset_mode: ResetMode = "hard"
    detach_reset: bool = False
    decay: Scalar = GRSNN_DECAY
    input_gain: Scalar | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        tied = self.input_gain is None and not isinstance(self.decay, Tensor)
        if tied and self.decay in (0.0, 1.0):
            raise UsageError(
                f"AlphaLIF.decay must lie strictly between 0 and 1, got {self.decay}: the gain "
                "-e * ln(decay) needs a finite time constant. Give input_gain to choose it yourself"
            )

    @property
    def gain(self) -> Scalar:
        """``input_gain``, or ``-e * ln(decay)`` when that is None."""
        if self.input_gain is not None:
            return self.input_gain
        if isinstance(self.decay, Tensor):
            return -math.e * torch.log(self.decay)
        return -math.e * math.log(self.decay)

    def charge(
        self, current: Tensor, state: CurrentState, membrane_current: Tensor | None = None
    ) -> CurrentState:
        """Integrate one step.

        Args:
            current: synaptic input ``[B, ...]``, filtered by the synaptic current.
            state: where to start.
            membrane_current: an input ``[B, ...]`` that reaches the membrane unfiltered and without
                gain (GRSNN's boundary condition at the head entity).

        Returns:
            The state before firing.
        """
        synaptic = leak(state.synaptic_current, current, self.decay, self.gain)
        potential = leak(state.membrane_potential, synaptic, self.decay)
        if membrane_current is not None:
            potential = potential + membrane_current
        return CurrentState(synaptic, potential)

    def reset(self, charged: CurrentState, spikes: Tensor) -> CurrentState:
        potential = self.reset_potential(charged.membrane_potential, spikes, self.threshold)
        return CurrentState(charged.synaptic_current, potential)

    def step(
        self, current: Tensor, state: CurrentState, membrane_current: Tensor | None = None
    ) -> tuple[Tensor, CurrentState]:
        """One time step; ``membrane_current`` as in :meth:`charge`."""
        charged = self.charge(current, state, membrane_current)
        spikes = self.fire(charged)
        return spikes, self.reset(charged, spikes)

    def kernel_numbers(self) -> dict[str, Any]:
        return {"decay": self.decay, "current_decay": self.decay, "input_gain": self.gain}

    @property
    def filters(self) -> tuple[Filter, ...]:
        return (Filter(self.decay, self.gain), Filter(self.decay, 1.0))
