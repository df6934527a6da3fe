"""Why a tail has its score: arrivals by hand, importances by brute force, and what is told."""

import json
import math

import pytest
import torch
from PIL import Image
from torch import Tensor

from neuro.errors import NeuroError, UsageError
from neuro.graph import (
    GRSNN,
    KnowledgeGraph,
    MessageGraph,
    NBFNet,
    best_tails,
    describe_answers,
    describe_paths,
    draw,
    explain_paths,
    explanation_graph,
    spiking_steps,
    to_json,
)
from neuro.graph.draw import DOTS, MOST_NODES, draw_paths
from neuro.graph.explain import Normalised, edge_importance
from neuro.graph.findings import Arrival, Explanation, Hop, Path, Query
from neuro.graph.path_search import WeightedEdges, best_paths

PLUS = {"self_connection": True, "relation_weight": True, "layer_norm": True}


def messages(names: KnowledgeGraph) -> MessageGraph:
    return MessageGraph.of(names.facts, nodes=len(names.entities), relations=len(names.relations))


def direct(relations: int, delays: list[list[int]], **options) -> GRSNN:
    """A network whose neurons fire on every message and only then; the score adds up z."""
    hidden = len(delays[0])
    model = GRSNN(2 * relations, hidden=hidden, dependent=False, **options).double()
    wanted = torch.full((2 * relations, hidden), 4.0, dtype=torch.float64)
    wanted[:relations] = torch.tensor(delays)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
        model.query.weight.fill_(2)  # a drive of 3 makes the head fire at every step
        model.delay_map.weight.copy_((wanted / 4).clamp(1e-6, 1 - 1e-6).logit())
        model.linear.weight.copy_(10 * torch.eye(hidden))
        model.mlp[0].weight[0, :hidden] = 1
        model.mlp[2].weight[0, 0] = 1
    return model


def lively(model: GRSNN, seed: int = 0) -> GRSNN:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(0.8 * torch.randn(parameter.shape, generator=generator))
        model.linear.weight.abs_()
        model.query.weight.abs_()
    return model.double()


def random_names(entities: int, facts: int, relations: int, seed: int = 0) -> KnowledgeGraph:
    generator = torch.Generator().manual_seed(seed)
    drawn = [torch.randint(n, (facts,), generator=generator) for n in (entities, relations)]
    ends = torch.randint(entities, (facts,), generator=generator)
    triples = zip(drawn[0].tolist(), drawn[1].tolist(), ends.tolist(), strict=True)
    return KnowledgeGraph.of(
        [(f"e{h:02}", f"r{r}", f"e{t:02}") for h, r, t in triples],
        entities=[f"e{i:02}" for i in range(entities)],
        relations=[f"r{i}" for i in range(relations)],
    )


CHAIN = KnowledgeGraph.of([("a", "r", "b"), ("b", "s", "c")], entities=["d"])
DELAYS = [[0, 1, 2, 3], [1, 1, 2, 4]]


def test_on_a_chain_arrivals_are_one_and_the_delay_per_hop():
    answers = best_tails(direct(2, DELAYS), messages(CHAIN), 0, 0, count=4)
    firsts = {CHAIN.entities[each.node]: each.arrival.first for each in answers.best}
    assert firsts == {
        "a": (0, 0, 0, 0),
        "b": (1, 2, 3, 4),
        "c": (3, 4, 6, 9),
        "d": (None, None, None, None),
    }
    arrival = next(each.arrival for each in answers.best if each.node == 2)
    assert (arrival.earliest, arrival.median, arrival.fired) == (3, 5.0, 4)
    assert [CHAIN.entities[each.node] for each in answers.best] == ["a", "b", "c", "d"]
    assert [each.rank for each in answers.best] == [1, 2, 3, 4]


def test_on_a_chain_the_only_path_is_found():
    found = explain_paths(direct(2, DELAYS), messages(CHAIN), 0, 0, 2)
    (path,) = found.paths
    assert path.nodes == (0, 1, 2)
    assert [(hop.relation, hop.inverse) for hop in path.hops] == [(0, False), (1, False)]
    assert [hop.duration for hop in path.hops] == [2.5, 2.5]  # medians of 0 1 2 3 and 1 1 2 4
    assert path.duration == 5
    assert path.importance == path.total / 2
    assert found.arrival.first == (3, 4, 6, 9)
    assert found.edges == 4  # the inverses, too: spikes may go back and forth in time


def test_inverse_queries_walk_against_the_facts():
    model = direct(2, DELAYS)
    with torch.no_grad():
        model.delay_map.weight.fill_(-20)
    found = explain_paths(model, messages(CHAIN), 2, 3, 0)
    assert found.query == Query(2, 1, True)
    (path,) = found.paths
    assert [(hop.source, hop.relation, hop.inverse) for hop in path.hops] == [
        (2, 1, True),
        (1, 0, True),
    ]
    first, second = describe_paths(found, CHAIN)
    assert first.startswith("a -s-> c  score")
    assert second.endswith("c <-s (1 step)- b <-r (1 step)- a")


@pytest.mark.parametrize("heavy", ["short", "long"])
def test_the_path_that_weighs_more_comes_first(heavy):
    names = KnowledgeGraph.of([("a", "short", "c"), ("a", "long", "b"), ("b", "long", "c")])
    model = direct(2, [[0, 0], [0, 0]], relation_weight=True)
    with torch.no_grad():
        model.weight_map.weight.fill_(0.3)
        model.weight_map.weight[names.relation(heavy)] = 1
    found = explain_paths(model, messages(names), 0, 0, 2)
    first, second = found.paths
    assert first.importance > second.importance > 0
    assert [len(path.hops) for path in found.paths] == ([1, 2] if heavy == "short" else [2, 1])


def dense_score(model: GRSNN, graph, head: int, relation: int, tail: int, weight: Tensor):
    """The score of :class:`GRSNN`, edge by edge and neuron by neuron, with 1 / u for ds/du."""

    def fire(u: Tensor) -> Tensor:
        fires = u >= model.threshold
        safe = torch.where(fires, u, torch.ones_like(u))
        return torch.where(fires, safe / safe.detach(), torch.zeros_like(u))

    query = model.scaled_query(torch.tensor([relation]))[0]
    delay = model.delays(query[None])[:, 0].round().int().tolist()
    ends = torch.arange(graph.nodes).repeat_interleave(graph.in_starts.diff()).tolist()
    edges = list(zip(graph.in_sources.tolist(), graph.in_relations.tolist(), ends, strict=True))
    boundary = torch.zeros(graph.nodes, model.hidden, dtype=torch.float64)
    boundary[head] = query
    potential = current = torch.zeros_like(boundary)
    past: list[Tensor] = []
    decay, gain = math.exp(-1 / 4), math.e / 4
    for t in range(model.timesteps):
        if t:
            rows = [[torch.zeros((), dtype=torch.float64)] * model.hidden for _ in boundary]
            for e, (x, r, y) in enumerate(edges):
                for k in range(model.hidden):
                    if delay[r][k] < t:
                        rows[y][k] = rows[y][k] + weight[e] * past[t - 1 - delay[r][k]][x, k]
            heard = torch.stack([torch.stack(row) for row in rows])
            current = decay * current + gain * model.linear(heard)
        u = decay * potential + current + boundary
        past.append(fire(u))
        potential = u * (1 - past[-1])
    read_out = 0.95 ** torch.arange(model.timesteps, dtype=torch.float64)
    z = sum(k * s[tail] for k, s in zip(read_out / read_out.sum(), past, strict=True))
    return model.mlp(torch.cat([z, query]))[0]


@pytest.mark.parametrize("delay_gradient", ["released", "exact"])
def test_importance_equals_brute_force_and_other_edges_have_none(delay_gradient):
    names = random_names(9, 13, 2)
    model = lively(GRSNN(4, hidden=4, timesteps=6, delay_gradient=delay_gradient), seed=1)
    graph = messages(names)
    looked_at = 0
    for head, tail in [(0, 5), (3, 8), (2, 4), (6, 1)]:
        weight = torch.ones(graph.whole.edges, dtype=torch.float64, requires_grad=True)
        score = dense_score(model, graph.whole, head, 1, tail, weight)
        (expected,) = torch.autograd.grad(score, weight)
        everything = torch.arange(graph.whole.edges)
        found = edge_importance(model, graph.whole, everything, head, 1, tail)
        torch.testing.assert_close(found, expected)
        explanation = explain_paths(model, graph, head, 1, tail, paths=50, beam=50)
        assert explanation.score == pytest.approx(float(score.detach()), rel=1e-5)
        looked_at += equal_on_paths(explanation, graph, expected)
        assert explanation.edges < graph.whole.edges
        assert int(expected.count_nonzero()) <= explanation.edges
    assert looked_at > 10


def equal_on_paths(explanation: Explanation, graph: MessageGraph, importance: Tensor) -> int:
    """Compare each hop with the importances of all edges; return how many there were."""
    whole = graph.whole
    ends = torch.arange(whole.nodes).repeat_interleave(whole.in_starts.diff())
    edges = zip(whole.in_sources.tolist(), whole.in_relations.tolist(), ends.tolist(), strict=True)
    by_edge = dict(zip(edges, importance.tolist(), strict=True))
    hops = [hop for path in explanation.paths for hop in path.hops]
    for hop in hops:
        kind = hop.relation + graph.fact_relations * hop.inverse
        wanted = by_edge[hop.source, kind, hop.destination]
        assert hop.importance == pytest.approx(wanted, rel=1e-6)
    return len(hops)


@pytest.mark.parametrize("options", [PLUS, {**PLUS, "aggregate": "pna"}])
def test_the_extended_network_is_explained_too(options, monkeypatch):
    names = random_names(12, 24, 2, seed=3)
    model = lively(GRSNN(4, hidden=4, timesteps=6, **options), seed=2)
    graph = messages(names)
    everything = torch.arange(graph.whole.edges)
    heads = [(head, tail) for head in range(12) for tail in (3, 7) if head != tail]
    found = [explain_paths(model, graph, head, 0, tail) for head, tail in heads]
    monkeypatch.setattr(spiking_steps, "_PIECE", 1)
    looked_at = 0
    for (head, tail), each in zip(heads, found, strict=True):
        importance = edge_importance(model, graph.whole, everything, head, 0, tail)
        looked_at += equal_on_paths(each, graph, importance)
    assert looked_at > 10


def test_normalised_is_one_over_the_potential_where_it_fires():
    surrogate = Normalised(threshold=2.0)
    x = torch.tensor([-2.0, -1e-9, 0.0, 0.5, 3.0], dtype=torch.float64)
    torch.testing.assert_close(
        surrogate.derivative(x), torch.tensor([0, 0, 1 / 2, 1 / 2.5, 1 / 5], dtype=torch.float64)
    )
    above = x[3:]
    slope = (surrogate.primitive(above + 1e-6) - surrogate.primitive(above - 1e-6)) / 2e-6
    torch.testing.assert_close(surrogate.derivative(above), slope)


def every_path(edges: list[tuple[int, int]], head: int, tail: int, longest: int):
    """All simple paths, each as the places of its edges."""
    if head == tail:
        return [[]]
    if not longest:
        return []
    return [
        [place, *rest]
        for place, (x, y) in enumerate(edges)
        if x == head
        for rest in every_path(edges, y, tail, longest - 1)
        if all(head not in edges[each] for each in rest)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_a_wide_beam_finds_all_simple_paths_in_order(seed):
    generator = torch.Generator().manual_seed(seed)
    sources, destinations = torch.randint(7, (2, 18), generator=generator)
    importance = torch.randn(18, generator=generator, dtype=torch.float64)
    edges = WeightedEdges(sources, torch.zeros_like(sources), destinations, importance)
    expected = every_path(list(zip(sources.tolist(), destinations.tolist(), strict=True)), 0, 6, 4)
    expected.sort(key=lambda places: -float(importance[places].mean()))
    found = best_paths(edges, 0, 6, nodes=7, paths=1000, beam=1000, longest=4)
    assert found == expected
    assert best_paths(edges, 0, 6, nodes=7, paths=2, beam=1000, longest=4) == expected[:2]


def test_a_narrow_beam_keeps_the_best_path_to_each_node():
    # 0 -> 1 -> 3 (worth 1), 0 -> 2 -> 3 (worth 5), 3 -> 4
    edges = WeightedEdges(
        torch.tensor([0, 0, 1, 2, 3]),
        torch.zeros(5, dtype=torch.int64),
        torch.tensor([1, 2, 3, 3, 4]),
        torch.tensor([1.0, 4.0, 0.0, 1.0, 1.0]),
    )
    assert best_paths(edges, 0, 4, nodes=5, paths=9, beam=1, longest=3) == [[1, 3, 4]]
    assert best_paths(edges, 0, 4, nodes=5, paths=9, beam=2, longest=3) == [[1, 3, 4], [0, 2, 4]]
    assert best_paths(edges, 0, 4, nodes=5, paths=9, beam=2, longest=2) == []


def test_the_fact_itself_can_be_hidden():
    names = KnowledgeGraph.of([("a", "r", "c"), ("a", "s", "b"), ("b", "s", "c")])
    model, graph = direct(2, [[0, 0], [0, 0]]), messages(names)
    assert len(explain_paths(model, graph, 0, 0, 2).paths) == 2
    (path,) = explain_paths(model, graph, 0, 0, 2, hide_fact=True).paths
    assert path.nodes == (0, 1, 2)


def test_ties_and_silence_are_told():
    names = KnowledgeGraph.of([("a", "r", "b"), ("a", "r", "c")], entities=["x", "y", "z"])
    model, graph = direct(1, [[1, 1]]), messages(names)
    answers = best_tails(model, graph, 0, 0, exclude=[0])
    assert [(each.rank, each.ties) for each in answers.best] == [(1, 1)] * 2 + [(3, 2)] * 3
    assert (answers.candidates, answers.silent, answers.steps) == (5, 3, 10)
    lines = describe_answers(answers, names)
    assert lines[0] == "a -r-> ?"
    assert lines[1].split()[:3] == ["1", "b", f"{answers.best[0].score:.4f}"]
    assert lines[1].endswith("spikes from step 2, median 2, 2 of 2 neurons; tied with 1 other")
    assert lines[3].endswith("no spike arrived; tied with 2 others")
    assert lines[-1].startswith("No spike reached 3 of 5 candidates within 10 steps")
    assert describe_answers(best_tails(model, graph, 0, 0, exclude=range(6)), names)[1:] == [
        "  No candidate is left."
    ]
    with pytest.raises(NeuroError, match='Did you mean "b"'):
        names.entity("bb")


def test_many_nodes_tie_exactly():
    names = KnowledgeGraph.of([("hub", "r", f"n{i:03}") for i in range(301)])
    model = GRSNN(2)
    with torch.no_grad():
        model.query.weight.fill_(2)
        model.linear.weight.add_(0.3)
    answers = best_tails(model, messages(names), names.entity("hub"), 0, count=302)
    assert len({each.score for each in answers.best}) == 2
    assert {each.ties for each in answers.best} == {0, 300}


def test_a_tail_that_no_spike_reaches_says_so():
    model, graph = direct(2, DELAYS), messages(CHAIN)
    found = explain_paths(model, graph, 0, 0, CHAIN.entity("d"))
    assert found.paths == ()
    assert found.arrival.earliest is found.arrival.median is None
    heading, reason = describe_paths(found, CHAIN)
    assert heading.endswith("no spike arrived")
    assert reason == "No spike reached d within 10 steps: no path explains its score."
    with pytest.raises(NeuroError, match="No path to draw"):
        draw_paths(found, CHAIN, None)  # type: ignore[arg-type]


def test_a_tail_too_far_for_a_path_says_so():
    found = explain_paths(direct(2, DELAYS), messages(CHAIN), 0, 0, 2, longest=1)
    assert describe_paths(found, CHAIN)[1] == (
        "No path of at most 1 hops made a difference to the score of c."
    )


def test_json_is_plain():
    model, graph = direct(2, DELAYS), messages(CHAIN)
    answers = to_json(best_tails(model, graph, 0, 0, count=2), CHAIN)
    assert json.loads(json.dumps(answers)) == answers
    assert answers["query"] == {"head": "a", "relation": "r", "inverse": False}
    assert answers["answers"][1]["arrival"] == {
        "earliest": 1,
        "median": 2.5,
        "fired": 4,
        "first": [1, 2, 3, 4],
    }
    paths = to_json(explain_paths(model, graph, 0, 0, 2), CHAIN)
    assert json.loads(json.dumps(paths)) == paths
    assert [hop["destination"] for hop in paths["paths"][0]["hops"]] == ["b", "c"]


def test_other_networks_answer_but_are_not_explained():
    torch.manual_seed(0)
    model, graph = NBFNet(4, hidden=4, layers=2), messages(CHAIN)
    answers = best_tails(model, graph, 0, 1, count=2)
    with torch.no_grad():
        features = model(graph.whole, torch.tensor([0]), torch.tensor([1]))
        scores = model.score(features, torch.tensor([0]), torch.tensor([1]), torch.arange(4)[None])
    assert [each.node for each in answers.best] == scores[0].topk(2).indices.tolist()
    assert all(each.arrival is None for each in answers.best)
    assert "spike" not in "".join(describe_answers(answers, CHAIN))
    with pytest.raises(UsageError, match=r"is for GRSNN.*NBFNet"):
        explain_paths(model, graph, 0, 1, 2)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((4, 0, 1), {}, "head is 4; the graph has nodes 0 to 3"),
        ((0, 0, -1), {}, "tail is -1"),
        ((0, 4, 1), {}, "relation is 4; there are 0 to 3, inverses from 2 on"),
        ((1, 0, 1), {}, "one node"),
        ((0, 0, 1), {"beam": 0}, "beam must be at least 1"),
    ],
)
def test_what_does_not_fit_is_refused(arguments, options, message):
    with pytest.raises(UsageError, match=message):
        explain_paths(direct(2, DELAYS), messages(CHAIN), *arguments, **options)


def test_another_graph_is_refused():
    with pytest.raises(UsageError, match="knows 6 relations, inverses included, the graph has 4"):
        best_tails(direct(3, [[0], [0], [0]]), messages(CHAIN), 0, 0)
    links = MessageGraph.of(torch.tensor([[0, 0, 1]]), nodes=2, relations=1, undirected=True)
    with pytest.raises(UsageError, match="knowledge graphs"):
        best_tails(GRSNN(1), links, 0, 0)


def test_the_picture_opens_with_the_right_size(tmp_path):
    found = explain_paths(direct(2, DELAYS), messages(CHAIN), 0, 0, 2)
    file = tmp_path / "new" / "paths.png"
    draw_paths(found, CHAIN, file)
    with Image.open(file) as picture:
        picture.load()
        assert picture.format == "PNG"
        # three columns of 3.4 inches; room for two rows and the title
        assert picture.size == (round(3 * 3.4 * DOTS), round(2.6 * DOTS))
        assert len(picture.convert("RGB").getcolors(1 << 20)) > 20
    assert [each.name for each in file.parent.iterdir()] == ["paths.png"]


def test_the_graph_of_the_paths_has_what_is_known_of_each():
    found = explain_paths(direct(2, DELAYS), messages(CHAIN), 0, 0, 2)
    graph = explanation_graph(found, CHAIN)
    assert graph.is_directed()
    assert graph.is_multigraph()
    assert graph.graph == {
        "head": "a",
        "relation": "r",
        "inverse": False,
        "tail": "c",
        "score": found.score,
        "steps": 10,
    }
    assert dict(graph.nodes(data=True)) == {
        "a": {
            "entity": 0,
            "role": "head",
            "arrival": 0,
            "arrival_median": 0,
            "fired": 4,
            "layer": 0,
            "paths": (1,),
        },
        "b": {
            "entity": 1,
            "role": "between",
            "arrival": 1,
            "arrival_median": 2.5,
            "fired": 4,
            "layer": 1,
            "paths": (1,),
        },
        "c": {
            "entity": 2,
            "role": "tail",
            "arrival": 3,
            "arrival_median": 5,
            "fired": 4,
            "layer": 2,
            "paths": (1,),
        },
    }
    first, second = found.paths[0].hops
    assert list(graph.edges(keys=True, data=True)) == [
        ("a", "b", "r", edge("r", False, first)),
        ("b", "c", "s", edge("s", False, second)),
    ]


def edge(
    relation: str, inverse: bool, hop: Hop, paths: tuple[int, ...] = (1,)
) -> dict[str, object]:
    return {
        "relation": relation,
        "inverse": inverse,
        "weight": hop.importance,
        "duration": hop.duration,
        "paths": paths,
    }


def test_edges_that_several_paths_share_are_one_and_parallel_ones_are_not():
    shared, forth, back = (
        Hop(0, 0, False, 1, 3.0, 2),
        Hop(1, 0, False, 2, 2.0, 1),
        Hop(1, 0, True, 2, -1.0, 4),
    )
    paths = (Path((shared, forth)), Path((shared, back)), Path((Hop(0, 1, False, 2, 0.1, 5),)))
    found = Explanation(Query(0, 1, True), 2, 0.5, Arrival((4, None)), 10, 9, 4, paths)
    graph = explanation_graph(found, CHAIN)
    assert list(graph.edges(keys=True)) == [
        ("a", "b", "r"),
        ("a", "c", "s"),
        ("b", "c", "r"),
        ("b", "c", "r (inverse)"),
    ]
    assert graph.edges["a", "b", "r"] == edge("r", False, shared, (1, 2))
    assert graph.edges["b", "c", "r (inverse)"] == edge("r", True, back, (2,))
    assert graph.nodes["c"]["paths"] == (1, 2, 3)
    assert graph.nodes["a"]["arrival"] is None  # this explanation tells the tail's alone
    assert [graph.nodes[node]["layer"] for node in "abc"] == [0, 1, 2]
    assert graph.graph["inverse"]
    assert list(explanation_graph(found, CHAIN, paths=1).edges(keys=True)) == [
        ("a", "b", "r"),
        ("b", "c", "r"),
    ]
    silent = Explanation(Query(0, 1, False), 2, 0.5, Arrival((None,)), 10, 0, 4, ())
    assert len(explanation_graph(silent, CHAIN)) == 0


def test_a_picture_has_room_for_edges_that_pass_columns():
    hops = [Hop(node, 0, False, node + 1, 1.0, 2) for node in (0, 1, 2)]
    names = KnowledgeGraph.of([("a", "r", "b"), ("b", "r", "c"), ("c", "r", "d")])
    paths = (Path(tuple(hops)), Path((Hop(0, 0, False, 3, 0.5, 2),)))
    found = Explanation(Query(0, 0, False), 3, 0.5, Arrival((4, None)), 10, 9, 4, paths)
    graph = explanation_graph(found, names)
    columns = draw._columns(graph)
    curves = draw._curves(graph, draw._positions(graph, columns))
    low, high = draw._room(columns, curves)
    # three columns of 3.4 inches, bent by 0.3: the middle is 0.15 of that off the chord
    past = next(curve for curve in curves if curve.destination == "d" and curve.source == "a")
    assert past.at(0.5)[1] == pytest.approx(-0.15 * 3 * 3.4)
    assert low == pytest.approx(-0.15 * 3 * 3.4 - 0.32)
    assert high == pytest.approx(1.1)


def test_a_picture_that_cannot_be_written_is_one_message(tmp_path):
    found = explain_paths(direct(2, DELAYS), messages(CHAIN), 0, 0, 2)
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    for wrong in (tmp_path / "file" / "paths.png", tmp_path / "folder"):
        with pytest.raises(NeuroError, match="Cannot write the picture"):
            draw_paths(found, CHAIN, wrong)
    assert sorted(each.name for each in tmp_path.iterdir()) == ["file", "folder"]


def test_a_picture_has_no_more_nodes_than_are_legible(tmp_path):
    names = KnowledgeGraph.of([("h", "$r$", f"{i:02} of a long name$") for i in range(60)])
    head, tail = names.entity("h"), 0
    middle = [node for node in range(60) if node not in (head, tail)]
    paths = tuple(
        Path((Hop(head, 0, False, node, 1 / node, 2), Hop(node, 0, True, tail, -0.1, 3.5)))
        for node in middle
    )
    found = Explanation(Query(head, 0, False), tail, 0.5, Arrival((1, None)), 10, 118, 4, paths)
    file = tmp_path / "paths.png"
    draw_paths(found, names, file)
    with Image.open(file) as picture:
        assert picture.size == (round(3 * 3.4 * DOTS), round((MOST_NODES - 2 + 0.6) * DOTS))
