"""The residual network: layer list, counts, the variance it keeps, input errors."""

from math import sqrt

import pytest

from neuro.errors import UsageError
from neuro.layers import Add, Scale
from neuro.models import ResNet18, build_model


def test_layer_list_shapes_and_parameters_on_cifar10() -> None:
    network = build_model(ResNet18(), (3, 32, 32), 10)

    def conv(name: str, inputs: int, outputs: int, side: int, kernel: int) -> tuple[object, ...]:
        count = inputs * outputs * kernel**2 + outputs + outputs
        return (name, "ScaledWSConv2d", (outputs, side, side), count, 0)

    def lif(name: str, channels: int, side: int) -> tuple[object, ...]:
        return (name, "LIF", (channels, side, side), 0, channels * side * side)

    expected = [conv("stem", 3, 64, 32, 3)]
    width, side = 64, 32
    plan = [64, 64, 128, 128, 256, 256, 512, 512]
    for block, outputs in enumerate(plan, start=1):
        name = f"block{block}"
        expected += [
            (f"{name}_scale", "Scale", (width, side, side), 0, 0),
            lif(f"{name}_lif1", width, side),
        ]
        if outputs != width:
            side //= 2
            expected += [
                (f"{name}_pool", "AvgPool2d", (width, side, side), 0, 0),
                conv(f"{name}_shortcut", width, outputs, side, 1),
            ]
        expected += [
            conv(f"{name}_conv1", width, outputs, side, 3),
            lif(f"{name}_lif2", outputs, side),
            conv(f"{name}_conv2", outputs, outputs, side, 3),
            (f"{name}_gain", "Scale", (outputs, side, side), 0, 0),
            (f"{name}_add", "Add", (outputs, side, side), 0, 0),
        ]
        width = outputs
    expected += [
        ("final_scale", "Scale", (512, 4, 4), 0, 0),
        lif("final_lif", 512, 4),
        ("global_pool", "GlobalAvgPool2d", (512,), 0, 0),
        ("readout", "Linear", (10,), 5130, 0),
    ]
    rows = [tuple(row) for row in network.describe()]
    assert rows == expected
    weights = (
        1728  # stem
        + 4 * 36_864
        + (8_192 + 73_728 + 3 * 147_456)
        + (32_768 + 294_912 + 3 * 589_824)
        + (131_072 + 1_179_648 + 3 * 2_359_296)
    )
    units = 64 + 4 * 64 + 5 * 128 + 5 * 256 + 5 * 512  # each with a bias and a gain
    assert sum(row[3] for row in rows) == weights + 2 * units + 5130


def test_shortcuts_read_the_stream_of_currents_and_add_to_the_block() -> None:
    network = build_model(ResNet18(width=1 / 32), (3, 8, 8), 4)
    sources = network.sources
    assert sources["block1_add"] == ("stem", "block1_gain")
    assert sources["block2_add"] == ("block1_add", "block2_gain")
    assert sources["block3_add"] == ("block3_shortcut", "block3_gain")
    assert sources["block3_shortcut"] == ("block3_pool",)
    assert sources["block3_pool"] == sources["block3_conv1"] == ("block3_lif1",)
    assert sources["final_scale"] == ("block8_add",)
    assert sum(isinstance(module, Add) for module in network.nodes.values()) == 8


def test_scales_undo_the_variance_that_the_blocks_before_have_added() -> None:
    network = build_model(ResNet18(width=1 / 32, block_gain=0.5), (3, 8, 8), 4)
    scales = {
        name: module.factor for name, module in network.nodes.items() if isinstance(module, Scale)
    }
    grown = 1 / sqrt(1 + 0.5**2)
    assert scales["block1_scale"] == 1
    assert scales["block2_scale"] == pytest.approx(grown)
    assert scales["block3_scale"] == pytest.approx(1 / sqrt(1 + 2 * 0.5**2))
    assert scales["block4_scale"] == pytest.approx(grown)  # a transition starts again from 1
    assert scales["final_scale"] == pytest.approx(1 / sqrt(1 + 2 * 0.5**2))
    assert all(scales[f"block{block}_gain"] == 0.5 for block in range(1, 9))


@pytest.mark.parametrize("shape", [(100,), (3, 4, 4)])
def test_inputs_that_are_no_images_or_too_small_are_refused(shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match="at least 8x8"):
        build_model(ResNet18(), shape, 10)


def test_sides_that_cannot_be_halved_three_times_are_refused() -> None:
    with pytest.raises(UsageError, match=r"multiples of 8, got 12x16.*Resize"):
        build_model(ResNet18(), (3, 12, 16), 10)
