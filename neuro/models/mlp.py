"""Fully connected spiking network of any widths."""

from dataclasses import dataclass
from math import prod
from typing import Literal

import torch

from neuro.errors import UsageError
from neuro.layers import Flatten, Network, Node
from neuro.models.blocks import dense, readout
from neuro.models.options import NeuronOptions


@dataclass(frozen=True, kw_only=True)
class MLP(NeuronOptions):
    """Hidden layers of LIF neurons and a linear read-out; ``hidden`` lists their widths."""

    name: Literal["mlp"] = "mlp"
    hidden: tuple[int, ...] = (800, 800)


def build_mlp(
    options: MLP, input_shape: tuple[int, ...], classes: int, generator: torch.Generator | None
) -> Network:
    """Build ``input - hidden[0] - ... - classes``; inputs of any shape are flattened."""
    if any(width < 1 for width in options.hidden):
        raise UsageError(f"model.hidden must list widths >= 1, got {list(options.hidden)}.")
    nodes = [Node("flatten", Flatten())] if len(input_shape) > 1 else []
    width = prod(input_shape)
    for index, hidden in enumerate(options.hidden, start=1):
        nodes.append(Node(f"linear{index}", dense(width, hidden, options, generator)))
        nodes.append(Node(f"lif{index}", options.spiking_layer()))
        width = hidden
    nodes.append(readout(width, classes, generator))
    return Network(nodes, input_shape)
