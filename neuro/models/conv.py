"""Plain convolutional spiking networks: ``conv5`` and ``conv9``.

``conv5`` is 128C3-AP2-256C3-AP2-512C3-AP2-512C3-FC: four convolutions and a read-out over all
positions. ``conv9`` is the VGG of OTTT (Xiao et al. 2022), 64C3-128C3-AP2-256C3-256C3-AP2-
512C3-512C3-AP2-512C3-512C3-GAP-FC: eight convolutions, global average pooling and a read-out.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod
from typing import Literal

import torch

from neuro.errors import UsageError
from neuro.layers import AvgPool2d, Flatten, GlobalAvgPool2d, Network, Node
from neuro.models.blocks import conv, readout
from neuro.models.options import NeuronOptions

POOL = "pool"


@dataclass(frozen=True, kw_only=True)
class Conv5(NeuronOptions):
    """128C3-AP2-256C3-AP2-512C3-AP2-512C3-FC; ``width`` multiplies every channel count."""

    name: Literal["conv5"] = "conv5"
    width: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Conv9(NeuronOptions):
    """64C3-128C3-AP2-256C3x2-AP2-512C3x2-AP2-512C3x2-GAP-FC; ``width`` scales the channels."""

    name: Literal["conv9"] = "conv9"
    width: float = 1.0


def build_conv5(
    options: Conv5, input_shape: tuple[int, ...], classes: int, generator: torch.Generator | None
) -> Network:
    """Build ``conv5`` for inputs ``(C, H, W)``."""
    plan = (128, POOL, 256, POOL, 512, POOL, 512)
    nodes, features = _convolutions(plan, options, options.width, input_shape, generator)
    nodes.append(Node("flatten", Flatten()))
    nodes.append(readout(prod(features), classes, generator))
    return Network(nodes, input_shape)


def build_conv9(
    options: Conv9, input_shape: tuple[int, ...], classes: int, generator: torch.Generator | None
) -> Network:
    """Build ``conv9`` for inputs ``(C, H, W)``."""
    plan = (64, 128, POOL, 256, 256, POOL, 512, 512, POOL, 512, 512)
    nodes, features = _convolutions(plan, options, options.width, input_shape, generator)
    nodes.append(Node("global_pool", GlobalAvgPool2d()))
    nodes.append(readout(features[0], classes, generator))
    return Network(nodes, input_shape)


def require_image(name: str, input_shape: Sequence[int], smallest: int) -> tuple[int, int, int]:
    """Return ``(C, H, W)``, or say that the architecture needs an image of a certain size."""
    if len(input_shape) != 3 or min(input_shape[1:]) < smallest:
        raise UsageError(
            f"{name} takes images (C, H, W) of at least {smallest}x{smallest}, got inputs of shape "
            f"{tuple(input_shape)}. Use --model mlp, or another dataset."
        )
    channels, height, width = input_shape
    return channels, height, width


def scaled_channels(channels: int, width: float) -> int:
    """Return ``round(channels * width)``, at least one."""
    if width <= 0:
        raise UsageError(f"model.width must be > 0, got {width:g}.")
    return max(1, round(channels * width))


def _convolutions(
    plan: Sequence[int | str],
    options: NeuronOptions,
    width: float,
    input_shape: tuple[int, ...],
    generator: torch.Generator | None,
) -> tuple[list[Node], tuple[int, int, int]]:
    pools = sum(item == POOL for item in plan)
    channels, rows, columns = require_image("a convolutional model", input_shape, 2**pools)
    nodes: list[Node] = []
    layer = pool = 0
    for item in plan:
        if isinstance(item, str):
            pool += 1
            nodes.append(Node(f"pool{pool}", AvgPool2d(2)))
            rows, columns = rows // 2, columns // 2
            continue
        layer += 1
        outputs = scaled_channels(item, width)
        nodes.append(Node(f"conv{layer}", conv(channels, outputs, options, generator)))
        nodes.append(Node(f"lif{layer}", options.spiking_layer()))
        channels = outputs
    return nodes, (channels, rows, columns)
