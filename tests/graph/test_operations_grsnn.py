"""GRSNN's operations against a loop that computes number by number and counts as it goes."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neuro.energy import Counts, Ledger
from neuro.energy.counting.neuron_counts import neuron_cost
from neuro.energy.reporting.record import rate_of
from neuro.graph import GRSNN
from neuro.graph.operations import count_grsnn
from neuro.neurons import CubaLIF
from tests.graph.tally import EDGES, NODES, RELATIONS, Tally, asked, graph_of, loud_grsnn, made


def naive_grsnn(
    model: GRSNN, edges: list, nodes: int, head: int, relation: int, skip: bool, tally: Tally
) -> list[float]:
    """Run a query number by number; return the scores of all nodes."""
    d, steps, o = model.hidden, model.timesteps, model.steps
    threshold, read_out = model.threshold, model.read_out.tolist()
    raw = model.query.weight[relation].tolist()
    tally.move("query", weight_reads=d, activation_writes=d)
    q = drive = raw
    if model.boundary_query:
        q = drive = [tally.mac("query", threshold / 2, x, threshold / 2) for x in raw]
    else:
        drive = [threshold] * d
    delays = [[0] * d for _ in range(RELATIONS)]
    if not model.not_delay:
        before = Tally() if isinstance(model.delay_map, nn.Embedding) else tally
        for r, logits in enumerate(made(model.delay_map, q, before, "delays")):
            for k, x in enumerate(logits):
                sigmoid = before.at("delays", "functions", 1 / (1 + math.exp(-x)))
                delays[r][k] = round(before.times("delays", sigmoid, model.delay_bound))
    weights = None
    if model.weight_map is not None:
        weights = made(model.weight_map, q, tally, "relation weights")
    leaving = [0] * nodes
    for source, _, _ in edges:
        leaving[source] += 1
    logs = [math.log(count + 1) for count in leaving]
    scales = [x / max(sum(logs) / nodes, 1e-300) for x in logs]
    spikes = [[[False] * d for _ in range(nodes)] for _ in range(steps)]
    current = [[0.0] * d for _ in range(nodes)]
    potential = [[0.0] * d for _ in range(nodes)]
    decoded = [[0.0] * d for _ in range(nodes)]
    folded = o.gain * o.linear_scale if model.norm is None else o.linear_scale
    matrix, bias = (folded * model.linear.weight).tolist(), (folded * model.linear.bias).tolist()
    for t in range(steps):
        inbox: list[list[list[float]]] = [[[] for _ in range(d)] for _ in range(nodes)]
        for source, r, target in edges if t else ():
            for k in range(d):
                sent_at = t - 1 - delays[r][k]
                if sent_at >= 0 and spikes[sent_at][source][k]:
                    waits = delays[r][k] > 0
                    of_edge = (not model.not_delay) + (weights is not None)
                    tally.move("messages", delay_pushes=waits, weight_reads=of_edge)
                    inbox[target][k].append(1.0 if weights is None else weights[r][k])
        arriving = [0] * nodes
        for _, _, target in edges:
            arriving[target] += 1
        for y in range(nodes):
            if t:
                heard = hear(inbox[y], arriving[y], leaving[y], scales[y], model, skip, tally)
                mixed = list(bias)
                own = d if o.self_connection else 0
                for k in range(own):
                    if spikes[t - 1][y][k]:
                        tally.move("own spikes", spikes_in=1, activation_reads=1)
                        for row in range(d):
                            tally.move("own spikes", weight_reads=1, state_reads=1, state_writes=1)
                            value = mixed[row] + matrix[row][k]
                            mixed[row] = tally.at("own spikes", "synaptic_additions", value)
                silent = o.aggregate == "pna" and skip and not any(inbox[y])
                by_events = skip and o.aggregate == "sum"
                for _ in range(d):  # a bias, or a constant of the node
                    written = {"state_writes" if by_events else "activation_writes": 1}
                    tally.move("linear", weight_reads=1, **written)
                for k, x in enumerate(heard):
                    if silent or (by_events and not inbox[y][k]):
                        for row in range(d):
                            mixed[row] += x * matrix[row][own + k]
                        continue
                    tally.move("linear", activation_reads=1, spikes_in=int(by_events))
                    for row in range(d):
                        mixed[row] = tally.mac("linear", mixed[row], x, matrix[row][own + k])
                        touched = int(by_events)
                        tally.move("linear", state_reads=touched, state_writes=touched)
                        tally.move("linear", weight_reads=1)
                if model.norm is not None:
                    normed = tally.norm("norm", model.norm, mixed)
                    mixed = [o.gain * x for x in normed]  # part of the norm's own weights
            for k in range(d):
                entered = model.boundary_query and y == head
                tally.move("neurons", state_reads=2, state_writes=2)
                tally.move("neurons", activation_reads=(t > 0) + entered)
                if t:
                    kept = tally.at("neurons", "decays", o.decay * current[y][k])
                    current[y][k] = tally.add("neurons", mixed[k], kept)
                    kept = tally.at("neurons", "decays", o.decay * potential[y][k])
                    charged = tally.add("neurons", current[y][k], kept)
                    if y == head:
                        charged = tally.add("neurons", charged, drive[k])
                else:
                    charged = drive[k] if y == head else 0.0
                tally.move("neurons", neuron_updates=1, active_updates=int(t > 0 or y == head))
                fires = not tally.more("neurons", threshold, charged)
                spikes[t][y][k] = fires
                potential[y][k] = 0.0 if fires else charged
                if fires:
                    tally.move("neurons", spikes=1, resets=1, activation_writes=1)
                    value = decoded[y][k] + read_out[t]
                    decoded[y][k] = tally.at("read-out", "synaptic_additions", value)
                    tally.move("read-out", spikes_in=1, activation_reads=1, weight_reads=1)
                    tally.move("read-out", state_reads=1, state_writes=1)
                    if t < steps - 1:
                        tally.move("messages", spikes_in=1, activation_reads=1)
    scores = []
    for z in decoded:
        if model.boundary_query:
            scores.append(tally.score(model.mlp, [*z, *q]))
        else:
            pairs = zip(z, raw, strict=True)
            tally.move("score", activation_reads=2 * d, activation_writes=d)
            scores.append(tally.score(model.mlp, [tally.add("score", x, -y) for x, y in pairs]))
    return scores


def hear(
    inbox: list[list[float]],
    arriving: int,
    leaving: int,
    scale: float,
    model: GRSNN,
    skip: bool,
    tally: Tally,
) -> list[float]:
    """What a node's neurons hear: sums, or PNA's statistics at three scales."""
    totals, squares, largest, least = [], [], [], []
    weighted = model.weight_map is not None
    pna = model.steps.aggregate == "pna"
    for messages in inbox:
        total = square = 0.0
        # a neuron whose edges do not all deliver starts from their silence
        silent = len(messages) < arriving or not arriving
        high = 0.0 if silent else -math.inf
        low = 0.0 if silent else math.inf
        for message in messages:
            total = tally.at("messages", "synaptic_additions", total + message)
            tally.move("messages", state_reads=1, state_writes=1)
            if pna:
                for _ in ("square", "largest", "least"):
                    tally.move("messages", state_reads=1, state_writes=1)
                squared = tally.times("messages", message, message) if weighted else message
                square = tally.at("messages", "synaptic_additions", square + squared)
                high = tally.most("messages", high, message)
                low = tally.least("messages", low, message)
        totals.append(total)
        squares.append(square)
        largest.append(high)
        least.append(low)
    if not pna:
        return totals
    if skip and not any(inbox):
        tally = Tally()  # constants of the node
    inverse_degree = 1 / (leaving + 1)
    means, deviations = [], []
    for total, square in zip(totals, squares, strict=True):
        tally.move("statistics", activation_reads=4, activation_writes=12)
        mean = tally.times("statistics", total, inverse_degree)
        mean_square = tally.times("statistics", square, inverse_degree)
        variance = tally.mac("statistics", mean_square, -mean, mean)
        variance = tally.most("statistics", variance, 1e-6)
        means.append(mean)
        deviations.append(tally.at("statistics", "functions", math.sqrt(variance)))
    plain = [*means, *largest, *least, *deviations]
    return [
        *plain,
        *(tally.times("statistics", scale, x) for x in plain),
        *(tally.times("statistics", 1 / max(scale, 1e-2), x) for x in plain),
    ]


LOUD = {
    "plain": {},
    "own delays": {"dependent": False},
    "no delays": {"not_delay": True},
    "threshold drive": {"boundary_query": False},
    "one step": {"timesteps": 1},
    "two words of neurons": {"hidden": 34, "timesteps": 4},
    "plus": {"self_connection": True, "relation_weight": True, "layer_norm": True},
    "pna": {"aggregate": "pna"},
    "plus with pna": {
        "aggregate": "pna",
        "self_connection": True,
        "relation_weight": True,
        "layer_norm": True,
    },
}


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("options", LOUD.values(), ids=LOUD)
def test_grsnn_is_counted_as_a_loop_counts(options, skip):
    model = loud_grsnn(3, **options)
    graph = graph_of()
    heads, relations = torch.tensor([0, 2]), torch.tensor([1, 2])
    told = asked(model, graph, [0, 2], [1, 2])
    with torch.no_grad():
        scores = model.score(told[2], heads, relations, torch.arange(NODES).expand(2, -1))
    counted = count_grsnn(*told, candidates=NODES, skip_silence=skip)
    tally = Tally()
    for query in range(2):
        head, relation = int(heads[query]), int(relations[query])
        naive = naive_grsnn(model, EDGES, NODES, head, relation, skip, tally)
        assert naive == pytest.approx(scores[query].tolist(), rel=1e-5, abs=1e-5)
    assert counted == tally.ledger(counted)
    assert counted.total.spikes > 0
    if model.timesteps > 1:
        assert counted.layers["messages"].synaptic_additions > 0


@settings(max_examples=30, deadline=None)
@given(
    edges=st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, RELATIONS - 1), st.integers(0, 3)), max_size=12
    ),
    seed=st.integers(0, 100),
    skip=st.booleans(),
)
def test_grsnn_is_counted_on_any_graph(edges, seed, skip):
    model = loud_grsnn(seed, hidden=2, timesteps=5)
    graph = graph_of(edges, nodes=4)
    told = asked(model, graph, [0], [1])
    counted = count_grsnn(*told, candidates=4, skip_silence=skip)
    tally = Tally()
    naive_grsnn(model, edges, 4, 0, 1, skip, tally)
    assert counted == tally.ledger(counted)


def test_grsnn_by_hand():
    """One neuron a node, a chain of three, one edge doubled, delay 1, every node fires in turn.

    Node 0 is driven by the threshold, so it fires at steps 0, 1, 2, 3, 4 (T = 5). W = 10 makes a
    spike that arrives fire node 1 at once: it hears at steps 2, 3, 4, each time twice. Node 2 would
    hear node 1's spike of step 2 at step 4. Messages: 2 x 3 of node 0, 1 of node 1.
    """
    model = GRSNN(1, hidden=1, timesteps=5, dependent=False, boundary_query=False, tau=4.0)
    with torch.no_grad():
        model.delay_map.weight.fill_(math.log(1 / 3))  # sigmoid 1/4 of the bound 4
        model.linear.weight.fill_(10)
        model.linear.bias.zero_()
    graph = graph_of([(0, 0, 1), (0, 0, 1), (1, 0, 2)], nodes=3)
    told = asked(model, graph, [0], [0])
    assert told[2].counts.tolist() == [[1, 1, 2, 2, 3]]
    found = count_grsnn(*told, candidates=2)
    assert found.layers == {
        "query": Counts(weight_reads=1, activation_writes=1),
        "delays": Counts(),
        # six spikes before the last step; each message reads its delay and waits
        "messages": Counts(
            spikes_in=6,
            synaptic_additions=7,
            delay_pushes=7,
            weight_reads=7,
            state_reads=7,
            state_writes=7,
            activation_reads=6,
        ),
        "linear": Counts(
            macs=3 * 4, weight_reads=2 * 3 * 4, activation_reads=3 * 4, activation_writes=3 * 4
        ),
        "neurons": Counts(
            spikes=9,
            neuron_updates=15,
            active_updates=3 * 4 + 1,
            additions=2 * 3 * 4 + 4,
            decays=2 * 3 * 4,
            resets=9,
            comparisons=15,
            state_reads=2 * 15,
            state_writes=2 * 15,
            activation_reads=3 * 4,
            activation_writes=9,
        ),
        "read-out": Counts(
            spikes_in=9,
            synaptic_additions=9,
            weight_reads=9,
            state_reads=9,
            state_writes=9,
            activation_reads=9,
        ),
        # d = 1: 1 -> 2 -> 1, two candidates, less the query
        "score": Counts(
            macs=2 * (2 + 2),
            comparisons=4,
            additions=2,
            weight_reads=2 * (2 + 2 + 2 + 1),
            activation_reads=2 * (2 + 1 + 2 + 2),
            activation_writes=2 * (1 + 2 + 2 + 1),
        ),
    }
    assert found.driven == {"messages", "read-out"}
    skipping = count_grsnn(*told, candidates=2, skip_silence=True)
    # node 1 hears at three steps, node 2 at one; twelve sums begin with a bias
    assert skipping.layers["linear"] == Counts(
        spikes_in=4,
        macs=4,
        weight_reads=4 + 12,
        state_reads=4,
        state_writes=4 + 12,
        activation_reads=4,
    )
    assert skipping.driven == {"messages", "read-out", "linear"}
    facts = found.facts
    assert [facts[name].state for name in ("messages", "neurons", "read-out")] == [3 * 4, 6, 3]
    assert (facts["messages"].dense, facts["messages"].weights) == (3, 1)
    assert (facts["linear"].signal, skipping.facts["linear"].signal) == ("real", "graded")
    assert rate_of(found.layers["neurons"], facts["neurons"], 5) == 9 / 15
    assert rate_of(found.layers["messages"], facts["messages"], 5) == 7 / 15


def test_a_step_of_a_neuron_is_that_of_networks():
    told = asked(loud_grsnn(3), graph_of(), [0, 2], [1, 2])
    neurons = count_grsnn(*told, candidates=0).layers["neurons"]
    cost = neuron_cost(CubaLIF(current_decay=0.8, voltage_decay=0.8), "neurons")
    later = 2 * NODES * 3 * 6  # step 0 compares only
    assert neurons.decays == cost.decays * later
    assert neurons.additions == cost.additions * later + 2 * 3 * 6  # the heads' drive
    assert neurons.resets == cost.resets * neurons.spikes > 0
    assert neurons.comparisons == cost.comparisons * neurons.neuron_updates
    assert neurons.state_reads == neurons.state_writes == cost.state * neurons.neuron_updates


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("options", LOUD.values(), ids=LOUD)
def test_layers_hold_all_parameters(options, skip):
    model = loud_grsnn(3, **options)
    counted = count_grsnn(*asked(model, graph_of(), [0], [1]), candidates=2, skip_silence=skip)
    assert counted.facts.keys() == counted.layers.keys()
    assert counted.parameters == sum(each.numel() for each in model.parameters())
    for name, facts in counted.facts.items():
        rate = rate_of(counted.layers[name], facts, counted.timesteps)
        assert rate is None or 0 <= rate <= 1


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("aggregate", ["sum", "pna"])
def test_queries_add_up(aggregate, skip):
    model = loud_grsnn(3, aggregate=aggregate, self_connection=True)
    graph = graph_of()

    def counted(heads: list[int], relations: list[int]) -> Ledger:
        told = asked(model, graph, heads, relations)
        return count_grsnn(*told, candidates=NODES, skip_silence=skip)

    first, second = counted([0], [1]), counted([2, 4], [2, 0])
    assert first + second == counted([0, 2, 4], [1, 2, 0])
    assert first.over(1).layers == counted([0, 0, 0], [1, 1, 1]).per_sample.layers


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("options", LOUD.values(), ids=LOUD)
def test_steps_add_up(options, skip):
    told = asked(loud_grsnn(3, **options), graph_of(), [0, 2], [1, 0])
    found = count_grsnn(*told, candidates=NODES, skip_silence=skip, per_step=True)
    whole = count_grsnn(*told, candidates=NODES, skip_silence=skip)
    assert replace(found, steps=()) == whole
    assert len(found.steps) == found.timesteps
    for name, counts in whole.layers.items():
        assert sum((step.layers[name] for step in found.steps), Counts()) == counts
    for step in found.steps:
        assert (step.samples, step.timesteps) == (2, 1)
        assert (step.facts, step.driven) == (whole.facts, whole.driven)


def test_a_step_has_what_happens_in_it():
    model = loud_grsnn(3, dependent=True)
    _, graph, features, heard = asked(model, graph_of(), [0], [1])
    steps = count_grsnn(
        model, graph, features, heard, candidates=NODES, skip_silence=True, per_step=True
    ).steps
    fired = features.counts[0].tolist()
    assert [step.layers["neurons"].spikes for step in steps] == fired
    assert [step.layers["messages"].spikes_in for step in steps] == [0, *fired[:-1]]
    assert [step.layers["messages"].synaptic_additions for step in steps] == [0, *heard.arrived]
    assert [step.layers["linear"].spikes_in for step in steps] == [0, *heard.neurons]
    of_query = [step.layers["delays"].macs > 0 for step in steps]
    scored = [step.layers["score"].macs > 0 for step in steps]
    assert of_query == [True, *[False] * (len(steps) - 1)]
    assert scored == of_query[::-1]
    updates = model.hidden * graph.nodes
    assert [step.layers["neurons"].neuron_updates for step in steps] == [updates] * len(steps)
    assert steps[0].layers["neurons"].active_updates == model.hidden


def test_all_messages_wait_or_none_does():
    for bound, waiting in ((0, False), (40, True)):
        model = loud_grsnn(3, dependent=False, delay_bound=bound, timesteps=30)
        with torch.no_grad():
            model.delay_map.weight.abs_()  # half of the bound or more
        heard = asked(model, graph_of(), [0, 2], [1, 2])[3]
        assert sum(heard.arrived) > 0
        assert sum(heard.waited) == (sum(heard.arrived) if waiting else 0)
