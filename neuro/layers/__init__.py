"""Layers: synapses, fixed linear maps, spiking layers, and the network that holds them."""

from neuro.layers.linear_maps import (
    Add,
    AvgPool2d,
    Flatten,
    GlobalAvgPool2d,
    LinearMap,
    Scale,
)
from neuro.layers.low_bits import LowBit, Quantiser, Rectifier
from neuro.layers.network import (
    INPUT,
    Network,
    Node,
    NodeSummary,
    ReadoutIntegrator,
)
from neuro.layers.spiking import Delay, Spiking
from neuro.layers.stepping import NetworkState, Readout, Stepping
from neuro.layers.synapse import Conv2d, Linear, ScaledWSConv2d, ScaledWSLinear, Synapse

__all__ = [
    "INPUT",
    "Add",
    "AvgPool2d",
    "Conv2d",
    "Delay",
    "Flatten",
    "GlobalAvgPool2d",
    "Linear",
    "LinearMap",
    "LowBit",
    "Network",
    "NetworkState",
    "Node",
    "NodeSummary",
    "Quantiser",
    "Readout",
    "ReadoutIntegrator",
    "Rectifier",
    "Scale",
    "ScaledWSConv2d",
    "ScaledWSLinear",
    "Spiking",
    "Stepping",
    "Synapse",
]
