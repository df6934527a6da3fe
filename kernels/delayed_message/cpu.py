"""Delayed messages on the CPU with Numba: each query is worked through by one thread.

Queries have nothing in common but the graph, and one fits the cache where all do not. A thread's
memory grows with the nodes it reaches, never with edges times neurons. Gradients are kept by query
and added in the order of queries, so that the number of threads changes nothing.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro.kernels.compiled import flat, share_out
from neuro.kernels.delayed_message.cpu_backward import Found, Loss, go_back, new_credit
from neuro.kernels.delayed_message.cpu_forward import (
    PUSH_BELOW,
    Edges,
    Neurons,
    Query,
    new_state,
    propagate,
)
from neuro.kernels.delayed_message.operands import (
    WORD,
    DelayedMessage,
    Dynamics,
    Gradients,
    Operands,
    words,
)
from neuro.kernels.delayed_message.vectors import weigh_bits
from neuro.kernels.jit import jit
from neuro.kernels.team import spread

Array = NDArray[Any]


@jit
def _fill_masks(delay: Array, query: int, queries: int, count: int, masks: Array) -> None:
    """Write the masks ``[R, delays, words]`` of a query from delays ``[R, B, count]``."""
    step = -(-count // WORD)
    relations = delay.size // (queries * count)
    delays = masks.size // (relations * step) if relations else 0
    masks[:] = 0
    for r in range(relations):
        for k in range(count):
            late = delay[(r * queries + query) * count + k]
            bit = np.uint32(1) << np.uint32(k % WORD)
            masks[(r * delays + late) * step + k // WORD] |= bit


@jit
def _forward(
    edges: Edges,
    heads: Array,  # [B]
    drive: Array,  # [B, P]
    delay: Array,  # [R, B, d]
    relations: int,
    count: int,  # d
    neurons: Neurons,
    read_out: Array,  # [T]
    decoded: Array,  # [B, N, d], zeros
    spikes: Array,  # [B, N, T, words], zeros; or empty, not to be kept
    spike_counts: Array,  # [B, T], zeros
    first: int,
    last: int,
    parallel: int,
    threads: int,
) -> None:
    if threads > 1:
        spread(parallel, threads)
        return
    nodes, width, steps = edges.in_starts.size - 1, neurons.words * WORD, neurons.steps
    state = new_state(nodes, neurons)
    masks = np.empty(relations * neurons.delays * neurons.words, np.uint32)
    charged, heard = np.empty(width, drive.dtype), np.empty(0, np.uint8)
    row_of_z = np.empty(width, drive.dtype)
    pace = steps * neurons.words
    keep, fits = spikes.size > 0, count == width
    own_spikes = np.empty(0 if keep else nodes * pace, np.uint32)
    own_current = np.empty(0 if fits else nodes * width, drive.dtype)
    for b in range(first, last):
        _fill_masks(delay, b, heads.size, count, masks)
        # While a query runs, its currents lie where its result will.
        result = decoded[b * nodes * count : (b + 1) * nodes * count]
        current = result if fits else own_current
        query = Query(heads[b], drive[b * width : (b + 1) * width], masks, current)
        sent = spikes[b * nodes * pace : (b + 1) * nodes * pace] if keep else own_spikes
        counted = spike_counts[b * steps : (b + 1) * steps]
        rows = propagate(edges, query, neurons, state, sent, counted, charged, heard)
        if fits:
            result[: (rows - 1) * width] = 0
        for row in range(1, rows):
            node = state.node_of[row]
            if state.earliest[node] == steps:
                continue
            for w in range(neurons.words):
                at = node * pace + w
                weigh_bits(sent, at, neurons.words, read_out, steps, row_of_z, w * WORD)
            for k in range(count):
                result[node * count + k] = row_of_z[k]


@jit
def _backward(
    edges: Edges,
    heads: Array,
    drive: Array,
    delay: Array,
    relations: int,
    count: int,
    neurons: Neurons,
    loss: Loss,
    of_decoded: Array,  # [B, N, P]
    to_drive: Array,  # [B, P], zeros, and so the next ones
    to_delay: Array,  # [B, R, P]
    to_table: Array,  # [B, words, P, 32]
    to_bias: Array,  # [B, P]
    first: int,
    last: int,
    parallel: int,
    threads: int,
) -> None:
    if threads > 1:
        spread(parallel, threads)
        return
    nodes, width, steps = edges.in_starts.size - 1, neurons.words * WORD, neurons.steps
    state, credit = new_state(nodes, neurons), new_credit(nodes, neurons, loss.exact)
    masks = np.empty(relations * neurons.delays * neurons.words, np.uint32)
    charged = np.empty(steps * (nodes + 1) * width, drive.dtype)
    heard = np.empty(steps * (nodes + 1), np.uint8)
    current = np.empty(nodes * width, drive.dtype)
    sent, counted = np.empty(nodes * steps * neurons.words, np.uint32), np.empty(steps, np.int64)
    of_relations, size = relations * width, neurons.table.size
    for b in range(first, last):
        _fill_masks(delay, b, heads.size, count, masks)
        query = Query(heads[b], drive[b * width : (b + 1) * width], masks, current)
        rows = propagate(edges, query, neurons, state, sent, counted, charged, heard)
        found = Found(
            to_drive[b * width : (b + 1) * width],
            to_delay[b * of_relations : (b + 1) * of_relations],
            to_table[b * size : (b + 1) * size],
            to_bias[b * width : (b + 1) * width],
        )
        given = of_decoded[b * nodes * width : (b + 1) * nodes * width]
        go_back(
            edges,
            query,
            neurons,
            loss,
            state,
            credit,
            rows,
            sent,
            charged,
            heard,
            given,
            found,
        )


class _Layout:
    """Arrays as the kernels take them; neurons filled up to whole words with ones that rest."""

    def __init__(self, operands: Operands, dynamics: Dynamics) -> None:
        graph, heads, drive, delay, weight, bias, read_out = operands
        self.queries, self.count = drive.shape
        self.nodes, self.steps = graph.nodes, len(read_out)
        self.relations = len(delay)
        self.words = words(self.count)
        self.width = self.words * WORD
        self.work = self.queries * self.steps * (graph.edges + graph.nodes)
        dtype = flat(bias.contiguous()).dtype
        square = self.padded(self.padded(weight.detach()).t())  # transposed
        self.back_table = flat(self.by_word(square.t()))
        numbers = (dynamics.decay, dynamics.input_gain, dynamics.threshold)
        self.neurons = Neurons(
            self.words,
            dynamics.max_delay + 1,
            self.steps,
            flat(self.by_word(square)),
            flat(self.padded(bias)),
            np.array(numbers, dtype),
            PUSH_BELOW,
        )
        self.shared = (
            Edges(*(flat(each.contiguous()) for each in graph[: len(Edges._fields)])),
            flat(heads.contiguous()),
            flat(self.padded(drive)),
            flat(delay.contiguous()),
            self.relations,
            self.count,
            self.neurons,
        )

    def padded(self, tensor: Tensor) -> Tensor:
        more = self.width - tensor.shape[-1]
        return torch.nn.functional.pad(tensor.detach(), (0, more)).contiguous()

    def by_word(self, square: Tensor) -> Tensor:
        """Cut the columns ``[P, P]`` into words ``[words, P, 32]``."""
        return square.reshape(self.width, self.words, WORD).permute(1, 0, 2).contiguous()


def forward(operands: Operands, dynamics: Dynamics, keep_spikes: bool) -> DelayedMessage:
    """Run all steps of all queries."""
    layout = _Layout(operands, dynamics)
    number = layout.neurons.table.dtype
    # What the system gives zeroed costs nothing before it is written to.
    decoded = np.zeros((layout.queries, layout.nodes, layout.count), number)
    kept = layout.steps if keep_spikes else 0
    spikes = np.zeros((layout.queries, layout.nodes, kept, layout.words), np.int32)
    counts = np.zeros((layout.queries, layout.steps), np.int64)
    results = (decoded.reshape(-1), spikes.reshape(-1).view(np.uint32), counts.reshape(-1))
    given = (*layout.shared, flat(operands.read_out.contiguous()), *results)
    share_out(_forward, given, layout.queries, layout.work)
    return DelayedMessage(*map(torch.from_numpy, (decoded, spikes, counts)))


def backward(of_decoded: Tensor, operands: Operands, dynamics: Dynamics) -> Gradients:
    """Run each query again, then back."""
    layout = _Layout(operands, dynamics)
    queries, relations, width, count = layout.queries, layout.relations, layout.width, layout.count
    table = layout.neurons.table
    trace = np.array(dynamics.trace_kernel(layout.steps), table.dtype)
    loss = Loss(
        flat(operands.read_out.contiguous()),
        trace,
        layout.back_table,
        table.dtype.type(dynamics.sharpness),
        dynamics.exact,
    )
    to_drive = np.zeros((queries, width), table.dtype)
    to_delay = np.zeros((queries, relations, width), table.dtype)
    to_table = np.zeros((queries, layout.words, width, WORD))
    to_bias = np.zeros((queries, width))
    results = (each.reshape(-1) for each in (to_drive, to_delay, to_table, to_bias))
    given = (*layout.shared, loss, flat(layout.padded(of_decoded)), *results)
    share_out(_backward, given, queries, layout.work)
    # [words, k, i] -> [i, k]
    weight = torch.from_numpy(to_table).sum(0).permute(0, 2, 1).reshape(width, width)
    return Gradients(
        torch.from_numpy(to_drive)[:, :count].contiguous(),
        torch.from_numpy(to_delay).transpose(0, 1)[..., :count].contiguous(),
        weight[:count, :count].to(operands.weight).contiguous(),
        torch.from_numpy(to_bias).sum(0)[:count].to(operands.bias).contiguous(),
    )
