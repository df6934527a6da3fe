"""Graphs of several seeds do what Lava did, held in ``golden/lava.npz``, without Lava."""

from pathlib import Path

import numpy as np
import pytest

from neuro.hardware.fixed_point import run
from neuro.hardware.fixed_point_reference import run_sample
from tests.hardware.golden.make_lava import SEEDS
from tests.hardware.lava.random_graphs import draw

GOLDEN = Path(__file__).parent / "golden" / "lava.npz"


@pytest.mark.parametrize("seed", SEEDS)
def test_a_graph_does_what_lava_did(seed: int) -> None:
    graph, inputs = draw(seed)
    fast = run(graph, inputs, record=list(graph.populations))
    plain = run_sample(graph, {name: each[:, 0] for name, each in inputs.items()}, graph.steps)
    with np.load(GOLDEN, allow_pickle=False) as golden:
        for name in graph.populations:
            for signal in ("spikes", "u", "v"):
                expected = golden[f"{seed}.{signal}.{name}"]
                np.testing.assert_array_equal(getattr(fast, signal)[name], expected)
                np.testing.assert_array_equal(getattr(plain[name], signal), expected[:, 0])


def test_the_graphs_spike_and_wrap() -> None:
    recordings = [run(*draw(seed), record=["second"]) for seed in SEEDS]
    assert sum(int(each.spikes["second"].sum()) for each in recordings) > 50
    assert any(each.extremes["second"].wrapped_u for each in recordings)
