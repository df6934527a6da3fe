"""Delayed messages on the CPU, bit for bit those of the reference, whichever way they are sent."""

import importlib
import math

import pytest
import torch
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from neuro.kernels import RelationalGraph
from tests.kernels.delayed_message.cases import (
    RULES,
    close,
    draw,
    draw_edges,
    learn,
    with_reference,
)

CPU = importlib.import_module("neuro.kernels.delayed_message.cpu")


@pytest.mark.parametrize("queries", [1, 5, 8, 33])
def test_a_hub_bit_for_bit(monkeypatch, direction, queries):
    generator = torch.Generator().manual_seed(queries)
    sources, relations, targets = draw_edges(40, 9000, 4, generator)
    targets[: 2**13 + 3] = 0
    steps = 4 if queries == 33 else 7
    case = draw(
        nodes=40,
        relations=4,
        queries=queries,
        neurons=32,
        steps=steps,
        strength=4.0,
        dtype=torch.float32,
        seed=queries,
    )
    case.graph = RelationalGraph.of(sources, relations, targets, nodes=40)
    assert int(case.graph.in_starts[1]) > 2**13
    with_reference(case, monkeypatch)
    assert case.spikes()[:, 1:, 3:].double().mean() > 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("strength", "rates"), [(0.6, (0, 0.004)), (12.0, (0.1, 0.5))], ids=["silent", "busy"]
)
def test_silent_and_busy_graphs_bit_for_bit(monkeypatch, direction, dtype, strength, rates):
    case = draw(
        nodes=301, edges=2400, queries=3, neurons=64, steps=9, strength=strength, dtype=dtype
    )
    with_reference(case, monkeypatch)
    rate = case.spikes()[:, :, 6:].double().mean()
    assert rates[0] < rate < rates[1]


@pytest.mark.parametrize("rule", RULES)
def test_a_bias_that_fires_wakes_every_node(monkeypatch, direction, rule):
    case = draw(nodes=50, edges=90, neurons=34, steps=10, bias=0.7, strength=1.0, rule=rule)
    with_reference(case, monkeypatch)
    counts = case.run().spike_counts[0]
    assert int(counts.max()) > 50


def test_credit_for_a_few_nodes_reaches_what_it_must(monkeypatch):
    case = draw(nodes=60, edges=240, neurons=9, steps=10, strength=8.0)
    of_decoded = torch.zeros(2, 60, 9, dtype=torch.float64)
    of_decoded[0, 3], of_decoded[1, case.heads[1], 5] = 1.0, -2.0
    found = []
    for name in ("reference", "numba"):
        monkeypatch.setenv("NEURO_KERNELS", name)
        found.append(learn(case, of_decoded)[1])
    close(found[1], found[0], 1e-10)
    assert all(each.any() for each in found[0])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    nodes=st.integers(1, 23),
    edges=st.integers(0, 70),
    relations=st.integers(1, 4),
    queries=st.integers(0, 5),
    neurons=st.integers(1, 70),
    steps=st.integers(1, 9),
    max_delay=st.integers(0, 6),
    strength=st.floats(0.1, 8),
    bias=st.floats(0, 1),
    rule=st.sampled_from(RULES),
    push=st.sampled_from([math.inf, -1.0, 0.5]),
    seed=st.integers(0, 2**16),
)
@example(  # the credits of a delay cancel to a ten-millionth
    nodes=6,
    edges=18,
    relations=1,
    queries=1,
    neurons=1,
    steps=2,
    max_delay=0,
    strength=3.0,
    bias=0.0,
    rule="released",
    push=math.inf,
    seed=593,
)
def test_any_graph(push, **sizes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CPU, "PUSH_BELOW", push)
        with_reference(draw(**sizes), patch)


def test_operands_of_any_layout(monkeypatch):
    case = draw(neurons=6)
    for name in ("delay", "weight", "drive"):
        tensor = getattr(case, name)
        setattr(case, name, tensor.transpose(0, -1).contiguous().transpose(0, -1))
    with_reference(case, monkeypatch)


def test_the_number_of_threads_changes_nothing(monkeypatch):
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    case = draw(nodes=900, edges=4000, queries=7, neurons=32, steps=6, dtype=torch.float32)
    before, runs = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found, gradients = learn(case)
            runs.append([*found, *gradients])
    finally:
        torch.set_num_threads(before)
    for run in runs[1:]:
        assert all(map(torch.equal, runs[0], run))
