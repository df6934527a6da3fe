"""Any graph of a seed does in Lava what it does in the simulator."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuro.hardware import fixed_point
from neuro.hardware.lava.interpreter import Interpreter
from neuro.hardware.lava.run import run
from tests.hardware.lava.random_graphs import draw


@pytest.mark.slow
@settings(
    deadline=None, max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 2**32 - 1))
def test_a_random_graph_is_exact(lava: Interpreter, seed: int) -> None:
    graph, inputs = draw(seed)
    theirs = run(graph, inputs, python=lava.path)
    ours = fixed_point.run(graph, inputs, record=list(graph.populations))
    for name in graph.populations:
        for signal in ("spikes", "u", "v"):
            np.testing.assert_array_equal(
                getattr(ours, signal)[name], getattr(theirs, signal)[name], err_msg=signal
            )
