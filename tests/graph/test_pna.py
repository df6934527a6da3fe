"""PNA in blocks of nodes of a degree, against every scaled statistic written out."""

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from neuro.graph import pna
from neuro.graph.pna import Degrees, by_degree, combine_statistics
from neuro.kernels import RelationalGraph, relational_pna

NODES, BATCH, HIDDEN = 40, 3, 4


def graph_with_a_hub() -> RelationalGraph:
    """Node 7 hears from all, some hear from none, and the others have a few degrees."""
    generator = torch.Generator().manual_seed(0)
    ends = torch.randint(NODES // 2, (2, 60), generator=generator)
    hub = torch.stack([torch.arange(NODES), torch.full((NODES,), 7)])
    sources, destinations = torch.cat([ends, hub], dim=1)
    kinds = torch.arange(len(sources)) % 3
    return RelationalGraph.of(sources, kinds, destinations, nodes=NODES)


def graph_without_edges(nodes: int) -> RelationalGraph:
    none = torch.zeros(0, dtype=torch.int64)
    return RelationalGraph.of(none, none, none, nodes=nodes)


def operands_on(graph: RelationalGraph, dtype: torch.dtype, width: int = HIDDEN) -> list[Tensor]:
    """Return features, aggregates of messages as they might be, weight and bias, to learn."""
    torch.manual_seed(1)
    features, boundary = torch.randn(2, graph.nodes, BATCH, HIDDEN, dtype=dtype)
    found = relational_pna(features, torch.randn(3, HIDDEN, dtype=dtype), graph, boundary)
    weight, bias = torch.randn(width, 13 * HIDDEN, dtype=dtype), torch.randn(width, dtype=dtype)
    return [each.requires_grad_() for each in (features, *found, weight, bias)]


def combine(graph: RelationalGraph, operands: list[Tensor]) -> Tensor:
    features, *found, weight, bias = operands
    return combine_statistics(features, found, Degrees.of(graph, features.dtype), weight, bias)


def literal(graph: RelationalGraph, operands: list[Tensor]) -> Tensor:
    """Return the linear map of all thirteen inputs."""
    features, total, squares, maximum, minimum, weight, bias = operands
    counts = (graph.in_starts.diff() + 1).to(features.dtype)[:, None, None]
    mean = total / counts
    deviation = (squares / counts - mean.square()).clamp(min=1e-6).sqrt()
    statistics = torch.cat([mean, maximum, minimum, deviation], dim=-1)
    scale = counts.log()
    scale = scale / scale.mean() if graph.edges else scale
    scaled = [statistics, scale * statistics, statistics / scale.clamp(min=1e-2)]
    return functional.linear(torch.cat([features, *scaled], dim=-1), weight, bias)


def assert_equal_with_gradients(graph: RelationalGraph, operands: list[Tensor]) -> None:
    expected = literal(graph, operands)
    cotangent = torch.randn_like(expected)
    of_expected = torch.autograd.grad(expected, operands, cotangent)
    found = combine(graph, operands)
    torch.testing.assert_close(found, expected)
    of_found = torch.autograd.grad(found, operands, cotangent)
    for one, other in zip(of_found, of_expected, strict=True):
        torch.testing.assert_close(one, other)
    with torch.no_grad():
        assert torch.equal(combine(graph, operands), found)


# Bytes of a block, and rows worth a matrix of their own: all nodes in one mixed block; every run by
# itself; one node a block; runs of two nodes and more by themselves, at most three a block.
SIZES = [(2**20, 10**6), (2**20, 1), (1, 1), (3 * BATCH * HIDDEN * 5 * 8, 2 * BATCH)]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("sort", [False, True])
def test_blocks_of_any_size_give_what_the_formula_says(monkeypatch, size, sort):
    monkeypatch.setattr(pna, "_ON_CPU", pna._Size(*size))
    graph = by_degree(graph_with_a_hub())[0] if sort else graph_with_a_hub()
    assert_equal_with_gradients(graph, operands_on(graph, torch.float64, width=6))


def test_single_precision():
    graph = by_degree(graph_with_a_hub())[0]
    operands = operands_on(graph, torch.float32)
    expected = literal(graph, [each.double() for each in operands])
    torch.testing.assert_close(combine(graph, operands).double(), expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("nodes", [0, 1, 5])
def test_graphs_without_edges(nodes):
    graph = by_degree(graph_without_edges(nodes))[0]
    assert_equal_with_gradients(graph, operands_on(graph, torch.float64))


@pytest.mark.parametrize("size", SIZES[:2])
def test_gradients_are_those_of_finite_differences(monkeypatch, size):
    monkeypatch.setattr(pna, "_ON_CPU", pna._Size(*size))
    ends = torch.tensor([[0, 1, 2, 3, 0, 1], [1, 1, 1, 1, 2, 3]])
    graph = RelationalGraph.of(ends[0], torch.arange(6) % 3, ends[1], nodes=4)
    operands = operands_on(graph, torch.float64, width=2)
    with torch.no_grad():
        operands[2] += 1  # far from the least variance
    assert torch.autograd.gradcheck(lambda *each: combine(graph, list(each)), operands)


def test_a_variance_below_the_least_has_no_gradient():
    graph = graph_without_edges(3)
    operands = operands_on(graph, torch.float64)
    of_squares = torch.autograd.grad(combine(graph, operands).sum(), operands[2])[0]
    assert (of_squares == 0).all()


def test_statistics_are_not_kept_for_backward():
    graph = graph_with_a_hub()
    operands = operands_on(graph, torch.float64)
    kept: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda each: each):
        combine(graph, operands)
    wide = {each.data_ptr() for each in kept if each.shape[:2] == (NODES, BATCH)}
    assert wide == {each.data_ptr() for each in operands[:5]}


def test_runs_cover_every_node_once():
    degrees = Degrees.of(by_degree(graph_with_a_hub())[0], torch.float32)
    for most, shortest in [(1, 1), (4, 3), (100, 2), (100, 100)]:
        blocks = list(degrees.blocks(most, shortest))
        covered = [node for block in blocks for node in range(block.first, block.last)]
        assert covered == list(range(NODES))
        assert max(block.last - block.first for block in blocks) <= most
        for block in blocks:
            if block.alike:
                assert len(degrees.inverse[block.first : block.last].unique()) == 1


def test_nodes_by_degree_receive_the_same_messages():
    graph = graph_with_a_hub()
    renumbered, number = by_degree(graph)
    assert (renumbered.in_starts.diff().diff() >= 0).all()
    torch.manual_seed(2)
    features, relation = torch.randn(NODES, BATCH, HIDDEN), torch.randn(3, HIDDEN)
    moved = torch.empty_like(features)
    moved[number] = features
    expected = relational_pna(features, relation, graph, features)
    for one, other in zip(
        relational_pna(moved, relation, renumbered, moved), expected, strict=True
    ):
        assert torch.equal(one[number], other)
