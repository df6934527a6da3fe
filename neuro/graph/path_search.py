"""The most important paths between two nodes, by a beam search over the importances of edges."""

from typing import NamedTuple

import torch
from torch import Tensor


class WeightedEdges(NamedTuple):
    """Edges and what each adds to a path, four tensors ``[E]``."""

    sources: Tensor
    relations: Tensor
    destinations: Tensor
    importance: Tensor


class _Partial(NamedTuple):
    """Paths from the head, a row each: nodes ``[P, h + 1]``, edges ``[P, h]``, sums ``[P]``."""

    nodes: Tensor
    edges: Tensor
    totals: Tensor

    def select(self, rows: Tensor) -> "_Partial":
        return _Partial(*(part[rows] for part in self))


def best_paths(
    edges: WeightedEdges,
    head: int,
    tail: int,
    *,
    nodes: int,
    paths: int,
    beam: int,
    longest: int,
) -> list[list[int]]:
    """Return the paths of the largest mean importance, each as the places of its edges.

    A path is worth the sum of its edges' importances. Hop by hop each node keeps the ``beam`` best
    paths that reach it and meet no node twice. Of all that end at the tail, the best by sum over
    length are returned, the best first; among equals the shorter.

    Args:
        edges: E edges.
        head: where paths begin.
        tail: where they end; another node than the head.
        nodes: N.
        paths: how many are returned at most.
        beam: how many are kept for each node.
        longest: hops of a path at most.
    """
    order = edges.sources.argsort(stable=True)
    starts = torch.searchsorted(edges.sources[order], torch.arange(nodes + 1, device=order.device))
    missing = _hops_to(edges, tail, nodes, longest)
    here = _Partial(
        order.new_full((1, 1), head), order.new_empty(1, 0), edges.importance.new_zeros(1)
    )
    found: list[tuple[float, list[int]]] = []
    for hop in range(1, longest + 1):
        here = _extend(here, edges, order, starts)
        ends = here.nodes[:, -1]
        here = here.select((missing[ends] <= longest - hop).nonzero()[:, 0])
        here = _prune(here, beam)
        done = here.nodes[:, -1] == tail
        complete = here.select(done.nonzero()[:, 0])
        means = (complete.totals / hop).tolist()
        found.extend(zip(means, complete.edges.tolist(), strict=True))
        here = here.select((~done).nonzero()[:, 0])
    found.sort(key=lambda each: -each[0])
    return [places for _, places in found[:paths]]


def _hops_to(edges: WeightedEdges, tail: int, nodes: int, most: int) -> Tensor:
    """Return how many hops each node is away from the tail, ``most + 1`` where more, ``[N]``."""
    hops = edges.sources.new_full((nodes,), most + 1)
    hops[tail] = 0
    for hop in range(1, most + 1):
        before = edges.sources[hops[edges.destinations] == hop - 1]
        hops[before] = hops[before].clamp(max=hop)
    return hops


def _extend(here: _Partial, edges: WeightedEdges, order: Tensor, starts: Tensor) -> _Partial:
    """Extend each path by each edge that leads on to a node it has not met."""
    ends = here.nodes[:, -1]
    counts = starts[ends + 1] - starts[ends]
    rows = torch.arange(len(ends), device=ends.device).repeat_interleave(counts)
    skipped = (starts[ends] - (counts.cumsum(0) - counts)).repeat_interleave(counts)
    taken = order[torch.arange(len(rows), device=ends.device) + skipped]
    reached = edges.destinations[taken]
    new = (here.nodes[rows] != reached[:, None]).all(1).nonzero()[:, 0]
    rows, taken, reached = rows[new], taken[new], reached[new]
    return _Partial(
        torch.cat([here.nodes[rows], reached[:, None]], 1),
        torch.cat([here.edges[rows], taken[:, None]], 1),
        here.totals[rows] + edges.importance[taken],
    )


def _prune(here: _Partial, beam: int) -> _Partial:
    """Keep the ``beam`` best paths to each node."""
    order = here.totals.argsort(descending=True, stable=True)
    order = order[here.nodes[order, -1].argsort(stable=True)]
    ends = here.nodes[order, -1]
    place = torch.arange(len(ends), device=ends.device) - torch.searchsorted(ends, ends)
    return here.select(order[place < beam])
