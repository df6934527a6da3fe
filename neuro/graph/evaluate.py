"""How a reasoner does on held-out triples: every node ranked, or links told from wrong ones."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuro.errors import DivergedError
from neuro.graph.answers import KnownAnswers
from neuro.graph.methods import Reasoner, SpikingReasoner
from neuro.graph.queries import both_sides
from neuro.graph.ranking import Ranks, filtered_ranks
from neuro.kernels.relational_graph import RelationalGraph

PAIRS_AT_ONCE = 2**17
"""At most so many candidates are scored at once; bounds memory, whatever the graph."""


class Ranked(NamedTuple):
    """Ranks of answers, in the order of ``both_sides`` of the triples.

    Attributes:
        ranks: each answer among the nodes that are no known answers.
        against_itself: likewise, but an answer that is not known is compared with itself, too
            (see ``filtered_ranks``).
        firing_rate: mean over queries of spikes per neuron and step; None if nothing spikes.
    """

    ranks: Ranks
    against_itself: Ranks
    firing_rate: float | None


@torch.no_grad()
def rank_answers(
    model: Reasoner,
    graph: RelationalGraph,
    triples: Tensor,
    known: KnownAnswers,
    *,
    relations: int,
    batch_size: int,
) -> Ranked:
    """Rank tail and head of each triple among all nodes, with one propagation for each query.

    Args:
        model: on the device of ``graph``.
        graph: along which messages run, inverses included.
        triples: int64 ``[n, 3]``, n > 0, on the CPU.
        known: answers that are no candidates, of facts and inverses; on the CPU.
        relations: R, without inverses.
        batch_size: queries propagated at once.

    Returns:
        ``2 n`` ranks on the CPU.

    Raises:
        DivergedError: a score is NaN.
    """
    queries = both_sides(triples, relations=relations)
    distinct, query = torch.unique(
        queries.sources * (2 * relations) + queries.relations, return_inverse=True
    )
    order = query.argsort(stable=True)  # the answers to one query side by side
    ends = torch.bincount(query).cumsum(0).tolist()
    device = graph.in_starts.device
    # Room for all ranks at once: a batch's own, kept, would lie among the large blocks that the
    # next batch wants again, and the heap would grow with every batch.
    found, itself = Ranks.empty(len(query)), Ranks.empty(len(query))
    rate = 0.0
    begin = 0
    for first in range(0, len(distinct), batch_size):
        keys = distinct[first : first + batch_size]
        sources, kinds = keys // (2 * relations), keys % (2 * relations)
        asked = sources.to(device), kinds.to(device)
        features = model(graph, *asked)
        if isinstance(model, SpikingReasoner):
            rate += model.firing_rate(features) * len(keys) / len(distinct)
        scores = _all_scores(model, features, *asked, nodes=graph.nodes).cpu()
        mask = known.mask(sources, kinds)
        end = ends[first + len(keys) - 1]
        for part in torch.split(order[begin:end], max(1, PAIRS_AT_ONCE // known.nodes)):
            rows, answers = query[part] - first, queries.answers[part]
            ranks = filtered_ranks(scores[rows], answers, mask[rows])
            counted = ~mask[rows, answers]
            found.put(part, ranks)
            counted_too = ranks.pessimistic + counted, ranks.optimistic, ranks.candidates + counted
            itself.put(part, Ranks(*counted_too))
        begin = end
    return Ranked(found, itself, rate if isinstance(model, SpikingReasoner) else None)


@torch.no_grad()
def score_links(
    model: Reasoner, graph: RelationalGraph, links: Tensor, *, batch_size: int
) -> Tensor:
    """Return the logits of links ``[n, 3]`` of an undirected graph, ``[n]``, on the CPU.

    Raises:
        DivergedError: a score is NaN.
    """
    device = graph.in_starts.device
    parts = [
        model.score_symmetric(graph, *part.to(device).unbind(1)).cpu()
        for part in torch.split(links, batch_size)
    ]
    return _numbers(torch.cat(parts))


@torch.no_grad()
def firing_rate_from(
    model: SpikingReasoner, graph: RelationalGraph, links: Tensor, *, batch_size: int
) -> float:
    """Return spikes per neuron and step, mean over runs from the heads of links ``[n, 3]``."""
    device = graph.in_starts.device
    rate = 0.0
    for part in torch.split(links, batch_size):
        heads, kinds, _ = part.to(device).unbind(1)
        rate += model.firing_rate(model(graph, heads, kinds)) * len(part) / len(links)
    return rate


def _all_scores(
    model: Reasoner, features: Any, sources: Tensor, kinds: Tensor, *, nodes: int
) -> Tensor:
    """Return the logits of every node, ``[B, N]``."""
    everyone = torch.arange(nodes, device=sources.device)
    parts = [
        model.score(features, sources, kinds, some.expand(len(sources), -1))
        for some in torch.split(everyone, max(1, PAIRS_AT_ONCE // len(sources)))
    ]
    return _numbers(torch.cat(parts, dim=1))


def _numbers(scores: Tensor) -> Tensor:
    if bool(scores.isnan().any()):
        raise DivergedError(
            "The scores of candidates are NaN: training has diverged. Lower lr, or limit the "
            "gradient with gradient_clip."
        )
    return scores
