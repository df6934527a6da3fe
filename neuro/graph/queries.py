"""Questions to a graph: which node ends ``source -relation->``?"""

from typing import NamedTuple

import torch
from torch import Tensor


class Queries(NamedTuple):
    """Tail queries, each with nodes to be scored.

    A question for the head of ``(?, r, t)`` is the tail query ``(t, r + R, ?)`` over inverses, so
    that one propagation from ``sources`` answers either kind.

    Attributes:
        sources: int64 ``[B]``.
        relations: int64 ``[B]``, 0 .. 2R - 1.
        candidates: int64 ``[B, 1 + n]``: the answer, then the negatives.
    """

    sources: Tensor
    relations: Tensor
    candidates: Tensor

    @property
    def answers(self) -> Tensor:
        """``[B]``."""
        return self.candidates[:, 0]

    def triples(self, relations: int) -> Tensor:
        """Return ``[B (1 + n), 3]``: each candidate's triple with a relation below R.

        Args:
            relations: R, without inverses.
        """
        sources = self.sources[:, None].expand_as(self.candidates)
        kinds = self.relations[:, None].expand_as(self.candidates)
        inverse = kinds >= relations
        return torch.stack(
            [
                torch.where(inverse, self.candidates, sources),
                kinds - relations * inverse,
                torch.where(inverse, sources, self.candidates),
            ],
            dim=-1,
        ).reshape(-1, 3)


def tail_queries(triples: Tensor) -> Queries:
    """Ask ``(h, r, ?)`` for triples ``[B, 3]``; the tail is the one candidate."""
    return Queries(triples[:, 0], triples[:, 1], triples[:, 2:])


def head_queries(triples: Tensor, *, relations: int) -> Queries:
    """Ask ``(t, r + R, ?)`` for triples ``[B, 3]``; the head is the one candidate."""
    return Queries(triples[:, 2], triples[:, 1] + relations, triples[:, :1])


def both_sides(triples: Tensor, *, relations: int) -> Queries:
    """Ask for every tail, then for every head: ``2 B`` queries, as evaluation does."""
    asked = (tail_queries(triples), head_queries(triples, relations=relations))
    return Queries(*(torch.cat(parts) for parts in zip(*asked, strict=True)))
