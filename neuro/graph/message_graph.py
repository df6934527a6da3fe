"""The edges along which messages go: facts and their inverses, without those that tell the answer.

In training a query's own fact would answer it in one step, so it is taken out, and with it its
inverse. That happens for each batch; the edges are sorted once, and taking some out of a sorted
list leaves it sorted.
"""

from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from neuro.errors import DataError
from neuro.graph.triples import check_triples, triple_keys
from neuro.kernels.relational_graph import RelationalGraph


@dataclass(frozen=True, eq=False)
class MessageGraph:
    """Sorted message edges that remember their fact.

    Attributes:
        whole: all edges.
        relations: how many relations the edges have: 2R, or 1 if undirected.
        fact_relations: how many the facts have: R.
        in_places, out_places: int64 ``[n, 2]``, where ``whole`` has each fact's edge and its
            inverse, by destination and by source.
        keys: int64 ``[n]``, the facts as ``triple_keys``, ascending.
        by_key: the fact of each.
        pair_keys: int64 ``[n]``, ``min(h, t) N + max(h, t)``, ascending.
        by_pair: the fact of each.
    """

    whole: RelationalGraph
    relations: int
    fact_relations: int
    in_places: Tensor
    out_places: Tensor
    keys: Tensor
    by_key: Tensor
    pair_keys: Tensor
    by_pair: Tensor

    @classmethod
    def of(cls, facts: Tensor, *, nodes: int, relations: int, undirected: bool = False) -> Self:
        """Sort the message edges of ``facts``.

        A fact ``h -r-> t`` becomes the edges ``h -r-> t`` and ``t -(r + R)-> h``. In an undirected
        graph both have the relation r, and each node x gets an edge ``x -0-> x``.

        Args:
            facts: int64 ``[n, 3]``.
            nodes: N.
            relations: R; 1 if undirected.
            undirected: links instead of facts.

        Raises:
            DataError: a fact names a node or a relation that is not there, or an undirected
                graph has several relations.
        """
        check_triples("MessageGraph: facts", facts, nodes, relations)
        if undirected and relations != 1:
            raise DataError(
                f"MessageGraph: an undirected graph has one relation, its facts have {relations}."
            )
        heads, kinds, tails = facts.unbind(1)
        inverse = kinds if undirected else kinds + relations
        loops = torch.arange(nodes if undirected else 0, device=facts.device)
        sources = torch.cat([heads, tails, loops])
        destinations = torch.cat([tails, heads, loops])
        whole = RelationalGraph.of(
            sources,
            torch.cat([kinds, inverse, torch.zeros_like(loops)]),
            destinations,
            nodes=nodes,
        )
        keys, by_key = triple_keys(facts, nodes, relations).sort()
        pair_keys, by_pair = _pair_keys(heads, tails, nodes).sort()
        return cls(
            whole,
            relations if undirected else 2 * relations,
            relations,
            _places(destinations, len(facts)),
            _places(sources, len(facts)),
            keys,
            by_key,
            pair_keys,
            by_pair,
        )

    def without(self, triples: Tensor, *, one_hop: bool) -> RelationalGraph:
        """Return the edges less those that answer ``triples`` at once.

        Facts are taken out, so an edge goes together with its inverse. Self-loops that were added
        stay.

        Args:
            triples: int64 ``[m, 3]``, positives and negatives, relations below R
                (``Queries.triples``); what is no fact changes nothing.
            one_hop: False takes out these very triples; True every fact, of any relation and in
                either direction, between the two nodes of each.
        """
        return self.without_facts(self.easy(triples, one_hop=one_hop))

    def easy(self, triples: Tensor, *, one_hop: bool) -> Tensor:
        """Return int64 ``[k]``, ascending, the facts that :meth:`without` takes out."""
        check_triples("MessageGraph: triples", triples, self.whole.nodes, self.fact_relations)
        if one_hop:
            wanted = _pair_keys(triples[:, 0], triples[:, 2], self.whole.nodes)
            return _distinct(self.by_pair[_equal(self.pair_keys, wanted)])
        wanted = triple_keys(triples, self.whole.nodes, self.fact_relations)
        return _distinct(self.by_key[_equal(self.keys, wanted)])

    def without_facts(self, facts: Tensor) -> RelationalGraph:
        """Return the edges less those of the facts int64 ``[k]``, none twice; still sorted."""
        graph = self.whole
        arriving = self.in_places[facts].flatten().sort().values
        leaving = self.out_places[facts].flatten().sort().values
        into, out_of = _others(arriving, graph.edges), _others(leaving, graph.edges)
        places = graph.out_places.index_select(0, out_of)
        return RelationalGraph(
            graph.in_starts - torch.searchsorted(arriving, graph.in_starts),
            graph.in_sources.index_select(0, into),
            graph.in_relations.index_select(0, into),
            graph.out_starts - torch.searchsorted(leaving, graph.out_starts),
            graph.out_destinations.index_select(0, out_of),
            graph.out_relations.index_select(0, out_of),
            places - torch.searchsorted(arriving, places, out_int32=True),
        )

    def to(self, device: torch.device | str) -> "MessageGraph":
        """Return this graph on another device."""
        return replace(
            self,
            whole=RelationalGraph(*(part.to(device) for part in self.whole)),
            in_places=self.in_places.to(device),
            out_places=self.out_places.to(device),
            keys=self.keys.to(device),
            by_key=self.by_key.to(device),
            pair_keys=self.pair_keys.to(device),
            by_pair=self.by_pair.to(device),
        )


def _pair_keys(heads: Tensor, tails: Tensor, nodes: int) -> Tensor:
    return torch.minimum(heads, tails) * nodes + torch.maximum(heads, tails)


def _equal(keys: Tensor, wanted: Tensor) -> Tensor:
    """Places in the ascending ``keys`` that hold any of ``wanted``."""
    first = torch.searchsorted(keys, wanted)
    counts = torch.searchsorted(keys, wanted, right=True) - first
    offsets = (first - (counts.cumsum(0) - counts)).repeat_interleave(counts)
    return torch.arange(len(offsets), device=keys.device) + offsets


def _distinct(numbers: Tensor) -> Tensor:
    distinct: Tensor = torch.unique(numbers)
    return distinct


def _places(ends: Tensor, facts: int) -> Tensor:
    """Where edges come to lie, ``[facts, 2]``, once sorted by ``ends``: facts, inverses, others."""
    order = ends.argsort(stable=True)  # as in RelationalGraph.of
    places = torch.empty_like(order)
    places[order] = torch.arange(len(order), device=order.device)
    return torch.stack([places[:facts], places[facts : 2 * facts]], dim=1)


def _others(gone: Tensor, edges: int) -> Tensor:
    """Ascending places 0 .. ``edges`` - 1 without the ascending ``gone``.

    The i-th is ``i + #{j : gone_j - j <= i}``, a running sum: far faster than a mask's ``nonzero``.
    """
    steps = gone.new_ones(edges - len(gone) + 1)
    steps[0] = 0
    skipped = gone - torch.arange(len(gone), device=gone.device)
    steps.index_add_(0, skipped, torch.ones_like(gone))
    return steps[:-1].cumsum(0)
