"""Spikes, currents and potentials equal those of other simulators, with neither installed.

A digest is the first 16 hex digits of SHA-256 over a C-order little-endian int32 array
``[neurons, T]``. Those of :data:`LAVA` were taken from the fixed_pt process models of Lava 0.10.0;
``golden/brian2_loihi.npz`` from brian2-loihi 0.5.2 by the script beside it.
"""

import hashlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from neuro.hardware.fixed_point import run
from neuro.hardware.fixed_point_reference import run_sample
from neuro.hardware.integer_graph import IntegerGraph
from tests.hardware.graphs import neurons, one_layer


class Case(NamedTuple):
    graph: IntegerGraph
    inputs: np.ndarray  # [T, sources]
    spikes: int  # how many, either sign
    digests: tuple[str, str, str]  # of spikes, u, v


def lava() -> dict[str, Case]:
    rng = np.random.default_rng(0)
    sources, targets, steps = 20, 12, 40
    spikes = (rng.random((sources, steps)) < 0.3).T.astype(np.int64)
    weight = rng.integers(-128, 128, (targets, sources)) * 2
    delay = rng.integers(0, 16, (targets, sources))
    assert (spikes.sum(), weight.sum(), delay.sum()) == (226, 1578, 1762)
    registers = {"du": 400, "dv": 200, "vth": 500}
    biased = neurons(**registers, bias_mant=10, bias_exp=3)
    reset = neurons(**registers, start=2, interval=10)  # reset_offset 3
    ternary = neurons(**registers, vth_low=np.asarray(-500, np.int32))
    wrapping = one_layer(np.full((1, 40), 254), neurons(du=0, dv=4095, vth=131071), 120)
    return {
        "dense": Case(
            one_layer(weight, biased, steps),
            spikes,
            221,
            ("14896ed53bfb0941", "030658a43630e5c3", "51e82b7ba76803d6"),
        ),
        "delays": Case(
            one_layer(weight, biased, steps, delay=delay),
            spikes,
            229,
            ("336781cfb9350cb6", "20a2edec02e745d1", "5fe0fb5649a25028"),
        ),
        "reset": Case(
            one_layer(weight, reset, steps),
            spikes,
            177,
            ("d90c5f5777ae6b9d", "86dd15ea4ef8f1e9", "d36d70fb4e78692f"),
        ),
        "ternary": Case(
            one_layer(weight, ternary, steps),
            spikes,
            407,
            ("63f44b5a7628fcf6", "030658a43630e5c3", "f1f7d05d0020820f"),
        ),
        "wrap": Case(
            wrapping,
            np.ones((120, 40), np.int64),
            0,
            ("4b48f21a4b7a02bf", "0bcd4c2c909e1975", "9d72b56ddd20840b"),
        ),
    }


LAVA = lava()


def digest(history: np.ndarray) -> str:
    """Return the digest of ``[T, neurons]``."""
    data = np.ascontiguousarray(history.T.astype("<i4")).tobytes()
    return hashlib.sha256(data).hexdigest()[:16]


@pytest.mark.parametrize("name", LAVA)
def test_the_reference_equals_lava(name):
    case = LAVA[name]
    trace = run_sample(case.graph, {"in": case.inputs}, len(case.inputs))["out"]
    assert np.count_nonzero(trace.spikes) == case.spikes
    assert tuple(map(digest, trace)) == case.digests


@pytest.mark.parametrize("name", LAVA)
def test_the_engine_equals_lava(name):
    case = LAVA[name]
    recording = run(case.graph, {"in": case.inputs[:, None]}, record=["out"])
    assert recording.events["out"].tolist() == [case.spikes]
    histories = (each["out"][:, 0] for each in (recording.spikes, recording.u, recording.v))
    assert tuple(map(digest, histories)) == case.digests


def test_both_equal_brian2_loihi():
    with np.load(Path(__file__).parent / "golden" / "brian2_loihi.npz") as stored:
        inputs, weight, *expected = (
            stored[name] for name in ("inputs", "weight", "spikes", "u", "v")
        )
    assert expected[0].sum() == 261
    # its synapses take no step: what it does at step t, we do at t + 1
    steps = len(inputs) + 1
    graph = one_layer(weight, neurons(du=511, dv=256, vth=1000), steps)
    trace = run_sample(graph, {"in": inputs}, steps)["out"]
    recording = run(graph, {"in": inputs[:, None]}, record=["out"])
    histories = (recording.spikes, recording.u, recording.v)
    for theirs, reference, engine in zip(expected, trace, histories, strict=True):
        np.testing.assert_array_equal(reference[1:], theirs)
        np.testing.assert_array_equal(engine["out"][1:, 0], theirs)
