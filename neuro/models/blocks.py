"""The pieces architectures are made of: a synapse with its neurons, and a linear read-out."""

import torch
from torch import nn

from neuro.layers import Conv2d, Linear, Node, ScaledWSConv2d, ScaledWSLinear
from neuro.layers.synapse import initialise
from neuro.models.options import NeuronOptions

READOUT_STD = 0.01


def dense(
    inputs: int, outputs: int, options: NeuronOptions, generator: torch.Generator | None
) -> Linear:
    """Return an initialised dense synapse, standardised if the options say so."""
    synapse = (ScaledWSLinear if options.standardised else Linear)(inputs, outputs)
    initialise(synapse, generator)
    return synapse


def conv(
    inputs: int,
    outputs: int,
    options: NeuronOptions,
    generator: torch.Generator | None,
    *,
    kernel_size: int = 3,
    stride: int = 1,
) -> Conv2d:
    """Return an initialised ``k x k`` convolution that keeps the size (padding ``k // 2``)."""
    kind = ScaledWSConv2d if options.standardised else Conv2d
    synapse = kind(inputs, outputs, kernel_size, stride=stride, padding=kernel_size // 2)
    initialise(synapse, generator)
    return synapse


def readout(inputs: int, classes: int, generator: torch.Generator | None) -> Node:
    """Return the output node: a plain linear map of spikes, no output neuron, ``N(0, 0.01)``."""
    synapse = Linear(inputs, classes)
    with torch.no_grad():
        nn.init.normal_(synapse.weight, 0.0, READOUT_STD, generator=generator)
        nn.init.zeros_(synapse.bias)
    return Node("readout", synapse)
