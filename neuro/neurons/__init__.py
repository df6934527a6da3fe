"""Neuron models: frozen parameters, explicit state. ``NEURONS`` names them all."""

from typing import Any

from neuro.neurons.base import (
    DecayRule,
    Dynamics,
    Filter,
    Neuron,
    NeuronState,
    ResetMode,
    Scalar,
    decay_from_tau,
    decay_logit,
)
from neuro.neurons.lif import LIF, LIFState

NEURONS: dict[str, type[Dynamics[Any]]] = {
    "lif": LIF,
}

__all__ = [
    "LIF",
    "NEURONS",
    "DecayRule",
    "Dynamics",
    "Filter",
    "LIFState",
    "Neuron",
    "NeuronState",
    "ResetMode",
    "Scalar",
    "decay_from_tau",
    "decay_logit",
]
