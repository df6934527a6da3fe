"""Principal neighbourhood aggregation: a linear map of scaled statistics of a node's messages.

::

    y[v] = W_own h[v] + sum_k s_k(n_v) W_k [mean; max; min; deviation][v] + b
         = W(n_v) [h; mean; max; min; deviation][v] + b,    W(n) = [W_own | sum_k s_k(n) W_k]

The scales s = (1, s, 1/s) depend on the number n of a node's messages alone, so all nodes with as
many share one narrow matrix W(n), and neither their scaled statistics nor their product with every
W_k is ever made. Statistics are made a block of nodes at a time, while it is in the cache, and made
again in backward: nothing of them is kept.

Source: Corso et al., "Principal Neighbourhood Aggregation for Graph Nets", NeurIPS 2020.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional

from neuro.kernels import RelationalGraph

STATISTICS, SCALES = 4, 3
"""Mean, largest, least and deviation; times 1, the number's logarithm, and its inverse."""

_LEAST_VARIANCE = 1e-6
_LEAST_SCALE = 1e-2
_INPUTS = 1 + STATISTICS
"""What W(n) multiplies: a node's own features, and the statistics."""


class Block(NamedTuple):
    """Nodes ``first`` to ``last``, excluded; ``alike`` if they have as many messages."""

    first: int
    last: int
    alike: bool


class _Size(NamedTuple):
    """How much one block takes: bytes of its inputs, and the rows worth a W(n) of their own."""

    bytes: int
    rows: int


_ON_CPU = _Size(2**20, 64)
"""Bytes for each thread."""
_ELSEWHERE = _Size(2**28, 2**15)


@dataclass(frozen=True)
class Degrees:
    """Runs of consecutive nodes with as many messages, boundary included.

    Attributes:
        starts: the first node of each run, then N.
        inverse: ``[N, 1, 1]``, 1/n.
        scales: ``[N, 3]``; 1, s and 1/s, where s is log n over its mean over all nodes, and at
            least 0.01 in 1/s.
    """

    starts: Sequence[int]
    inverse: Tensor
    scales: Tensor

    @classmethod
    def of(cls, graph: RelationalGraph, dtype: torch.dtype) -> "Degrees":
        """Find the runs of a graph's nodes, best in the order of :func:`by_degree`."""
        whole = graph.in_starts.diff() + 1
        changes = whole.diff().nonzero()[:, 0] + 1
        counts = whole.to(dtype)
        logarithm = counts.log()
        # A graph without edges has a mean of 0, and every s is 0.
        scale = logarithm / logarithm.mean().clamp(min=torch.finfo(dtype).tiny)
        return cls(
            [0, *changes.tolist(), graph.nodes],
            1 / counts[:, None, None],
            torch.stack([torch.ones_like(scale), scale, 1 / scale.clamp(min=_LEAST_SCALE)], dim=-1),
        )

    def blocks(self, most: int, shortest: int) -> Iterator[Block]:
        """Cut the nodes into blocks of at most ``most`` nodes.

        Runs of at least ``shortest`` nodes are cut by themselves, and their nodes are alike.
        """
        mixed = 0  # where the nodes of short runs begin
        for first, last in pairwise(self.starts):
            if last - first >= shortest:
                yield from _cut(mixed, first, most, alike=False)
                yield from _cut(first, last, most, alike=True)
                mixed = last
        yield from _cut(mixed, self.starts[-1], most, alike=False)


def _cut(first: int, last: int, most: int, *, alike: bool) -> Iterator[Block]:
    for begin in range(first, last, most):
        yield Block(begin, min(last, begin + most), alike)


def by_degree(graph: RelationalGraph) -> tuple[RelationalGraph, Tensor]:
    """Renumber a graph's nodes by ascending degree, ties and edges into a node in their order.

    Returns:
        The graph, and int64 ``[N]`` the new number of each node.
    """
    degrees = graph.in_starts.diff()
    order = degrees.argsort(stable=True)
    number = torch.empty_like(order)
    number[order] = torch.arange(len(order), device=order.device)
    renumbered = RelationalGraph.of(
        number[graph.in_sources],
        graph.in_relations.long(),
        number.repeat_interleave(degrees),
        nodes=graph.nodes,
    )
    return renumbered, number


def combine_statistics(
    features: Tensor,
    found: tuple[Tensor, Tensor, Tensor, Tensor],
    degrees: Degrees,
    weight: Tensor,
    bias: Tensor,
) -> Tensor:
    """Return y of the module's formula; the variance is at least 1e-6.

    Differentiable once, by all but ``degrees``.

    Args:
        features: h, ``[N, B, d]``.
        found: sum, sum of squares, largest and least message, ``[N, B, d]`` each, as of
            ``relational_pna``.
        degrees: of the graph.
        weight: ``[D, 13 d]``, the columns of h, then for each scale those of each statistic.
        bias: ``[D]``.

    Returns:
        ``[N, B, D]``.
    """
    hidden = features.shape[-1]
    own, received = weight[:, :hidden], weight[:, hidden:]
    by_scale = received.view(len(weight), SCALES, -1).transpose(0, 1)
    only_once = functional.pad(own[None], (0, 0, 0, 0, 0, SCALES - 1))
    parts = torch.cat([only_once, by_scale], dim=-1)
    result: Tensor = _Combination.apply(  # type: ignore[no-untyped-call]
        features, *found, degrees, parts, bias
    )
    return result


class _Combination(torch.autograd.Function):
    """``sum_k s_k P_k x + b`` for x = [h; statistics] and ``parts`` P, ``[3, D, 5 d]``."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        total: Tensor,
        squares: Tensor,
        maximum: Tensor,
        minimum: Tensor,
        degrees: Degrees,
        parts: Tensor,
        bias: Tensor,
    ) -> Tensor:
        operands = _contiguous(features, total, squares, maximum, minimum)
        ctx.save_for_backward(*operands, parts)
        ctx.degrees, ctx.blocks = degrees, _blocks_of(features, degrees)
        result = features.new_empty(*features.shape[:2], len(bias))
        for block, mixed in zip(ctx.blocks, _mix(parts, degrees, ctx.blocks), strict=True):
            inputs = _Inputs.of(operands, degrees, block).flat()
            rows = result[block.first : block.last].view(-1, len(bias))
            if block.alike:
                torch.addmm(bias, inputs, mixed.t(), out=rows)
            else:
                by_scale = (inputs @ parts.flatten(0, 1).t()).view(-1, *parts.shape[:2])
                rows.copy_((by_scale * _scales_of_rows(degrees, block, len(by_scale))).sum(1))
                rows += bias
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        *operands, parts = ctx.saved_tensors
        degrees, blocks, gradient = ctx.degrees, ctx.blocks, gradient.contiguous()
        received = [torch.empty_like(each) for each in operands]
        of_parts = torch.zeros_like(parts)
        mixes = _mix(parts, degrees, blocks)
        of_mixes = torch.zeros_like(mixes)
        for block, mixed, of_mixed in zip(blocks, mixes, of_mixes, strict=True):
            inputs = _Inputs.of(operands, degrees, block)
            rows = gradient[block.first : block.last].flatten(0, 1)
            if block.alike:
                of_inputs = rows @ mixed
                torch.mm(rows.t(), inputs.flat(), out=of_mixed)
            else:
                scaled = rows[:, None] * _scales_of_rows(degrees, block, len(rows))
                of_inputs = scaled.flatten(1) @ parts.flatten(0, 1)
                of_parts.flatten(0, 1).addmm_(scaled.flatten(1).t(), inputs.flat())
            inputs.send(
                of_inputs.view_as(inputs.rows),
                [each[block.first : block.last] for each in received],
            )
        of_parts.flatten(1).addmm_(_scales_of(degrees, blocks).t(), of_mixes.flatten(1))
        return *received, None, of_parts, gradient.sum((0, 1))


def _contiguous(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(each.contiguous() for each in tensors)


def _blocks_of(features: Tensor, degrees: Degrees) -> list[Block]:
    on_cpu = features.device.type == "cpu"
    size = _ON_CPU if on_cpu else _ELSEWHERE
    room = size.bytes * (torch.get_num_threads() if on_cpu else 1)
    _, batch, hidden = features.shape
    of_node = max(1, batch * hidden * _INPUTS * features.element_size())
    return list(degrees.blocks(max(1, room // of_node), -(-size.rows // max(1, batch))))


def _scales_of(degrees: Degrees, blocks: Sequence[Block]) -> Tensor:
    """Return the scales of the first node of each block, ``[blocks, 3]``."""
    firsts = torch.tensor([block.first for block in blocks], dtype=torch.int64)
    return degrees.scales[firsts.to(degrees.scales.device)]


def _mix(parts: Tensor, degrees: Degrees, blocks: Sequence[Block]) -> Tensor:
    """Return W(n) for the first node of each block, ``[blocks, D, 5 d]``."""
    return (_scales_of(degrees, blocks) @ parts.flatten(1)).view(-1, *parts.shape[1:])


def _scales_of_rows(degrees: Degrees, block: Block, rows: int) -> Tensor:
    """Return the scales of the rows of a block's nodes, ``[rows, 3, 1]``."""
    scales = degrees.scales[block.first : block.last]
    return scales.repeat_interleave(rows // len(scales), 0)[..., None]


class _Inputs(NamedTuple):
    """What a block's matrices multiply.

    Attributes:
        rows: ``[n, B, 5, d]``, features, mean, largest, least and deviation.
        mean: ``[n, B, d]``, and so the next, contiguous.
        deviation: the root of the variance within its limit.
        variance: without its limit.
        inverse: ``[n, 1, 1]``.
    """

    rows: Tensor
    mean: Tensor
    deviation: Tensor
    variance: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, operands: Sequence[Tensor], degrees: Degrees, block: Block) -> "_Inputs":
        """Make the statistics of a block's nodes."""
        first, last, _ = block
        features, total, squares, maximum, minimum = (each[first:last] for each in operands)
        inverse = degrees.inverse[first:last]
        mean = total * inverse
        variance = (squares * inverse).addcmul_(mean, mean, value=-1)
        deviation = variance.clamp(min=_LEAST_VARIANCE).sqrt_()
        rows = torch.stack([features, mean, maximum, minimum, deviation], dim=2)
        return cls(rows, mean, deviation, variance, inverse)

    def flat(self) -> Tensor:
        """Return ``[n B, 5 d]``."""
        return self.rows.flatten(2).flatten(0, 1)

    def send(self, gradient: Tensor, received: Sequence[Tensor]) -> None:
        """Write what the operands receive from the gradient of ``rows``."""
        features, total, squares, maximum, minimum = received
        own, of_mean, largest, least, of_deviation = gradient.unbind(2)
        features.copy_(own)
        maximum.copy_(largest)
        minimum.copy_(least)
        torch.div(of_deviation, self.deviation, out=squares)
        squares.mul_(self.variance >= _LEAST_VARIANCE).mul_(self.inverse / 2)
        torch.mul(of_mean, self.inverse, out=total).addcmul_(self.mean, squares, value=-2)
