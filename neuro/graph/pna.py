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


class _Blocks(NamedTuple):
    """How much one block takes: bytes of its operands, and the rows worth a W(n) of their own."""

    bytes: int
    rows: int


_ON_CPU = _Blocks(2**20, 64)
"""Bytes for each thread."""
_ELSEWHERE = _Blocks(2**28, 2**15)


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
        lengths = whole.unique_consecutive(return_counts=True)[1]
        counts = whole.to(dtype)
        logarithm = counts.log()
        # A graph without edges has a mean of 0, and every s is 0.
        scale = logarithm / logarithm.mean().clamp(min=torch.finfo(dtype).tiny)
        return cls(
            [0, *lengths.cumsum(0).tolist()],
            1 / counts[:, None, None],
            torch.stack([torch.ones_like(scale), scale, 1 / scale.clamp(min=_LEAST_SCALE)], dim=-1),
        )

    def blocks(self, most: int, shortest: int) -> Iterator[tuple[int, int, bool]]:
        """Cut the nodes into blocks ``(first, last, alike)`` of at most ``most`` nodes.

        Runs of at least ``shortest`` nodes are cut by themselves, and their nodes are alike.
        """
        mixed = 0  # where the nodes of short runs begin
        for first, last in pairwise(self.starts):
            if last - first >= shortest:
                yield from _cut(mixed, first, most, alike=False)
                yield from _cut(first, last, most, alike=True)
                mixed = last
        yield from _cut(mixed, self.starts[-1], most, alike=False)


def _cut(first: int, last: int, most: int, *, alike: bool) -> Iterator[tuple[int, int, bool]]:
    for begin in range(first, last, most):
        yield begin, min(last, begin + most), alike


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
    result: Tensor = _Combination.apply(features, *found, degrees, parts, bias)
    return result


class _Combination(torch.autograd.Function):
    """``sum_k s_k P_k x + b`` for x = [h; statistics] and ``parts`` P, ``[3, D, 5 d]``."""

    @staticmethod
    def forward(  # type: ignore[override]
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
        ctx.degrees = degrees
        result = features.new_empty(*features.shape[:2], len(bias))
        for first, last, alike in _blocks_of(features, degrees):
            inputs = _Inputs.of(operands, degrees, first, last).flat()
            rows = result[first:last].view(-1, len(bias))
            scales = degrees.scales[first:last]
            if alike:
                torch.addmm(bias, inputs, _mix(parts, scales[0]).t(), out=rows)
            else:
                by_scale = (inputs @ parts.flatten(0, 1).t()).view(
                    last - first, -1, *parts.shape[:2]
                )
                torch.sum(by_scale.mul_(scales[:, None, :, None]), 2, out=result[first:last])
                rows += bias
        return result

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> Any:
        *operands, parts = ctx.saved_tensors
        degrees, gradient = ctx.degrees, gradient.contiguous()
        received = [torch.empty_like(each) for each in operands]
        of_parts = torch.zeros_like(parts)
        for first, last, alike in _blocks_of(operands[0], degrees):
            inputs = _Inputs.of(operands, degrees, first, last)
            rows, scales = gradient[first:last].flatten(0, 1), degrees.scales[first:last]
            if alike:
                of_inputs = rows @ _mix(parts, scales[0])
                of_parts.view(SCALES, -1).addr_(scales[0], (rows.t() @ inputs.flat()).view(-1))
            else:
                scaled = gradient[first:last, :, None] * scales[:, None, :, None]
                rows = scaled.view(-1, SCALES * gradient.shape[-1])
                of_inputs = rows @ parts.flatten(0, 1)
                of_parts.flatten(0, 1).addmm_(rows.t(), inputs.flat())
            inputs.send(of_inputs.view_as(inputs.rows), [each[first:last] for each in received])
        return *received, None, of_parts, gradient.sum((0, 1))


def _contiguous(*tensors: Tensor) -> tuple[Tensor, ...]:
    return tuple(each.contiguous() for each in tensors)


def _blocks_of(features: Tensor, degrees: Degrees) -> Iterator[tuple[int, int, bool]]:
    on_cpu = features.device.type == "cpu"
    size = _ON_CPU if on_cpu else _ELSEWHERE
    room = size.bytes * (torch.get_num_threads() if on_cpu else 1)
    _, batch, hidden = features.shape
    of_node = max(1, batch * hidden * _INPUTS * features.element_size())
    return degrees.blocks(max(1, room // of_node), -(-size.rows // max(1, batch)))


def _mix(parts: Tensor, scales: Tensor) -> Tensor:
    """Return W(n), ``[D, 5 d]``."""
    return (scales @ parts.view(SCALES, -1)).view(parts.shape[1:])


class _Inputs(NamedTuple):
    """What a block's matrices multiply.

    Attributes:
        rows: ``[n, B, 5, d]``, features, mean, largest, least and deviation.
        variance: ``[n, B, d]``.
        inverse: ``[n, 1, 1]``.
    """

    rows: Tensor
    variance: Tensor
    inverse: Tensor

    @classmethod
    def of(cls, operands: Sequence[Tensor], degrees: Degrees, first: int, last: int) -> "_Inputs":
        """Make the statistics of nodes ``first`` to ``last``."""
        features, total, squares, maximum, minimum = (each[first:last] for each in operands)
        inverse = degrees.inverse[first:last]
        rows = features.new_empty(*features.shape[:2], _INPUTS, features.shape[2])
        own, mean, largest, least, deviation = rows.unbind(2)
        own.copy_(features)
        torch.mul(total, inverse, out=mean)
        largest.copy_(maximum)
        least.copy_(minimum)
        variance = (squares * inverse).addcmul_(mean, mean, value=-1)
        torch.clamp(variance, min=_LEAST_VARIANCE, out=deviation).sqrt_()
        return cls(rows, variance, inverse)

    def flat(self) -> Tensor:
        """Return ``[n B, 5 d]``."""
        return self.rows.flatten(2).flatten(0, 1)

    def send(self, gradient: Tensor, received: Sequence[Tensor]) -> None:
        """Write what the operands receive from the gradient of ``rows``."""
        features, total, squares, maximum, minimum = received
        _, mean, _, _, deviation = self.rows.unbind(2)
        own, of_mean, largest, least, of_deviation = gradient.unbind(2)
        features.copy_(own)
        maximum.copy_(largest)
        minimum.copy_(least)
        torch.div(of_deviation, deviation, out=squares)
        squares.mul_(self.variance >= _LEAST_VARIANCE).mul_(self.inverse / 2)
        torch.mul(of_mean, self.inverse, out=total).addcmul_(mean, squares, value=-2)
