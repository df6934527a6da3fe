"""NBFNet: published sizes, its iteration against sums over paths, and learning a rule."""

import math
from itertools import pairwise, product

import pytest
import torch
from torch import Tensor, nn

from neuro.graph.nbfnet import NBFNet
from neuro.kernels import RelationalGraph


def graph_of(edges: list[tuple[int, int, int]], nodes: int) -> RelationalGraph:
    """Return a graph of (source, relation, destination)."""
    columns = torch.tensor(edges, dtype=torch.int64).reshape(-1, 3)
    return RelationalGraph.of(columns[:, 0], columns[:, 1], columns[:, 2], nodes=nodes)


def random_graph(nodes: int, relations: int, edges: int, seed: int = 0) -> RelationalGraph:
    generator = torch.Generator().manual_seed(seed)
    ends = torch.randint(nodes, (2, edges), generator=generator)
    kinds = torch.randint(relations, (edges,), generator=generator)
    return RelationalGraph.of(ends[0], kinds, ends[1], nodes=nodes)


def parameters_of(network: nn.Module) -> int:
    return sum(each.numel() for each in network.parameters())


def test_sizes_are_the_published_ones():
    assert parameters_of(NBFNet(2 * 237)) == 3_103_105
    assert parameters_of(NBFNet(2 * 11, dependent=False)) == 89_601


@pytest.mark.parametrize("name", ["relations", "hidden", "layers"])
def test_sizes_that_make_no_network_are_named(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        NBFNet(**{"relations": 3, "hidden": 4, "layers": 2, name: 0})


def test_without_nonlinearity_the_iteration_sums_over_all_paths():
    """Each layer passes on what it received: h_L[v] is the sum, over all paths of at most L edges
    from the head to v, of the query times the relations on the path."""
    torch.manual_seed(0)
    layers, hidden = 4, 3
    edges = [(0, 0, 1), (0, 1, 1), (1, 0, 2), (2, 2, 0), (1, 2, 3), (3, 1, 3), (0, 1, 4), (4, 0, 2)]
    graph = graph_of([*edges, (0, 0, 1)], nodes=6)  # one edge twice
    network = NBFNet(
        3,
        hidden=hidden,
        layers=layers,
        aggregate="sum",
        dependent=False,
        layer_norm=False,
        short_cut=False,
    ).double()
    for layer in network.layers:
        layer.activation = nn.Identity()
        layer.relation.weight = network.layers[0].relation.weight
        with torch.no_grad():
            layer.linear.bias.zero_()
            layer.linear.weight.copy_(torch.eye(2 * hidden)[hidden:])
    heads, relations = torch.tensor([0, 1]), torch.tensor([2, 0])
    features = network(graph, heads, relations)

    steps: dict[int, list[tuple[int, int]]] = {}
    for source, relation, destination in [*edges, (0, 0, 1)]:
        steps.setdefault(source, []).append((relation, destination))
    weights = network.layers[0].relation.weight
    expected = torch.zeros_like(features)
    for query in range(2):
        paths = [(int(heads[query]), network.query.weight[relations[query]])]
        for length in range(layers + 1):
            for node, value in paths:
                expected[node, query] += value
            paths = [
                (destination, value * weights[relation])
                for node, value in paths
                for relation, destination in steps.get(node, [])
            ]
            assert length == layers or paths
    torch.testing.assert_close(features, expected)
    assert (features[5] == 0).all()


def literal_layer(network: NBFNet, graph: RelationalGraph, features: Tensor, query: Tensor):
    """One PNA layer, node by node as the equations say, with its short cut."""
    layer, (nodes, batch, hidden) = network.layers[0], features.shape
    starts = graph.in_starts.tolist()
    degrees = [after - before + 1 for before, after in pairwise(starts)]
    mean_logarithm = sum(map(math.log, degrees)) / nodes
    found = torch.empty_like(features)
    for node, column in product(range(nodes), range(batch)):
        table = layer.relation(query[column]).view(-1, hidden)
        messages = [features[node, column]]  # the boundary: the layer is the first
        for edge in range(starts[node], starts[node + 1]):
            source, kind = graph.in_sources[edge], graph.in_relations[edge]
            messages.append(features[source, column] * table[kind])
        each = torch.stack(messages)
        deviation = each.var(0, correction=0).clamp(min=1e-6).sqrt()
        statistics = torch.cat([each.mean(0), each.amax(0), each.amin(0), deviation])
        scale = math.log(degrees[node]) / mean_logarithm
        received = torch.cat([statistics, scale * statistics, statistics / max(scale, 1e-2)])
        after = layer.linear(torch.cat([features[node, column], received]))
        found[node, column] = layer.norm(after).relu() + features[node, column]
    return found


def test_a_layer_is_what_its_equations_say():
    torch.manual_seed(1)
    graph = random_graph(nodes=9, relations=4, edges=20)
    assert (graph.in_starts.diff() == 0).any()  # a node without edges: the inverse scale's limit
    network = NBFNet(4, hidden=5, layers=1).double()
    heads, relations = torch.tensor([3, 0, 8]), torch.tensor([1, 3, 0])
    query = network.query(relations)
    boundary = torch.zeros(9, 3, 5, dtype=torch.float64)
    for column, head in enumerate(heads):
        boundary[head, column] = query[column]
    expected = literal_layer(network, graph, boundary, query)
    torch.testing.assert_close(network(graph, heads, relations), expected)


@pytest.mark.parametrize("dependent", [True, False])
@pytest.mark.parametrize("aggregate", ["pna", "sum", "mean", "max"])
@pytest.mark.parametrize("message", ["mul", "add"])
def test_every_parameter_learns_and_queries_do_not_see_each_other(message, aggregate, dependent):
    torch.manual_seed(2)
    graph = random_graph(nodes=12, relations=3, edges=60)
    network = NBFNet(
        3, hidden=6, layers=3, message=message, aggregate=aggregate, dependent=dependent
    ).double()
    heads, relations = torch.tensor([0, 5, 7]), torch.tensor([2, 0, 1])
    candidates = torch.randint(12, (3, 8))
    features = network(graph, heads, relations)
    logits = network.score(features, heads, relations, candidates)
    assert features.shape == (12, 3, 6)
    assert logits.shape == (3, 8)
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad.abs().max() > 0, name
    for k in range(3):
        one = slice(k, k + 1)
        alone = network(graph, heads[one], relations[one])
        torch.testing.assert_close(alone, features[:, one])
        scored = network.score(alone, heads[one], relations[one], candidates[one])
        torch.testing.assert_close(scored, logits[one])


def test_names_of_nodes_mean_nothing():
    torch.manual_seed(3)
    nodes, order = 15, torch.randperm(15)
    ends, kinds = torch.randint(nodes, (2, 50)), torch.randint(4, (50,))
    network = NBFNet(4, hidden=8, layers=3).double()
    heads, relations = torch.tensor([1, 2]), torch.tensor([0, 3])
    one = network(RelationalGraph.of(ends[0], kinds, ends[1], nodes=nodes), heads, relations)
    renamed = RelationalGraph.of(order[ends[0]], kinds, order[ends[1]], nodes=nodes)
    torch.testing.assert_close(network(renamed, order[heads], relations)[order], one)


def test_a_graph_without_edges_gives_finite_features():
    network = NBFNet(2, hidden=4, layers=2)
    features = network(graph_of([], nodes=3), torch.tensor([1]), torch.tensor([0]))
    assert features.isfinite().all()


def test_symmetric_scores_average_both_directions():
    torch.manual_seed(4)
    graph = random_graph(nodes=10, relations=1, edges=25)
    network = NBFNet(1, hidden=6, layers=2, dependent=False).double()
    heads, tails = torch.tensor([0, 3, 4]), torch.tensor([9, 1, 4])
    relations = torch.zeros(3, dtype=torch.int64)
    logits = network.score_symmetric(graph, heads, relations, tails)
    torch.testing.assert_close(network.score_symmetric(graph, tails, relations, heads), logits)
    batch = torch.arange(3)
    there = network(graph, heads, relations)[tails, batch]
    back = network(graph, tails, relations)[heads, batch]
    pairs = torch.cat([(there + back) / 2, network.query(relations)], dim=-1)
    torch.testing.assert_close(network.mlp(pairs)[:, 0], logits)


def test_learns_a_rule_and_applies_it_to_heads_it_has_not_seen():
    """Where x -0-> y -1-> z, query 2 leads from x to z."""
    torch.manual_seed(5)
    nodes, seen = 30, 20
    first, second = torch.randperm(nodes), torch.randperm(nodes)
    every = torch.arange(nodes)
    sources = torch.cat([every, every, first, second])
    destinations = torch.cat([first, second, every, every])
    kinds = torch.tensor([0, 1, 3, 4]).repeat_interleave(nodes)
    graph = RelationalGraph.of(sources, kinds, destinations, nodes=nodes)
    answers = second[first]
    network = NBFNet(6, hidden=16, layers=3)
    optimiser = torch.optim.Adam(network.parameters(), lr=5e-3)

    def logits_of(heads: Tensor) -> Tensor:
        relations = torch.full_like(heads, 2)
        features = network(graph, heads, relations)
        return network.score(features, heads, relations, every.expand(len(heads), -1))

    losses = []
    for _ in range(80):
        loss = nn.functional.cross_entropy(logits_of(every[:seen]), answers[:seen])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.1 * losses[0]
    with torch.no_grad():
        logits = logits_of(every[seen:])
    own = logits.gather(1, answers[seen:, None])
    assert ((logits >= own).sum(1) == 1).all()
