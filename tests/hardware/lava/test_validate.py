"""What Lava would compute otherwise than the graph says is refused by name."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from neuro.errors import UsageError
from neuro.hardware.lava.validate import lava_findings, refuse, stored
from tests.hardware.lava.build import (
    convolution,
    dense,
    graph,
    integers,
    neurons,
    one_layer,
    sparse,
)


def rules(findings) -> list[str]:
    return [each.rule for each in findings]


@pytest.mark.parametrize(
    ("weight", "kept"),
    [
        ([3, -3, 255, -300], [2, -4, 254, -256]),  # the sign takes a bit; rounded down
        ([3, 0, 300], [3, 0, 255]),
        ([-3, 0, -300], [-3, 0, -255]),
        ([0, 0], [0, 0]),
        ([], []),
    ],
)
def test_weights_as_a_synapse_keeps_them(weight, kept):
    assert stored(integers(weight)).tolist() == kept


def test_fewer_bits_keep_the_upper_ones():
    assert stored(integers([100, 37]), 4).tolist() == [96, 32]
    assert stored(integers([-100, -37]), 4).tolist() == [-96, -32]
    assert stored(integers([100, -37]), 4).tolist() == [96, -64]


@given(st.lists(st.integers(-400, 400), max_size=6), st.integers(1, 8))
def test_what_is_kept_is_kept_again(weight, bits):
    once = stored(integers(weight), bits)
    assume(once.max(initial=-1) > 0 or once.min(initial=0) > -256)  # -256 needs a positive one
    assert stored(once, bits).tolist() == once.tolist()


@pytest.mark.parametrize(
    ("registers", "message"),
    [
        ({"du": -2}, r"du of -2 to -2; its register holds -1\.\.4095"),
        ({"dv": 4097}, r"dv of 4097 to 4097"),
        ({"vth": [1, 131072]}, r"vth of 1 to 131072; its register holds 0\.\.131071"),
        ({"bias_mant": 4096}, "bias_mant"),
        ({"bias_mant": 1, "bias_exp": 8}, "bias_exp"),
    ],
)
def test_registers_have_widths(registers, message):
    layer = one_layer([[2], [2]], neurons(**registers))
    with pytest.raises(UsageError, match=message):
        refuse(lava_findings(layer))


def test_decays_that_only_a_simulator_holds_run_in_lava():
    assert lava_findings(one_layer([[2]], neurons(du=-1, dv=4096))) == []


@pytest.mark.parametrize(
    ("weight", "rule"),
    [([[3, -2]], "odd-weights"), ([[256, 0]], "weight-range"), ([[-258, 2]], "weight-range")],
)
def test_weights_that_lose_bits_are_found(weight, rule):
    assert rules(lava_findings(one_layer(weight, neurons()))) == [rule]
    thin = graph({"in": 2}, {"out": (1, neurons())}, sparse("in", "out", weight))
    assert rules(lava_findings(thin)) == [rule]


def test_a_negative_exponent_shifts_the_sum_in_lava_as_in_the_graph():
    assert lava_findings(one_layer([[6, -2]], neurons(), exponent=-2)) == []


def test_delays_end_at_63_in_lava():
    longest = [one_layer([[2]], neurons(), delay=[[delay]]) for delay in (63, 64)]
    assert [rules(lava_findings(each)) for each in longest] == [[], ["delay"]]


def test_what_lavas_convolution_lacks_is_found():
    def through(weight, delay=0, exponent=0, bits=0):
        connection = convolution("in", "out", weight, exponent=exponent)
        late = type(connection)(**{**vars(connection), "delay": integers(delay)})
        return graph({"in": (1, 2, 2)}, {"out": ((1, 2, 2), neurons())}, late, bits=bits)

    assert lava_findings(through([[[[3]]]])) == []
    assert rules(lava_findings(through([[[[2]]]], delay=1))) == ["convolution-delay"]
    assert rules(lava_findings(through([[[[3]]]], exponent=-1))) == ["convolution-exponent"]
    assert lava_findings(through([[[[6]]]], exponent=-1)) == []
    assert rules(lava_findings(through([[[[254]]]], bits=24))) == ["convolution-width"]


def test_resets_that_lava_does_not_know_are_found():
    late = one_layer([[2]], neurons(start=12, interval=10))
    assert rules(lava_findings(late)) == ["reset-start"]
    assert lava_findings(late, steps=12) == []
    assert lava_findings(one_layer([[2]], neurons(start=9, interval=10))) == []
    ternary = one_layer([[2]], neurons(start=1, vth_low=-3))
    assert rules(lava_findings(ternary)) == ["ternary-reset"]


def test_all_faults_are_told_at_once():
    layer = one_layer([[3, -3]], neurons(dv=5000))
    with pytest.raises(UsageError) as caught:
        refuse(lava_findings(layer))
    assert str(caught.value).startswith("the graph has 2 faults:\n- population 'out': dv of 5000")
    assert "\n- connection 'in' -> 'out': odd weights" in str(caught.value)


def test_nothing_is_found_where_nothing_is_wrong():
    whole = graph(
        {"in": 2},
        {"out": (2, neurons(start=1))},
        dense("in", "out", [[2, -256], [254, 0]], [[0, 62], [1, 2]], exponent=7),
    )
    refuse(lava_findings(whole))
