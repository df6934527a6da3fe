"""Strict negatives: false as far as the training facts know, drawn uniformly."""

import torch
from torch import Tensor

from neuro.errors import DataError
from neuro.graph.answers import KnownAnswers
from neuro.graph.queries import Queries, head_queries, tail_queries
from neuro.graph.triples import check_triples


def strict_negatives(
    positives: Tensor,
    known: KnownAnswers,
    *,
    negatives: int,
    generator: torch.Generator | None = None,
) -> Queries:
    """Draw ``negatives`` wrong answers for each positive.

    The first ``B // 2`` rows have their tail replaced, the others their head; these become
    inverse tail queries. What replaces it is uniform, with replacement, over the entities for
    which the triple is not known. Truths held out from ``known`` may be drawn.

    Args:
        positives: int64 ``[B, 3]``.
        known: the TRAINING facts, ``KnownAnswers.both_ways``.
        negatives: n > 0 for each row.
        generator: where randomness comes from; on the CPU.

    Returns:
        ``B`` queries of ``1 + n`` candidates, rows in the order of ``positives``.

    Raises:
        DataError: every entity is a known answer to one of the queries, or wrong input.
    """
    relations = known.relations // 2
    check_triples("strict_negatives: positives", positives, known.nodes, relations)
    if negatives < 1:
        raise DataError(f"strict_negatives: negatives must be at least 1, got {negatives}.")
    half = len(positives) // 2
    by_tail = tail_queries(positives[:half])
    by_head = head_queries(positives[half:], relations=relations)
    sources, kinds, answers = (torch.cat(parts) for parts in zip(by_tail, by_head, strict=True))
    drawn = _draw(known, sources, kinds, negatives, generator)
    return Queries(sources, kinds, torch.cat([answers, drawn], dim=1))


def strict_negative_links(
    links: KnownAnswers, count: int, *, generator: torch.Generator | None = None
) -> Tensor:
    """Draw pairs of nodes that are not linked.

    A head is drawn in proportion to ``N - degree - 1``, the number of nodes that it could wrongly
    be linked to; the tail uniformly among these. So every unlinked ordered pair of two different
    nodes is equally likely.

    Args:
        links: of :func:`known_links`: the training links in training, and the split's own
            (``ReasoningTask.valid_known``, ``test_known``) in an evaluation.
        count: how many, >= 0.
        generator: where randomness comes from; on the CPU.

    Returns:
        int64 ``[count, 3]``, (head, 0, tail).

    Raises:
        DataError: all nodes are linked to each other.
    """
    nodes = torch.arange(links.nodes, device=links.keys.device)
    free = links.unknown(nodes, torch.zeros_like(nodes))
    if not bool((free > 0).any()):
        raise DataError(
            "Every node is linked to every other one, so there is no wrong link to learn from."
        )
    # By inverting the cumulative counts: torch.multinomial has a limit of 2^24 categories.
    ends = free.cumsum(0)
    drawn = _uniform((count,), generator, ends).mul_(ends[-1]).long().clamp_(max=int(ends[-1]) - 1)
    heads = torch.searchsorted(ends, drawn, right=True)
    places = drawn - (ends - free)[heads]
    tails = links.select_unknown(heads, torch.zeros_like(heads), places[:, None])
    return torch.stack([heads, torch.zeros_like(heads), tails[:, 0]], dim=1)


def known_links(links: Tensor, *, nodes: int) -> KnownAnswers:
    """Neighbours of each node, and the node itself: what a wrong link may not lead to.

    Args:
        links: int64 ``[n, 3]`` (head, 0, tail), of an undirected graph: they hold both ways.
        nodes: N.
    """
    loops = torch.arange(nodes, device=links.device)
    sources = torch.cat([links[:, 0], links[:, 2], loops])
    return KnownAnswers.of(
        sources,
        torch.zeros_like(sources),
        torch.cat([links[:, 2], links[:, 0], loops]),
        nodes=nodes,
        kinds=1,
    )


def _draw(
    known: KnownAnswers,
    sources: Tensor,
    relations: Tensor,
    negatives: int,
    generator: torch.Generator | None,
) -> Tensor:
    free = known.unknown(sources, relations)
    full = (free == 0).nonzero()
    if len(full):
        row = int(full[0])
        raise DataError(
            f"Every one of the {known.nodes:,} entities is a known answer to the query "
            f"(source {int(sources[row])}, relation {int(relations[row])}, inverses counted from "
            f"{known.relations // 2} on), so there is no wrong one to learn from. Leave out "
            "triples of this relation, or add entities."
        )
    ranks = _uniform((len(sources), negatives), generator, free).mul_(free[:, None]).long()
    # A double below 1 times a count may round up to the count.
    ranks = torch.minimum(ranks, free[:, None] - 1)
    return known.select_unknown(sources, relations, ranks)


def _uniform(shape: tuple[int, ...], generator: torch.Generator | None, like: Tensor) -> Tensor:
    """Doubles in [0, 1), drawn on the CPU so that every device sees the same ones."""
    return torch.rand(shape, generator=generator, dtype=torch.float64).to(like.device)
