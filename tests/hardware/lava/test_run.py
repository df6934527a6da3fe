"""Lava computes what the graph says: spikes, currents and potentials equal at every step."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from neuro.errors import UsageError
from neuro.hardware import fixed_point
from neuro.hardware.integer_graph import IntegerGraph, target_shape
from neuro.hardware.lava.netx import write_net
from neuro.hardware.lava.run import LavaRecording, run, write_job
from neuro.hardware.lava.validate import stored
from neuro.hardware.microcode import GradedSpikes, SoftReset
from tests.hardware.lava.build import (
    convolution,
    dense,
    even,
    graph,
    integers,
    neurons,
    one_layer,
    sparse,
    spikes,
)
from tests.hardware.lava.oracle import arriving, digest, lif

RNG = np.random.default_rng(0)
N, M, T = 20, 12, 40
INPUT = (RNG.random((N, T)) < 0.3).T.astype(np.int32)
WEIGHT = RNG.integers(-128, 128, (M, N)) * 2
DELAY = RNG.integers(0, 16, (M, N))


def assert_equal(found: LavaRecording, whole: IntegerGraph, inputs: Mapping[str, Any]) -> None:
    """Compare everything that was recorded with the simulator of neuro."""
    names = list(found.spikes)
    expected = fixed_point.run(whole, inputs, steps=found.steps, record=names)
    for name in names:
        assert expected.spikes[name].any(), f"{name} is silent: nothing is compared"
        for signal in ("spikes", "u", "v"):
            np.testing.assert_array_equal(
                getattr(found, signal)[name],
                getattr(expected, signal)[name],
                err_msg=f"{signal} of {name}",
            )


def every_kind(steps: int, samples: int) -> tuple[IntegerGraph, dict[str, np.ndarray]]:
    """A population for every process of Lava; the input ends before the run does."""
    rng = np.random.default_rng(1)
    per_neuron = {
        "du": rng.integers(-1, 4096, (3, 4)),
        "dv": rng.integers(0, 4097, (3, 4)),
        "vth": rng.integers(50, 500, (3, 4)),
        "bias_mant": rng.integers(-300, 4096, (3, 4)),
        "bias_exp": rng.integers(0, 8, (3, 4)),
    }
    grid = (3, 5, 4)
    on_grid = rng.integers(0, 4096, grid)
    thin = even(rng, M, N, largest=200) * (rng.random((M, N)) < 0.3)
    whole = graph(
        {"in": N, "picture": (2, 5, 4)},
        {
            "delayed": (M, neurons(vth=[200] * M)),
            "own registers": (
                (3, 4),
                neurons(**per_neuron),
            ),
            "ternary": (M, neurons(vth=300, vth_low=-200)),
            "grid": (grid, neurons(dv=on_grid, vth=100, start=4)),
            "output": (M, neurons(vth=200, bias_mant=30, bias_exp=4, start=2, interval=7)),
        },
        dense("in", "delayed", WEIGHT, DELAY),
        dense("in", "own registers", WEIGHT, exponent=-2),
        dense("in", "ternary", WEIGHT // 2 * 2, exponent=1),
        convolution("picture", "grid", even(rng, 3, 2, 3, 3), padding=(1, 1)),
        sparse("delayed", "output", thin[:, :M], doubled=3),
        sparse("delayed", "grid", even(rng, 60, M), rng.integers(0, 9, (60, M)), doubled=3),
        dense("grid", "output", even(rng, M, 60)),
        dense("ternary", "output", even(rng, M, M)),
        dense("output", "output", even(rng, M, M)),
        steps=steps,
    )
    inputs = {
        "in": spikes(rng, steps - 3, samples, N),
        "picture": spikes(rng, steps, samples, 2, 5, 4),
    }
    return whole, inputs


@pytest.mark.parametrize(
    ("steps", "samples"), [(14, 1), pytest.param(40, 3, marks=pytest.mark.slow)]
)
def test_every_kind_of_synapse_and_neuron_in_one_graph(lava, steps, samples):
    whole, inputs = every_kind(steps, samples)
    found = run(whole, inputs, python=lava.path)
    assert (found.steps, found.spikes["grid"].shape) == (steps, (steps, samples, 3, 5, 4))
    assert_equal(found, whole, inputs)


def test_one_layer_equals_the_oracle(lava):
    layer = one_layer(WEIGHT, neurons(bias_mant=10, bias_exp=3), T, delay=DELAY)
    found = run(layer, {"in": INPUT[:, None]}, python=lava.path)
    expected = lif(arriving(WEIGHT, INPUT, DELAY), 400, 200, 500, 80)
    for signal, by_oracle in zip((found.spikes, found.u, found.v), expected, strict=True):
        np.testing.assert_array_equal(signal["out"][:, 0], by_oracle)
    assert [digest(each) for each in expected] == [
        "336781cfb9350cb6",
        "20a2edec02e745d1",
        "5fe0fb5649a25028",
    ]


@pytest.mark.slow
@pytest.mark.parametrize("chip", ["loihi1", "loihi2"])
@pytest.mark.parametrize(
    ("delay", "expected"),
    [
        (0, ("14896ed53bfb0941", "030658a43630e5c3", "51e82b7ba76803d6")),
        (DELAY, ("336781cfb9350cb6", "20a2edec02e745d1", "5fe0fb5649a25028")),
    ],
)
def test_both_run_configurations_give_the_golden_vectors(lava, chip, delay, expected):
    layer = one_layer(WEIGHT, neurons(bias_mant=10, bias_exp=3), T, delay=delay)
    found = run(layer, {"in": INPUT[:, None]}, python=lava.path, chip=chip)
    histories = (each["out"][:, 0] for each in (found.spikes, found.u, found.v))
    assert tuple(map(digest, histories)) == expected


@pytest.mark.slow
@pytest.mark.parametrize(
    ("how", "expected"),
    [
        (
            {"start": 2, "interval": 10},
            ("d90c5f5777ae6b9d", "86dd15ea4ef8f1e9", "d36d70fb4e78692f"),
        ),
        ({"vth_low": -500}, ("63f44b5a7628fcf6", "030658a43630e5c3", "f1f7d05d0020820f")),
    ],
)
def test_resetting_and_ternary_neurons_give_the_golden_vectors(lava, how, expected):
    layer = one_layer(WEIGHT, neurons(**how), T)
    found = run(layer, {"in": INPUT[:, None]}, python=lava.path)
    histories = (each["out"][:, 0] for each in (found.spikes, found.u, found.v))
    assert tuple(map(digest, histories)) == expected


@pytest.mark.slow
def test_a_current_wraps_at_24_bits(lava):
    layer = one_layer(np.full((1, 40), 254), neurons(du=0, dv=4095, vth=131071), 120)
    found = run(layer, {"in": np.ones((120, 1, 40), np.int32)}, python=lava.path)
    assert (found.u["out"].min(), found.u["out"].max()) == (-8336473, 8308754)
    assert digest(found.u["out"][:, 0]) == "0bcd4c2c909e1975"
    assert digest(found.v["out"][:, 0]) == "9d72b56ddd20840b"


@pytest.mark.slow
@pytest.mark.parametrize("exponent", [-2, 2])
def test_the_sum_is_shifted_with_and_without_delays(lava, exponent):
    for delay in (0, DELAY):
        layer = one_layer(WEIGHT, neurons(vth=250), T, delay=delay, exponent=exponent)
        found = run(layer, {"in": INPUT[:, None]}, python=lava.path)
        expected = lif(arriving(WEIGHT, INPUT, delay, exponent), 400, 200, 250)
        for signal, by_oracle in zip((found.spikes, found.u, found.v), expected, strict=True):
            np.testing.assert_array_equal(signal["out"][:, 0], by_oracle)


@pytest.mark.slow
def test_fewer_weight_bits_are_what_validation_says(lava):
    kept = stored(integers(WEIGHT), 4)
    assert set(np.unique(kept % 32)) == {0}
    assert not np.array_equal(kept, WEIGHT)
    layer = one_layer(WEIGHT, neurons(), T)
    found = run(layer, {"in": INPUT[:, None]}, python=lava.path, weight_bits=4)
    assert_equal(found, one_layer(kept, neurons(), T), {"in": INPUT[:, None]})


@pytest.mark.slow
def test_every_number_of_a_graded_spike_counts(lava):
    rng = np.random.default_rng(5)
    source = rng.integers(-100, 100, (T, 1, N)).astype(np.int32)
    layer = one_layer(even(rng, M, N), neurons(), T, bits=8)
    assert_equal(run(layer, {"in": source}, python=lava.path), layer, {"in": source})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("shape", "weight", "how"),
    [
        ((2, 7, 6), (4, 2, 3, 2), {"stride": (2, 1), "padding": (1, 0)}),
        ((4, 5, 6), (6, 2, 2, 3), {"groups": 2, "dilation": (2, 1)}),
        ((1, 4, 4), (2, 1, 1, 1), {"exponent": 2}),
        ((1, 5, 5), (2, 1, 3, 3), {"exponent": -1}),
    ],
)
def test_convolutions_of_every_sort(lava, shape, weight, how):
    rng = np.random.default_rng(6)
    through = convolution("in", "out", even(rng, *weight), **how)
    whole = graph(
        {"in": shape},
        {"out": (target_shape(through.synapses, shape), neurons(vth=20))},
        through,
    )
    source = spikes(rng, 20, 1, *shape)
    assert_equal(run(whole, {"in": source}, python=lava.path), whole, {"in": source})


@pytest.mark.slow
def test_parts_that_nothing_joins_run_each(lava):
    whole = graph(
        {"a": 3, "b": 2},
        {
            "of a": (2, neurons(vth=20)),
            "alone": (2, neurons(vth=9, bias_mant=600)),
            "of b": (2, neurons(vth=20)),
        },
        dense("a", "of a", np.full((2, 3), 60)),
        dense("b", "of b", np.full((2, 2), 60)),
    )
    inputs = {"a": np.ones((20, 1, 3), np.int32), "b": np.ones((20, 1, 2), np.int32)}
    assert_equal(run(whole, inputs, python=lava.path), whole, inputs)


@pytest.mark.slow
def test_synapses_that_do_nothing_do_nothing(lava):
    """No synapse at all, weights of zero; and names that mean something to numpy or to files."""
    biased = neurons(vth=9, bias_mant=600)
    whole = graph(
        {"file": 3},
        {"a/b.c": (2, biased), "connection0": (2, biased), "..": (2, biased)},
        sparse("file", "a/b.c", np.zeros((2, 3))),
        dense("a/b.c", "connection0", np.zeros((2, 2))),
        sparse("connection0", "..", [[0, 0], [40, 0]], delay=[[0, 0], [9, 0]]),
    )
    inputs = {"file": np.ones((20, 1, 3), np.int32)}
    assert_equal(run(whole, inputs, python=lava.path), whole, inputs)


@pytest.mark.slow
def test_without_rounding_the_states_stay_near(lava):
    layer = one_layer(WEIGHT, neurons(bias_mant=10, bias_exp=3, vth=131071), T, delay=DELAY)
    inputs = {"in": INPUT[:, None]}
    found = run(layer, inputs, python=lava.path, floating=True)
    expected = fixed_point.run(layer, inputs, record=["out"])
    # rounding towards zero loses less than 1 a step, of which 1 / decay remain
    assert np.abs(found.u["out"] - expected.u["out"]).max() < 4096 / 401
    assert 0 < np.abs(found.v["out"] - expected.v["out"]).max() < 4096 / 401 * 4096 / 200
    assert found.u["out"].dtype == np.float64


@pytest.mark.slow
def test_only_what_is_asked_for_is_recorded(lava):
    whole, inputs = every_kind(14, 1)
    found = run(whole, inputs, python=lava.path, record=["output"], signals=["v"], steps=20)
    expected = fixed_point.run(whole, inputs, steps=20, record=["output"])
    assert (found.spikes, found.u, list(found.v)) == ({}, {}, ["output"])
    np.testing.assert_array_equal(found.v["output"], expected.v["output"])


def test_what_lava_would_compute_otherwise_is_refused():
    layer = one_layer([[1, -1]], neurons())
    inputs = {"in": np.zeros((2, 1, 2), np.int32)}
    with pytest.raises(UsageError, match="odd-weights"):
        run(layer, inputs)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"inputs": {}}, r"has the sources \['in'\], got inputs for \[\]"),
        ({"inputs": {"in": np.zeros((2, 1, 3), np.int32)}}, r"shape \(2, 1, 3\); expected"),
        ({"inputs": {"in": np.zeros((2, 1, 2))}}, "float64; a chip takes integers"),
        ({"inputs": {"in": np.zeros((21, 1, 2), np.int32)}}, "T of 20 steps at most"),
        ({"record": ["ou"]}, "no population 'ou' to record. Did you mean \"out\""),
        ({"signals": ["w"]}, "no signal 'w'"),
        ({"signals": []}, "nothing to record"),
        ({"weight_bits": 9}, "9 weight bits; a synapse has 1 to 8"),
        ({"inputs": {"in": np.zeros((2, 0, 2), np.int32)}}, "the inputs hold no sample"),
        ({"engine": "brian"}, "unknown engine 'brian'"),
        ({"engine": "netx", "floating": True}, "netx runs integers alone"),
    ],
)
def test_a_request_that_does_not_fit_is_refused(change, message):
    layer = one_layer([[2, -2]], neurons())
    inputs = change.pop("inputs", {"in": np.zeros((2, 1, 2), np.int32)})
    with pytest.raises(UsageError, match=message):
        run(layer, inputs, **change)


@pytest.mark.parametrize(
    ("program", "said"),
    [(SoftReset, "subtract their threshold"), (GradedSpikes, "send numbers with their spikes")],
)
def test_neurons_in_microcode_are_refused_even_unchecked(program, said, tmp_path):
    layer = one_layer([[2, -2]], neurons())
    (population,) = layer.populations.values()
    programmed = replace(population, neuron=program(population.cuba))
    layer = replace(layer, populations={"out": programmed})
    inputs = {"in": np.zeros((2, 1, 2), np.int32)}
    for engine in ("lava", "netx"):
        with pytest.raises(UsageError, match=said):
            run(layer, inputs, engine=engine, check=False)
    with pytest.raises(UsageError, match=said):
        write_job(layer, inputs, tmp_path, chip="loihi2")
    with pytest.raises(UsageError, match=said):
        write_net(layer, tmp_path / "out.net")
    assert not list(tmp_path.iterdir())


def test_sources_of_different_numbers_of_samples_are_refused():
    two = graph(
        {"a": 1, "b": 1},
        {"out": (1, neurons())},
        dense("a", "out", [[2]]),
        dense("b", "out", [[2]]),
    )
    inputs = {"a": np.zeros((2, 1, 1), np.int32), "b": np.zeros((2, 2, 1), np.int32)}
    with pytest.raises(UsageError, match="different numbers of samples"):
        run(two, inputs)
