import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro.errors import DataError
from neuro.graph import KnownAnswers, MessageGraph, strict_negatives
from neuro.kernels.relational_graph import RelationalGraph

ENTITIES, RELATIONS = 6, 2
node = st.integers(0, ENTITIES - 1)
triple = st.tuples(node, st.integers(0, RELATIONS - 1), node)
triples = st.lists(triple, min_size=1, max_size=25, unique=True)
one_hops = pytest.mark.parametrize("one_hop", [False, True])


def kept_by_hand(facts, asked, one_hop):
    if not one_hop:
        return [fact for fact in facts if fact not in asked]
    pairs = {frozenset((head, tail)) for head, _, tail in asked}
    return [fact for fact in facts if frozenset((fact[0], fact[2])) not in pairs]


def from_scratch(facts, undirected=False) -> RelationalGraph:
    """Inverses are added to the facts that are left, then everything is sorted anew."""
    shift = 0 if undirected else RELATIONS
    edges = [*facts, *((tail, kind + shift, head) for head, kind, tail in facts)]
    if undirected:
        edges += [(each, 0, each) for each in range(ENTITIES)]
    sources, kinds, destinations = torch.tensor(edges, dtype=torch.int64).reshape(-1, 3).unbind(1)
    return RelationalGraph.of(sources, kinds, destinations, nodes=ENTITIES)


def assert_equal(graph: RelationalGraph, expected: RelationalGraph) -> None:
    for name, part, other in zip(graph._fields, graph, expected, strict=True):
        assert part.dtype == other.dtype, name
        assert part.tolist() == other.tolist(), name


def edges(graph: RelationalGraph) -> set[tuple[int, int, int]]:
    sources = torch.arange(graph.nodes).repeat_interleave(graph.out_starts.diff())
    return set(
        zip(
            sources.tolist(),
            graph.out_relations.tolist(),
            graph.out_destinations.tolist(),
            strict=True,
        )
    )


@one_hops
@given(triples, st.lists(triple, min_size=1, max_size=6))
def test_taking_edges_out_equals_building_from_scratch(one_hop, facts, asked):
    graph = MessageGraph.of(torch.tensor(facts), nodes=ENTITIES, relations=RELATIONS)
    assert_equal(graph.whole, from_scratch(facts))
    assert graph.relations == 2 * RELATIONS
    left = graph.without(torch.tensor(asked), one_hop=one_hop)
    assert_equal(left, from_scratch(kept_by_hand(facts, asked, one_hop)))


@one_hops
@given(triples, st.lists(triple, min_size=1, max_size=6))
def test_so_it_does_in_an_undirected_graph(one_hop, facts, asked):
    facts = list(dict.fromkeys((head, 0, tail) for head, _, tail in facts))
    asked = [(head, 0, tail) for head, _, tail in asked]
    graph = MessageGraph.of(torch.tensor(facts), nodes=ENTITIES, relations=1, undirected=True)
    assert_equal(graph.whole, from_scratch(facts, undirected=True))
    assert graph.relations == 1
    left = graph.without(torch.tensor(asked), one_hop=one_hop)
    assert_equal(left, from_scratch(kept_by_hand(facts, asked, one_hop), undirected=True))


FACTS = [(0, 0, 1), (1, 0, 0), (0, 1, 1), (1, 0, 2), (2, 1, 1), (2, 0, 3)]


def test_an_exact_removal_takes_the_fact_and_its_inverse_only():
    graph = MessageGraph.of(torch.tensor(FACTS), nodes=4, relations=2)
    left = edges(graph.without(torch.tensor([[0, 0, 1]]), one_hop=False))
    assert edges(graph.whole) - left == {(0, 0, 1), (1, 2, 0)}


def test_a_one_hop_removal_takes_all_between_the_two_nodes():
    graph = MessageGraph.of(torch.tensor(FACTS), nodes=4, relations=2)
    left = edges(graph.without(torch.tensor([[0, 0, 1]]), one_hop=True))
    assert edges(graph.whole) - left == {
        (0, 0, 1), (1, 2, 0),
        (1, 0, 0), (0, 2, 1),
        (0, 1, 1), (1, 3, 0),
    }  # fmt: skip


def test_a_one_hop_removal_cuts_the_head_from_its_negatives_too():
    facts = torch.tensor(FACTS)
    graph = MessageGraph.of(facts, nodes=4, relations=2)
    known = KnownAnswers.both_ways(facts, entities=4, relations=2)
    positives = torch.tensor([[1, 0, 2], [2, 0, 3]])
    asked = strict_negatives(
        positives, known, negatives=30, generator=torch.Generator().manual_seed(0)
    )
    # Row 0 asks (1, 0, ?): tails 1 and 3 are wrong. Row 1 asks (?, 0, 3): heads 0, 1, 3 are.
    assert set(asked.candidates[0].tolist()) == {1, 2, 3}
    assert set(asked.candidates[1].tolist()) == {0, 1, 2, 3}
    every = graph.easy(asked.triples(2), one_hop=True)
    assert facts[every].tolist() == [[1, 0, 2], [2, 1, 1], [2, 0, 3]]
    exact = graph.easy(asked.triples(2), one_hop=False)
    assert facts[exact].tolist() == [[1, 0, 2], [2, 0, 3]]


def test_self_loops_that_were_added_stay():
    graph = MessageGraph.of(torch.tensor([[0, 0, 1]]), nodes=3, relations=1, undirected=True)
    assert edges(graph.whole) == {(0, 0, 1), (1, 0, 0), (0, 0, 0), (1, 0, 1), (2, 0, 2)}
    left = graph.without(torch.tensor([[0, 0, 1], [2, 0, 2]]), one_hop=True)
    assert edges(left) == {(0, 0, 0), (1, 0, 1), (2, 0, 2)}


def test_all_edges_may_go_and_nothing_need_be_asked():
    graph = MessageGraph.of(torch.tensor(FACTS), nodes=4, relations=2)
    assert_equal(graph.without(torch.empty(0, 3, dtype=torch.int64), one_hop=True), graph.whole)
    bare = graph.without(torch.tensor(FACTS), one_hop=False)
    assert bare.edges == 0
    assert bare.in_starts.tolist() == bare.out_starts.tolist() == [0] * 5


def test_numbers_out_of_range_are_refused():
    graph = MessageGraph.of(torch.tensor(FACTS), nodes=4, relations=2)
    with pytest.raises(DataError, match=r"relations span 2..2"):
        graph.without(torch.tensor([[0, 2, 1]]), one_hop=False)
    with pytest.raises(DataError, match="tails span"):
        MessageGraph.of(torch.tensor(FACTS), nodes=3, relations=2)
    with pytest.raises(DataError, match="has one relation, its facts have 2"):
        MessageGraph.of(torch.tensor(FACTS), nodes=4, relations=2, undirected=True)


def test_a_graph_moves_as_a_whole():
    graph = MessageGraph.of(torch.tensor(FACTS), nodes=4, relations=2).to("meta")
    assert {part.device.type for part in graph.whole} == {"meta"}
    assert graph.in_places.device.type == graph.by_pair.device.type == "meta"
