"""Networks that no chip, or not so many, can hold are refused with numbers."""

from dataclasses import replace

import numpy as np
import pytest

from neuro.errors import UsageError
from neuro.hardware import load_profile
from neuro.hardware.constraints import ConstraintError
from neuro.hardware.microcode import GradedSpikes
from neuro.hardware.place import place
from tests.hardware.placements import (
    LOIHI1,
    LOIHI2,
    chip,
    dense,
    integers,
    network,
    population,
    two_layers,
)


@pytest.mark.parametrize(
    ("limit", "value", "found"),
    [
        ("input_axons_per_core", 99, 100),
        ("synapse_bits_per_core", 6399, 6400),
        ("delay_slots_per_core", 1, 4),
    ],
)
def test_a_neuron_that_no_core_holds_is_refused(limit, value, found):
    graph = network(
        {"in": (100,)},
        [population("out", (10,))],
        [dense("in", "out", (10, 100), delay=integers(3))],
    )
    with pytest.raises(ConstraintError) as error:
        place(graph, chip(**{limit: value}))
    (violation,) = error.value.violations
    assert violation.constraint == limit
    assert violation.where == "neuron 0 of population 'out'"
    assert (violation.found, violation.limit.value) == (found, value)
    assert f"needs {found:,}, the limit is {value:,}" in str(error.value)
    assert "(a test, 2020)" in str(error.value)


def test_a_neuron_that_reaches_too_many_cores_is_refused():
    graph = network(
        {"in": (1,)},
        [population("a", (1,)), population("b", (10,))],
        [dense("in", "a", (1, 1)), dense("a", "b", (10, 1))],
    )
    with pytest.raises(ConstraintError, match="output axons per core: neuron 0 of population 'a'"):
        place(graph, chip(neurons_per_core=2, output_axons_per_core=4))


def test_a_network_over_its_chips_is_refused_with_the_number_it_needs():
    graph = network({"in": (1,)}, [population("out", (20,))], [dense("in", "out", (20, 1))])
    small = chip(neurons_per_core=2, cores=4)
    with pytest.raises(ConstraintError) as error:
        place(graph, small)
    assert "cores: the network, on 1 chip, needs 10, the limit is 4" in str(error.value)
    assert "Allow 3 chips" in str(error.value)
    assert place(graph, small, chips=3).chips == 3
    assert place(graph, small, chips=None).chips == 3


def test_neurons_in_microcode_are_placed_where_there_is_some():
    graph = two_layers()
    hidden = graph.populations["hidden"]
    graded = replace(hidden, neuron=GradedSpikes(hidden.cuba))
    graph = replace(graph, populations={**graph.populations, "hidden": graded})
    for profile in (LOIHI1, LOIHI2):
        with pytest.raises(ConstraintError, match=r"own programs: population 'hidden'.*has none"):
            place(graph, profile)
    placement = place(graph, load_profile("loihi2-microcode"))
    plain = place(two_layers(), LOIHI2)
    assert [core.load for core in placement.cores] == [core.load for core in plain.cores]


def test_registers_are_checked_before_anything_is_placed():
    with pytest.raises(ConstraintError, match="vth maximum: population 'hidden' needs 200,000"):
        place(two_layers(vth=200_000), LOIHI1)


@pytest.mark.parametrize("chips_allowed", [0, -1])
def test_no_chips_are_refused(chips_allowed):
    with pytest.raises(UsageError, match="needs at least one"):
        place(two_layers(), LOIHI1, chips=chips_allowed)


@pytest.mark.parametrize(
    ("spikes", "message"),
    [
        ({"hidden": np.zeros(299)}, r"of shape \(299,\), expected \(300,\)"),
        ({"hiden": np.zeros(300)}, "'hiden', which is no population"),
        ({}, "spikes of 'hidden' are missing"),
    ],
)
def test_spikes_must_fit(spikes, message):
    with pytest.raises(UsageError, match=message):
        place(two_layers(), LOIHI1, spikes=spikes)


def test_a_chip_with_too_few_tiles_is_refused():
    with pytest.raises(UsageError, match="2 x 4 tiles of 1 cores hold fewer than 32 cores"):
        place(two_layers(), chip(tile_columns=2))
