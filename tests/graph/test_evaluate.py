"""Ranks and scores of a whole graph against the same made one by one."""

import subprocess
import sys
import textwrap

import pytest
import torch

from neuro.errors import DivergedError
from neuro.graph import KnownAnswers, MessageGraph, NBFNet, both_sides, filtered_ranks
from neuro.graph import evaluate as module
from neuro.graph.evaluate import firing_rate_from, rank_answers, score_links

NODES, RELATIONS = 9, 2
FACTS = torch.tensor([[i, i % 2, (3 * i + 1) % NODES] for i in range(NODES)])
ASKED = torch.tensor([[0, 0, 5], [0, 0, 7], [4, 1, 2], [0, 0, 1], [8, 1, 8]])


class Spiking(NBFNet):
    """Tells the sum of its query nodes' features as its firing rate."""

    def firing_rate(self, features: torch.Tensor) -> float:
        self.seen = [*getattr(self, "seen", []), features.shape[1]]
        return float(features.shape[1])


@pytest.fixture
def model() -> NBFNet:
    torch.manual_seed(0)
    return NBFNet(2 * RELATIONS, hidden=4, layers=2, aggregate="sum")


@pytest.fixture
def graph():
    return MessageGraph.of(FACTS, nodes=NODES, relations=RELATIONS).whole


def known(triples: torch.Tensor) -> KnownAnswers:
    return KnownAnswers.both_ways(triples, entities=NODES, relations=RELATIONS)


def one_by_one(model, graph, triples, answers, *, count_itself):
    ranks = []
    everyone = torch.arange(NODES)[None]
    queries = both_sides(triples, relations=RELATIONS)
    with torch.no_grad():
        for source, relation, answer in zip(
            queries.sources, queries.relations, queries.answers, strict=True
        ):
            asked = source[None], relation[None]
            scores = model.score(model(graph, *asked), *asked, everyone)
            mask = answers.mask(*asked)
            found = filtered_ranks(scores, answer[None], mask, count_itself=count_itself)
            ranks.append([float(part) for part in found])
    return torch.tensor(ranks, dtype=torch.float64)


@pytest.mark.parametrize("batch_size", [1, 3, 100])
@pytest.mark.parametrize("pairs_at_once", [1, 20, 2**17])
def test_ranks_are_those_of_each_query_alone(model, graph, monkeypatch, batch_size, pairs_at_once):
    monkeypatch.setattr(module, "PAIRS_AT_ONCE", pairs_at_once)
    answers = known(FACTS)
    found = rank_answers(model, graph, ASKED, answers, relations=RELATIONS, batch_size=batch_size)
    for ranks, count_itself in ((found.ranks, False), (found.against_itself, True)):
        expected = one_by_one(model, graph, ASKED, answers, count_itself=count_itself)
        assert torch.equal(torch.stack([part.double() for part in ranks], dim=1), expected)
    assert found.firing_rate is None
    assert not torch.equal(found.ranks.pessimistic, found.against_itself.pessimistic)


def test_known_answers_are_never_compared_with_themselves(model, graph):
    answers = known(torch.cat([FACTS, ASKED]))
    found = rank_answers(model, graph, ASKED, answers, relations=RELATIONS, batch_size=4)
    assert torch.equal(found.ranks.pessimistic, found.against_itself.pessimistic)


def test_each_distinct_query_is_propagated_once(graph):
    model = Spiking(2 * RELATIONS, hidden=4, layers=1, aggregate="sum")
    found = rank_answers(model, graph, ASKED, known(FACTS), relations=RELATIONS, batch_size=3)
    assert sum(model.seen) == 3 + 5  # three tail queries, and five for heads
    assert found.firing_rate == pytest.approx((3 * 3 + 3 * 3 + 2 * 2) / 8)


def test_links_are_scored_in_parts():
    torch.manual_seed(0)
    model = Spiking(1, hidden=4, layers=2, aggregate="sum", dependent=False)
    pairs = torch.stack([FACTS[:, 0], torch.zeros(NODES, dtype=torch.int64), FACTS[:, 2]], dim=1)
    graph = MessageGraph.of(pairs, nodes=NODES, relations=1, undirected=True).whole
    whole = score_links(model, graph, pairs, batch_size=100)
    torch.testing.assert_close(score_links(model, graph, pairs, batch_size=2), whole)
    assert not whole.requires_grad
    assert firing_rate_from(model, graph, pairs, batch_size=6) == pytest.approx((36 + 9) / 9)


def test_scores_that_are_nan_are_divergence(model, graph):
    model.mlp[0].bias.data[0] = torch.nan
    with pytest.raises(DivergedError, match="NaN"):
        rank_answers(model, graph, ASKED, known(FACTS), relations=RELATIONS, batch_size=3)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="resident memory is read from /proc")
def test_memory_does_not_grow_with_the_number_of_queries():
    program = """
        import torch
        from neuro.graph import GRSNN, KnownAnswers, MessageGraph
        from neuro.graph.evaluate import rank_answers
        from neuro.training.memory import peak_memory_mb, tune_malloc

        tune_malloc()
        torch.manual_seed(0)
        nodes = 20_000
        facts = torch.stack([torch.randint(each, (nodes,)) for each in (nodes, 3, nodes)], 1)
        graph = MessageGraph.of(facts, nodes=nodes, relations=3).whole
        known = KnownAnswers.both_ways(facts, entities=nodes, relations=3)
        model = GRSNN(6, timesteps=2)
        for count in (100, 1500):
            rank_answers(model, graph, facts[:count], known, relations=3, batch_size=8)
            print(peak_memory_mb(torch.device("cpu")))
    """
    ran = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        capture_output=True,
        text=True,
        timeout=250,
        check=True,
    )
    few, many = map(float, ran.stdout.split())
    assert many < few + 60, f"{few:.0f} to {many:.0f} MiB"
