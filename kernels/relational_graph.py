"""A graph of relations as kernels walk it: by destination for messages, by source for credit."""

from typing import NamedTuple

import torch
from torch import Tensor


class RelationalGraph(NamedTuple):
    """Directed edges ``source -relation-> destination``, listed twice, each time sorted.

    Edges into node y are those from ``in_starts[y]`` to ``in_starts[y + 1]``, edges out of node x
    those from ``out_starts[x]`` to ``out_starts[x + 1]``. Edges that occur twice count twice.

    Attributes:
        in_starts: ``[N + 1]`` int64.
        in_sources: ``[E]`` int32.
        in_relations: ``[E]`` int32.
        out_starts: ``[N + 1]`` int64.
        out_destinations: ``[E]`` int32.
        out_relations: ``[E]`` int32.
        out_places: ``[E]`` int32, where each edge stands in the list by destination.
    """

    in_starts: Tensor
    in_sources: Tensor
    in_relations: Tensor
    out_starts: Tensor
    out_destinations: Tensor
    out_relations: Tensor
    out_places: Tensor

    @property
    def nodes(self) -> int:
        """N."""
        return len(self.in_starts) - 1

    @property
    def edges(self) -> int:
        """E."""
        return len(self.in_sources)

    @classmethod
    def of(
        cls, sources: Tensor, relations: Tensor, destinations: Tensor, *, nodes: int
    ) -> "RelationalGraph":
        """Sort the edges given by three tensors ``[E]`` of whole numbers.

        Edges with the same end keep the order they are given in.

        Raises:
            ValueError: lengths differ, or an edge ends outside ``0 .. nodes - 1``.
        """
        if not sources.shape == relations.shape == destinations.shape or sources.dim() != 1:
            raise ValueError(
                f"RelationalGraph: sources {tuple(sources.shape)}, relations "
                f"{tuple(relations.shape)} and destinations {tuple(destinations.shape)} must be "
                "one list of edges, [E] each"
            )
        if len(sources):
            least = min(int(sources.min()), int(destinations.min()), int(relations.min()))
            most = max(int(sources.max()), int(destinations.max()))
            if least < 0 or most >= nodes:
                raise ValueError(
                    f"RelationalGraph: an edge has the number {least if least < 0 else most}, but "
                    f"the graph has nodes 0 to {nodes - 1}, and relations are not negative"
                )
        by_destination = destinations.argsort(stable=True)
        by_source = sources.argsort(stable=True)
        places = torch.empty_like(by_destination, dtype=torch.int32)
        places[by_destination] = torch.arange(len(places), dtype=torch.int32, device=places.device)
        return cls(
            _starts(destinations, nodes),
            sources[by_destination].int(),
            relations[by_destination].int(),
            _starts(sources, nodes),
            destinations[by_source].int(),
            relations[by_source].int(),
            places[by_source],
        )


def _starts(ends: Tensor, nodes: int) -> Tensor:
    starts = ends.new_zeros(nodes + 1, dtype=torch.int64)
    starts[1:] = torch.bincount(ends, minlength=nodes).cumsum(0)
    return starts
