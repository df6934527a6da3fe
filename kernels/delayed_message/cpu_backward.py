"""Back through all T steps of one query on the CPU, without a tensor of edges.

At each step every node learns what its messages' sums are worth, and then each source looks over
its edges: what an edge's destination credits it with at step t goes back to the steps its delays
point at, and the product with the source's trace there is the gradient of the delay. Only one row
of a destination is read for an edge; the rows of the longest delay that are written are the
source's own. A node is left out until credit first reaches it, exactly: until then all of it is
zero.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuro.kernels.delayed_message.cpu_forward import (
    AHEAD,
    Edges,
    Neurons,
    Query,
    State,
    hear,
    list_arrived,
)
from neuro.kernels.delayed_message.operands import WORD
from neuro.kernels.delayed_message.vectors import (
    add_product,
    add_row,
    deal,
    mix_rows,
    pick,
    prefetch,
    retreat,
    scatter_events,
    weigh_bits,
)
from neuro.kernels.exponential import exp_negative
from neuro.kernels.jit import borrowing_jit, jit
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
        messages: of what arrived at this step.
        direct: the same of the exact rule, or empty.
        to_spikes: of the last spikes, ``[N, delays, P]``: of step t at ``t % delays``.
        slope: of a step's spikes, ``[N + 1, P]``.
        through, to_charged, to_linear: of the node at work, ``[P]``, see ``retreat``.
        traces: of the source at work, ``[delays, P]``.
        offsets: where a row of ``to_spikes`` has the step of each delay, ``[delays]``.
        picked: traces at the delays of an edge, ``[32]``.
        to_table, to_bias: what a step adds to those of :class:`Found`, zero between steps.
    """

    reached: Array
    to_potential: Array
    to_current: Array
    messages: Array
    direct: Array
    to_spikes: Array
    slope: Array
    through: Array
    to_charged: Array
    to_linear: Array
    traces: Array
    offsets: Array
    picked: Array
    to_table: Array
    to_bias: Array


@jit
def new_credit(nodes: int, neurons: Neurons, exact: bool) -> Credit:
    """Return one to be used for one query after another; memory is taken as credit spreads."""
    width, dtype = neurons.words * WORD, neurons.table.dtype
    return Credit(
        np.empty(nodes, np.uint8),
        np.empty(nodes * width, dtype),
        np.empty(nodes * width, dtype),
        np.empty(nodes * width, dtype),
        np.empty(nodes * width if exact else 0, dtype),
        np.empty(nodes * neurons.delays * width, dtype),
        np.empty((nodes + 1) * width, dtype),
        np.empty(width, dtype),
        np.empty(width, dtype),
        np.empty(width, dtype),
        np.empty(neurons.delays * width, dtype),
        np.empty(neurons.delays, np.int64),
        np.empty(WORD, dtype),
        np.zeros(neurons.table.size, dtype),
        np.zeros(width, dtype),
    )


@borrowing_jit(error_model="numpy")
def _slopes(charged: Array, slope: Array, numbers: Array, sharpness: Any) -> None:
    """``slope = k e / (1 + e)^2`` with ``e = exp(-k |u - threshold|)``."""
    threshold = numbers[2]
    one = sharpness / sharpness
    for i in range(slope.size):
        e = exp_negative(sharpness * abs(charged[i] - threshold))
        share = one / (one + e)
        slope[i] = sharpness * (e * share * share)


@borrowing_jit
def _is_zero(numbers: Array, first: int, last: int) -> Any:
    found = np.uint64(0)
    for k in range(first, last, WORD):
        found |= nonzero_word(numbers, k, WORD)
    return found == 0


@borrowing_jit
def _reach(credit: Credit, node: int, width: int, delays: int) -> None:
    credit.reached[node] = 1
    for k in range(node * width, (node + 1) * width):
        credit.to_potential[k] = 0
        credit.to_current[k] = 0
        credit.messages[k] = 0
    if credit.direct.size > 0:
        for k in range(node * width, (node + 1) * width):
            credit.direct[k] = 0
    for k in range(node * delays * width, (node + 1) * delays * width):
        credit.to_spikes[k] = 0


@borrowing_jit
def _credit_sources(
    edges: Edges,
    query: Query,
    neurons: Neurons,
    loss: Loss,
    state: State,
    credit: Credit,
    spikes: Array,
    t: int,
    to_delay: Array,
) -> None:
    """Bring what step t credits messages with back to the spikes and delays they came from."""
    words, delays, steps = neurons.words, neurons.delays, neurons.steps
    width, reach = words * WORD, min(delays, t)
    starts, destinations, relations = (
        edges.out_starts,
        edges.out_destinations,
        edges.out_relations,
    )
    masks, reached, messages, direct = query.masks, credit.reached, credit.messages, credit.direct
    to_spikes, earliest, kernel = credit.to_spikes, state.earliest, loss.trace
    traces, offsets, picked = credit.traces, credit.offsets, credit.picked
    for j in range(reach):
        offsets[j] = (t - 1 - j) % delays * width
    for node in range(reached.size):
        traced = False
        # What spikes of step 0 are worth is asked of the head alone.
        dealt = reach if node == query.head else min(reach, t - 1)
        if dealt == 0 and earliest[node] >= t:
            continue
        for e in range(starts[node], starts[node + 1]):
            ahead = destinations[min(e + AHEAD, destinations.size - 1)]
            if reached[ahead] == 1:
                prefetch(messages, ahead * width, WORD)
            y = destinations[e]
            if reached[y] != 1:
                continue
            if reached[node] == 0:
                _reach(credit, node, width, delays)
                reached[node] = 2  # at this step there is no credit of its own
            if not traced and earliest[node] < t:
                traced = True
                for j in range(reach):
                    for w in range(words):
                        at = (node * steps + t - 1 - j) * words + w
                        to = j * width + w * WORD
                        weigh_bits(spikes, at, -words, kernel, t - j, traces, to)
            r = relations[e]
            for w in range(words):
                k, mask_at = w * WORD, r * delays * words + w
                at, base = y * width + k, node * delays * width + k
                deal(to_spikes, base, offsets, masks, mask_at, words, dealt, messages, at)
                if traced:
                    pick(traces, masks, mask_at, words, reach, picked, 0, width, k)
                    if loss.exact:
                        add_product(to_delay, r * width + k, picked, 0, direct, at)
                    else:
                        add_product(to_delay, r * width + k, picked, 0, messages, at)


@borrowing_jit
def _flush(partial: Array, total: Array) -> None:
    for i in range(partial.size):
        total[i] += partial[i]
        partial[i] = 0


@borrowing_jit
def _credit_nodes(
    edges: Edges,
    query: Query,
    neurons: Neurons,
    loss: Loss,
    state: State,
    credit: Credit,
    standing: int,
    spikes: Array,
    charged: Array,
    heard: Array,
    of_decoded: Array,
    t: int,
    to_drive: Array,
) -> None:
    """Take every node that credit has reached back through step t.

    At t = 0 the drive of the head is all that is left to learn of.
    """
    nodes, words, delays = state.row_of.size, neurons.words, neurons.delays
    width, index, value = words * WORD, state.listed, state.times
    through, to_charged, to_linear = credit.through, credit.to_charged, credit.to_linear
    to_table, to_bias = credit.to_table, credit.to_bias
    reached, row_of, to_spikes = credit.reached, state.row_of, credit.to_spikes
    to_potential, to_current = credit.to_potential, credit.to_current
    messages, direct, slope = credit.messages, credit.direct, credit.slope
    numbers, table, factor = neurons.numbers, loss.back_table, loss.read_out[t]
    for node in range(nodes):
        if reached[node] == 0 or (t == 0 and node != query.head):
            continue
        reached[node] = 1
        row = row_of[node]
        if row >= standing:
            row = 0
        given, flow = node * width, (node * delays + t % delays) * width
        for w in range(words):
            k = w * WORD
            retreat(
                to_potential,
                to_current,
                given + k,
                to_spikes,
                flow + k,
                of_decoded,
                given + k,
                factor,
                slope,
                charged,
                (t * (nodes + 1) + row) * width + k,
                row * width + k,
                through,
                to_charged,
                to_linear,
                k,
                numbers,
            )
        for k in range(flow, flow + width):
            to_spikes[k] = 0
        if node == query.head:
            for k in range(width):
                to_drive[k] += to_charged[k]
        if t == 0:
            continue
        for w in range(words):
            k = w * WORD
            add_row(to_bias, k, to_linear, k)
            mix_rows(table, k * width, to_linear, 0, width // 4, messages, given + k)
            if loss.exact:
                mix_rows(table, k * width, through, 0, width // 4, direct, given + k)
        if row > 0 and heard[t * (nodes + 1) + row]:
            hear(edges, query.masks, neurons, state, spikes, t, node, False)
            events = list_arrived(state.counts, state.arrived, 0, words, index, value)
            for w in range(words):
                k = w * WORD
                scatter_events(to_table, k * width, index, value, events, to_linear, k)


@borrowing_jit
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
    steps = neurons.steps
    nodes, width = state.row_of.size, neurons.words * WORD
    credit.reached[:] = 0
    for node in range(nodes):
        if not _is_zero(of_decoded, node * width, (node + 1) * width):
            _reach(credit, node, width, neurons.delays)
    standing = rows  # rows that stand for their nodes at step t
    for t in range(steps - 1, -1, -1):
        while standing > 1 and state.woke[standing - 1] > t:
            standing -= 1
        first = t * (nodes + 1) * width
        length = standing * width
        slope = credit.slope[:length]
        _slopes(charged[first : first + length], slope, neurons.numbers, loss.sharpness)
        _credit_nodes(
            edges,
            query,
            neurons,
            loss,
            state,
            credit,
            standing,
            spikes,
            charged,
            heard,
            of_decoded,
            t,
            found.drive,
        )
        if t > 0:
            _credit_sources(edges, query, neurons, loss, state, credit, spikes, t, found.delay)
        _flush(credit.to_table, found.table)
        _flush(credit.to_bias, found.bias)
