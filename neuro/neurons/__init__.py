"""Neuron models: frozen parameters, explicit state. ``NEURONS`` names them all."""

from typing import Any

from neuro.neurons.adaptive_lif import AdaptiveLIF, AdaptiveState
from neuro.neurons.alpha_lif import AlphaLIF
from neuro.neurons.base import (
    DecayRule,
    Dynamics,
    Filter,
    MembraneState,
    Neuron,
    NeuronState,
    ResetMode,
    Scalar,
    decay_from_tau,
    decay_logit,
)
from neuro.neurons.cuba_lif import CubaLIF, CurrentState
from neuro.neurons.integrate_and_fire import IF
from neuro.neurons.leaky_integrator import LeakyIntegrator
from neuro.neurons.lif import LIF

NEURONS: dict[str, type[Dynamics[Any]]] = {
    "if": IF,
    "lif": LIF,
    "cuba_lif": CubaLIF,
    "alpha_lif": AlphaLIF,
    "adaptive_lif": AdaptiveLIF,
    "leaky_integrator": LeakyIntegrator,
}
"""Every neuron by name; those that spike are subclasses of ``Neuron``."""

__all__ = [
    "IF",
    "LIF",
    "NEURONS",
    "AdaptiveLIF",
    "AdaptiveState",
    "AlphaLIF",
    "CubaLIF",
    "CurrentState",
    "DecayRule",
    "Dynamics",
    "Filter",
    "LeakyIntegrator",
    "MembraneState",
    "Neuron",
    "NeuronState",
    "ResetMode",
    "Scalar",
    "decay_from_tau",
    "decay_logit",
]
