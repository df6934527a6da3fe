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
        in_facts, out_facts: ``[E]``, the fact behind each edge of ``whole``, by destination and
            by source; n for a self-loop that was added.
        keys: int64 ``[n]``, the facts as ``triple_keys``, ascending.
        by_key: the fact of each.
        pair_keys: int64 ``[n]``, ``min(h, t) N + max(h, t)``, ascending.
        by_pair: the fact of each.
    """

    whole: RelationalGraph
    relations: int
    fact_relations: int
    in_facts: Tensor
    out_facts: Tensor
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
        origin = torch.arange(len(facts), device=facts.device)
        inverse = kinds if undirected else kinds + relations
        loops = torch.arange(nodes if undirected else 0, device=facts.device)
        sources = torch.cat([heads, tails, loops])
        destinations = torch.cat([tails, heads, loops])
        origins = torch.cat([origin, origin, torch.full_like(loops, len(facts))])
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
            # Both sorts are stable, so these follow the edges of RelationalGraph.of.
            origins[destinations.argsort(stable=True)],
            origins[sources.argsort(stable=True)],
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
        return self.keeping(~self.easy(triples, one_hop=one_hop))

    def easy(self, triples: Tensor, *, one_hop: bool) -> Tensor:
        """Return bool ``[n]``, True for the facts that :meth:`without` takes out."""
        check_triples("MessageGraph: triples", triples, self.whole.nodes, self.fact_relations)
        if one_hop:
            wanted = _pair_keys(triples[:, 0], triples[:, 2], self.whole.nodes)
            keys, order = self.pair_keys, self.by_pair
        else:
            wanted = triple_keys(triples, self.whole.nodes, self.fact_relations)
            keys, order = self.keys, self.by_key
        found = torch.zeros(len(keys), dtype=torch.bool, device=keys.device)
        found[order[_equal(keys, wanted)]] = True
        return found

    def keeping(self, kept: Tensor) -> RelationalGraph:
        """Return the edges of the facts where bool ``kept`` ``[n]`` is True, still sorted."""
        graph = self.whole
        kept = torch.cat([kept, kept.new_ones(1)])  # the self-loops' entry
        arriving, in_starts = _compress(kept[self.in_facts], graph.in_starts)
        leaving, out_starts = _compress(kept[self.out_facts], graph.out_starts)
        return RelationalGraph(
            in_starts,
            graph.in_sources[arriving],
            graph.in_relations[arriving],
            out_starts,
            graph.out_destinations[leaving],
            graph.out_relations[leaving],
        )

    def to(self, device: torch.device | str) -> "MessageGraph":
        """Return this graph on another device."""
        return replace(
            self,
            whole=RelationalGraph(*(part.to(device) for part in self.whole)),
            in_facts=self.in_facts.to(device),
            out_facts=self.out_facts.to(device),
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


def _compress(kept: Tensor, starts: Tensor) -> tuple[Tensor, Tensor]:
    """Places of the edges that stay, and where each node's edges start among them."""
    ends = kept.new_zeros(len(kept) + 1, dtype=torch.int64)
    torch.cumsum(kept, 0, out=ends[1:])
    return kept.nonzero().squeeze(1), ends[starts]
