"""Why a network answers as it does: when spikes arrived, and along which paths they came.

Nodes and relations are numbers here; :mod:`neuro.graph.describe` knows names.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple

import torch
from torch import Tensor

from neuro.errors import UsageError
from neuro.graph.grsnn import GRSNN, Spikes
from neuro.graph.message_graph import MessageGraph
from neuro.graph.nbfnet import NBFNet
from neuro.graph.path_search import WeightedEdges, best_paths
from neuro.kernels import RelationalGraph
from neuro.kernels.delayed_message.operands import unpack
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


@dataclass(frozen=True)
class Query:
    """(head, relation, ?), or (?, relation, head) as the query for the inverse.

    Attributes:
        head: a node, the one that is known.
        relation: below the number of relations of the facts.
        inverse: whether the head of the fact is asked for.
    """

    head: int
    relation: int
    inverse: bool


@dataclass(frozen=True)
class Arrival:
    """When spikes came to a node.

    Attributes:
        first: of each neuron, the time step of its first spike, 0 .. T - 1; None if it was silent.
    """

    first: tuple[int | None, ...]

    @property
    def fired(self) -> int:
        """How many neurons fired."""
        return len(self._times)

    @property
    def earliest(self) -> int | None:
        """Step of the first spike of all; None if no spike reached the node."""
        return min(self._times, default=None)

    @property
    def median(self) -> float | None:
        """Median step of the first spikes of the neurons that fired."""
        return float(median(self._times)) if self._times else None

    @property
    def _times(self) -> list[int]:
        return [step for step in self.first if step is not None]


class Answer(NamedTuple):
    """A candidate tail.

    Attributes:
        node: which.
        score: its logit.
        rank: 1 + how many candidates have a higher score.
        ties: how many other candidates have exactly this score.
        arrival: None for a network without spikes.
    """

    node: int
    score: float
    rank: int
    ties: int
    arrival: Arrival | None


@dataclass(frozen=True)
class Answers:
    """The best tails of a query.

    Attributes:
        query: what was asked.
        best: the best first; among equals in the order of their numbers.
        candidates: how many nodes were ranked.
        steps: T; 0 for a network without spikes.
        silent: how many of the candidates no spike reached; all have one score. 0 without spikes.
    """

    query: Query
    best: tuple[Answer, ...]
    candidates: int
    steps: int
    silent: int


class Hop(NamedTuple):
    """An edge of a path.

    Attributes:
        source: where it begins.
        relation: below the number of relations of the facts.
        inverse: whether the fact is ``destination -relation-> source``.
        destination: where it ends.
        importance: of the edge, see :func:`explain_paths`.
        duration: steps a spike takes, 1 + the median of the neurons' delays.
    """

    source: int
    relation: int
    inverse: bool
    destination: int
    importance: float
    duration: float


class Path(NamedTuple):
    """Hops from head to tail."""

    hops: tuple[Hop, ...]

    @property
    def total(self) -> float:
        """Sum of the importances."""
        return sum(hop.importance for hop in self.hops)

    @property
    def importance(self) -> float:
        """Their mean, by which paths are ranked."""
        return self.total / len(self.hops)

    @property
    def duration(self) -> float:
        """Steps from head to tail, less those that neurons on the way take to charge."""
        return sum(hop.duration for hop in self.hops)

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes in order, head and tail included."""
        return (self.hops[0].source, *(hop.destination for hop in self.hops))


@dataclass(frozen=True)
class Explanation:
    """Why a tail has its score.

    Attributes:
        query: what was asked.
        tail: whose score it is.
        score: its logit.
        arrival: of spikes at the tail.
        steps: T.
        edges: how many edges carried a spike that could reach the tail in time.
        longest: hops that were allowed.
        paths: the most important first; none where no spike reached the tail.
        arrivals: of spikes at each node of the paths.
    """

    query: Query
    tail: int
    score: float
    arrival: Arrival
    steps: int
    edges: int
    longest: int
    paths: tuple[Path, ...]
    arrivals: Mapping[int, Arrival] = field(default_factory=dict)


@torch.no_grad()
def best_tails(
    model: GRSNN | NBFNet,
    graph: MessageGraph,
    head: int,
    relation: int,
    *,
    count: int = 10,
    exclude: Tensor | Sequence[int] = (),
) -> Answers:
    """Answer (head, relation, ?) with the tails of the highest scores.

    Nodes with equal spikes have equal scores, bit for bit, so that ties are ties.

    Args:
        model: its relations are those of the graph, inverses included.
        graph: of a knowledge graph.
        head: a node.
        relation: 0 .. 2R - 1; from R on the inverse ones, which ask for heads.
        count: how many answers.
        exclude: nodes that are no candidates, such as answers already known.

    Raises:
        UsageError: numbers out of range, a network of other relations, or an undirected graph.
    """
    query = _checked(model, graph, head, relation)
    _at_least_one(count=count)
    excluded = torch.as_tensor(exclude, dtype=torch.int64, device=_device(model))
    _check_nodes(graph, exclude=excluded.tolist())
    candidate = torch.ones(graph.whole.nodes, dtype=torch.bool, device=excluded.device)
    candidate[excluded] = False
    asked = _asked(model, head, relation)
    if isinstance(model, GRSNN):
        features = model(graph.whole, *asked, keep_spikes=True)
        fired = (features.trains[0] != 0).flatten(1).any(1)
        scores = _score_spikes(model, features, fired, head, relation)
        steps, silent = model.timesteps, int((candidate & ~fired).sum())
    else:
        features = model(graph.whole, *asked)
        scores = _score(model, features, head, relation, torch.arange(len(features)))
        steps, silent = 0, 0
    nodes = candidate.nonzero()[:, 0]
    ascending = scores[nodes].sort().values
    best = nodes[scores[nodes].argsort(descending=True, stable=True)][:count]
    above = len(nodes) - torch.searchsorted(ascending, scores[best], right=True)
    equal = len(nodes) - above - torch.searchsorted(ascending, scores[best])
    found = zip(best.tolist(), scores[best].tolist(), above.tolist(), equal.tolist(), strict=True)
    return Answers(
        query,
        tuple(
            Answer(node, score, 1 + higher, alike - 1, _arrival(model, features, node))
            for node, score, higher, alike in found
        ),
        len(nodes),
        steps,
        silent,
    )


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
    query = _checked(model, graph, head, relation)
    _check_nodes(graph, tail=[tail])
    _at_least_one(paths=paths, beam=beam, longest=longest)
    if head == tail:
        raise UsageError(f"explain_paths: head and tail are one node, {head}; a path needs two.")
    fact = _fact(query, tail).to(graph.keys.device)
    whole = graph.without(fact, one_hop=False) if hide_fact else graph.whole
    with torch.no_grad():
        spikes = model(whole, *_asked(model, head, relation), keep_spikes=True)
        score = float(_score(model, spikes, head, relation, torch.tensor([tail])))
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
        _spike_arrival(model, spikes, tail),
        model.timesteps,
        len(places),
        longest,
        explained,
        {node: _spike_arrival(model, spikes, node) for node in met},
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
            part, *_asked(model, new_head, relation), weight, Normalised(model.threshold)
        )
        score = _score(model, spikes, new_head, relation, torch.tensor([new_tail]))
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


def _score_spikes(model: GRSNN, spikes: Spikes, fired: Tensor, head: int, relation: int) -> Tensor:
    """Return the logits of all nodes, ``[N]``, each distinct set of spike trains scored once."""
    scores = spikes.decoded.new_empty(len(fired))
    for some in (fired.nonzero()[:, 0], (~fired).nonzero()[:, 0]):
        if len(some):
            trains = spikes.trains[0, some].flatten(1)
            distinct, kind = torch.unique(trains, dim=0, return_inverse=True)
            example = some.new_empty(len(distinct)).scatter_(0, kind, some)
            scores[some] = _score(model, spikes, head, relation, example)[kind]
    return scores


def _score(
    model: GRSNN | NBFNet, features: Spikes | Tensor, head: int, relation: int, nodes: Tensor
) -> Tensor:
    heads, relations = _asked(model, head, relation)
    candidates = nodes.to(heads.device)[None]
    # each network scores what it returned itself
    return model.score(features, heads, relations, candidates)[0]  # type: ignore[arg-type]


def _arrival(model: GRSNN | NBFNet, features: Spikes, node: int) -> Arrival | None:
    return _spike_arrival(model, features, node) if isinstance(model, GRSNN) else None


def _spike_arrival(model: GRSNN, spikes: Spikes, node: int) -> Arrival:
    fired = unpack(spikes.trains[0, node], model.hidden).t().tolist()
    return Arrival(tuple(train.index(True) if any(train) else None for train in fired))


@torch.no_grad()
def _median_delays(model: GRSNN, relation: int) -> list[float]:
    """Return the median of the neurons' delays of each relation, given the query's."""
    _, delay, _ = model.entering(torch.tensor([relation], device=_device(model)))
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


def _asked(model: GRSNN | NBFNet, head: int, relation: int) -> tuple[Tensor, Tensor]:
    device = _device(model)
    return torch.tensor([head], device=device), torch.tensor([relation], device=device)


def _device(model: GRSNN | NBFNet) -> torch.device:
    return model.query.weight.device


def _checked(model: GRSNN | NBFNet, graph: MessageGraph, head: int, relation: int) -> Query:
    if graph.relations == graph.fact_relations:
        raise UsageError(
            "Explanations are for knowledge graphs; in an undirected graph a score is that of a "
            "pair, from runs of both ends."
        )
    known = model.query.num_embeddings
    if known != graph.relations:
        raise UsageError(
            f"The network knows {known} relations, inverses included, the graph has "
            f"{graph.relations}; it must have those the network was trained with."
        )
    _check_nodes(graph, head=[head])
    if not 0 <= relation < graph.relations:
        raise UsageError(
            f"relation is {relation}; there are 0 to {graph.relations - 1}, inverses from "
            f"{graph.fact_relations} on."
        )
    inverse = relation >= graph.fact_relations
    return Query(head, relation - graph.fact_relations * inverse, inverse)


def _check_nodes(graph: MessageGraph, **nodes: list[int]) -> None:
    most = graph.whole.nodes - 1
    for name, numbers in nodes.items():
        wrong = [number for number in numbers if not 0 <= number <= most]
        if wrong:
            raise UsageError(f"{name} is {wrong[0]}; the graph has nodes 0 to {most}.")


def _at_least_one(**numbers: int) -> None:
    for name, number in numbers.items():
        if number < 1:
            raise UsageError(f"{name} must be at least 1, got {number}.")
