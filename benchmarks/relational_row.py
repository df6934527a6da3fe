"""A layer's messages on a graph, by ours and by torch; as a process, the memory of one of them.

The process prints one JSON object, as those of :mod:`benchmarks.memory` do.
"""

import gc
import json
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from benchmarks.memory_row import CLEAR_REFS, status_mb
from neuro.kernels import RelationalGraph, relational_pna, relational_spmm

Contender = Literal["neuro", "torch"]
Aggregate = Literal["sum", "pna"]
Direction = Literal["forward", "training"]
Outputs = tuple[Tensor, ...]


@dataclass(frozen=True)
class Shape:
    """Sizes of a graph of knowledge, and how uneven its degrees are.

    Attributes:
        name: of the data set whose sizes these are.
        nodes: N.
        relations: R, inverses included.
        edges: E, inverses included.
        batch: queries at once.
        skew: node i is the end of an edge in proportion to (i + 1) to the power of minus this.
    """

    name: str
    nodes: int
    relations: int
    edges: int
    batch: int
    skew: float


SHAPES = {
    each.name: each
    for each in (
        Shape("WN18RR", 40_943, 22, 173_670, 8, 0.5),
        Shape("FB15k-237", 14_541, 474, 544_230, 5, 0.67),
    )
}
WIDTH = 32
"""Numbers that a node has for a query."""


@dataclass(frozen=True)
class Row:
    """One measurement of memory."""

    contender: Contender
    shape: str
    aggregate: Aggregate
    direction: Direction


class Layer:
    """Operands of a layer, drawn once, and both ways through it."""

    def __init__(self, shape: Shape, aggregate: Aggregate) -> None:
        generator = torch.Generator().manual_seed(0)
        weights = torch.arange(1, shape.nodes + 1, dtype=torch.float64) ** -shape.skew
        half = shape.edges // 2
        ends = [torch.multinomial(weights, half, True, generator=generator) for _ in range(2)]
        order = torch.randperm(shape.nodes, generator=generator)  # who is a hub has no place
        tails = 1 / torch.arange(1, shape.relations // 2 + 1)
        kinds = torch.multinomial(tails, half, True, generator=generator)
        sources = order[torch.cat([ends[0], ends[1]])]
        destinations = order[torch.cat([ends[1], ends[0]])]
        relations = torch.cat([kinds, kinds + shape.relations // 2])
        self.graph = RelationalGraph.of(sources, relations, destinations, nodes=shape.nodes)
        self.aggregate: Aggregate = aggregate
        size = (shape.batch, WIDTH)
        self.operands = tuple(
            torch.randn(rows, *size, generator=generator).requires_grad_()
            for rows in (shape.nodes, shape.relations, shape.nodes)
        )
        # Not a part of torch's time: the lists as torch wants them.
        nodes = torch.arange(shape.nodes)
        self._destinations = nodes.repeat_interleave(self.graph.in_starts.diff())
        self._sources = self.graph.in_sources.long()
        self._relations = self.graph.in_relations.long()

    def ours(self) -> Outputs:
        """Return the aggregates by the kernel."""
        features, relation, boundary = self.operands
        if self.aggregate == "sum":
            return (relational_spmm(features, relation, self.graph, boundary),)
        return relational_pna(features, relation, self.graph, boundary)

    def torch(self) -> Outputs:
        """Return the aggregates by torch: gather, multiply, scatter."""
        features, relation, boundary = self.operands
        messages = features[self._sources] * relation[self._relations]
        total = boundary.index_add(0, self._destinations, messages)
        if self.aggregate == "sum":
            return (total,)
        squares = boundary.square().index_add(0, self._destinations, messages.square())
        index = self._destinations[:, None, None].expand_as(messages)
        maximum = boundary.scatter_reduce(0, index, messages, "amax")
        minimum = boundary.scatter_reduce(0, index, messages, "amin")
        return total, squares, maximum, minimum

    def step(self, contender: Contender, direction: Direction) -> Callable[[], Outputs]:
        """Return what is measured: a forward pass alone, or with it the gradients of a sum."""
        run = self.ours if contender == "neuro" else self.torch

        def training() -> Outputs:
            return torch.autograd.grad([each.sum() for each in run()], self.operands)

        return torch.no_grad()(run) if direction == "forward" else training


def measure_here(row: Row) -> dict[str, float]:
    """Return the peak of resident memory during a step, less what was there before, in 2^20 B."""
    tiny = Shape("tiny", 50, 4, 200, 1, 0.5)
    Layer(tiny, row.aggregate).step(row.contender, row.direction)()  # compiles
    step = Layer(SHAPES[row.shape], row.aggregate).step(row.contender, row.direction)
    gc.collect()
    before = status_mb("VmRSS")
    CLEAR_REFS.write_text("5")
    step()
    return {"step_mb": status_mb("VmHWM") - before}


if __name__ == "__main__":
    print(json.dumps(measure_here(Row(**json.loads(sys.argv[1])))))
