"""Plain convolutional networks: the published layer lists, shapes and parameter counts."""

import pytest
import torch

from neuro.errors import UsageError
from neuro.layers import NodeSummary
from neuro.models import Conv5, Conv9, build_model


def conv(index: int, inputs: int, outputs: int, side: int) -> list[tuple[object, ...]]:
    """The two rows of a 3x3 convolution (weights, bias, gain) and its neurons."""
    return [
        (
            f"conv{index}",
            "ScaledWSConv2d",
            (outputs, side, side),
            inputs * outputs * 9 + outputs + outputs,
            0,
        ),
        (f"lif{index}", "LIF", (outputs, side, side), 0, outputs * side * side),
    ]


def pool(index: int, channels: int, side: int) -> tuple[object, ...]:
    return (f"pool{index}", "AvgPool2d", (channels, side, side), 0, 0)


def parameters(rows: list[NodeSummary]) -> int:
    return sum(row.parameters for row in rows)


def test_conv5_on_cifar10() -> None:
    rows = build_model(Conv5(), (3, 32, 32), 10).describe()
    assert [tuple(row) for row in rows] == [
        *conv(1, 3, 128, 32),
        pool(1, 128, 16),
        *conv(2, 128, 256, 16),
        pool(2, 256, 8),
        *conv(3, 256, 512, 8),
        pool(3, 512, 4),
        *conv(4, 512, 512, 4),
        ("flatten", "Flatten", (8192,), 0, 0),
        ("readout", "Linear", (10,), 8192 * 10 + 10, 0),
    ]
    assert parameters(rows) == 3_922_058
    assert sum(row.neurons for row in rows) == 131_072 + 65_536 + 32_768 + 8_192


def test_conv9_on_cifar10_has_the_size_of_the_published_network() -> None:
    rows = build_model(Conv9(), (3, 32, 32), 10).describe()
    assert [tuple(row) for row in rows] == [
        *conv(1, 3, 64, 32),
        *conv(2, 64, 128, 32),
        pool(1, 128, 16),
        *conv(3, 128, 256, 16),
        *conv(4, 256, 256, 16),
        pool(2, 256, 8),
        *conv(5, 256, 512, 8),
        *conv(6, 512, 512, 8),
        pool(3, 512, 4),
        *conv(7, 512, 512, 4),
        *conv(8, 512, 512, 4),
        ("global_pool", "GlobalAvgPool2d", (512,), 0, 0),
        ("readout", "Linear", (10,), 512 * 10 + 10, 0),
    ]
    assert parameters(rows) == 9_228_362
    assert round(parameters(rows) * 4 / 1e6, 1) == 36.9  # MB in float32, as published


def test_width_multiplies_every_channel_count() -> None:
    network = build_model(Conv5(width=0.25), (3, 32, 32), 10)
    shapes = [network.shapes[name] for name in network.neuron_nodes]
    assert shapes == [(32, 32, 32), (64, 16, 16), (128, 8, 8), (128, 4, 4)]
    wide = build_model(Conv9(width=1 / 32), (2, 16, 16), 5)
    assert [wide.shapes[name][0] for name in wide.neuron_nodes] == [2, 4, 8, 8, 16, 16, 16, 16]


def test_width_never_leaves_a_layer_empty() -> None:
    network = build_model(Conv5(width=0.002), (3, 8, 8), 2)
    assert [network.shapes[name][0] for name in network.neuron_nodes] == [1, 1, 1, 1]


@pytest.mark.parametrize("options", [Conv5(width=1 / 64), Conv9(width=1 / 32)])
def test_images_of_odd_sides_run(options: Conv5 | Conv9) -> None:
    network = build_model(options, (2, 9, 13), 3)
    logits, _ = network.sequence(torch.rand(2, 4, 2, 9, 13))
    assert logits.shape == (2, 4, 3)
    last = list(network.neuron_nodes)[-1]
    assert network.shapes[last][1:] == (1, 1)


@pytest.mark.parametrize("options", [Conv5(), Conv9()])
@pytest.mark.parametrize("shape", [(784,), (1, 7, 20), (3, 32)])
def test_inputs_that_are_no_images_or_too_small_are_refused(
    options: Conv5 | Conv9, shape: tuple[int, ...]
) -> None:
    with pytest.raises(UsageError, match=r"at least 8x8, got inputs of shape .*--model mlp"):
        build_model(options, shape, 10)


@pytest.mark.parametrize("width", [0.0, -1.0])
def test_a_width_that_is_not_positive_is_refused(width: float) -> None:
    with pytest.raises(UsageError, match="width must be > 0"):
        build_model(Conv5(width=width), (3, 32, 32), 10)
