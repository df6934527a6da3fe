"""Placements say which of their limits are not public, and do without them if told to."""

import pytest

from neuro.errors import UsageError
from neuro.hardware.constraints import ConstraintError
from neuro.hardware.place import place
from tests.hardware.placements import (
    LOIHI2,
    chip,
    conv_network,
    dense,
    network,
    population,
    two_layers,
)
from tests.hardware.recount import check


def test_a_placement_on_loihi2_says_what_is_not_public():
    placement = place(two_layers(), LOIHI2)
    assert placement.unpublished == (
        "tile_columns",
        "tile_rows",
        "cores_per_tile",
        "input_axons_per_core",
        "output_axons_per_core",
        "synapse_bits_per_core",
    )
    assert placement.to_dict()["unpublished_limits"] == list(placement.unpublished)
    assert dict(placement.summary())["not published"] == ", ".join(placement.unpublished)
    assert "convolution_copies_per_core" in place(conv_network(), LOIHI2).unpublished


def test_a_limit_that_is_not_public_can_be_waived():
    graph = network({"in": (5000,)}, [population("out", (10,))], [dense("in", "out", (10, 5000))])
    with pytest.raises(ConstraintError, match=r"not a published number.*Or waive the limit"):
        place(graph, LOIHI2)
    placement = place(graph, LOIHI2, waived=["input_axons_per_core"])
    assert placement.waived == ("input_axons_per_core",)
    assert "input_axons" not in placement.limits
    assert "input_axons_per_core" not in placement.unpublished
    assert placement.cores[0].load.input_axons == 5000


@pytest.mark.parametrize("name", ["neurons_per_core", "tile_columns"])
def test_nothing_else_can_be_waived(name):
    with pytest.raises(UsageError, match=f"{name} of loihi2 cannot be waived"):
        place(two_layers(), LOIHI2, waived=[name])
    with pytest.raises(UsageError, match="no limit"):
        place(two_layers(), LOIHI2, waived=["neurons"])


def test_kernels_are_stored_once_where_the_chip_keeps_them():
    graph = conv_network()
    (kept,) = place(graph, LOIHI2).cores
    # 4 channels, a list of 6 x 9 mixed weights of 8 bits each: 54 * 8 + 10 bits are 7 words;
    # and 150 lists of 3 for the output, one word each
    assert kept.load.synapse_bits == 4 * 7 * 64 + 150 * 64
    assert kept.load.synapses == 6 * 4 * 13 * 13 + 3 * 150
    (unrolled,) = place(graph, LOIHI2, waived=["convolution_copies_per_core"]).cores
    assert unrolled.load.used() == place(graph, chip()).cores[0].load.used() | {
        "synapse_bits": unrolled.load.synapse_bits
    }
    assert unrolled.load.synapse_bits > kept.load.synapse_bits
    check(graph, place(graph, LOIHI2, waived=["convolution_copies_per_core"]))


@pytest.mark.parametrize("groups", [1, 2, 4])
@pytest.mark.parametrize("neurons", [3, 5, 11])
def test_kept_kernels_are_those_of_the_channels_in_the_core(groups, neurons):
    graph = conv_network(groups=groups, outputs=8)
    keeps = chip(neurons_per_core=neurons, convolution_copies_per_core=1)
    for core in place(graph, keeps, chips=None).cores:
        for block in core.blocks:
            if block.population != "maps" or len(core.blocks) > 1:
                continue
            channels = {place % 8 for place in range(block.start, block.stop)}
            lists = [
                sum(channel // (8 // groups) == group for channel in channels) * 9
                for group in range(groups)
                for _ in range(4 // groups)
            ]
            bits = sum(
                -(-(min(64, length - start) * 8 + 10) // 64) * 64
                for length in lists
                for start in range(0, length, 64)
            )
            assert core.load.synapse_bits == bits
