"""Counted operations against loops that compute number by number and count as they go."""

import math
from collections import defaultdict
from dataclasses import replace
from itertools import product

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from neuro.energy import Counts, Ledger
from neuro.graph import GRSNN, NBFNet
from neuro.graph.operations import count_grsnn, count_heard, count_nbfnet, count_pairs
from neuro.kernels import RelationalGraph

NODES, RELATIONS = 5, 3
EDGES = [(0, 0, 1), (1, 1, 2), (0, 2, 2), (2, 0, 3), (2, 1, 0), (3, 2, 1), (0, 0, 1), (4, 1, 4)]


def graph_of(edges: list[tuple[int, int, int]] = EDGES, nodes: int = NODES) -> RelationalGraph:
    columns = torch.tensor(edges, dtype=torch.int64).reshape(-1, 3).unbind(1)
    return RelationalGraph.of(*columns, nodes=nodes)


class Tally:
    """Arithmetic that counts itself, by layer."""

    def __init__(self) -> None:
        self.layers: dict[str, defaultdict[str, int]] = defaultdict(lambda: defaultdict(int))

    def at(self, layer: str, kind: str, value: float) -> float:
        self.layers[layer][kind] += 1
        return value

    def mac(self, layer: str, total: float, x: float, y: float) -> float:
        return self.at(layer, "macs", total + x * y)

    def add(self, layer: str, x: float, y: float) -> float:
        return self.at(layer, "additions", x + y)

    def times(self, layer: str, x: float, y: float) -> float:
        return self.at(layer, "multiplications", x * y)

    def more(self, layer: str, x: float, y: float) -> bool:
        return bool(self.at(layer, "comparisons", x > y))

    def most(self, layer: str, x: float, y: float) -> float:
        return self.at(layer, "comparisons", max(x, y))

    def least(self, layer: str, x: float, y: float) -> float:
        return self.at(layer, "comparisons", min(x, y))

    def linear(self, layer: str, module: nn.Linear, x: list[float]) -> list[float]:
        out = module.bias.tolist()
        for row, weights in enumerate(module.weight.tolist()):
            for value, weight in zip(x, weights, strict=True):
                out[row] = self.mac(layer, out[row], value, weight)
        return out

    def norm(self, layer: str, module: nn.LayerNorm, x: list[float]) -> list[float]:
        total = 0.0
        for value in x:
            total = self.add(layer, total, value)
        mean = self.times(layer, total, 1 / len(x))
        centred = [self.add(layer, value, -mean) for value in x]
        squares = 0.0
        for value in centred:
            squares = self.mac(layer, squares, value, value)
        variance = self.add(layer, self.times(layer, squares, 1 / len(x)), module.eps)
        scale = self.at(layer, "functions", 1 / math.sqrt(variance))
        affine = zip(module.weight.tolist(), module.bias.tolist(), centred, strict=True)
        return [
            self.mac(layer, bias, self.times(layer, value, scale), weight)
            for weight, bias, value in affine
        ]

    def score(self, mlp: nn.Sequential, x: list[float]) -> float:
        hidden = [self.most("score", 0.0, value) for value in self.linear("score", mlp[0], x)]
        return self.linear("score", mlp[2], hidden)[0]

    def ledger(self, like: Ledger) -> Ledger:
        layers = {name: Counts(**self.layers.get(name, {})) for name in like.layers}
        assert self.layers.keys() <= layers.keys()
        return replace(like, layers=layers)


def made(module: nn.Linear | nn.Embedding, x: list[float], tally: Tally, layer: str) -> list[list]:
    """What a map makes of a query for each relation."""
    if isinstance(module, nn.Embedding):
        return module.weight.tolist()
    flat = tally.linear(layer, module, x)
    return [flat[first : first + len(x)] for first in range(0, len(flat), len(x))]


def naive_grsnn(
    model: GRSNN, edges: list, nodes: int, head: int, relation: int, skip: bool, tally: Tally
) -> list[float]:
    """Run a query number by number; return the scores of all nodes."""
    d, steps, o = model.hidden, model.timesteps, model.steps
    threshold, read_out = model.threshold, model.read_out.tolist()
    raw = model.query.weight[relation].tolist()
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
                        for row in range(d):
                            value = mixed[row] + matrix[row][k]
                            mixed[row] = tally.at("own spikes", "synaptic_additions", value)
                silent = o.aggregate == "pna" and skip and not any(inbox[y])
                for row, (k, x) in product(range(d), enumerate(heard)):
                    if silent or (skip and o.aggregate == "sum" and not inbox[y][k]):
                        mixed[row] += x * matrix[row][own + k]
                    else:
                        mixed[row] = tally.mac("linear", mixed[row], x, matrix[row][own + k])
                if model.norm is not None:
                    normed = tally.norm("norm", model.norm, mixed)
                    mixed = [o.gain * x for x in normed]  # part of the norm's own weights
            for k in range(d):
                if t:
                    current[y][k] = tally.mac("neurons", mixed[k], o.decay, current[y][k])
                    charged = tally.mac("neurons", current[y][k], o.decay, potential[y][k])
                    if y == head:
                        charged = tally.add("neurons", charged, drive[k])
                else:
                    charged = drive[k] if y == head else 0.0
                tally.at("neurons", "neuron_updates", 0.0)
                fires = not tally.more("neurons", threshold, charged)
                spikes[t][y][k] = fires
                potential[y][k] = 0.0 if fires else charged
                if fires:
                    tally.at("neurons", "spikes", 1.0)
                    value = decoded[y][k] + read_out[t]
                    decoded[y][k] = tally.at("read-out", "synaptic_additions", value)
    scores = []
    for z in decoded:
        if model.boundary_query:
            scores.append(tally.score(model.mlp, [*z, *q]))
        else:
            pairs = zip(z, raw, strict=True)
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
            if pna:
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


def loud_grsnn(seed: int, **options) -> GRSNN:
    """A network whose neurons fire: heads are driven hard, and so is who hears them."""
    torch.manual_seed(seed)
    chosen = {"hidden": 3, "timesteps": 7, **options}
    model = GRSNN(RELATIONS, **chosen).double()
    with torch.no_grad():
        model.query.weight.add_(0.7)
        model.linear.weight.abs_().mul_(2)
        for module in (model.delay_map, model.weight_map):
            if module is not None:
                module.weight.mul_(3)
    return model


@pytest.mark.parametrize("skip", [False, True])
@pytest.mark.parametrize("options", LOUD.values(), ids=LOUD)
def test_grsnn_is_counted_as_a_loop_counts(options, skip):
    model = loud_grsnn(3, **options)
    graph = graph_of()
    heads, relations = torch.tensor([0, 2]), torch.tensor([1, 2])
    with torch.no_grad():
        features = model(graph, heads, relations)
        scores = model.score(features, heads, relations, torch.arange(NODES).expand(2, -1))
    counted = count_grsnn(
        model,
        features,
        count_heard(model, graph, relations, features),
        candidates=NODES,
        skip_silence=skip,
    )
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
    heads, relations = torch.tensor([0]), torch.tensor([1])
    with torch.no_grad():
        features = model(graph, heads, relations)
    counted = count_grsnn(
        model,
        features,
        count_heard(model, graph, relations, features),
        candidates=4,
        skip_silence=skip,
    )
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
    asked = torch.tensor([0])
    with torch.no_grad():
        features = model(graph, asked, asked)
    assert features.counts.tolist() == [[1, 1, 2, 2, 3]]
    found = count_grsnn(model, features, count_heard(model, graph, asked, features), candidates=2)
    assert found.layers == {
        "query": Counts(),
        "delays": Counts(),
        "messages": Counts(synaptic_additions=7),
        "linear": Counts(macs=3 * 4),
        "neurons": Counts(spikes=9, neuron_updates=15, additions=4, macs=2 * 3 * 4, comparisons=15),
        "read-out": Counts(synaptic_additions=9),
        # d = 1: 1 -> 2 -> 1, two candidates
        "score": Counts(macs=2 * (2 + 2), comparisons=4, additions=2),
    }
    assert found.driven == {"messages", "read-out"}
    skipping = count_grsnn(
        model, features, count_heard(model, graph, asked, features), candidates=2, skip_silence=True
    )
    assert skipping.layers["linear"] == Counts(macs=3 + 1)
    assert skipping.driven == {"messages", "read-out", "linear"}


def naive_nbfnet(
    model: NBFNet, edges: list, nodes: int, head: int, relation: int, tally: Tally
) -> list[float]:
    """Run a query number by number; return the scores of all nodes."""
    q = model.query.weight[relation].tolist()
    d = len(q)
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
        if layer.aggregate == "pna":
            squares[head] = [tally.times(at, x, x) for x in boundary[head]]
        for (source, r, target), k in product(edges, range(d)):
            h, w = features[source][k], of_relation[r][k]
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
            if model.short_cut:
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
    assert found.layers["layer 1, relations"] == Counts(macs=2 * 4 * 4)
    # 3 edges, 4 numbers: products with their sums, and squares; the head's boundary squared
    assert found.layers["layer 1, messages"] == Counts(macs=24, comparisons=24, multiplications=4)
    assert found.layers["layer 1, linear"] == Counts(macs=3 * (13 * 16 + 2 * 4))
    assert found.layers["score"] == Counts(macs=3 * (8 * 8 + 8), comparisons=3 * 8)


@pytest.mark.parametrize("concatenated", [False, True])
def test_a_pair_is_two_runs_and_one_score(concatenated):
    model = loud_grsnn(3, concat_hidden=concatenated)
    graph, relations = graph_of(), torch.tensor([1, 2, 1, 2])
    with torch.no_grad():
        features = model(graph, torch.tensor([0, 2, 1, 3]), relations)
    heard = count_heard(model, graph, relations, features)
    runs = count_grsnn(model, features, heard, candidates=0)
    found = count_pairs(model, runs)
    assert (found.samples, found.timesteps) == (2, runs.timesteps)
    assert found.driven == runs.driven
    read = 3 * 7 if concatenated else 3
    wide = read + 3
    assert found.layers == {
        **runs.layers,
        "score": Counts(macs=2 * (wide * wide + wide), comparisons=2 * wide, additions=2 * read),
    }
    assert runs.layers["score"] == Counts()


def test_pairs_of_nbfnet_by_hand():
    graph = graph_of([(0, 0, 1), (1, 1, 0), (0, 0, 2)], nodes=3)
    model = NBFNet(2, hidden=4, layers=1)
    runs = count_nbfnet(model, graph, queries=2, candidates=0)
    found = count_pairs(model, runs)
    assert found.samples == 1
    assert found.layers["layer 1, linear"] == Counts(macs=2 * 3 * (13 * 16 + 2 * 4))
    assert found.layers["score"] == Counts(macs=8 * 8 + 8, comparisons=8, additions=4)
    with pytest.raises(ValueError, match="3 runs are no pairs"):
        count_pairs(model, count_nbfnet(model, graph, queries=3, candidates=0))


def test_without_the_query_a_pair_is_less_its_embedding():
    model = loud_grsnn(3, boundary_query=False)
    graph, relations = graph_of(), torch.tensor([1, 1])
    with torch.no_grad():
        features = model(graph, torch.tensor([0, 2]), relations)
    heard = count_heard(model, graph, relations, features)
    score = count_pairs(model, count_grsnn(model, features, heard, candidates=0)).layers["score"]
    # 3 -> 6 -> 1; a sum of two ends, and a difference
    assert score == Counts(macs=3 * 6 + 6, comparisons=6, additions=3 + 3)
