"""Lists of synapses: how many bits they take."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.hardware.integer_graph import Connection, Dense
from neuro.hardware.synapse_memory import index_bits, list_bits, synapse_format


def bits(synapses, synapse_bits):
    return int(list_bits(np.array([synapses]), synapse_bits)[0])


def formatted(weight, delay=0, exponent=0):
    return synapse_format(
        Connection(
            source="a",
            target="b",
            synapses=Dense(weight=np.array([weight], np.int32)),
            delay=np.asarray(delay, np.int32),
            weight_exponent=exponent,
        )
    )


def test_200_dense_targets_of_8_bits_take_1856_bits():
    assert bits(200, 8) == 3 * 576 + 128 == 1856


@pytest.mark.parametrize(
    ("synapses", "synapse_bits", "expected"),
    [(0, 8, 0), (1, 8, 64), (6, 9, 64), (7, 8, 128), (64, 8, 576), (65, 8, 640), (64, 1, 128)],
)
def test_a_list_is_blocks_of_whole_words(synapses, synapse_bits, expected):
    assert bits(synapses, synapse_bits) == expected


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=5), st.integers(1, 26))
def test_the_bits_of_a_list_are_those_of_its_blocks(lists, synapse_bits):
    for synapses, found in zip(lists, list_bits(np.array(lists), synapse_bits), strict=True):
        blocks = [64] * (synapses // 64) + [synapses % 64] * (synapses % 64 > 0)
        assert found == sum(-(-(block * synapse_bits + 10) // 64) * 64 for block in blocks)


@pytest.mark.parametrize(
    ("weight", "expected"),
    [
        ([2, -2], 8),
        ([4, -4], 8),  # 7 bits, which there are not
        ([8, -4, 12], 8),
        ([8, -8], 6),
        ([-256, 128], 2),
        ([-256, 0, 2], 8),
        ([1, 255], 8),
        ([128, 0], 1),
        ([64, 192], 2),
        ([-128, -64], 2),
        ([0, 0], 1),
    ],
)
def test_low_bits_that_no_weight_uses_are_not_stored(weight, expected):
    assert formatted(weight).weight_bits == expected


def test_a_format_knows_sign_exponent_and_delay():
    assert formatted([1, 0]).sign_mode == "excitatory"
    assert formatted([-1, 0]).sign_mode == "inhibitory"
    assert formatted([-2, 2]).sign_mode == "mixed"
    assert formatted([1], exponent=-3).weight_exponent == -3
    assert [formatted([1, 1], [[0, most]]).delay_bits for most in (0, 1, 3, 4, 62)] == [
        0,
        1,
        2,
        3,
        6,
    ]
    assert formatted([1, 1], 4).synapse_bits == 8 + 3


@pytest.mark.parametrize(
    ("neurons", "expected"), [(1, 6), (64, 6), (65, 7), (1024, 10), (1025, 11)]
)
def test_an_index_has_at_least_6_bits(neurons, expected):
    assert index_bits(neurons) == expected
