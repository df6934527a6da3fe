"""Arriving messages: counted one by one, and every implementation alike."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuro.kernels import Arrivals, KernelError, RelationalGraph, count_arrivals
from neuro.kernels.delayed_message.operands import pack


def draw(
    seed: int, *, queries: int, nodes: int, edges: int, steps: int, neurons: int, delays: int
) -> tuple[Tensor, Tensor, Tensor, Tensor, RelationalGraph]:
    """Return spikes ``[B, N, T, d]`` and masks ``[J, R, B, d]``, both packed too, and a graph."""
    generator = torch.Generator().manual_seed(seed)
    relations = 3
    spikes = torch.rand(queries, nodes, steps, neurons, generator=generator) < 0.3
    delay = torch.randint(delays, (relations, queries, neurons), generator=generator)
    masks = torch.stack([delay == late for late in range(delays)])
    ends = torch.randint(nodes, (2, edges), generator=generator)
    kinds = torch.randint(relations, (edges,), generator=generator)
    graph = RelationalGraph.of(ends[0], kinds, ends[1], nodes=nodes)
    return spikes, masks, pack(spikes), pack(masks), graph


def one_by_one(spikes: Tensor, masks: Tensor, graph: RelationalGraph) -> Arrivals:
    steps = range(1, spikes.shape[2])
    arrived, waited = dict.fromkeys(steps, 0), dict.fromkeys(steps, 0)
    reached: set[tuple[int, ...]] = set()
    starts = graph.in_starts.tolist()
    for y in range(graph.nodes):
        for edge in range(starts[y], starts[y + 1]):
            x, relation = int(graph.in_sources[edge]), int(graph.in_relations[edge])
            for query, step, neuron in spikes[:, x].nonzero().tolist():
                late = int(masks[:, relation, query, neuron].nonzero()[0])
                at = step + 1 + late
                if at in steps:
                    arrived[step + 1] += 1
                    waited[step + 1] += late > 0
                    reached.add((at, query, y, neuron))
    nodes = {each[:3] for each in reached}
    return Arrivals(
        tuple(arrived.values()),
        tuple(waited.values()),
        tuple(sum(each[0] == step for each in reached) for step in steps),
        tuple(sum(each[0] == step for each in nodes) for step in steps),
    )


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 99),
    queries=st.integers(1, 3),
    nodes=st.integers(1, 5),
    edges=st.integers(0, 12),
    steps=st.integers(1, 6),
    neurons=st.sampled_from([1, 5, 32, 33, 64]),
    delays=st.integers(1, 8),
)
def test_messages_are_those_found_one_by_one(seed, **sizes):
    spikes, masks, trains, packed, graph = draw(seed, **sizes)
    expected = one_by_one(spikes, masks, graph)
    for name in ("numba", "reference"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NEURO_KERNELS", name)
            assert count_arrivals(trains, packed, graph) == expected


def test_threads_share_the_queries():
    sizes = {"queries": 8, "nodes": 60, "edges": 900, "steps": 10, "neurons": 64, "delays": 4}
    spikes, masks, trains, packed, graph = draw(0, **sizes)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        shared = count_arrivals(trains, packed, graph)
    finally:
        torch.set_num_threads(before)
    assert shared == one_by_one(spikes, masks, graph)
    parts = [count_arrivals(trains[k : k + 1], packed[:, :, k : k + 1], graph) for k in range(8)]
    for whole, each in zip(shared, zip(*parts, strict=True), strict=True):
        assert list(whole) == [sum(step) for step in zip(*each, strict=True)]


def test_what_does_not_fit_is_refused():
    _, _, trains, packed, graph = draw(0, queries=2, nodes=4, edges=6, steps=3, neurons=5, delays=2)
    for wrong in (
        (trains[:, :3], packed, graph),
        (trains[:1], packed, graph),
        (trains, packed[0], graph),
        (trains.long(), packed, graph),
        (trains, packed[:, :0], graph),
    ):
        with pytest.raises(ValueError, match="count_arrivals"):
            count_arrivals(*wrong)


def test_a_missing_implementation_is_refused(monkeypatch):
    _, _, trains, packed, graph = draw(0, queries=1, nodes=2, edges=1, steps=2, neurons=5, delays=1)
    monkeypatch.setenv("NEURO_KERNELS", "triton")
    with pytest.raises(KernelError, match="arrivals"):
        count_arrivals(trains, packed, graph)
