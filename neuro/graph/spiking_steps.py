"""The steps of GRSNN one by one in torch: the form its extensions need, and the plain one as well.

Messages are gathered a piece of the graph at a time and computed once more in backward, so that no
tensor of all edges is kept.
"""

from collections.abc import Iterator
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from neuro.kernels import RelationalGraph
from neuro.kernels.delayed_message.operands import pack
from neuro.surrogate import Sigmoid, Surrogate

Aggregate = Literal["sum", "pna"]

_LEAST_VARIANCE = 1e-6
_LEAST_SCALE = 1e-2
_PIECE = 1 << 22
"""Numbers of messages that are looked at together."""


class StepOptions(NamedTuple):
    """Numbers and form of the equations, see :class:`neuro.graph.GRSNN`."""

    decay: float
    gain: float
    linear_scale: float
    threshold: float
    sharpness: float
    max_delay: int
    exact: bool
    aggregate: Aggregate
    self_connection: bool


class Stepped(NamedTuple):
    """What T steps leave.

    Attributes:
        decoded: ``[B, N, d]``.
        counts: neurons that fired, ``[B, T]``.
        trains: packed spikes, ``[B, N, T, ceil(d / 32)]``.
        spikes: of each step, ``[N, B, d]``, with their gradient.
        potential: after the last reset, ``[N, B, d]``.
    """

    decoded: Tensor
    counts: Tensor
    trains: Tensor
    spikes: tuple[Tensor, ...]
    potential: Tensor


class _Past(NamedTuple):
    """Spikes and traces of the steps so far, ``[N, B, d]`` each, the latest last."""

    spikes: list[Tensor]
    traces: list[Tensor]


class _Piece(NamedTuple):
    """Edges into nodes ``first`` to ``last``; destinations count from ``first``.

    ``factors``: ``[E, 1, 1]``, what each edge's messages are multiplied with, or nothing.
    """

    first: int
    last: int
    sources: Tensor
    relations: Tensor
    destinations: Tensor
    factors: Tensor | None


def run_steps(
    graph: RelationalGraph,
    heads: Tensor,
    drive: Tensor,
    delay: Tensor,
    relation_weight: Tensor | None,
    linear: nn.Linear,
    norm: nn.LayerNorm | None,
    read_out: Tensor,
    options: StepOptions,
    *,
    edge_weight: Tensor | None = None,
    surrogate: Surrogate | None = None,
) -> Stepped:
    """Run T steps.

    Args:
        graph: N nodes.
        heads: ``[B]``.
        drive: ``[B, d]``, enters the head at every step.
        delay: ``[R, B, d]``, before rounding.
        relation_weight: ``[R, B, d]``, a factor on messages, or none.
        linear: of what a neuron hears, its own spikes first.
        norm: of the scaled linear map, or none.
        read_out: ``[T]``.
        options: the rest.
        edge_weight: ``[E]``, a factor on the messages of each edge, as the graph lists them by
            destination; or none.
        surrogate: in place of the sigmoid of ``options.sharpness``.

    Raises:
        ValueError: the exact gradient of delays is asked for; it is that of a sum of spikes alone.
    """
    if options.exact:
        raise ValueError(
            'GRSNN: delay_gradient="exact" is of the fused kernel; step by step, which this '
            'network needs, there is "released".'
        )
    batch = torch.arange(len(heads), device=heads.device)
    boundary = drive.new_zeros(graph.nodes, *drive.shape)
    boundary = boundary.index_put((heads, batch), drive)
    surrogate = surrogate or Sigmoid(slope=options.sharpness)
    pieces = list(_cut(graph, drive.numel(), edge_weight))
    past = _Past([], [])
    single = double = current = potential = torch.zeros_like(boundary)
    decoded = torch.zeros_like(boundary)
    for t, factor in enumerate(read_out):
        if t == 0:
            charged = boundary
        else:
            heard = _hear(graph, pieces, past, delay, relation_weight, options)
            if options.self_connection:
                heard = torch.cat([past.spikes[-1], heard], dim=-1)
            mixed = options.linear_scale * linear(heard)
            current = options.decay * current + options.gain * (
                mixed if norm is None else norm(mixed)
            )
            charged = options.decay * potential + current + boundary
        spikes = surrogate.spike(charged - options.threshold)
        potential = charged * (1 - spikes)
        decoded = decoded + factor * spikes
        single, double, trace = _filter(single, double, spikes.detach(), options)
        past.spikes.append(spikes)
        past.traces.append(trace)
    fired = torch.stack([spikes.detach() > 0 for spikes in past.spikes])
    packed = pack(fired).permute(2, 1, 0, 3).contiguous()
    return Stepped(
        decoded.transpose(0, 1),
        fired.sum((1, 3)).t().contiguous(),
        packed,
        tuple(past.spikes),
        potential,
    )


def _filter(
    single: Tensor, double: Tensor, spikes: Tensor, options: StepOptions
) -> tuple[Tensor, Tensor, Tensor]:
    """Filter spikes with the derivative of the alpha function, negated."""
    rate = -torch.tensor(options.decay, dtype=torch.float64).log().item()
    double = options.decay * (double + single)
    single = options.decay * single + spikes
    return single, double, -options.gain * ((1 - rate) * single - rate * double)


def _cut(
    graph: RelationalGraph, numbers: int, edge_weight: Tensor | None = None
) -> Iterator[_Piece]:
    """Cut the nodes into runs whose incoming edges carry a bounded number of numbers."""
    edges = max(_PIECE // max(numbers, 1), 1)
    starts = graph.in_starts
    counts = starts.diff()
    first = 0
    while first < graph.nodes:
        last = int(torch.searchsorted(starts, starts[first] + edges, right=True)) - 1
        last = min(max(last, first + 1), graph.nodes)
        some = slice(int(starts[first]), int(starts[last]))
        nodes = torch.arange(last - first, device=starts.device)
        yield _Piece(
            first,
            last,
            graph.in_sources[some].long(),
            graph.in_relations[some].long(),
            nodes.repeat_interleave(counts[first:last]),
            None if edge_weight is None else edge_weight[some, None, None],
        )
        first = last


def _hear(
    graph: RelationalGraph,
    pieces: list[_Piece],
    past: _Past,
    delay: Tensor,
    relation_weight: Tensor | None,
    options: StepOptions,
) -> Tensor:
    """Return what each neuron hears, ``[N, B, d]`` or ``[N, B, 12 d]``."""
    longest = min(options.max_delay, len(past.spikes) - 1)
    recent = _Past(past.spikes[::-1][: longest + 1], past.traces[::-1][: longest + 1])
    weight = torch.ones_like(delay[:0]) if relation_weight is None else relation_weight

    def of_piece(piece: _Piece, delay: Tensor, weight: Tensor, *spikes: Tensor) -> Tensor:
        message = _messages(piece, delay, spikes, recent.traces)
        if relation_weight is not None:
            message = message * weight[piece.relations]
        if piece.factors is not None:
            message = message * piece.factors
        return _aggregate(piece, message, options)

    # Gradients reach what is handed over, not what a closure holds.
    parts = [
        checkpoint(of_piece, piece, delay, weight, *recent.spikes, use_reentrant=False)
        for piece in pieces
    ]
    heard = torch.cat(parts)
    return heard if options.aggregate == "sum" else _scaled(graph, heard)


def _messages(
    piece: _Piece, delay: Tensor, spikes: tuple[Tensor, ...], traces: list[Tensor]
) -> Tensor:
    """Return the spike that each neuron of each edge delivers, ``[E, B, d]``."""
    rounded = delay.detach().round()[piece.relations]
    # 0, with the gradient of the delay: the slope of what arrives, were it a little later.
    shift = (delay - delay.detach())[piece.relations]
    message = torch.zeros_like(rounded)
    for late, (fired, trace) in enumerate(zip(spikes, traces, strict=True)):
        sent = (rounded == late).to(fired.dtype)
        message = message + sent * (fired[piece.sources] + shift * trace[piece.sources])
    return message


def _aggregate(piece: _Piece, message: Tensor, options: StepOptions) -> Tensor:
    """Return the sum of messages of each node, or their sum, largest, least and squares."""
    shape = (piece.last - piece.first, *message.shape[1:])
    total = message.new_zeros(shape).index_add(0, piece.destinations, message)
    if options.aggregate == "sum":
        return total
    squares = message.new_zeros(shape).index_add(0, piece.destinations, message.square())
    index = piece.destinations[:, None, None].expand_as(message)
    largest, least = (
        message.new_zeros(shape).scatter_reduce(0, index, message, how, include_self=False)
        for how in ("amax", "amin")
    )
    return torch.cat([total, largest, least, squares], dim=-1)


def _scaled(graph: RelationalGraph, heard: Tensor) -> Tensor:
    """Return mean, largest, least and deviation, each times 1, s and 1/s of its node."""
    total, largest, least, squares = heard.chunk(4, dim=-1)
    degree = (graph.out_starts.diff() + 1).to(heard.dtype)[:, None, None]
    mean = total / degree
    deviation = (squares / degree - mean.square()).clamp(min=_LEAST_VARIANCE).sqrt()
    statistics = torch.cat([mean, largest, least, deviation], dim=-1)
    scale = degree.log()
    scale = scale / scale.mean().clamp(min=torch.finfo(heard.dtype).tiny)
    inverse = 1 / scale.clamp(min=_LEAST_SCALE)
    return torch.cat([statistics, scale * statistics, inverse * statistics], dim=-1)
