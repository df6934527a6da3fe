"""NBFNet's operations against a loop that computes number by number and counts as it goes."""

import math
from itertools import product

import pytest
import torch
from torch import nn

from neuro.energy import Counts
from neuro.graph import NBFNet
from neuro.graph.operations import count_nbfnet
from tests.graph.tally import EDGES, NODES, RELATIONS, Tally, graph_of, made


def naive_nbfnet(
    model: NBFNet, edges: list, nodes: int, head: int, relation: int, tally: Tally
) -> list[float]:
    """Run a query number by number; return the scores of all nodes."""
    q = model.query.weight[relation].tolist()
    d = len(q)
    tally.move("query", weight_reads=d, activation_writes=d)
    boundary = [list(q) if y == head else [0.0] * d for y in range(nodes)]
    arriving = [1] * nodes
    for _, _, target in edges:
        arriving[target] += 1
    logs = [math.log(count) for count in arriving]
    scales = [x / max(sum(logs) / nodes, 1e-300) for x in logs]
    features = [list(row) for row in boundary]
    for number, layer in enumerate(model.layers, 1):
        names = {
            part: f"layer {number}, {part}"
            for part in ("relations", "messages", "statistics", "linear", "norm", "rest")
        }
        at = names["messages"]
        of_relation = made(layer.relation, q, tally, names["relations"])
        total = [list(row) for row in boundary]
        largest = [list(row) for row in boundary]
        least = [list(row) for row in boundary]
        squares = [[0.0] * d for _ in range(nodes)]
        sums = 4 if layer.aggregate == "pna" else 1
        for _ in product(range(nodes), range(d)):
            tally.move(at, activation_reads=1, activation_writes=sums)
        tally.move(at, activation_reads=d)  # the boundary of the head
        if layer.aggregate == "pna":
            squares[head] = [tally.times(at, x, x) for x in boundary[head]]
        for (source, r, target), k in product(edges, range(d)):
            h, w = features[source][k], of_relation[r][k]
            tally.move(at, weight_reads=1)
            message = h * w if layer.message == "mul" else h + w
            if layer.aggregate != "max" and layer.message == "mul":
                total[target][k] = tally.mac(at, total[target][k], h, w)
            elif layer.aggregate != "max":
                total[target][k] = tally.add(at, total[target][k], tally.add(at, h, w))
            elif layer.message == "mul":
                tally.times(at, h, w)
            else:
                tally.add(at, h, w)
            if layer.aggregate == "pna":
                squares[target][k] = tally.mac(at, squares[target][k], message, message)
                least[target][k] = tally.least(at, least[target][k], message)
            if layer.aggregate in ("pna", "max"):
                largest[target][k] = tally.most(at, largest[target][k], message)
        after = []
        for y in range(nodes):
            if layer.aggregate == "pna":
                statistics = [[], largest[y], least[y], []]
                for k in range(d):
                    tally.move(names["statistics"], activation_reads=2, activation_writes=2)
                    mean = tally.times(names["statistics"], total[y][k], 1 / arriving[y])
                    square = tally.times(names["statistics"], squares[y][k], 1 / arriving[y])
                    variance = tally.mac(names["statistics"], square, -mean, mean)
                    variance = tally.most(names["statistics"], variance, 1e-6)
                    statistics[0].append(mean)
                    root = math.sqrt(variance)
                    statistics[3].append(tally.at(names["statistics"], "functions", root))
                flat = [x for part in statistics for x in part]
                mixed = scaled(tally, names["linear"], layer.linear, features[y], flat, scales[y])
            else:
                received = total[y] if layer.aggregate != "max" else largest[y]
                if layer.aggregate == "mean":
                    received = [tally.times(at, x, 1 / arriving[y]) for x in received]
                mixed = tally.linear(names["linear"], layer.linear, [*features[y], *received])
            if isinstance(layer.norm, nn.LayerNorm):
                mixed = tally.norm(names["norm"], layer.norm, mixed)
            row = [tally.most(names["rest"], 0.0, x) for x in mixed]
            tally.move(names["rest"], activation_reads=d, activation_writes=d)
            if model.short_cut:
                tally.move(names["rest"], activation_reads=d)
                pairs = zip(row, features[y], strict=True)
                row = [tally.add(names["rest"], x, old) for x, old in pairs]
            after.append(row)
        features = after
    return [tally.score(model.mlp, [*row, *q]) for row in features]


def scaled(
    tally: Tally, at: str, linear: nn.Linear, own: list[float], statistics: list[float], s: float
) -> list[float]:
    """W on own features and statistics, and the scales on what comes out."""
    found = linear.bias.tolist()
    tally.move(at, activation_reads=len(own) + len(statistics), activation_writes=len(found))
    tally.move(at, weight_reads=linear.weight.numel() + linear.bias.numel())
    for row, weights in enumerate(linear.weight.tolist()):
        parts = [found[row], 0.0, 0.0]
        for x, weight in zip(own, weights, strict=False):
            parts[0] = tally.mac(at, parts[0], x, weight)
        for scale, (k, x) in product(range(3), enumerate(statistics)):
            weight = weights[len(own) + scale * len(statistics) + k]
            parts[scale] = tally.mac(at, parts[scale], x, weight)
        total = tally.mac(at, parts[0], s, parts[1])
        found[row] = tally.mac(at, total, 1 / max(s, 1e-2), parts[2])
    return found


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("aggregate", ["pna", "sum", "mean", "max"])
@pytest.mark.parametrize("message", ["mul", "add"])
def test_nbfnet_is_counted_as_a_loop_counts(message, aggregate, bare):
    torch.manual_seed(5)
    rest = {"dependent": False, "layer_norm": False, "short_cut": False} if bare else {}
    model = NBFNet(
        RELATIONS, hidden=3, layers=2, message=message, aggregate=aggregate, **rest
    ).double()
    graph = graph_of()
    heads, relations = torch.tensor([0, 2]), torch.tensor([1, 2])
    with torch.no_grad():
        features = model(graph, heads, relations)
        scores = model.score(features, heads, relations, torch.arange(NODES).expand(2, -1))
    tally = Tally()
    for query in range(2):
        head, relation = int(heads[query]), int(relations[query])
        naive = naive_nbfnet(model, EDGES, NODES, head, relation, tally)
        assert naive == pytest.approx(scores[query].tolist(), rel=1e-6, abs=1e-6)
    counted = count_nbfnet(model, graph, queries=2, candidates=NODES)
    assert counted == tally.ledger(counted)
    assert counted.driven == frozenset()


def test_nbfnet_by_hand():
    """One layer of four numbers a node on three nodes and three edges."""
    graph = graph_of([(0, 0, 1), (1, 1, 0), (0, 0, 2)], nodes=3)
    found = count_nbfnet(NBFNet(2, hidden=4, layers=1), graph, queries=1, candidates=3)
    assert found.layers["query"] == Counts(weight_reads=4, activation_writes=4)
    assert found.layers["layer 1, relations"] == Counts(
        macs=2 * 4 * 4, weight_reads=2 * 4 * 4 + 8, activation_reads=4, activation_writes=8
    )
    # 3 edges, 4 numbers: products with their sums, and squares; the head's boundary squared
    assert found.layers["layer 1, messages"] == Counts(
        macs=24,
        comparisons=24,
        multiplications=4,
        weight_reads=12,
        activation_reads=3 * 4 + 4,
        activation_writes=3 * 16,
    )
    # statistics and what a node was, 20 numbers; scales act on what comes out
    assert found.layers["layer 1, linear"] == Counts(
        macs=3 * (13 * 16 + 2 * 4),
        weight_reads=3 * (13 * 16 + 4),
        activation_reads=3 * 20,
        activation_writes=3 * 4,
    )
    assert found.layers["score"] == Counts(
        macs=3 * (8 * 8 + 8),
        comparisons=3 * 8,
        weight_reads=3 * (8 * 8 + 8 + 8 + 1),
        activation_reads=3 * (8 + 8 + 8),
        activation_writes=3 * (8 + 8 + 1),
    )
    facts = found.facts["layer 1, messages"]
    assert (facts.weights, facts.dense, facts.outputs) == (2 * 4, 24, 3 * 16)


@pytest.mark.parametrize("bare", [False, True])
@pytest.mark.parametrize("aggregate", ["pna", "sum", "mean", "max"])
def test_layers_hold_all_parameters(aggregate, bare):
    rest = {"dependent": False, "layer_norm": False, "short_cut": False} if bare else {}
    model = NBFNet(RELATIONS, hidden=3, layers=2, aggregate=aggregate, **rest)
    counted = count_nbfnet(model, graph_of(), queries=2, candidates=NODES)
    assert counted.facts.keys() == counted.layers.keys()
    assert counted.parameters == sum(each.numel() for each in model.parameters())
    for name, facts in counted.facts.items():
        assert facts.dense in (0, counted.per_sample.layers[name].macs)


def test_queries_add_up():
    model, graph = NBFNet(RELATIONS, hidden=3, layers=2), graph_of()
    one, two, three = (
        count_nbfnet(model, graph, queries=queries, candidates=NODES) for queries in (1, 2, 3)
    )
    assert one + two == three
    assert one.layers == three.per_sample.layers
