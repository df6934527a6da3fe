"""Delayed messages on a GPU with Triton: steps are launches, a node of a query is a program.

A message is made as on the CPU, a few words of its source each under the mask of a delay, and 32
lanes count its bits; sums are whole numbers, so their order is free. The linear map then is summed
neuron by neuron, as the reference does, without fusing a product and a sum into one rounding
(``enable_fp_fusion=False``): spikes must equal the reference's. Backward gathers: nothing is added
atomically, and there is no tensor of edges.
"""

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from neuro.kernels.delayed_message.operands import (
    WORD,
    DelayedMessage,
    Dynamics,
    Gradients,
    Operands,
    pack,
    words,
)

_ROWS = 16
"""Nodes of a program where they only meet themselves."""
_EDGES = 256
"""Edges of one relation that one program adds up."""


@triton.jit
def _arrive(
    starts,
    sources,
    relations,
    spikes,  # [B, N, T, W]
    masks,  # [R, B, D, W]
    arrived,  # [B, N, P], to be filled
    t,
    NODES,
    QUERIES,
    STEPS,
    WORDS: tl.constexpr,
    DELAYS: tl.constexpr,
):
    y = tl.program_id(0).to(tl.int64)
    b = tl.program_id(1).to(tl.int64)
    w = tl.program_id(2)
    lanes = tl.arange(0, 32)
    count = tl.full([32], 0, tl.int32)
    for e in range(tl.load(starts + y), tl.load(starts + y + 1)):
        x = tl.load(sources + e).to(tl.int64)
        r = tl.load(relations + e).to(tl.int64)
        last = ((b * NODES + x) * STEPS + t - 1) * WORDS + w
        mask = (r * QUERIES + b) * DELAYS * WORDS + w
        word = tl.load(spikes + last) & tl.load(masks + mask)
        for j in range(1, DELAYS):
            known = j < t
            sent = tl.load(spikes + last - j * WORDS, mask=known, other=0)
            word |= sent & tl.load(masks + mask + j * WORDS)
        count += (word >> lanes) & 1
    row = (b * NODES + y) * WORDS + w
    tl.store(arrived + row * 32 + lanes, count.to(arrived.dtype.element_ty))


@triton.jit
def _advance(
    arrived,  # [B * N, P]
    table,  # [P, P], transposed weight
    bias,  # [P]
    heads,  # [B]
    drive,  # [B, P]
    numbers,  # decay, gain, threshold, sharpness
    read_out,  # [T]
    current,  # [B * N, P], and so the next three
    potential,
    decoded,
    charged,
    spikes,  # [B * N, T, W]
    t,
    NEURONS,
    NODES,
    TOTAL,
    STEPS,
    WORDS: tl.constexpr,
    FIRST: tl.constexpr,
    ROWS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    w = tl.program_id(1)
    lanes = tl.arange(0, 32)
    valid = row < TOTAL
    b = row // NODES
    is_head = valid & (tl.load(heads + b, mask=valid, other=0) == row % NODES)
    here = row[:, None] * (WORDS * 32) + w * 32 + lanes[None, :]
    driven = b[:, None] * (WORDS * 32) + w * 32 + lanes[None, :]
    boundary = tl.load(drive + driven, mask=is_head[:, None], other=0.0)
    if FIRST:
        u = boundary
        tl.store(current + here, u * 0, mask=valid[:, None])
    else:
        total = boundary * 0
        for k in range(NEURONS):
            heard = tl.load(arrived + row * (WORDS * 32) + k, mask=valid, other=0.0)
            column = tl.load(table + k * (WORDS * 32) + w * 32 + lanes)
            total += heard[:, None] * column[None, :]
        total += tl.load(bias + w * 32 + lanes)[None, :]
        decay = tl.load(numbers)
        i = decay * tl.load(current + here, mask=valid[:, None], other=0.0)
        i += tl.load(numbers + 1) * total
        u = decay * tl.load(potential + here, mask=valid[:, None], other=0.0) + i + boundary
        tl.store(current + here, i, mask=valid[:, None])
    fired = u >= tl.load(numbers + 2)
    tl.store(charged + here, u, mask=valid[:, None])
    tl.store(potential + here, tl.where(fired, 0.0, u), mask=valid[:, None])
    z = tl.load(decoded + here, mask=valid[:, None], other=0.0)
    z += tl.where(fired, tl.load(read_out + t), 0.0)
    tl.store(decoded + here, z, mask=valid[:, None])
    word = tl.sum(fired.to(tl.int32) << lanes[None, :], 1)
    tl.store(spikes + (row * STEPS + t) * WORDS + w, word, mask=valid)


@triton.jit
def _gather(
    starts,
    destinations,
    relations,
    late,  # [R, B, P]
    messages,  # [D + 1, B, N, P]
    flow,  # [B, N, P], to be filled
    t,
    NODES,
    QUERIES,
    WORDS: tl.constexpr,
    DELAYS: tl.constexpr,
):
    x = tl.program_id(0).to(tl.int64)
    b = tl.program_id(1).to(tl.int64)
    lanes = tl.program_id(2) * 32 + tl.arange(0, 32)
    total = tl.load(messages + lanes) * 0
    for e in range(tl.load(starts + x), tl.load(starts + x + 1)):
        y = tl.load(destinations + e).to(tl.int64)
        r = tl.load(relations + e).to(tl.int64)
        wait = tl.load(late + (r * QUERIES + b) * (WORDS * 32) + lanes)
        slot = ((t + 1 + wait) % (DELAYS + 1)).to(tl.int64)
        total += tl.load(messages + ((slot * QUERIES + b) * NODES + y) * (WORDS * 32) + lanes)
    tl.store(flow + (b * NODES + x) * (WORDS * 32) + lanes, total)


@triton.jit
def _credit_delays(
    firsts,  # [pieces + 1]
    of_piece,  # [pieces], relation
    sources,  # of edges by relation
    destinations,
    late,
    messages,
    trace,  # [B, N, P]
    to_delay,  # [pieces, B, P], to be filled
    t,
    NODES,
    QUERIES,
    WORDS: tl.constexpr,
    DELAYS: tl.constexpr,
):
    piece = tl.program_id(0).to(tl.int64)
    b = tl.program_id(1).to(tl.int64)
    lanes = tl.program_id(2) * 32 + tl.arange(0, 32)
    r = tl.load(of_piece + piece)
    wait = tl.load(late + (r * QUERIES + b) * (WORDS * 32) + lanes)
    slot = ((t + 1 + wait) % (DELAYS + 1)).to(tl.int64)
    total = tl.load(trace + lanes) * 0
    for e in range(tl.load(firsts + piece), tl.load(firsts + piece + 1)):
        x = tl.load(sources + e).to(tl.int64)
        y = tl.load(destinations + e).to(tl.int64)
        credit = tl.load(messages + ((slot * QUERIES + b) * NODES + y) * (WORDS * 32) + lanes)
        total += credit * tl.load(trace + (b * NODES + x) * (WORDS * 32) + lanes)
    tl.store(to_delay + (piece * QUERIES + b) * (WORDS * 32) + lanes, total)


@triton.jit
def _trace(
    spikes,  # [B * N, T, W]
    kernel,  # [T]
    trace,  # [B * N, P], to be filled
    t,
    TOTAL,
    STEPS,
    WORDS: tl.constexpr,
    ROWS: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64) * ROWS + tl.arange(0, ROWS)
    w = tl.program_id(1)
    lanes = tl.arange(0, 32)
    valid = row < TOTAL
    total = tl.full([ROWS, 32], 0.0, trace.dtype.element_ty)
    for i in range(t + 1):
        word = tl.load(spikes + (row * STEPS + t - i) * WORDS + w, mask=valid, other=0)
        fired = (word[:, None] >> lanes[None, :]) & 1
        total += tl.where(fired != 0, tl.load(kernel + i), 0.0)
    here = row[:, None] * (WORDS * 32) + w * 32 + lanes[None, :]
    tl.store(trace + here, total, mask=valid[:, None])


@triton.jit
def _retreat(
    flow,  # [E], and so all but the numbers
    of_decoded,
    charged,
    to_potential,
    to_current,
    through,
    to_charged,
    to_linear,
    read_out,
    numbers,
    t,
    TOTAL,
    BLOCK: tl.constexpr,
):
    here = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    valid = here < TOTAL
    decay = tl.load(numbers)
    threshold = tl.load(numbers + 2)
    sharpness = tl.load(numbers + 3)
    u = tl.load(charged + here, mask=valid, other=0.0)
    potential = tl.load(to_potential + here, mask=valid, other=0.0)
    e = tl.exp(-sharpness * tl.abs(u - threshold))
    slope = sharpness * e / ((1.0 + e) * (1.0 + e))
    credit = tl.load(flow + here, mask=valid, other=0.0) - potential * u
    credit += tl.load(read_out + t) * tl.load(of_decoded + here, mask=valid, other=0.0)
    direct = slope * credit
    total = direct + tl.where(u >= threshold, 0.0, potential)
    current = tl.load(to_current + here, mask=valid, other=0.0) + total
    tl.store(through + here, direct, mask=valid)
    tl.store(to_charged + here, total, mask=valid)
    tl.store(to_linear + here, tl.load(numbers + 1) * current, mask=valid)
    tl.store(to_potential + here, decay * total, mask=valid)
    tl.store(to_current + here, decay * current, mask=valid)


class _Layout:
    """Tensors as the kernels take them; neurons filled up to whole words with ones that rest."""

    def __init__(self, operands: Operands, dynamics: Dynamics) -> None:
        self.graph = type(operands.graph)(*(each.contiguous() for each in operands.graph))
        self.heads, self.read_out = operands.heads.contiguous(), operands.read_out.contiguous()
        self.queries, self.count = operands.drive.shape
        self.nodes, self.steps = self.graph.nodes, len(self.read_out)
        self.words = words(self.count)
        self.delays = dynamics.max_delay + 1
        self.drive, self.bias = self.padded(operands.drive), self.padded(operands.bias)
        self.weight = self.padded(self.padded(operands.weight).t()).t().contiguous()
        self.table = self.weight.t().contiguous()
        self.late = self.padded(operands.delay).int()
        every = torch.arange(self.delays, device=self.late.device)
        self.masks = pack(operands.delay.unsqueeze(2) == every[:, None])
        numbers = (dynamics.decay, dynamics.input_gain, dynamics.threshold, dynamics.sharpness)
        self.numbers = self.drive.new_tensor(numbers)

    def padded(self, tensor: Tensor) -> Tensor:
        more = self.words * WORD - tensor.shape[-1]
        return torch.nn.functional.pad(tensor.detach(), (0, more)).contiguous()

    def zeros(self, *leading: int) -> Tensor:
        """Return a number for every neuron, ``[..., B, N, P]``."""
        return self.drive.new_zeros((*leading, self.queries, self.nodes, self.words * WORD))

    @property
    def per_node(self) -> tuple[int, int, int]:
        return (self.nodes, self.queries, self.words)

    @property
    def per_block(self) -> tuple[int, int]:
        return (triton.cdiv(self.nodes * self.queries, _ROWS), self.words)

    def arrive(self, spikes: Tensor, arrived: Tensor, t: int) -> None:
        _arrive[self.per_node](
            self.graph.in_starts,
            self.graph.in_sources,
            self.graph.in_relations,
            spikes,
            self.masks,
            arrived,
            t,
            self.nodes,
            self.queries,
            self.steps,
            WORDS=self.words,
            DELAYS=self.delays,
            num_warps=1,
        )

    def propagate(self, decoded: Tensor, spikes: Tensor, charged: Tensor) -> None:
        """Run all steps; ``charged`` keeps u of as many as it has room for."""
        arrived, current, potential = self.zeros(), self.zeros(), self.zeros()
        for t in range(self.steps):
            if t:
                self.arrive(spikes, arrived, t)
            _advance[self.per_block](
                arrived,
                self.table,
                self.bias,
                self.heads,
                self.drive,
                self.numbers,
                self.read_out,
                current,
                potential,
                decoded,
                charged[t % len(charged)],
                spikes,
                t,
                self.count,
                self.nodes,
                self.nodes * self.queries,
                self.steps,
                WORDS=self.words,
                FIRST=t == 0,
                ROWS=_ROWS,
                enable_fp_fusion=False,
            )

    def new_spikes(self) -> Tensor:
        shape = (self.queries, self.nodes, self.steps, self.words)
        return self.heads.new_zeros(shape, dtype=torch.int32)


def forward(operands: Operands, dynamics: Dynamics, keep_spikes: bool) -> DelayedMessage:
    """Run all steps."""
    layout = _Layout(operands, dynamics)
    decoded, spikes = layout.zeros(), layout.new_spikes()
    if layout.queries:
        layout.propagate(decoded, spikes, layout.zeros(1))
    counts = torch.stack([_ones(spikes[:, :, t]) for t in range(layout.steps)], 1)
    kept = spikes if keep_spikes else spikes[:, :, :0].contiguous()
    return DelayedMessage(decoded[..., : layout.count].contiguous(), kept, counts)


def _ones(packed: Tensor) -> Tensor:
    """Count the bits of ``[B, ...]``, for each query."""
    found = packed.new_zeros(len(packed), dtype=torch.int64)
    for bit in range(WORD):
        found += (packed >> bit & 1).flatten(1).sum(1)
    return found


class _Pieces(NamedTuple):
    """Edges by relation, cut into pieces for one program each."""

    firsts: Tensor
    relations: Tensor
    sources: Tensor
    destinations: Tensor


def _by_relation(layout: _Layout, relations: int) -> _Pieces:
    graph = layout.graph
    order = graph.out_relations.argsort(stable=True)
    nodes = torch.arange(layout.nodes, device=order.device, dtype=torch.int32)
    sources = nodes.repeat_interleave(graph.out_starts.diff())
    counts = torch.bincount(graph.out_relations, minlength=relations).tolist()
    firsts, of_piece, end = [0], [], 0
    for relation, count in enumerate(counts):
        for first in range(0, count, _EDGES):
            firsts.append(end + min(first + _EDGES, count))
            of_piece.append(relation)
        end += count
    return _Pieces(
        layout.heads.new_tensor(firsts),
        layout.heads.new_tensor(of_piece),
        sources[order],
        graph.out_destinations[order],
    )


class _Credit(NamedTuple):
    """What goes back, ``[B, N, P]`` each; ``messages`` and ``direct`` for a few steps."""

    messages: Tensor
    direct: Tensor
    to_potential: Tensor
    to_current: Tensor
    flow: Tensor
    through: Tensor
    to_charged: Tensor
    to_linear: Tensor


def backward(of_decoded: Tensor, operands: Operands, dynamics: Dynamics) -> Gradients:
    """Run all steps again, then back through them."""
    layout = _Layout(operands, dynamics)
    found = Gradients(
        torch.zeros_like(layout.drive),
        layout.drive.new_zeros(layout.late.shape),
        torch.zeros_like(layout.weight),
        torch.zeros_like(layout.bias),
    )
    if layout.queries:
        spikes, charged = layout.new_spikes(), layout.zeros(layout.steps)
        layout.propagate(layout.zeros(), spikes, charged)
        _go_back(layout, dynamics, layout.padded(of_decoded), spikes, charged, found)
    count = layout.count
    return Gradients(
        found.drive[:, :count].contiguous(),
        found.delay[..., :count].contiguous(),
        found.weight[:count, :count].contiguous(),
        found.bias[:count].contiguous(),
    )


def _go_back(
    layout: _Layout,
    dynamics: Dynamics,
    of_decoded: Tensor,
    spikes: Tensor,
    charged: Tensor,
    found: Gradients,
) -> None:
    kernel = layout.drive.new_tensor(dynamics.trace_kernel(layout.steps))
    ring = layout.zeros(layout.delays + 1)
    credit = _Credit(
        ring,
        torch.zeros_like(ring) if dynamics.exact else ring,
        *(layout.zeros() for _ in range(6)),
    )
    pieces, arrived = _by_relation(layout, len(layout.late)), layout.zeros()
    batch = torch.arange(layout.queries, device=spikes.device)
    for t in _backwards(layout, credit, pieces, kernel, spikes, found):
        elements = of_decoded.numel()
        _retreat[(triton.cdiv(elements, 256),)](
            credit.flow,
            of_decoded,
            charged[t],
            credit.to_potential,
            credit.to_current,
            credit.through,
            credit.to_charged,
            credit.to_linear,
            layout.read_out,
            layout.numbers,
            t,
            elements,
            BLOCK=256,
        )
        found.drive.add_(credit.to_charged[batch, layout.heads])
        if t == 0:
            return
        layout.arrive(spikes, arrived, t)
        rows = credit.to_linear.flatten(0, 1)
        found.weight.addmm_(rows.t(), arrived.flatten(0, 1))
        found.bias.add_(rows.sum(0))
        slot = t % (layout.delays + 1)
        torch.matmul(credit.to_linear, layout.weight, out=credit.messages[slot])
        if dynamics.exact:
            torch.matmul(credit.through, layout.weight, out=credit.direct[slot])


def _backwards(
    layout: _Layout,
    credit: _Credit,
    pieces: _Pieces,
    kernel: Tensor,
    spikes: Tensor,
    found: Gradients,
) -> Iterator[int]:
    """Yield steps from the last to the first, each after its messages' credit was gathered."""
    graph, trace = layout.graph, layout.zeros()
    to_pieces = layout.drive.new_zeros((len(pieces.relations), *layout.drive.shape))
    shape: dict[str, Any] = {"WORDS": layout.words, "DELAYS": layout.delays, "num_warps": 1}
    for t in reversed(range(layout.steps)):
        _gather[layout.per_node](
            graph.out_starts,
            graph.out_destinations,
            graph.out_relations,
            layout.late,
            credit.messages,
            credit.flow,
            t,
            layout.nodes,
            layout.queries,
            **shape,
        )
        if len(to_pieces):
            rows = layout.nodes * layout.queries
            _trace[layout.per_block](
                spikes, kernel, trace, t, rows, layout.steps, WORDS=layout.words, ROWS=_ROWS
            )
            _credit_delays[(len(to_pieces), layout.queries, layout.words)](
                pieces.firsts,
                pieces.relations,
                pieces.sources,
                pieces.destinations,
                layout.late,
                credit.direct,
                trace,
                to_pieces,
                t,
                layout.nodes,
                layout.queries,
                **shape,
            )
            found.delay.index_add_(0, pieces.relations, to_pieces)
        yield t
