"""Placements equal what going through all synapses finds: of every kind of network, on any chip."""

import itertools

import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from neuro.hardware.constraints import ConstraintError
from neuro.hardware.integer_graph import Connection, Convolution, Dense, Sparse
from neuro.hardware.place import core_of_neurons, place
from tests.hardware.placements import (
    chip,
    conv_network,
    dense,
    integers,
    mixed,
    network,
    population,
)
from tests.hardware.recount import check


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"groups": 2},
        {"groups": 4, "outputs": 8},
        {"stride": 2},
        {"padding": 0},
        {"padding": 2, "stride": 3, "side": 7},
        {"groups": 3, "channels": 3, "outputs": 3},
    ],
)
@pytest.mark.parametrize("neurons", [7, 13, 1000])
def test_convolutions_agree_with_their_synapses(options, neurons):
    graph = conv_network(**options)
    check(graph, place(graph, chip(neurons_per_core=neurons), chips=None))


def test_a_convolution_may_be_dilated_and_oblong():
    synapses = Convolution(
        weight=mixed((2, 3, 2, 3)), stride=(2, 1), padding=(1, 2), dilation=(2, 1)
    )
    maps = population("maps", (2, 3, 6))
    graph = network(
        {"in": (3, 5, 4)}, [maps], [Connection(source="in", target="maps", synapses=synapses)]
    )
    check(graph, place(graph, chip(neurons_per_core=5), chips=None))


def test_maps_are_cut_between_positions():
    graph = conv_network()
    placement = place(graph, chip(neurons_per_core=6), chips=None)
    assert placement.by_position == ("maps",)
    # all 6 channels of a position to a core: the corner reads 2 x 2 positions of 4 channels
    assert placement.cores[0].load.input_axons == 16
    assert (core_of_neurons(graph, placement)["maps"][:, 0, 0] == 0).all()


def test_recurrent_output_axons_are_settled():
    # 12 neurons that reach all 12: cut in n blocks, each takes n output axons
    graph = network(
        {"in": (2,)},
        [population("loop", (12,))],
        [dense("in", "loop", (12, 2)), dense("loop", "loop", (12, 12))],
    )
    placement = place(graph, chip(output_axons_per_core=12, neurons_per_core=5))
    assert [core.load.output_axons for core in placement.cores] == [
        core.load.neurons * len(placement.cores) for core in placement.cores
    ]
    check(graph, placement)
    with pytest.raises(ConstraintError, match="output axons per core"):
        place(graph, chip(output_axons_per_core=11, neurons_per_core=5))


def test_populations_that_drive_each_other_are_settled():
    graph = network(
        {"in": (3,)},
        [population("a", (9,)), population("b", (7,))],
        [
            dense("in", "a", (9, 3)),
            dense("a", "b", (7, 9)),
            dense("b", "a", (9, 7)),
            dense("b", "b", (7, 7)),
        ],
    )
    placement = place(graph, chip(neurons_per_core=3, output_axons_per_core=21))
    check(graph, placement)


def sparse(draw, sources, targets):
    rows = [draw(st.lists(st.integers(0, sources - 1), max_size=4)) for _ in range(targets)]
    ends = np.cumsum([0, *map(len, rows)])
    flat = integers(list(itertools.chain(*rows)))
    return Sparse(starts=integers(ends), sources=flat, weight=mixed(len(flat)))


@st.composite
def networks(draw):
    """Draw small networks of every kind of connection, forwards, back and onto themselves."""
    shapes = {"in": (2, 4, 4)}
    populations, connections = [], []
    for number in range(draw(st.integers(1, 3))):
        name, source = f"p{number}", draw(st.sampled_from(list(shapes)))
        registers = {}
        kind = draw(st.sampled_from(["dense", "sparse", "convolution"]))
        if kind == "convolution" and len(shapes[source]) == 3:
            channels, *sides = shapes[source]
            groups = channels if draw(st.booleans()) else 1
            outputs = groups * draw(st.integers(1, 2))
            stride = draw(st.integers(1, 2))
            shape = (outputs, *((side - 1) // stride + 1 for side in sides))
            synapses = Convolution(
                weight=mixed((outputs, channels // groups, 3, 3)),
                stride=(stride, stride),
                padding=(1, 1),
                groups=groups,
            )
        else:
            targets = draw(st.integers(1, 9))
            shape, sources = (targets,), int(np.prod(shapes[source]))
            if kind == "sparse":
                synapses = sparse(draw, sources, targets)
            else:
                synapses = Dense(weight=mixed((targets, sources)))
        if draw(st.booleans()):
            registers["vth"] = np.arange(int(np.prod(shape))).reshape(shape) % 3
        delay = integers(draw(st.integers(0, 3)))
        if not isinstance(synapses, Convolution) and synapses.weight.size and draw(st.booleans()):
            delay = integers(np.arange(synapses.weight.size) % 4).reshape(synapses.weight.shape)
        shapes[name] = shape
        populations.append(population(name, shape, **registers))
        connections.append(
            Connection(
                source=source,
                target=name,
                synapses=synapses,
                delay=delay,
                weight_exponent=draw(st.integers(0, 1)),
            )
        )
    names = list(shapes)[1:]
    for _ in range(draw(st.integers(0, 2))):
        source, target = draw(st.sampled_from(names)), draw(st.sampled_from(names))
        sources, targets = (int(np.prod(shapes[each])) for each in (source, target))
        connections.append(
            Connection(source=source, target=target, synapses=sparse(draw, sources, targets))
        )
    return network({"in": (2, 4, 4)}, populations, connections)


@st.composite
def chips(draw):
    """Draw chips small enough that networks are cut, each by another resource."""
    small = {
        "neurons_per_core": (2, 12),
        "input_axons_per_core": (40, 90),
        "output_axons_per_core": (12, 60),
        "synapse_bits_per_core": (40 * 64, 120 * 64),
        "delay_slots_per_core": (4, 40),
        "threshold_groups_per_core": (1, 3),
        "synapse_formats_per_core": (3, 5),
    }
    return {name: draw(st.integers(*ends)) for name, ends in small.items()}


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.filter_too_much])
@given(networks(), chips(), st.booleans())
def test_every_neuron_is_placed_once_and_no_core_is_overfull(graph, limits, tightly):
    try:
        placement = place(graph, chip(**limits), chips=None)
        if tightly:
            # as many chips as one core fewer than that took
            few = {"cores": max(1, len(placement.cores) - 1), "tile_columns": 1000}
            placement = place(graph, chip(**limits, **few))
    except ConstraintError as error:
        for each in error.violations:
            assert each.found > each.limit.value
        assume(False)
    check(graph, placement)
    assert placement.packing == "whole" or len(placement.cores) <= few["cores"]
    assert (
        placement.to_dict()
        == place(
            graph, chip(**limits, **(few if tightly else {})), chips=1 if tightly else None
        ).to_dict()
    )
