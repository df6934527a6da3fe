"""Registers, weights, delays and messages that a chip cannot hold are refused by name."""

from dataclasses import replace

import numpy as np
import pytest

from neuro.errors import UsageError
from neuro.hardware import HardwareProfile, load_profile
from neuro.hardware.constraints import ConstraintError, require, violations
from neuro.hardware.integer_graph import Connection, Cuba, Dense, IntegerGraph, Population, Source
from neuro.hardware.microcode import GradedSpikes, SoftReset

LOIHI1 = load_profile("loihi1")
REGISTERS = {"du": 4095, "dv": 4095, "vth": 131071, "bias_mant": 4095, "bias_exp": 7}
LEAST = {"du": 0, "dv": 0, "vth": 0, "bias_mant": -4096, "bias_exp": 0}
LIMIT = {"bias_mant": "bias_mantissa", "bias_exp": "bias_exponent"}


def integers(values):
    return np.asarray(values, np.int32)


def network(weight=((2, -2),), *, message_bits=0, delay=0, exponent=0, **registers):
    weight = integers(weight)
    settings = {"du": 4095, "dv": 100, "vth": 50, **registers}
    return IntegerGraph(
        sources={"in": Source(name="in", shape=(weight.shape[1],), message_bits=message_bits)},
        populations={
            "out": Population(
                name="out",
                shape=(len(weight),),
                neuron=Cuba(**{name: integers(value) for name, value in settings.items()}),
            )
        },
        connections=(
            Connection(
                source="in",
                target="out",
                synapses=Dense(weight=weight),
                delay=integers(delay),
                weight_exponent=exponent,
            ),
        ),
        output="out",
        steps=4,
    )


def names(graph, profile=LOIHI1):
    return [each.constraint for each in violations(graph, profile)]


@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
@pytest.mark.parametrize("edge", [LEAST, REGISTERS])
def test_the_edges_of_every_register_are_allowed(chip, edge):
    require(network(**edge), load_profile(chip))


@pytest.mark.parametrize("register", REGISTERS)
@pytest.mark.parametrize("side", ["minimum", "maximum"])
def test_a_register_one_beyond_its_range_is_refused(register, side):
    value = LEAST[register] - 1 if side == "minimum" else REGISTERS[register] + 1
    (found,) = violations(network(**{register: value}), LOIHI1)
    assert found.constraint == f"{LIMIT.get(register, register)}_{side}"
    assert found.where == "population 'out'"
    assert found.found == value
    assert found.limit is LOIHI1.limit(found.constraint)


def test_one_neuron_out_of_range_is_enough():
    assert names(network(((2,), (2,)), vth=[5, 131072])) == ["vth_maximum"]


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ([-256, 254], []),
        ([-258, 254], ["mixed_weight_minimum"]),
        ([-256, 256], ["mixed_weight_maximum"]),
        ([3, -2], ["mixed_weight_odd"]),
        ([0, 255], []),
        ([1, 256], ["excitatory_weight_maximum"]),
        ([-255, 0], []),
        ([-256, -1], ["inhibitory_weight_minimum"]),
        ([0, 0], []),
    ],
)
def test_weights_are_held_to_the_range_of_their_signs(weight, expected):
    assert names(network([weight])) == expected


def test_odd_weights_are_counted():
    (found,) = violations(network([[3, -1, 2, 5]]), LOIHI1)
    assert found.found == 3


@pytest.mark.parametrize(("delay", "expected"), [(62, []), (63, ["delay_maximum"])])
def test_delays_end_at_62(delay, expected):
    assert names(network([[2, 4]], delay=delay)) == expected
    assert names(network([[2, 4]], delay=[[0, delay]])) == expected


@pytest.mark.parametrize(
    ("exponent", "expected"),
    [
        (-7, []),
        (7, []),
        (-8, ["weight_exponent_minimum", "weight_exponent_remainder"]),
        (8, ["weight_exponent_maximum"]),
    ],
)
def test_weight_exponents_end_at_7(exponent, expected):
    assert names(network([[128, -128]], exponent=exponent)) == expected


def test_a_negative_exponent_must_divide_the_weights():
    # the chip shifts 6 and -2 by themselves, to 1 and -1; the graph 6 - 2 to 1
    (found,) = violations(network([[6, -2, 8]], exponent=-2), LOIHI1)
    assert (found.constraint, found.found) == ("weight_exponent_remainder", 2)
    assert names(network([[8, -4, 0]], exponent=-2)) == []


def test_graded_spikes_need_a_chip_that_has_them():
    (found,) = violations(network(message_bits=8), LOIHI1)
    assert found.limit is None
    assert "source 'in' needs 8; this chip has none. Encode the input in spikes" in str(found)
    assert found.to_dict()["limit"] is None
    assert names(network(message_bits=32), load_profile("loihi2")) == []
    assert names(network(message_bits=33), load_profile("loihi2")) == ["graded_spike_bits"]


def in_microcode(graph, program):
    population = graph.populations["out"]
    return replace(graph, populations={"out": replace(population, neuron=program(population.cuba))})


@pytest.mark.parametrize(
    ("program", "said"),
    [(SoftReset, "subtract their threshold"), (GradedSpikes, "send numbers with their spikes")],
)
def test_microcode_is_for_a_chip_that_has_it(program, said):
    graph = in_microcode(network(), program)
    for chip in ("loihi1", "loihi2"):
        found = violations(graph, load_profile(chip))[0]
        assert (found.constraint, found.limit) == ("own_programs", None)
        assert f"population 'out', whose neurons {said}" in str(found)
        assert "this chip has none" in str(found)
        assert "Or take loihi2-microcode" in str(found)
    assert names(graph, load_profile("loihi2-microcode")) == []


def test_graded_spikes_of_neurons_are_held_to_the_bits_of_a_message():
    graph = in_microcode(network(), GradedSpikes)
    assert names(graph) == ["own_programs", "graded_spike_bits"]
    microcode = load_profile("loihi2-microcode")
    fewer = {**microcode.limits, "graded_spike_bits": replace(
        microcode.limit("graded_spike_bits"), value=16)}  # fmt: skip
    (found,) = violations(graph, replace(microcode, limits=fewer))
    assert (found.where, found.found, found.limit.value) == ("population 'out'", 24, 16)


def test_everything_wrong_is_told_at_once():
    graph = network([[300, 2]], vth=131072, delay=63)
    with pytest.raises(ConstraintError) as error:
        require(graph, LOIHI1)
    assert [each.constraint for each in error.value.violations] == [
        "vth_maximum",
        "delay_maximum",
        "excitatory_weight_maximum",
    ]
    told = str(error.value)
    assert told.startswith("the network does not fit loihi1:\n")
    assert (
        "vth maximum: population 'out' needs 131,072, the limit is 131,071 weight units "
        "(lava-nc 0.10.0, source, 2024). Scale weights, thresholds" in told
    )
    assert error.value.violations[0].to_dict() == {
        "constraint": "vth_maximum",
        "where": "population 'out'",
        "found": 131072,
        "limit": 131071,
        "source": "lava-nc 0.10.0, source",
        "unpublished": False,
        "advice": error.value.violations[0].advice,
    }


def test_a_profile_without_registers_is_named():
    with pytest.raises(UsageError, match='Profile bare has no limit "du_minimum"'):
        violations(network(), HardwareProfile("bare", {}))
