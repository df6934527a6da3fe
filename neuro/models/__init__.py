"""Spiking architectures and their registry."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from neuro.errors import UsageError, nearest
from neuro.layers import Network
from neuro.models.conv import Conv5, Conv9, build_conv5, build_conv9
from neuro.models.mlp import MLP, build_mlp
from neuro.models.options import NeuronOptions
from neuro.models.resnet import ResNet18, build_resnet18

ModelOptions = MLP | Conv5 | Conv9 | ResNet18


@dataclass(frozen=True)
class ModelEntry:
    """An architecture: its options, the function that builds it, one line about it."""

    options: type[NeuronOptions]
    build: Callable[[Any, tuple[int, ...], int, torch.Generator | None], Network]
    description: str


MODELS: dict[str, ModelEntry] = {
    "mlp": ModelEntry(MLP, build_mlp, "fully connected, any widths (default 800-800)"),
    "conv5": ModelEntry(
        Conv5, build_conv5, "128C3-AP2-256C3-AP2-512C3-AP2-512C3-FC, channels times width"
    ),
    "conv9": ModelEntry(
        Conv9, build_conv9, "VGG of OTTT: 64-128-AP-256x2-AP-512x2-AP-512x2-GAP-FC"
    ),
    "resnet18": ModelEntry(
        ResNet18, build_resnet18, "normaliser-free residual network, pre-activation blocks"
    ),
}


def build_model(
    options: ModelOptions,
    input_shape: tuple[int, ...],
    classes: int,
    generator: torch.Generator | None = None,
) -> Network:
    """Build the network that ``options`` describe.

    Args:
        options: one of the option classes of :data:`MODELS`.
        input_shape: one sample at one time step, ``(N,)`` or ``(C, H, W)``.
        classes: width of the read-out.
        generator: source of the initial weights.

    Raises:
        UsageError: for an unknown name or an input the architecture cannot take.
    """
    return model_entry(options.name).build(options, tuple(input_shape), classes, generator)


def model_entry(name: str) -> ModelEntry:
    """Look a model up by name; an unknown name says which one is nearest."""
    if name not in MODELS:
        raise UsageError(
            f"unknown model {name!r}; there are {', '.join(MODELS)}.{nearest(name, MODELS)}"
        )
    return MODELS[name]


__all__ = [
    "MLP",
    "MODELS",
    "Conv5",
    "Conv9",
    "ModelEntry",
    "ModelOptions",
    "NeuronOptions",
    "ResNet18",
    "build_model",
    "model_entry",
]
