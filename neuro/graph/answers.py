"""Which answers to a query ``(source, relation, ?)`` are known, and which are not."""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor


def known_tails(facts: Tensor, head: int, relation: int, *, relations: int) -> Tensor:
    """Return the nodes int64 ``[k]`` that distinct facts ``[n, 3]`` give as answers to one query.

    Args:
        facts: triples.
        head: the node that is known.
        relation: 0 .. 2R - 1; from R on the inverse ones.
        relations: R.
    """
    known, asked = (2, 0) if relation >= relations else (0, 2)
    fits = (facts[:, known] == head) & (facts[:, 1] == relation % relations)
    return facts[fits, asked]


@dataclass(frozen=True, eq=False)
class KnownAnswers:
    """The known answers of every query, sorted.

    An answer a to the query q = (source, relation) is kept as the key ``q N + a`` with
    ``q = source R + relation``, in one sorted list; so the answers to a query lie in one stretch.

    Attributes:
        keys: int64 ``[n]``, ascending, none twice.
        gaps: int64 ``[n]``, ``q N + (a - i)`` for the i-th answer of its query: ``a - i`` nodes
            below it are no answers.
        nodes: N.
        relations: R, inverses included where they are asked for.
    """

    keys: Tensor
    gaps: Tensor
    nodes: int
    relations: int

    @classmethod
    def of(
        cls, sources: Tensor, relations: Tensor, answers: Tensor, *, nodes: int, kinds: int
    ) -> Self:
        """Sort answers given by three int64 tensors ``[n]``; ``kinds`` is R."""
        keys = torch.unique((sources * kinds + relations) * nodes + answers)
        queries = keys.div(nodes, rounding_mode="floor")
        place = torch.arange(len(keys), device=keys.device)
        place -= torch.searchsorted(keys, queries * nodes)
        return cls(keys, keys - place, nodes, kinds)

    @classmethod
    def both_ways(cls, triples: Tensor, *, entities: int, relations: int) -> Self:
        """Answers of triples ``[n, 3]`` to ``(h, r, ?)`` and, as ``(t, r + R, ?)``, to heads."""
        heads, kinds, tails = triples.unbind(1)
        return cls.of(
            torch.cat([heads, tails]),
            torch.cat([kinds, kinds + relations]),
            torch.cat([tails, heads]),
            nodes=entities,
            kinds=2 * relations,
        )

    def unknown(self, sources: Tensor, relations: Tensor) -> Tensor:
        """How many nodes are no known answer, ``[B]``."""
        first, last = self._stretch(sources, relations)
        return self.nodes - (last - first)

    def select_unknown(self, sources: Tensor, relations: Tensor, ranks: Tensor) -> Tensor:
        """Return the nodes at places ``ranks`` of the ascending list of those not known.

        That is ``j + #{i : a_i - i <= j}`` for place j and known answers a_0 < a_1 < ...

        Args:
            sources, relations: ``[B]``.
            ranks: ``[B, n]``, each in 0 .. ``unknown`` - 1.

        Returns:
            ``[B, n]``.
        """
        first, _ = self._stretch(sources, relations)
        wanted = ((sources * self.relations + relations) * self.nodes)[:, None] + ranks
        below = torch.searchsorted(self.gaps, wanted, right=True) - first[:, None]
        return ranks + below

    def mask(self, sources: Tensor, relations: Tensor) -> Tensor:
        """Return bool ``[B, N]``, True where a node is a known answer."""
        first, last = self._stretch(sources, relations)
        counts = last - first
        rows = torch.arange(len(sources), device=counts.device).repeat_interleave(counts)
        ends = counts.cumsum(0)
        places = torch.arange(len(rows), device=counts.device) + (last - ends)[rows]
        known = torch.zeros(len(sources), self.nodes, dtype=torch.bool, device=counts.device)
        known[rows, self.keys[places] % self.nodes] = True
        return known

    def contains(self, sources: Tensor, relations: Tensor, answers: Tensor) -> Tensor:
        """Return bool ``[...]``, True where ``answers`` are known; the three broadcast."""
        wanted = (sources * self.relations + relations) * self.nodes + answers
        first = torch.searchsorted(self.keys, wanted)
        return torch.searchsorted(self.keys, wanted, right=True) > first

    def _stretch(self, sources: Tensor, relations: Tensor) -> tuple[Tensor, Tensor]:
        start = (sources * self.relations + relations) * self.nodes
        return (
            torch.searchsorted(self.keys, start),
            torch.searchsorted(self.keys, start + self.nodes),
        )
