"""A GRSNN on the chip: spikes where the network has them, and what the chip cannot do is said."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from neuro.errors import UsageError
from neuro.export import reasoning
from neuro.export.chip_grsnn import ChipGRSNN, best_fullness, compare
from neuro.export.reasoning import NODES, reasoning_graph
from neuro.graph import (
    GRSNN,
    KnownAnswers,
    MessageGraph,
    NBFNet,
    best_tails,
    filtered_ranks,
    load_graph,
)
from neuro.hardware.fixed_point import run
from neuro.hardware.fixed_point_reference import run_sample
from neuro.hardware.integer_graph import read_graph, write_graph
from neuro.kernels import RelationalGraph
from neuro.kernels.delayed_message.operands import unpack

HALVING = 1 / math.log(2)  # tau of states that halve every step


def logits(delays):
    """What the delay map has to say for delays of 0 to 4."""
    share = torch.as_tensor(delays, dtype=torch.float64) / 4
    return torch.logit(share.clamp(1e-6, 1 - 1e-6))


def edges(*triples, nodes):
    sources, relations, destinations = torch.tensor(triples).t()
    return RelationalGraph.of(sources, relations, destinations, nodes=nodes)


@torch.no_grad()
def relay(delays, *, timesteps=10, weight=3.0, **options):
    """A network each of whose neurons passes on every spike, after its delay ``[R, d]``."""
    relations, hidden = np.shape(delays)
    model = GRSNN(
        relations, hidden=hidden, timesteps=timesteps, dependent=False, **options
    ).double()
    model.delay_map.weight.copy_(logits(delays))
    model.query.weight.fill_(2.0)  # a drive of 3: the head fires at every step
    model.linear.weight.copy_(torch.eye(hidden) * weight)
    model.linear.bias.zero_()
    return model


def first_spikes(spikes):
    """Steps ``[N, d]`` of the first spikes in ``[T, N, d]``, -1 where there are none."""
    return np.where(spikes.any(0), spikes.argmax(0), -1)


@torch.no_grad()
def whole(seed, *, unit, relations=3, hidden=5, timesteps=7, **options):
    """A network whose numbers are whole at ``unit`` units of weights per unit of potential.

    States halve, so that those of 7 steps have 6 bits after the point, which the chip has, too.
    """
    generator = torch.Generator().manual_seed(seed)

    def some(most, *shape):
        half = torch.randint(-most // 2, most // 2 + 1, shape, generator=generator)
        return 2 * half.double()

    model = GRSNN(
        relations,
        hidden=hidden,
        timesteps=timesteps,
        tau=HALVING,
        dependent=False,
        **options,
    ).double()
    per_weight = unit * model.steps.gain * model.steps.linear_scale
    model.linear.weight.copy_(some(100, *model.linear.weight.shape) / per_weight)
    model.linear.bias.copy_(some(300, hidden) / per_weight)
    model.query.weight.copy_(some(300, relations, hidden).abs() / unit - 0.5)
    model.delay_map.weight.copy_(
        logits(torch.randint(0, 5, (relations, hidden), generator=generator))
    )
    if model.weight_map is not None:
        weights = torch.randint(0, 3, (relations, hidden), generator=generator)
        model.weight_map.weight.copy_(weights - 1.0)
        model.weight_map.weight[0] = 1  # the largest weight stays the largest
    # the drive is query * threshold / 2 + threshold / 2: on the grid, too
    drive = torch.round(model.scaled_query(torch.arange(relations)) * unit / 2) * 2 / unit
    model.query.weight.copy_(drive / (model.threshold / 2) - 1)
    return model


def random_graph(seed, *, nodes=6, relations=3, count=14):
    """Edges with loops and parallel ones."""
    generator = torch.Generator().manual_seed(seed)
    sources, destinations = torch.randint(0, nodes, (2, count), generator=generator)
    kinds = torch.randint(0, relations, (count,), generator=generator)
    twice = [torch.cat([each, each[:5], each[:3]]) for each in (sources, kinds, destinations)]
    return RelationalGraph.of(*twice, nodes=nodes)


def fullness_at(model, unit):
    """How far the largest weight fills its bits at a scale of ``unit``."""
    factor = unit * model.steps.gain * model.steps.linear_scale
    return float(model.linear.weight.detach().abs().max()) * factor / 254


def all_queries(nodes, relations=3):
    return torch.arange(nodes).repeat(relations), torch.arange(relations).repeat_interleave(nodes)


def test_spikes_arrive_one_step_and_the_delay_after_they_were_sent():
    delays = [[0, 1, 2, 3, 4], [4, 0, 3, 1, 2]]
    chain = edges((0, 0, 1), (1, 1, 2), nodes=3)
    recording = reasoning_graph(relay(delays), chain, 0).run([0])
    found = first_spikes(recording.spikes[NODES][:, 0])
    hops = 1 + np.array(delays)
    assert found.tolist() == [[0] * 5, hops[0].tolist(), (hops[0] + hops[1]).tolist()]


def test_spikes_that_would_come_after_the_last_step_have_no_synapses():
    delays = [[0, 1, 2, 3, 4]]
    chain = edges((0, 0, 1), (1, 0, 2), nodes=3)
    exported = reasoning_graph(relay(delays, timesteps=4), chain, 0)
    spikes = exported.run([0]).spikes[NODES][:, 0]
    assert first_spikes(spikes).tolist() == [[0] * 5, [1, 2, 3, -1, -1], [2, -1, -1, -1, -1]]
    # the identity has one weight a sender; three senders of two edges are in time
    assert exported.report.synapses == 3 * 2
    assert exported.report.edges == 2


def test_a_graph_whose_every_edge_is_too_late_is_silent_but_for_the_head():
    exported = reasoning_graph(relay([[4, 3]], timesteps=3), edges((0, 0, 1), nodes=2), 0)
    spikes = exported.run([0]).spikes[NODES][:, 0]
    assert (exported.report.edges, exported.report.synapses) == (0, 0)
    assert spikes[:, 0].all()
    assert not spikes[:, 1].any()


UNIT = 60 + 1 / 128  # a threshold of 2 is 120 and 1/64 units


@pytest.mark.parametrize("merge", [True, False])
@pytest.mark.parametrize(
    "options",
    [{}, {"self_connection": True}, {"relation_weight": True}, {"linear_scale": 0.1}],
    ids=lambda options: ", ".join(options) or "plain",
)
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_every_spike_is_the_networks_where_its_numbers_are_whole(seed, options, merge):
    model, graph = whole(seed, unit=UNIT, **options), random_graph(seed)
    chip = ChipGRSNN(model, fullness=fullness_at(model, UNIT), merge=merge)
    asked = all_queries(graph.nodes)
    with torch.no_grad():
        wanted = model(graph, *asked, keep_spikes=True)
    found = chip(graph, *asked, keep_spikes=True)
    share = float(unpack(wanted.trains, model.hidden).double().mean())
    assert 0.05 < share < 0.6
    torch.testing.assert_close(found.trains, wanted.trains, rtol=0, atol=0)
    torch.testing.assert_close(found.counts, wanted.counts, rtol=0, atol=0)
    torch.testing.assert_close(found.decoded, wanted.decoded)
    for report in chip.reports.values():
        assert report.scale == UNIT
        assert report.weight_error < 1e-12
        assert not report.may_overflow
    assert chip.extremes.wrapped_u == chip.extremes.clipped_v == 0


def test_merged_edges_need_fewer_synapses():
    model, graph = whole(0, unit=UNIT), edges(*[(0, 0, 1)] * 6, (0, 1, 1), (1, 0, 0), nodes=2)
    one, other = (reasoning_graph(model, graph, 0, merge=merge) for merge in (True, False))
    assert other.report.synapses > one.report.synapses
    assert one.report.worst_input == other.report.worst_input
    exponents = {each.weight_exponent for each in one.graph.connections}
    assert {0, 1, 2} <= exponents


def test_a_graph_with_its_head_in_registers_does_what_its_queries_do(tmp_path):
    model, graph = whole(1, unit=UNIT), random_graph(1)
    exported = reasoning_graph(model, graph, 2, fullness=0.3)
    heads = [3, 0, 5]
    together = exported.run(heads)
    for query, head in enumerate(heads):
        alone = exported.at(head)
        assert alone.metadata["head"] == head
        reference = run_sample(alone, {}, alone.steps)[NODES]
        for recorded, wanted in zip(
            (together.spikes, together.u, together.v), reference, strict=True
        ):
            np.testing.assert_array_equal(recorded[NODES][:, query], wanted)
    assert together.output_counts.sum() > 0
    write_graph(exported.at(3), tmp_path)
    stored = run(read_graph(tmp_path), {}, record=(NODES,))
    np.testing.assert_array_equal(stored.spikes[NODES][:, 0], together.spikes[NODES][:, 0])


@pytest.mark.parametrize("fullness", [1.0, 0.37, 0.11, 0.029])
def test_a_drive_at_the_threshold_fires_at_once_and_one_below_it_does_not(fullness):
    graph = edges((0, 0, 1), nodes=2)
    at = relay([[1, 1, 1]], boundary_query=False)
    spikes = reasoning_graph(at, graph, 0, fullness=fullness).run([0]).spikes[NODES]
    assert spikes[0, 0].tolist() == [[1, 1, 1], [0, 0, 0]]
    below = relay([[1, 1, 1]])
    with torch.no_grad():
        drive = torch.tensor([[2, 2 - 1e-9, 2 + 1e-9]], dtype=torch.float64)
        below.query.weight.copy_(drive - 1)
    spikes = reasoning_graph(below, graph, 0, fullness=fullness).run([0]).spikes[NODES]
    assert spikes[0, 0].tolist() == [[1, 0, 1], [0, 0, 0]]


def test_a_bias_beyond_eight_bits_is_spread_over_synapses():
    model = relay([[0, 0, 0]])
    with torch.no_grad():
        model.linear.bias.copy_(torch.tensor([7.4, -10.0, 0.0]))
    exported = reasoning_graph(model, edges((0, 0, 1), nodes=2), 0)
    (clock,) = (each for each in exported.graph.connections if each.source == "clock")
    weights = np.split(clock.synapses.weight, clock.synapses.starts[1:-1])
    assert np.abs(clock.synapses.weight).max() == 254
    per_weight = exported.report.scale * model.steps.gain
    sums = [int(each.sum()) for each in weights]
    np.testing.assert_allclose(sums, np.tile([7.4, -10, 0], 2) * per_weight, atol=1)
    with torch.no_grad():
        asked = torch.tensor([0]), torch.tensor([0])
        wanted = model(edges((0, 0, 1), nodes=2), *asked, keep_spikes=True)
    spikes = exported.run([0]).spikes[NODES][:, 0]
    np.testing.assert_array_equal(
        spikes, unpack(wanted.trains[0], 3).permute(1, 0, 2).int().numpy()
    )


@pytest.fixture(scope="module")
def nations():
    """A graph of 14 nations, and a network that was not trained but fires a good deal."""
    task = load_graph("nations")
    relations = len(task.graph.relations)
    graph = MessageGraph.of(task.graph.facts, nodes=len(task.graph.entities), relations=relations)
    with torch.random.fork_rng([]):
        torch.manual_seed(0)
        model = GRSNN(graph.relations, hidden=16, linear_scale=0.3)
    known = KnownAnswers.both_ways(
        task.test_known, entities=len(task.graph.entities), relations=relations
    )
    return task, graph, model, known


def test_the_chip_answers_as_the_network_does(nations):
    task, graph, model, known = nations
    relation = int(task.test[0, 1])
    heads = torch.arange(graph.whole.nodes)
    asked = heads, torch.full_like(heads, relation)
    fullness = best_fullness(model, graph.whole, *asked)
    chip = ChipGRSNN(model, fullness=fullness)
    triples = task.test[task.test[:, 1] == relation]
    found = compare(chip, graph.whole, triples, known, relations=len(task.graph.relations))
    assert found.agreement > 0.98
    assert found.overlap > 0.9
    assert found.arrivals > 0.85
    assert abs(found.mrr[0] - found.mrr[1]) < 0.1
    assert len(found.ranks.pessimistic) == 2 * len(triples)


def test_what_is_compared_is_counted_right(nations):
    task, graph, model, known = nations
    chip = ChipGRSNN(model, fullness=0.02)  # weights of -4 to 4: far off
    triple = task.test[:1]
    found = compare(chip, graph.whole, triple, known, relations=len(task.graph.relations))
    head, relation, tail = triple[0].tolist()
    inverse = relation + len(task.graph.relations)
    heads, kinds = torch.tensor([head, tail]), torch.tensor([relation, inverse])
    with torch.no_grad():
        features = [each(graph.whole, heads, kinds, keep_spikes=True) for each in (model, chip)]
        one, two = (unpack(each.trains, model.hidden) for each in features)
        everyone = torch.arange(graph.whole.nodes).expand(2, -1)
        scores = [model.score(each, heads, kinds, everyone) for each in features]
    assert found.queries == 2
    assert (found.spikes, found.chip_spikes) == (int(one.sum()), int(two.sum()))
    assert found.agreement == pytest.approx(float((one == two).double().mean()))
    assert found.overlap == pytest.approx(int((one & two).sum()) / int((one | two).sum()))
    arrivals = [
        np.stack([first_spikes(query.permute(1, 0, 2).numpy()) for query in each])
        for each in (one, two)
    ]
    either = (arrivals[0] >= 0) | (arrivals[1] >= 0)
    same = (arrivals[0] == arrivals[1])[either].mean()
    assert found.arrivals == pytest.approx(float(same))
    assert 0.2 < found.arrivals < 0.98
    answers = torch.tensor([tail, head])
    for scored, ranks in zip(scores, (found.ranks, found.chip_ranks), strict=True):
        wanted = filtered_ranks(scored, answers, known.mask(heads, kinds))
        assert ranks.pessimistic.tolist() == wanted.pessimistic.tolist()


def test_the_best_tails_are_ranked_by_the_chips_spikes(nations):
    _, graph, model, _ = nations
    chip = ChipGRSNN(model, fullness=0.02)
    heads, relations = torch.tensor([4]), torch.tensor([7])
    spikes = chip(graph.whole, heads, relations, keep_spikes=True)
    trains = unpack(spikes.trains[0], model.hidden)
    answers = best_tails(chip, graph, 4, 7, count=14)
    for answer in answers.best:
        fired = [step for step in answer.arrival.first if step is not None]
        assert len(fired) == int(trains[answer.node].any(0).sum())
    scores = [answer.score for answer in answers.best]
    assert scores == sorted(scores, reverse=True)
    assert answers.best != best_tails(model, graph, 4, 7, count=14).best


def test_sums_that_overflow_are_foretold_counted_and_avoided():
    hub = edges(*[(0, 0, 1)] * 600, (1, 0, 2), nodes=3)
    model = relay([[0, 1]])
    asked = torch.tensor([0]), torch.tensor([0])
    full = ChipGRSNN(model)
    wanted, found = (each(hub, *asked, keep_spikes=True).trains for each in (model, full))
    assert full.reports[0].may_overflow
    assert full.extremes.wrapped_u > 0
    assert not torch.equal(wanted, found)
    fullness = best_fullness(model, hub, *asked)
    assert fullness < 1
    chip = ChipGRSNN(model, fullness=fullness)
    assert torch.equal(chip(hub, *asked, keep_spikes=True).trains, wanted)


def network(**options):
    return GRSNN(2, hidden=3, **options)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (network(layer_norm=True), "layer_norm = false"),
        (network(aggregate="pna"), 'method.aggregate = "sum"'),
        (network(tau=1e4), "method.tau"),
        (network(tau=0.1), "method.tau"),
        (NBFNet(2), "Train grsnn"),
        (relay([[4], [4]], timesteps=80, weight=1e4), "linear_scale"),
    ],
)
def test_what_a_chip_cannot_do_is_refused_by_name(model, said):
    with pytest.raises(UsageError, match=said):
        reasoning_graph(model, edges((0, 0, 1), nodes=2), 0)


def test_delays_beyond_the_chips_are_refused_unless_they_are_too_late_anyway():
    model = relay([[4]], timesteps=70, delay_bound=70)
    with pytest.raises(UsageError, match=r"a delay of 68 steps.*delay_bound = 62 "):
        reasoning_graph(replaced_delay(model, 68), edges((0, 0, 1), nodes=2), 0)
    late = replaced_delay(relay([[4]], timesteps=64, delay_bound=70), 68)
    assert reasoning_graph(late, edges((0, 0, 1), nodes=2), 0).report.synapses == 0


@torch.no_grad()
def replaced_delay(model, delay):
    model.delay_map.weight.fill_(float(torch.logit(torch.tensor(delay / model.delay_bound))))
    return model


def test_numbers_out_of_range_are_refused(monkeypatch):
    graph = edges((0, 0, 1), nodes=2)
    with pytest.raises(UsageError, match="relation 2: the network has 0 to 1"):
        reasoning_graph(network(), graph, 2)
    with pytest.raises(UsageError, match="fullness must be above 0"):
        reasoning_graph(network(), graph, 0, fullness=0)
    exported = reasoning_graph(network(), graph, 0)
    for ask in (exported.at, lambda head: exported.run([head])):
        for head in (2, -1):
            with pytest.raises(UsageError, match="the graph has nodes 0 to 1"):
                ask(head)
    monkeypatch.setattr(reasoning, "MOST_SYNAPSES", 8)
    with pytest.raises(UsageError, match="1 edges of 3\\^2 synapses are 9"):
        reasoning_graph(network(), graph, 0)


def test_spikes_of_a_chip_have_no_gradients():
    graph = edges((0, 0, 1), nodes=2)
    with pytest.raises(UsageError, match="no gradients"):
        ChipGRSNN(network()).run_weighted(
            graph, torch.tensor([0]), torch.tensor([0]), torch.ones(1)
        )


def test_registers_are_those_of_tau():
    neuron = reasoning_graph(network(), edges((0, 0, 1), nodes=2), 0).graph.populations[NODES].cuba
    assert (int(neuron.du), int(neuron.dv)) == (905, 906)  # 4096 (1 - exp(-1 / 4)) is 906.04
    assert replace(neuron, vth=neuron.vth).bias.sum() == 0
