"""Which equations a LIF sequence runs, and what it takes and returns."""

from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

PARAMETERS = (
    "threshold",
    "reset_value",
    "decay",
    "input_gain",
    "current_decay",
    "beta",
    "adaptation_decay",
    "adaptation_weight",
)
"""The rows of the parameter tensor, in this order."""


class Outputs(NamedTuple):
    """Spikes ``[T, B, ...]`` and the states after the last step; those a variant lacks are empty.

    In backward: the gradients of these.
    """

    spikes: Tensor
    membrane_potential: Tensor
    synaptic_current: Tensor
    adaptation: Tensor


class Gradients(NamedTuple):
    """Gradients of currents, initial states, and parameters: ``(8, B, ...)``, one per neuron."""

    currents: Tensor
    membrane_potential: Tensor
    synaptic_current: Tensor
    adaptation: Tensor
    parameters: Tensor


@dataclass(frozen=True)
class Variant:
    """The equations, without their numbers.

    Args:
        synaptic: filter the input by a synaptic current first.
        adaptive: raise the threshold by an adaptation that spikes feed.
        soft_reset: subtract; else set to the reset value.
        inclusive: fire at exactly the threshold.
        detach_reset: the spike in the reset is a constant for the gradient.
        subtract_adaptation: a soft reset subtracts the adaptive threshold, not the fixed one.
        surrogate: name of the surrogate derivative.
        sharpness: its number (slope, alpha, width or sigma).
    """

    synaptic: bool
    adaptive: bool
    soft_reset: bool
    inclusive: bool
    detach_reset: bool
    subtract_adaptation: bool
    surrogate: str
    sharpness: float

    def fired(self, distance: Tensor) -> Tensor:
        """Return where neurons fire, as bool."""
        return distance >= 0 if self.inclusive else distance > 0
