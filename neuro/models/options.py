"""What every spiking architecture lets its user choose about neurons and synapses."""

from dataclasses import dataclass
from typing import Literal

from neuro.choices import check_choices
from neuro.layers import Spiking
from neuro.neurons import LIF, decay_from_tau
from neuro.surrogate import SURROGATES

SPIKE_GAIN = 2.74
"""Scale of the emitted spikes in weight-standardised networks (Xiao et al. 2022, OTTT)."""


@dataclass(frozen=True, kw_only=True)
class NeuronOptions:
    """Neurons and synapses of an architecture.

    Attributes:
        tau: membrane time constant in steps, > 1 (decay = 1 - 1/tau).
        decay_rule: "euler" takes decay = 1 - 1/tau, "exponential" decay = exp(-1/tau).
        threshold: firing threshold.
        reset: "soft" subtracts the threshold, "hard" returns to zero.
        detach_reset: leave the reset out of the gradient.
        inclusive: fire at u >= threshold rather than u > threshold.
        surrogate: name of the surrogate gradient.
        learn_decay: train one decay per layer (bptt only).
        norm: "weight-standardised" synapses with spikes scaled by 2.74, or "none".
    """

    tau: float = 2.0
    decay_rule: Literal["euler", "exponential"] = "euler"
    threshold: float = 1.0
    reset: Literal["soft", "hard"] = "soft"
    detach_reset: bool = True
    inclusive: bool = True
    surrogate: Literal["sigmoid", "atan", "triangle", "rectangle", "fast_sigmoid", "gaussian"] = (
        "sigmoid"
    )
    learn_decay: bool = False
    norm: Literal["weight-standardised", "none"] = "weight-standardised"

    def __post_init__(self) -> None:
        check_choices(self)

    def spiking_layer(self) -> Spiking:
        """Return one layer of these neurons."""
        neuron = LIF(
            decay=decay_from_tau(self.tau, rule=self.decay_rule),
            threshold=self.threshold,
            reset_mode=self.reset,
            detach_reset=self.detach_reset,
            inclusive=self.inclusive,
            surrogate=SURROGATES[self.surrogate](),
        )
        scale = SPIKE_GAIN if self.standardised else 1.0
        return Spiking(neuron, scale=scale, learnable=("decay",) if self.learn_decay else ())

    @property
    def standardised(self) -> bool:
        return self.norm == "weight-standardised"
