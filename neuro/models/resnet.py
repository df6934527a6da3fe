"""A residual spiking network without batch normalisation, after NF-ResNet (Brock et al. 2021).

Pre-activation blocks on a stream of currents ``c``; ``beta`` undoes the growth of the stream's
variance, ``alpha`` bounds what each block adds::

    s = LIF(c * beta)          c <- shortcut + alpha * conv2(LIF(conv1(s)))

``shortcut`` is ``c`` itself, or ``conv1x1(avgpool(s))`` where the size changes. The expected
variance of the stream starts at 1, grows by ``alpha^2`` a block and is 1 again after a
transition; ``beta = 1 / sqrt(expected variance)``.
"""

from dataclasses import dataclass
from math import sqrt
from typing import Literal

import torch

from neuro.errors import UsageError
from neuro.layers import Add, AvgPool2d, GlobalAvgPool2d, Network, Node, Scale
from neuro.models.blocks import conv, readout
from neuro.models.conv import require_image, scaled_channels
from neuro.models.options import NeuronOptions

STAGES = ((64, 2), (128, 2), (256, 2), (512, 2))


@dataclass(frozen=True, kw_only=True)
class ResNet18(NeuronOptions):
    """NF-ResNet-18: 3x3 stem, four stages of two blocks, global pooling and a read-out.

    Attributes:
        width: multiplies every channel count.
        block_gain: alpha, the scale of what a block adds to the stream.
    """

    name: Literal["resnet18"] = "resnet18"
    width: float = 1.0
    block_gain: float = 0.2


def build_resnet18(
    options: ResNet18, input_shape: tuple[int, ...], classes: int, generator: torch.Generator | None
) -> Network:
    """Build the network for inputs ``(C, H, W)``."""
    channels, height, columns = require_image("resnet18", input_shape, 8)
    if height % 8 or columns % 8:
        raise UsageError(
            f"resnet18 halves its maps three times and takes image sides that are multiples of 8, "
            f"got {height}x{columns}. Resize the images, or use --model conv5."
        )
    width = scaled_channels(STAGES[0][0], options.width)
    nodes = [Node("stem", conv(channels, width, options, generator))]
    stream, variance, block = "stem", 1.0, 0
    for stage, (stage_channels, blocks) in enumerate(STAGES):
        outputs = scaled_channels(stage_channels, options.width)
        for index in range(blocks):
            block += 1
            name = f"block{block}"
            shrink = stage > 0 and index == 0
            nodes += [
                Node(f"{name}_scale", Scale(1 / sqrt(variance)), (stream,)),
                Node(f"{name}_lif1", options.spiking_layer()),
            ]
            if shrink:
                nodes += [
                    Node(f"{name}_pool", AvgPool2d(2), (f"{name}_lif1",)),
                    Node(
                        f"{name}_shortcut",
                        conv(width, outputs, options, generator, kernel_size=1),
                    ),
                ]
                stream, variance = f"{name}_shortcut", 1.0
            stride = 2 if shrink else 1
            nodes += [
                Node(
                    f"{name}_conv1",
                    conv(width, outputs, options, generator, stride=stride),
                    (f"{name}_lif1",),
                ),
                Node(f"{name}_lif2", options.spiking_layer()),
                Node(f"{name}_conv2", conv(outputs, outputs, options, generator)),
                Node(f"{name}_gain", Scale(options.block_gain)),
                Node(f"{name}_add", Add(), (stream, f"{name}_gain")),
            ]
            stream, width = f"{name}_add", outputs
            variance += options.block_gain**2
    nodes += [
        Node("final_scale", Scale(1 / sqrt(variance)), (stream,)),
        Node("final_lif", options.spiking_layer()),
        Node("global_pool", GlobalAvgPool2d()),
        readout(width, classes, generator),
    ]
    return Network(nodes, input_shape)
