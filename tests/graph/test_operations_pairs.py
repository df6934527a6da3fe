"""Operations of pairs that may be linked: two runs and one score."""

import pytest

from neuro.energy import Counts
from neuro.energy.reporting.record import rate_of
from neuro.graph import NBFNet
from neuro.graph.operations import count_grsnn, count_nbfnet, count_pairs
from tests.graph.tally import asked, graph_of, loud_grsnn


@pytest.mark.parametrize("concatenated", [False, True])
def test_a_pair_is_two_runs_and_one_score(concatenated):
    model = loud_grsnn(3, concat_hidden=concatenated)
    runs = count_grsnn(*asked(model, graph_of(), [0, 2, 1, 3], [1, 2, 1, 2]), candidates=0)
    found = count_pairs(model, runs)
    assert (found.samples, found.timesteps) == (2, runs.timesteps)
    assert found.driven == runs.driven
    read = 3 * 7 if concatenated else 3
    wide = read + 3
    assert found.layers == {
        **runs.layers,
        "score": Counts(
            macs=2 * (wide * wide + wide),
            comparisons=2 * wide,
            additions=2 * read,
            weight_reads=2 * (wide * wide + wide + wide + 1),
            activation_reads=2 * (3 * wide + 2 * read),
            activation_writes=2 * (2 * wide + 1 + read),
        ),
    }
    assert runs.layers["score"] == Counts()


def test_steps_of_pairs_add_up():
    model = loud_grsnn(3)
    told = asked(model, graph_of(), [0, 2, 1, 3], [1, 2, 1, 2])
    runs = count_grsnn(*told, candidates=0, per_step=True)
    found = count_pairs(model, runs)
    for name, counts in found.layers.items():
        assert sum((step.layers[name] for step in found.steps), Counts()) == counts
    for step in found.steps:
        assert (step.samples, step.facts) == (2, found.facts)


def test_a_pair_has_neurons_of_two_runs_and_parameters_of_one():
    model = loud_grsnn(3)
    runs = count_grsnn(*asked(model, graph_of(), [0, 2, 1, 3], [1, 2, 1, 2]), candidates=0)
    found = count_pairs(model, runs)
    assert found.parameters == sum(each.numel() for each in model.parameters())
    one, two = runs.facts["neurons"], found.facts["neurons"]
    assert (two.neurons, two.state) == (2 * one.neurons, 2 * one.state)
    for name in ("neurons", "messages", "read-out"):
        rate = rate_of(found.per_sample.layers[name], found.facts[name], 7)
        assert rate == rate_of(runs.per_sample.layers[name], runs.facts[name], 7) > 0


def test_pairs_of_nbfnet_by_hand():
    graph = graph_of([(0, 0, 1), (1, 1, 0), (0, 0, 2)], nodes=3)
    model = NBFNet(2, hidden=4, layers=1)
    runs = count_nbfnet(model, graph, queries=2, candidates=0)
    found = count_pairs(model, runs)
    assert found.samples == 1
    linear = found.layers["layer 1, linear"]
    assert (linear.macs, linear.activation_reads) == (2 * 3 * (13 * 16 + 2 * 4), 2 * 3 * 20)
    assert found.facts["layer 1, linear"].inputs == 2 * 3 * 20
    score = found.layers["score"]
    assert (score.macs, score.comparisons, score.additions) == (8 * 8 + 8, 8, 4)
    assert (score.activation_reads, score.activation_writes) == (8 + 8 + 8 + 8, 8 + 8 + 1 + 4)
    with pytest.raises(ValueError, match="3 runs are no pairs"):
        count_pairs(model, count_nbfnet(model, graph, queries=3, candidates=0))


def test_without_the_query_a_pair_is_less_its_embedding():
    model = loud_grsnn(3, boundary_query=False)
    runs = count_grsnn(*asked(model, graph_of(), [0, 2], [1, 1]), candidates=0)
    score = count_pairs(model, runs).layers["score"]
    # 3 -> 6 -> 1; a sum of two ends, and a difference
    assert (score.macs, score.comparisons, score.additions) == (3 * 6 + 6, 6, 3 + 3)
    assert score.activation_reads == 3 + 6 + 6 + 2 * (3 + 3)
