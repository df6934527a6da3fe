"""Messages along the edges of a relational graph: every implementation against the definition."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuro.kernels import KernelError, RelationalGraph, relational_pna, relational_spmm
from neuro.kernels.relational_spmm.aggregates import Aggregates

AGGREGATES = ("sum", "mean", "max", "min")
TOLERANCE = {
    torch.float32: {"rtol": 2e-5, "atol": 2e-5},
    torch.float64: {"rtol": 1e-12, "atol": 1e-12},
}


def draw_graph(
    nodes: int, relations: int, edges: int, *, seed: int = 0, hub: float = 0.0
) -> RelationalGraph:
    """Return a random graph; a share ``hub`` of all edges ends, and as many start, at node 0."""
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(nodes, (2, edges), generator=generator)
    ends[torch.rand(2, edges, generator=generator) < hub] = 0
    kinds = torch.randint(relations, (edges,), generator=generator)
    return RelationalGraph.of(ends[0], kinds, ends[1], nodes=nodes)


def draw(shape: tuple[int, ...], seed: int, dtype: torch.dtype, *, ties: bool = False) -> Tensor:
    """Normal numbers; with ties small whole ones, many of which are 0."""
    generator = torch.Generator().manual_seed(seed)
    numbers = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (numbers.round() if ties else numbers).to(dtype).requires_grad_()


def operands_of(
    graph: RelationalGraph,
    relations: int,
    batch: int,
    size: int,
    *,
    dtype: torch.dtype = torch.float64,
    shared: bool = False,
    bounded: bool = True,
    ties: bool = False,
    seed: int = 0,
) -> list[Tensor]:
    """Return features, relation, and the boundary if there is one."""
    shapes = [
        (graph.nodes, batch, size),
        (relations, size) if shared else (relations, batch, size),
        (graph.nodes, batch, size),
    ]
    shapes = shapes if bounded else shapes[:2]
    return [draw(shape, seed + k, dtype, ties=ties) for k, shape in enumerate(shapes)]


def by_edges(
    graph: RelationalGraph, operands: list[Tensor], message: str, aggregate: str
) -> tuple[Tensor, ...]:
    """Return the aggregates of one node after another, by autograd; ties go to the first."""
    features, relation, *boundary = operands
    relation = (
        relation if relation.dim() == 3 else relation[:, None].expand(-1, features.shape[1], -1)
    )
    starts = graph.in_starts.tolist()
    found = []
    for node in range(graph.nodes):
        edges = slice(starts[node], starts[node + 1])
        x, r = features[graph.in_sources[edges].long()], relation[graph.in_relations[edges].long()]
        messages = x * r if message == "mul" else x + r
        messages = torch.cat([*(each[node][None] for each in boundary), messages])
        found.append(_of_messages(messages, aggregate))
    return tuple(torch.stack(each) for each in zip(*found, strict=True))


def _of_messages(messages: Tensor, aggregate: str) -> tuple[Tensor, ...]:
    total = messages.sum(0)
    if not len(messages):
        return (total,) * (4 if aggregate == "pna" else 1)
    first_largest = (messages == messages.amax(0)).int().argmax(0, keepdim=True)
    first_least = (messages == messages.amin(0)).int().argmax(0, keepdim=True)
    maximum = messages.gather(0, first_largest)[0]
    minimum = messages.gather(0, first_least)[0]
    every = {
        "sum": (total,),
        "mean": (messages.mean(0),),
        "max": (maximum,),
        "min": (minimum,),
        "pna": (total, messages.square().sum(0), maximum, minimum),
    }
    return every[aggregate]


def run(
    graph: RelationalGraph, operands: list[Tensor], message: Any, aggregate: Any
) -> tuple[Tensor, ...]:
    if aggregate == "pna":
        return relational_pna(operands[0], operands[1], graph, *operands[2:], message=message)
    given = {"message": message, "aggregate": aggregate}
    return (relational_spmm(operands[0], operands[1], graph, *operands[2:], **given),)


def gradients_of(outputs: tuple[Tensor, ...], operands: list[Tensor]) -> tuple[Tensor, ...]:
    """Return the gradients of a sum in which each output has its own random weights."""
    weights = [draw(each.shape, 90 + k, each.dtype).detach() for k, each in enumerate(outputs)]
    total = sum((each * weight).sum() for each, weight in zip(outputs, weights, strict=True))
    if not total.requires_grad:
        return tuple(torch.zeros_like(each) for each in operands)
    found = torch.autograd.grad(total, operands, allow_unused=True)
    pairs = zip(found, operands, strict=True)
    return tuple(torch.zeros_like(x) if each is None else each for each, x in pairs)


def assert_is_definition(
    graph: RelationalGraph, operands: list[Tensor], message: str, aggregate: str
) -> None:
    """Hold outputs and all gradients to the definition, extremes exactly."""
    close = TOLERANCE[operands[0].dtype]
    expected = by_edges(graph, operands, message, aggregate)
    outputs = run(graph, operands, message, aggregate)
    assert all(each.is_contiguous() for each in outputs)
    torch.testing.assert_close(outputs, expected, **close)
    exact = {"max": (0,), "min": (0,), "pna": (2, 3)}.get(aggregate, ())
    assert all(torch.equal(outputs[k], expected[k]) for k in exact)
    torch.testing.assert_close(
        gradients_of(outputs, operands), gradients_of(expected, operands), **close
    )


def test_by_hand(implementation):
    edges = torch.tensor([[0, 0, 1], [2, 1, 1], [1, 0, 0]])
    graph = RelationalGraph.of(*edges.t(), nodes=3)
    features = torch.tensor([1.0, 2.0, 3.0]).view(3, 1, 1)
    relation = torch.tensor([[10.0], [-1.0]])
    boundary = torch.tensor([0.0, 5.0, 7.0]).view(3, 1, 1)

    def result(*given: Tensor, **options: Any) -> list[float]:
        return relational_spmm(features, relation, graph, *given, **options).flatten().tolist()

    assert result() == [20, 7, 0]
    assert result(boundary) == [20, 12, 7]
    assert result(aggregate="mean") == [20, 3.5, 0]
    assert result(boundary, aggregate="mean") == [10, 4, 7]
    assert result(aggregate="max") == [20, 10, 0]
    assert result(aggregate="min") == [20, -3, 0]
    assert result(boundary, aggregate="min") == [0, -3, 7]
    assert result(message="add") == [12, 13, 0]
    pna = relational_pna(features, relation, graph, boundary)
    assert [each.flatten().tolist() for each in pna] == [
        [20, 12, 7],
        [400, 134, 49],
        [20, 10, 7],
        [0, -3, 7],
    ]


@pytest.mark.parametrize("dtype", list(TOLERANCE))
@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("message", ["mul", "add"])
@pytest.mark.parametrize("aggregate", [*AGGREGATES, "pna"])
def test_outputs_and_gradients(implementation, aggregate, message, bounded, dtype):
    graph = draw_graph(23, 5, 90, hub=0.3)
    assert (graph.in_starts.diff() == 0).any()
    operands = operands_of(graph, 5, 3, 7, dtype=dtype, bounded=bounded)
    assert_is_definition(graph, operands, message, aggregate)


@pytest.mark.parametrize("aggregate", [*AGGREGATES, "pna"])
@pytest.mark.parametrize(("batch", "size"), [(1, 1), (1, 32), (5, 32), (2, 33), (3, 64), (7, 31)])
def test_widths(implementation, batch, size, aggregate):
    graph = draw_graph(11, 3, 40)
    operands = operands_of(graph, 3, batch, size, dtype=torch.float32, shared=batch == 3)
    assert_is_definition(graph, operands, "mul", aggregate)


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("aggregate", ["max", "min", "pna"])
def test_ties_go_to_the_first_edge_and_the_boundary_before_all(implementation, aggregate, bounded):
    graph = draw_graph(9, 2, 120, hub=0.2)  # many edges twice and more
    operands = operands_of(graph, 2, 2, 9, ties=True, bounded=bounded)
    assert_is_definition(graph, operands, "mul", aggregate)


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("aggregate", [*AGGREGATES, "pna"])
@pytest.mark.parametrize(
    ("nodes", "relations", "edges", "batch", "size"),
    [(4, 2, 0, 2, 3), (1, 1, 5, 1, 2), (0, 1, 0, 2, 3), (3, 2, 6, 0, 4), (3, 2, 6, 2, 0)],
)
def test_empty(implementation, nodes, relations, edges, batch, size, aggregate, bounded):
    graph = draw_graph(nodes, relations, edges) if nodes else graph_without_nodes()
    operands = operands_of(graph, relations, batch, size, bounded=bounded)
    outputs = run(graph, operands, "mul", aggregate)
    for found in gradients_of(outputs, operands), outputs:
        assert all(each.isfinite().all() for each in found)
    if nodes and batch and size:
        assert_is_definition(graph, operands, "mul", aggregate)


def graph_without_nodes() -> RelationalGraph:
    nothing = torch.zeros(0, dtype=torch.int64)
    return RelationalGraph.of(nothing, nothing, nothing, nodes=0)


def test_not_contiguous(implementation):
    graph = draw_graph(13, 4, 50)
    features = draw((6, 13, 5), 0, torch.float64).transpose(0, 1)
    relation = draw((5, 6, 4), 1, torch.float64).permute(2, 1, 0)
    boundary = draw((13, 6, 10), 2, torch.float64)[..., ::2]
    operands = [each.detach().requires_grad_() for each in (features, relation, boundary)]
    assert_is_definition(graph, operands, "mul", "pna")


def test_a_nan_is_seen_by_every_aggregate(implementation):
    graph = RelationalGraph.of(*torch.tensor([[0, 0, 2], [1, 0, 2], [0, 0, 1]]).t(), nodes=3)
    features = torch.tensor([1.0, float("nan"), 5.0]).view(3, 1, 1)
    for aggregate in AGGREGATES:
        found = relational_spmm(features, torch.ones(1, 1), graph, aggregate=aggregate)
        assert found.flatten().isnan().tolist() == [False, False, True]
        first = torch.full_like(features, float("nan"))
        found = relational_spmm(features, torch.ones(1, 1), graph, first, aggregate=aggregate)
        assert found.isnan().all()


def test_infinite_messages_are_extremes_with_a_gradient(implementation):
    graph = RelationalGraph.of(*torch.tensor([[0, 0, 1], [0, 0, 1]]).t(), nodes=2)
    features = torch.tensor([-float("inf"), 0.0]).view(2, 1, 1).requires_grad_()
    found = relational_spmm(features, torch.ones(1, 1), graph, aggregate="max")
    found.sum().backward()
    assert found.flatten().tolist() == [0, -float("inf")]
    assert features.grad.flatten().tolist() == [1, 0]


# A first call compiles, which on a busy machine takes what a health check allows for an example.
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    nodes=st.integers(1, 12),
    relations=st.integers(1, 4),
    edges=st.integers(0, 60),
    batch=st.integers(1, 3),
    size=st.integers(1, 40),
    hub=st.sampled_from([0.0, 0.5, 1.0]),
    message=st.sampled_from(["mul", "add"]),
    aggregate=st.sampled_from([*AGGREGATES, "pna"]),
    bounded=st.booleans(),
    shared=st.booleans(),
    ties=st.booleans(),
    double=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_any_graph(
    nodes,
    relations,
    edges,
    batch,
    size,
    hub,
    message,
    aggregate,
    bounded,
    shared,
    ties,
    double,
    seed,
):
    graph = draw_graph(nodes, relations, edges, seed=seed, hub=hub)
    dtype = torch.float64 if double else torch.float32
    options = {"shared": shared, "bounded": bounded, "ties": ties, "seed": seed, "dtype": dtype}
    operands = operands_of(graph, relations, batch, size, **options)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURO_KERNELS", "numba")
        outputs = run(graph, operands, message, aggregate)
        found = gradients_of(outputs, operands)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURO_KERNELS", "reference")
        expected = run(graph, operands, message, aggregate)
        gradients = gradients_of(expected, operands)
    close = {"rtol": 1e-4, "atol": 1e-3} if not double else TOLERANCE[dtype]
    torch.testing.assert_close(outputs, expected, **close)
    torch.testing.assert_close(found, gradients, **close)


def test_gradients_are_numerical_ones(implementation):
    graph = draw_graph(6, 3, 15)
    operands = operands_of(graph, 3, 2, 3)
    for aggregate in [*AGGREGATES, "pna"]:
        torch.autograd.gradcheck(
            lambda *each, aggregate=aggregate: run(graph, list(each), "mul", aggregate),
            operands,
            fast_mode=True,
        )


@pytest.mark.parametrize("wanted", [(1, 0, 0), (0, 1, 0), (0, 0, 1), (0, 0, 0)])
def test_only_gradients_that_are_wanted(implementation, wanted):
    graph = draw_graph(8, 3, 30)
    operands = operands_of(graph, 3, 2, 5)
    every = gradients_of(run(graph, operands, "mul", "pna"), operands)
    for each, want in zip(operands, wanted, strict=True):
        each.requires_grad_(bool(want))
    outputs = run(graph, operands, "mul", "pna")
    assert all(each.requires_grad == any(wanted) for each in outputs)
    if any(wanted):
        chosen = [each for each, want in zip(operands, wanted, strict=True) if want]
        found = gradients_of(outputs, chosen)
        expected = [each for each, want in zip(every, wanted, strict=True) if want]
        torch.testing.assert_close(list(found), expected)


@pytest.mark.parametrize("asked", [Aggregates.SUM, Aggregates.PNA | Aggregates.PLACES])
@pytest.mark.parametrize("bounded", [True, False])
def test_opcheck(implementation, asked, bounded):
    graph = draw_graph(7, 2, 20)
    features, relation, *boundary = (
        each.detach().flatten(1).requires_grad_()
        for each in operands_of(graph, 2, 2, 5, bounded=bounded)
    )
    operands = (features, relation, boundary[0] if boundary else None)
    torch.library.opcheck(torch.ops.neuro.relational_spmm, (*operands, *graph, int(asked)))
    with torch.no_grad():
        outputs = torch.ops.neuro.relational_spmm(*operands, *graph, int(asked))
    plain = [None if each is None else each.detach() for each in operands]
    for of_relation in (True, False):
        torch.library.opcheck(
            torch.ops.neuro.relational_spmm_backward,
            (*outputs, *plain, *graph, int(asked), of_relation),
        )


@pytest.mark.parametrize("aggregate", ["mean", "pna"])
def test_compiles_without_a_break(implementation, aggregate):
    graph = draw_graph(9, 3, 40)

    def loss(features: Tensor, relation: Tensor, boundary: Tensor) -> Tensor:
        outputs = run(graph, [2 * features, relation, boundary], "mul", aggregate)
        return sum((each.relu().square().sum() for each in outputs), torch.zeros(()))

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    gradients = []
    for function in (loss, compiled):
        operands = operands_of(graph, 3, 2, 6, shared=True)
        function(*operands).backward()
        gradients.append([each.grad for each in operands])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def test_the_number_of_threads_changes_nothing(implementation):
    graph = draw_graph(300, 6, 4000, hub=0.4)
    operands = operands_of(graph, 6, 4, 32, dtype=torch.float32)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 5):
            torch.set_num_threads(count)
            outputs = run(graph, operands, "mul", "pna")
            results.append((*outputs, *gradients_of(outputs, operands)))
    finally:
        torch.set_num_threads(threads)
    if implementation == "numba":  # torch may add to an index in another order by thread
        assert all(torch.equal(one, other) for one, other in zip(*results, strict=True))
    torch.testing.assert_close(*results, rtol=1e-4, atol=1e-3)


def test_nothing_of_the_size_of_the_messages_is_kept(implementation):
    graph = draw_graph(10, 2, 3000)
    operands = operands_of(graph, 2, 3, 8)
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda each: each):
        run(graph, operands, "mul", "pna")
    assert max(each.numel() for each in kept) == graph.edges


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"features": torch.zeros(4, 2, 3)}, r"on 5 nodes, got torch.float32 \(4, 2, 3\)"),
        ({"features": torch.zeros(5, 6)}, r"floating \[N, B, d\]"),
        ({"features": torch.zeros(5, 2, 3, dtype=torch.int64)}, "got torch.int64"),
        ({"relation": torch.zeros(2, 4)}, r"expected \(R, 2, 3\), or \(R, 3\)"),
        ({"relation": torch.zeros(2, 1, 3)}, r"relation is \(2, 1, 3\)"),
        ({"relation": torch.zeros(2, 3).double()}, "relation is torch.float64"),
        ({"relation": torch.zeros(1, 3)}, "the graph has relation 1, but there are 1 rows"),
        ({"boundary": torch.zeros(5, 2, 1)}, r"boundary is \(5, 2, 1\)"),
        ({"message": "times"}, "unknown message 'times'; has mul, add"),
        ({"aggregate": "median"}, "unknown aggregate 'median'; has sum, mean, max, min"),
    ],
)
def test_operands_that_do_not_fit_are_named(change, message):
    graph = RelationalGraph.of(*torch.tensor([[0, 0, 1], [2, 1, 4]]).t(), nodes=5)
    given = {"features": torch.zeros(5, 2, 3), "relation": torch.zeros(2, 3), "graph": graph}
    with pytest.raises(ValueError, match=message):
        relational_spmm(**{**given, **change})


def test_half_precision_is_the_references_on_a_cpu(monkeypatch):
    graph = draw_graph(5, 2, 9)
    features, relation = (each.bfloat16() for each in operands_of(graph, 2, 1, 4, bounded=False))
    monkeypatch.setenv("NEURO_KERNELS", "reference")
    expected = relational_spmm(features, relation, graph)
    monkeypatch.delenv("NEURO_KERNELS")
    assert torch.equal(relational_spmm(features, relation, graph), expected)
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    with pytest.raises(KernelError, match="bfloat16"):
        relational_spmm(features, relation, graph)


@pytest.mark.parametrize("bounded", [True, False])
@pytest.mark.parametrize("message", ["mul", "add"])
@pytest.mark.parametrize("aggregate", [*AGGREGATES, "pna"])
def test_triton(triton_device, aggregate, message, bounded):
    graph = on(triton_device, draw_graph(7, 3, 30, hub=0.3))
    operands = operands_of(graph, 3, 2, 9, bounded=bounded)
    operands = [each.detach().to(triton_device).requires_grad_() for each in operands]
    assert_is_definition(graph, operands, message, aggregate)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(("nodes", "edges", "size"), [(2, 40, 3), (3, 4, 300), (3, 0, 5)])
def test_triton_sizes_and_ties(triton_device, monkeypatch, nodes, edges, size, dtype):
    """More edges of a relation than a piece holds, more columns than a block."""
    from neuro.kernels.relational_spmm import gpu

    monkeypatch.setattr(gpu, "_PIECE", 8)
    graph = on(triton_device, draw_graph(nodes, 2, edges))
    operands = operands_of(graph, 2, 1, size, ties=True, dtype=dtype)
    operands = [each.detach().to(triton_device).requires_grad_() for each in operands]
    assert_is_definition(graph, operands, "mul", "pna")
    flat = [each.detach().flatten(1).requires_grad_() for each in operands]
    asked = int(Aggregates.PNA | Aggregates.PLACES)
    torch.library.opcheck(torch.ops.neuro.relational_spmm, (*flat, *graph, asked))


def on(device: str, graph: RelationalGraph) -> RelationalGraph:
    return RelationalGraph(*(each.to(device) for each in graph))


def test_the_lists_of_a_graph_name_each_others_edges():
    graph = draw_graph(8, 3, 60, hub=0.3)
    destinations = torch.arange(8).repeat_interleave(graph.in_starts.diff())
    sources = torch.arange(8).repeat_interleave(graph.out_starts.diff())
    places = graph.out_places.long()
    assert places.sort().values.tolist() == list(range(60))
    assert torch.equal(graph.in_sources[places], sources.int())
    assert torch.equal(graph.in_relations[places], graph.out_relations)
    assert torch.equal(destinations[places].int(), graph.out_destinations)
