"""All T steps of one query on the CPU: who sends, what arrives, and the nodes it wakes.

A node no message has reached yet behaves as any other: as its bias does. One row of neurons, the
sleepers' own, stands for all of them, and a node gets a row of its own when a first spike reaches
it. Should a sleeper's neuron fire, all nodes fire it, and all wake up.

Spikes lie side by side in time, a word for 32 neurons, so that a message is a few words of its
source, each under the mask of the neurons that have its delay. A step either pushes (each recent
sender along its edges) or pulls (each node over the edges to it, right before its own step),
whichever meets fewer edges.
"""

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuro.kernels.delayed_message.operands import WORD
from neuro.kernels.delayed_message.vectors import add_bits, advance, mix_events, prefetch, set_bits
from neuro.kernels.jit import borrowing_jit, jit
from neuro.kernels.vectors import count_bits, lowest_bit

Array = NDArray[Any]

PUSH_BELOW = 0.5
"""Share of all edges that a step may push along before it pulls."""

AHEAD = 16
"""Edges between the one at work and the one whose far end is fetched."""


class Edges(NamedTuple):
    """The arrays of a :class:`~neuro.kernels.relational_graph.RelationalGraph`."""

    in_starts: Array
    in_sources: Array
    in_relations: Array
    out_starts: Array
    out_destinations: Array
    out_relations: Array


class Query(NamedTuple):
    """One query. P: d, filled up to whole words.

    Attributes:
        head: the node it drives.
        drive: ``[P]``.
        masks: of its delays, ``[R, delays, words]``: the bits of the neurons that have one.
        current: room for I of the nodes awake, ``[N, P]``.
    """

    head: int
    drive: Array
    masks: Array
    current: Array


class Neurons(NamedTuple):
    """What all nodes and queries share.

    Attributes:
        words: of 32 neurons, a node.
        delays: ``max_delay + 1``.
        steps: T.
        table: transposed weight, ``[words, P, 32]``.
        bias: ``[P]``.
        numbers: decay, gain, threshold.
        push_below: see ``PUSH_BELOW``.
    """

    words: int
    delays: int
    steps: int
    table: Array
    bias: Array
    numbers: Array
    push_below: float


class State(NamedTuple):
    """Where one thread keeps a query. Rows: 0 the sleepers', 1 the head's, then in waking order.

    What a step leaves of row r >= 1 lies at r - 1, of the sleepers by itself.

    Attributes:
        row_of: row of a node, 0 while it sleeps, ``[N]``.
        node_of: node of a row, ``[N + 1]``.
        woke: first step that a row of its own stands for a node, ``[N + 1]``.
        latest: when a node fired last, ``[N]``; -1 never.
        earliest: when it first did, ``[N]``; T never.
        potential: v of the nodes awake, ``[N, P]``.
        sleeping_current: I of the sleepers, ``[P]``.
        sleeping_potential: v likewise.
        counts: messages that arrived in this step, ``[N + 1, P]``; only where any did. Row 0 is
            for what is used up at once.
        arrived: neurons they arrived at, ``[N + 1, words]``.
        senders: nodes that fired within the longest delay, ``[N]``.
        listed, times: neurons messages arrived at, and how many, of the row at work, ``[P]``.
        mixed: what that comes to, ``[2 P]``; its second half stays zero.
        drive: of the head, ``[2 P]``, likewise.
        sleeping: spikes of the sleepers, ``[words]``.
    """

    row_of: Array
    node_of: Array
    woke: Array
    latest: Array
    earliest: Array
    potential: Array
    sleeping_current: Array
    sleeping_potential: Array
    counts: Array
    arrived: Array
    senders: Array
    listed: Array
    times: Array
    mixed: Array
    drive: Array
    sleeping: Array


@jit
def new_state(nodes: int, neurons: Neurons) -> State:
    """Return a state to be used for one query after another; memory is taken as nodes wake."""
    width, dtype = neurons.words * WORD, neurons.table.dtype
    return State(
        np.empty(nodes, np.int32),
        np.empty(nodes + 1, np.int32),
        np.empty(nodes + 1, np.int32),
        np.empty(nodes, np.int32),
        np.empty(nodes, np.int32),
        np.empty(nodes * width, dtype),
        np.empty(width, dtype),
        np.empty(width, dtype),
        np.empty((nodes + 1) * width, np.int32),
        np.empty((nodes + 1) * neurons.words, np.uint32),
        np.empty(nodes, np.int32),
        np.empty(width, np.uint32),
        np.empty(width, dtype),
        np.zeros(2 * width, dtype),
        np.zeros(2 * width, dtype),
        np.empty(neurons.words, np.uint32),
    )


@borrowing_jit
def silence(state: State, row: int, words: int) -> None:
    """Nothing has arrived at a row."""
    for w in range(row * words, (row + 1) * words):
        state.arrived[w] = 0


@borrowing_jit
def _wake(
    state: State, current: Array, spikes: Array, node: int, row: int, step: int, neurons: Neurons
) -> None:
    """Give a node a row of its own, a copy of the sleepers', and no spikes so far."""
    words, steps = neurons.words, neurons.steps
    state.row_of[node] = row
    state.node_of[row] = node
    state.woke[row] = step
    to = (row - 1) * words * WORD
    for k in range(words * WORD):
        current[to + k] = state.sleeping_current[k]
        state.potential[to + k] = state.sleeping_potential[k]
    silence(state, row, words)
    for k in range(node * steps * words, (node + 1) * steps * words):
        spikes[k] = 0


@borrowing_jit
def message(spikes: Array, at: int, step: int, reach: int, masks: Array, mask_at: int) -> Any:
    """Return the word that arrives: of spikes at ``at``, and ``step`` words before each further
    delay below ``reach``."""
    word = np.uint32(0)
    for j in range(reach):
        word |= spikes[at - j * step] & masks[mask_at + j * step]
    return word


@borrowing_jit
def _arrive(counts: Array, arrived: Array, place: int, word: Any) -> None:
    """Count a message to the neurons of a word."""
    if arrived[place] == 0:
        set_bits(counts, place * WORD, word)
    else:
        add_bits(counts, place * WORD, word)
    arrived[place] |= word


@borrowing_jit
def _push(
    edges: Edges,
    query: Query,
    neurons: Neurons,
    state: State,
    spikes: Array,
    t: int,
    senders: int,
    rows: int,
) -> int:
    """Send along the edges of all senders; return how many rows there are then."""
    words, steps, delays = neurons.words, neurons.steps, neurons.delays
    starts, destinations, relations = (
        edges.out_starts,
        edges.out_destinations,
        edges.out_relations,
    )
    masks, row_of = query.masks, state.row_of
    reach = min(delays, t)
    for i in range(senders):
        x = state.senders[i]
        for e in range(starts[x], starts[x + 1]):
            mask_at = relations[e] * delays * words
            for w in range(words):
                at = (x * steps + t - 1) * words + w
                word = message(spikes, at, words, reach, masks, mask_at + w)
                if word != 0:
                    y = destinations[e]
                    if row_of[y] == 0:
                        _wake(state, query.current, spikes, y, rows, t, neurons)
                        rows += 1
                    _arrive(state.counts, state.arrived, row_of[y] * words + w, word)
    return rows


@borrowing_jit
def hear(
    edges: Edges,
    masks: Array,
    neurons: Neurons,
    state: State,
    spikes: Array,
    t: int,
    y: int,
    first: bool,
) -> bool:
    """Count what arrives at node y at step t, in row 0, at which nothing has; tell whether anything
    does. Or tell ``first``, at the first message, and count nothing more."""
    words, steps, delays, anything = neurons.words, neurons.steps, neurons.delays, False
    sources, relations = edges.in_sources, edges.in_relations
    latest, earliest = state.latest, state.earliest
    reach = min(delays, t)
    for e in range(edges.in_starts[y], edges.in_starts[y + 1]):
        ahead = sources[min(e + AHEAD, sources.size - 1)]
        if latest[ahead] >= t - reach:
            prefetch(spikes, (ahead * steps + t - reach) * words, 1)
        x = sources[e]
        if latest[x] < t - reach or earliest[x] >= t:
            continue
        mask_at = relations[e] * delays * words
        for w in range(words):
            at = (x * steps + t - 1) * words + w
            word = message(spikes, at, words, reach, masks, mask_at + w)
            if word != 0:
                if first:
                    return True
                _arrive(state.counts, state.arrived, w, word)
                anything = True
    return anything


@borrowing_jit
def _rouse(
    edges: Edges, query: Query, neurons: Neurons, state: State, spikes: Array, t: int, rows: int
) -> int:
    """Wake every node at which anything arrives; return how many rows there are then."""
    for y in range(state.row_of.size):
        if state.row_of[y] == 0 and hear(edges, query.masks, neurons, state, spikes, t, y, True):
            _wake(state, query.current, spikes, y, rows, t, neurons)
            rows += 1
    return rows


@borrowing_jit
def list_arrived(
    counts: Array, arrived: Array, row: int, words: int, index: Array, value: Array
) -> int:
    """List neurons that messages arrived at, and how many; clear the row; return their number."""
    events = 0
    for w in range(words):
        place = row * words + w
        bits = np.uint64(arrived[place])
        while bits != 0:
            k = w * WORD + lowest_bit(bits)
            index[events] = k
            value[events] = counts[row * words * WORD + k]
            events += 1
            bits &= bits - np.uint64(1)
        arrived[place] = 0
    return events


@borrowing_jit
def _note(state: State, node: int, t: int) -> None:
    state.latest[node] = t
    if state.earliest[node] > t:
        state.earliest[node] = t


@borrowing_jit
def propagate(
    edges: Edges,
    query: Query,
    neurons: Neurons,
    state: State,
    spikes: Array,
    spike_counts: Array,
    charged: Array,
    heard: Array,
) -> int:
    """Run all steps; return how many rows there are.

    Args:
        edges: of the graph.
        query: to be run.
        neurons: all alike.
        state: filled anew.
        spikes: ``[N, T, words]`` uint32, to be filled where nodes wake.
        spike_counts: ``[T]`` zeros, to be added to.
        charged: u of each row before its reset, ``[T, N + 1, P]``, to be filled from the step a
            row stands for a node; or ``[P]``, not to be kept.
        heard: whether a message arrived, ``[T, N + 1]``, to be filled likewise; or empty.
    """
    nodes, words, steps = state.row_of.size, neurons.words, neurons.steps
    width = words * WORD
    keep = heard.size > 0
    index, value, sleeping = state.listed, state.times, state.sleeping
    mixed, drive = state.mixed, state.drive
    for k in range(width):
        drive[k] = query.drive[k]
    state.row_of[:] = 0
    state.latest[:] = -1
    state.earliest[:] = steps
    state.sleeping_current[:] = 0
    state.sleeping_potential[:] = 0
    silence(state, 0, words)
    _wake(state, query.current, spikes, query.head, 1, 0, neurons)
    rows, senders, out_edges = 2, 0, 0
    for t in range(steps):
        pull = t > 0 and out_edges > neurons.push_below * edges.in_sources.size
        if pull:
            rows = _rouse(edges, query, neurons, state, spikes, t, rows)
        elif t > 0:
            rows = _push(edges, query, neurons, state, spikes, t, senders, rows)
        senders = out_edges = 0
        sleepers_fired = np.uint32(0)
        # The sleepers' row comes last: nodes woken at this step copied it as it was before.
        for row in range(1, rows + 1):
            if row == rows:
                row = 0
            node = state.node_of[row]
            events = 0
            if row > 0 and t > 0:
                place = row
                if pull:
                    hear(edges, query.masks, neurons, state, spikes, t, node, False)
                    place = 0
                events = list_arrived(state.counts, state.arrived, place, words, index, value)
            current, potential, at = state.sleeping_current, state.sleeping_potential, 0
            if row > 0:
                current, potential, at = query.current, state.potential, (row - 1) * width
            base = 0
            if keep:
                base = (t * (nodes + 1) + row) * width
                heard[t * (nodes + 1) + row] = events > 0
            unheard = 0 if events > 0 else width
            undriven = 0 if row == 1 else width
            for w in range(words):
                k = w * WORD
                if t == 0:  # there is no current yet
                    word = _start(
                        current,
                        potential,
                        at + k,
                        drive,
                        undriven + k,
                        charged,
                        base + k,
                        neurons.numbers,
                    )
                else:
                    if events > 0:
                        mix_events(neurons.table, k * width, index, value, events, mixed, k)
                    word = advance(
                        current,
                        potential,
                        at + k,
                        mixed,
                        unheard + k,
                        neurons.bias,
                        k,
                        drive,
                        undriven + k,
                        charged,
                        base + k,
                        neurons.numbers,
                    )
                if row == 0:
                    sleeping[w] = word
                    sleepers_fired |= word
                elif word != 0:
                    spikes[(node * steps + t) * words + w] = word
                    spike_counts[t] += count_bits(np.uint64(word))
                    _note(state, node, t)
            if row > 0 and state.latest[node] > max(t - neurons.delays, -1):
                state.senders[senders] = node
                senders += 1
                out_edges += edges.out_starts[node + 1] - edges.out_starts[node]
        if sleepers_fired != 0:
            for node in range(nodes):
                if state.row_of[node] > 0:
                    continue
                _wake(state, query.current, spikes, node, rows, t + 1, neurons)
                rows += 1
                for w in range(words):
                    spikes[(node * steps + t) * words + w] = sleeping[w]
                    spike_counts[t] += count_bits(np.uint64(sleeping[w]))
                _note(state, node, t)
                state.senders[senders] = node
                senders += 1
                out_edges += edges.out_starts[node + 1] - edges.out_starts[node]
    return rows


@borrowing_jit
def _start(
    current: Array,
    potential: Array,
    at: int,
    drive: Array,
    k: int,
    charged: Array,
    base: int,
    numbers: Array,
) -> Any:
    """Take a row of neurons through step 0: the drive alone charges it, and no current flows."""
    word = np.uint32(0)
    for i in range(WORD):
        u = drive[k + i]
        charged[base + i] = u
        current[at + i] = 0
        fired = u >= numbers[2]
        word |= np.uint32(fired) << np.uint32(i)
        potential[at + i] = 0 if fired else u
    return word
