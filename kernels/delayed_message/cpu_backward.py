"""Back through all T steps of one query on the CPU, without a tensor of edges.

What comes back to a node at step t is gathered over the edges out of it: each destination keeps
the credit of its messages for as many steps as the longest delay, and every neuron picks the step
its delay points at. The product with the source's trace is the gradient of the delay. A node is
left out until credit first reaches it, exactly: until then all of it is zero.
"""

from typing import Any, NamedTuple

import numba
import numpy as np
from numpy.typing import NDArray

from neuro.kernels.delayed_message.cpu_forward import (
    Edges,
    Neurons,
    Query,
    State,
    hear,
    list_arrived,
    silence,
)
from neuro.kernels.delayed_message.operands import WORD
from neuro.kernels.delayed_message.vectors import (
    add_product,
    add_row,
    mix_rows,
    pick,
    retreat,
    scatter_events,
    weigh_bits,
)
from neuro.kernels.exponential import exp_negative
from neuro.kernels.vectors import nonzero_word

Array = NDArray[Any]


class Loss(NamedTuple):
    """What backward is given besides.

    Attributes:
        read_out: k, ``[T]``.
        trace: what spikes are filtered with for the trace, ``[T]``.
        back_table: weight, its columns cut into words, ``[words, P, 32]``.
        sharpness: of the sigmoid.
        exact: whether delays get the exact gradient.
    """

    read_out: Array
    trace: Array
    back_table: Array
    sharpness: Any
    exact: bool


class Found(NamedTuple):
    """Gradients of one query, to be filled: ``[P]``, ``[R, P]`` zeros; the rest zeros, float64:
    weight transposed in words as ``Neurons.table``, bias ``[P]``."""

    drive: Array
    delay: Array
    table: Array
    bias: Array


class Credit(NamedTuple):
    """Where one thread keeps what goes back. Rows of a node are filled once credit reaches it.

    Attributes:
        reached: whether it did, ``[N]``.
        to_potential: of v, ``[N, P]``.
        to_current: of I.
        messages: of messages that arrived, at the last ``delays + 1`` steps gone back through,
            ``[N, delays + 1, P]``.
        direct: the same of the exact rule, or empty.
        slope: of a step's spikes, ``[N + 1, P]``.
    """

    reached: Array
    to_potential: Array
    to_current: Array
    messages: Array
    direct: Array
    slope: Array


@numba.njit(nogil=True, cache=True)
def new_credit(nodes: int, neurons: Neurons, exact: bool) -> Credit:
    """Return one to be used for one query after another; memory is taken as credit spreads."""
    width, dtype = neurons.words * WORD, neurons.table.dtype
    kept = nodes * (neurons.delays + 1) * width
    return Credit(
        np.empty(nodes, np.uint8),
        np.empty(nodes * width, dtype),
        np.empty(nodes * width, dtype),
        np.empty(kept, dtype),
        np.empty(kept if exact else 0, dtype),
        np.empty((nodes + 1) * width, dtype),
    )


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _slopes(charged: Array, slope: Array, numbers: Array, sharpness: Any) -> None:
    """``slope = k e / (1 + e)^2`` with ``e = exp(-k |u - threshold|)``."""
    threshold = numbers[2]
    one = sharpness / sharpness
    for i in range(slope.size):
        e = exp_negative(sharpness * abs(charged[i] - threshold))
        share = one / (one + e)
        slope[i] = sharpness * (e * share * share)


@numba.njit(nogil=True, cache=True)
def _is_zero(row: Array) -> bool:
    for k in range(0, row.size, WORD):
        if nonzero_word(row, k, WORD) != 0:
            return False
    return True


@numba.njit(nogil=True, cache=True)
def _reach(credit: Credit, node: int, width: int, delays: int) -> None:
    credit.reached[node] = 1
    credit.to_potential[node * width : (node + 1) * width] = 0
    credit.to_current[node * width : (node + 1) * width] = 0
    kept = (delays + 1) * width
    credit.messages[node * kept : (node + 1) * kept] = 0
    if credit.direct.size > 0:
        credit.direct[node * kept : (node + 1) * kept] = 0


@numba.njit(nogil=True, cache=True)
def _gather(
    edges: Edges,
    query: Query,
    neurons: Neurons,
    credit: Credit,
    node: int,
    offsets: Array,
    flow: Array,
    picked: Array,
    trace: Array,
    traced: bool,
    to_delay: Array,
) -> None:
    """Sum what edges out of a node bring back, and add what they tell of their delays."""
    words, delays = neurons.words, neurons.delays
    width = words * WORD
    kept = (delays + 1) * width
    destinations, relations, masks = edges.out_destinations, edges.out_relations, query.masks
    reached, messages, direct = credit.reached, credit.messages, credit.direct
    flow[:width] = 0
    for e in range(edges.out_starts[node], edges.out_starts[node + 1]):
        y = np.int64(destinations[e])
        if reached[y] == 0:
            continue
        r = np.int64(relations[e])
        for w in range(words):
            k = w * WORD
            at = y * kept + k
            mask_at = r * delays * words + w
            pick(messages, at, offsets, masks, mask_at, words, delays, picked, 0)
            add_row(flow, k, picked, 0)
            if traced:
                if direct.size > 0:
                    pick(direct, at, offsets, masks, mask_at, words, delays, picked, 0)
                add_product(to_delay, r * width + k, picked, 0, trace, k)


@numba.njit(nogil=True, cache=True)
def _flush(partial: Array, total: Array) -> None:
    for i in range(partial.size):
        total[i] += partial[i]
        partial[i] = 0


@numba.njit(nogil=True, cache=True)
def go_back(
    edges: Edges,
    query: Query,
    neurons: Neurons,
    loss: Loss,
    state: State,
    credit: Credit,
    rows: int,
    spikes: Array,
    charged: Array,
    heard: Array,
    of_decoded: Array,
    found: Found,
) -> None:
    """Go back through the steps that :func:`propagate` left in its arguments.

    Args:
        edges: of the graph.
        query: that was run.
        neurons: all alike.
        loss: constants.
        state: as it was left.
        credit: filled anew.
        rows: how many there are.
        spikes: ``[N, T, words]``.
        charged: ``[T, N + 1, P]``.
        heard: ``[T, N + 1]``.
        of_decoded: ``[N, P]``.
        found: to be filled.
    """
    nodes, words, steps = state.row_of.size, neurons.words, neurons.steps
    delays, width, dtype = neurons.delays, words * WORD, neurons.table.dtype
    flow, picked, trace = np.zeros(width, dtype), np.zeros(WORD, dtype), np.zeros(width, dtype)
    through, to_charged = np.zeros(width, dtype), np.zeros(width, dtype)
    to_linear = np.zeros(width, dtype)
    index, value = np.empty(width, np.uint32), np.empty(width, dtype)
    offsets = np.empty(delays, np.int64)
    to_table, to_bias = np.zeros(neurons.table.size, dtype), np.zeros(width, dtype)
    kept = (delays + 1) * width
    credit.reached[:] = 0
    silence(state, 0, words)  # a row to hear in
    standing = rows  # rows that stand for their nodes at step t
    for t in range(steps - 1, -1, -1):
        while standing > 1 and state.woke[standing - 1] > t:
            standing -= 1
        at_t = t * (nodes + 1) * width
        if t > 0:
            length = standing * width
            _slopes(
                charged[at_t : at_t + length],
                credit.slope[:length],
                neurons.numbers,
                loss.sharpness,
            )
        else:
            _slopes(
                charged[at_t + width : at_t + 2 * width],
                credit.slope[width : 2 * width],
                neurons.numbers,
                loss.sharpness,
            )
        for j in range(delays):
            offsets[j] = (t + 1 + j) % (delays + 1) * width
        here = t % (delays + 1) * width
        for node in range(nodes if t > 0 else 1):
            if t == 0:  # the drive is all that is left to learn of
                node = query.head
            traced = state.earliest[node] <= t
            if traced:
                for w in range(words):
                    at = (node * steps + t) * words + w
                    weigh_bits(spikes, at, -words, loss.trace, t + 1, trace, w * WORD)
            _gather(
                edges,
                query,
                neurons,
                credit,
                node,
                offsets,
                flow,
                picked,
                trace,
                traced,
                found.delay,
            )
            given = node * width
            if credit.reached[node] == 0:
                if _is_zero(flow) and _is_zero(of_decoded[given : given + width]):
                    continue
                _reach(credit, node, width, delays)
            row = np.int64(state.row_of[node])
            if row >= standing:
                row = 0
            for w in range(words):
                k = w * WORD
                retreat(
                    credit.to_potential,
                    credit.to_current,
                    given + k,
                    flow,
                    k,
                    of_decoded,
                    given + k,
                    loss.read_out[t],
                    credit.slope,
                    charged,
                    at_t + row * width + k,
                    row * width + k,
                    through,
                    to_charged,
                    to_linear,
                    neurons.numbers,
                )
            if node == query.head:
                for k in range(width):
                    found.drive[k] += to_charged[k]
            if t == 0:
                break
            for w in range(words):
                k = w * WORD
                add_row(to_bias, k, to_linear, k)
                mix_rows(
                    loss.back_table,
                    k * width,
                    to_linear,
                    0,
                    width // 4,
                    credit.messages,
                    node * kept + here + k,
                )
                if loss.exact:
                    mix_rows(
                        loss.back_table,
                        k * width,
                        through,
                        0,
                        width // 4,
                        credit.direct,
                        node * kept + here + k,
                    )
            if row > 0 and heard[t * (nodes + 1) + row]:
                hear(edges, query.masks, neurons, state, spikes, t, node, 0)
                events = list_arrived(state.counts, state.arrived, 0, words, index, value)
                for w in range(words):
                    k = w * WORD
                    scatter_events(to_table, k * width, index, value, events, to_linear, k)
        _flush(to_table, found.table)
        _flush(to_bias, found.bias)
