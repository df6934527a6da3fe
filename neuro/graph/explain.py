"""Why a network gives a tail its score: the paths along which spikes came, and their worth."""

from dataclasses import dataclass
from statistics import median

import torch
from torch import Tensor

from neuro.errors import UsageError
from neuro.graph.findings import Explanation, Hop, Path, Query
from neuro.graph.grsnn import GRSNN, Spikes
from neuro.graph.message_graph import MessageGraph
from neuro.graph.nbfnet import NBFNet
from neuro.graph.one_query import (
    arrival_at,
    as_batch,
    check_at_least_one,
    check_nodes,
    checked_query,
    device_of,
    score_nodes,
)
from neuro.graph.path_search import WeightedEdges, best_paths
from neuro.kernels import RelationalGraph
from neuro.surrogate import Surrogate


@dataclass(frozen=True)
class Normalised(Surrogate):
    """``log(1 + x / v)`` where ``x >= 0``, else 0; psi = ``1 / (x + v)`` where ``x >= 0``, else 0.

    With the threshold v that is one over the potential of a neuron that fires: a spike's credit is
    shared out among what charged the neuron, and what did not fire gets none.

    Args:
        threshold: v > 0.

    Source: Xiao et al., "Temporal Spiking Neural Networks with Synaptic Delay for Graph
    Reasoning", ICML 2024, whose public code shows paths with it.
    """

    threshold: float = 2.0

    @property
    def peak(self) -> float:
        return 1 / self.threshold

    def primitive(self, x: Tensor) -> Tensor:
        return (x.clamp(min=0) / self.threshold).log1p()

    def derivative(self, x: Tensor) -> Tensor:
        return (x >= 0) / (x.clamp(min=0) + self.threshold)


def explain_paths(
    model: GRSNN | NBFNet,
    graph: MessageGraph,
    head: int,
    relation: int,
    tail: int,
    *,
    paths: int = 10,
    beam: int = 10,
    longest: int = 4,
    hide_fact: bool = False,
) -> Explanation:
    """Tell along which paths from head to tail the score of the tail came about.

    An edge is as important as the score would grow with a weight on it, which is 1::

        importance(e) = d score(tail) / d w_e,   m_e = w_e s_x[t - 1 - D]
                      = sum over steps and neurons of d score / d m_e * m_e

    where the derivative of a spike is ``1 / u`` of a neuron that fires, else 0, and delays are
    constants (:class:`Normalised`; the reset has its derivative, too). Edges of importance 0, such
    as those that carried no spike, are on no path. A path is worth the sum of the importances of
    its edges, and paths are ranked by that sum over their length, by a beam search
    (:func:`neuro.graph.path_search.best_paths`). Importances may be negative.

    Only edges are looked at whose source fired early enough for its spikes to reach the tail
    within T steps. To the score, and to its derivatives, the others make no difference. (With
    ``aggregate="pna"`` silent messages count, too, and all edges are looked at.)

    Args:
        model: a GRSNN.
        graph: of a knowledge graph.
        head: a node.
        relation: 0 .. 2R - 1, from R on the inverse ones.
        tail: another node.
        paths: how many at most.
        beam: paths that the search keeps for each node and length.
        longest: hops of a path at most.
        hide_fact: leave out the fact that is asked for, as training does, if it is one.

    Source: Zhu et al., "Neural Bellman-Ford Networks", NeurIPS 2021, for paths by gradients of
    edges; Xiao et al., ICML 2024, for spikes.

    Raises:
        UsageError: numbers out of range, head and tail are one node, a network of other relations
            or without spikes, or an undirected graph.
    """
    if not isinstance(model, GRSNN):
        raise UsageError(
            f"explain_paths is for GRSNN: it needs weights on single edges, which the messages of "
            f"{type(model).__name__} do not take."
        )
    query = checked_query(model, graph, head, relation)
    check_nodes(graph, tail=[tail])
    check_at_least_one(paths=paths, beam=beam, longest=longest)
    if head == tail:
        raise UsageError(f"explain_paths: head and tail are one node, {head}; a path needs two.")
    fact = _fact(query, tail).to(graph.keys.device)
    whole = graph.without(fact, one_hop=False) if hide_fact else graph.whole
    with torch.no_grad():
        spikes = model(whole, *as_batch(model, head, relation), keep_spikes=True)
        score = float(score_nodes(model, spikes, head, relation, torch.tensor([tail])))
    ends = _ends(whole)
    places = _influential(model, whole, ends, spikes, tail)
    edges = WeightedEdges(
        whole.in_sources[places].long(),
        whole.in_relations[places].long(),
        ends[places],
        edge_importance(model, whole, places, head, relation, tail),
    )
    counted = edges.importance.nonzero()[:, 0]
    edges = WeightedEdges(*(part[counted] for part in edges))
    found = best_paths(
        edges, head, tail, nodes=whole.nodes, paths=paths, beam=beam, longest=longest
    )
    delays = _median_delays(model, relation)
    explained = tuple(
        Path(tuple(_hop(edges, place, delays, graph.fact_relations) for place in path))
        for path in found
    )
    met = dict.fromkeys(node for path in explained for node in path.nodes)
    return Explanation(
        query,
        tail,
        score,
        arrival_at(model, spikes, tail),
        model.timesteps,
        len(places),
        longest,
        explained,
        {node: arrival_at(model, spikes, node) for node in met},
    )


def edge_importance(
    model: GRSNN, graph: RelationalGraph, places: Tensor, head: int, relation: int, tail: int
) -> Tensor:
    """Return ``d score(tail) / d w_e``, ``[E']``, of some edges, as if there were no others.

    Args:
        model: the network.
        graph: its edges.
        places: ``[E']``, ascending, of edges in the graph's list by destination.
        head: a node.
        relation: 0 .. 2R - 1.
        tail: a node.
    """
    part, nodes = _subgraph(graph, places, head, tail, renumber=model.steps.aggregate == "sum")
    weight = torch.ones(len(places), dtype=model.linear.weight.dtype, device=places.device)
    if not len(places):
        return weight
    new_head, new_tail = torch.searchsorted(nodes, nodes.new_tensor([head, tail])).tolist()
    weight.requires_grad_()
    with torch.enable_grad():
        spikes = model.run_weighted(
            part, *as_batch(model, new_head, relation), weight, Normalised(model.threshold)
        )
        score = score_nodes(model, spikes, new_head, relation, torch.tensor([new_tail]))
        (importance,) = torch.autograd.grad(score.sum(), weight)
    return importance


def _subgraph(
    graph: RelationalGraph, places: Tensor, head: int, tail: int, *, renumber: bool
) -> tuple[RelationalGraph, Tensor]:
    """Return the graph of some edges and the nodes that are left, ascending."""
    if not renumber:
        return graph, torch.arange(graph.nodes, device=places.device)
    sources, destinations = graph.in_sources[places].long(), _ends(graph)[places]
    nodes: Tensor = torch.unique(
        torch.cat([sources, destinations, sources.new_tensor([head, tail])])
    )
    part = RelationalGraph.of(
        torch.searchsorted(nodes, sources),
        graph.in_relations[places],
        torch.searchsorted(nodes, destinations),
        nodes=len(nodes),
    )
    return part, nodes


def _influential(
    model: GRSNN, graph: RelationalGraph, ends: Tensor, spikes: Spikes, tail: int
) -> Tensor:
    """Return the places of edges whose spikes may reach the tail within T steps, ascending."""
    if model.steps.aggregate != "sum":
        return torch.arange(graph.edges, device=ends.device)
    steps = model.timesteps
    fired = (spikes.trains[0] != 0).any(-1)
    first = torch.where(fired.any(1), fired.int().argmax(1), steps)
    hops = torch.full_like(first, steps)
    hops[tail] = 0
    sources = graph.in_sources.long()
    for hop in range(1, steps):
        before = sources[hops[ends] == hop - 1]
        hops[before] = hops[before].clamp(max=hop)
    return (first[sources] + 1 + hops[ends] < steps).nonzero()[:, 0]


def _ends(graph: RelationalGraph) -> Tensor:
    """Destinations of the edges in the list by destination, ``[E]``."""
    nodes = torch.arange(graph.nodes, device=graph.in_starts.device)
    return nodes.repeat_interleave(graph.in_starts.diff())


@torch.no_grad()
def _median_delays(model: GRSNN, relation: int) -> list[float]:
    """Return the median of the neurons' delays of each relation, given the query's."""
    _, delay, _ = model.entering(torch.tensor([relation], device=device_of(model)))
    return [float(median(each)) for each in delay[:, 0].round().tolist()]


def _hop(edges: WeightedEdges, place: int, delays: list[float], relations: int) -> Hop:
    source, kind, destination = (int(part[place]) for part in edges[:3])
    importance = float(edges.importance[place])
    inverse = kind >= relations
    return Hop(
        source, kind - relations * inverse, inverse, destination, importance, 1 + delays[kind]
    )


def _fact(query: Query, tail: int) -> Tensor:
    """Return the triple that is asked for, ``[1, 3]``."""
    ends = (tail, query.head) if query.inverse else (query.head, tail)
    return torch.tensor([[ends[0], query.relation, ends[1]]])
