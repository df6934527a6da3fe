"""Arrivals on the CPU with Numba: 32 neurons in a word, 16 steps of it in a vector.

What leaves a node at all steps is met with the neurons that have a delay on an edge, at once for
all steps, and kept by delay until the node has heard every edge; only then each delay is shifted.
"""

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numpy.typing import NDArray
from torch import Tensor

from neuro.kernels.compiled import flat, share_out
from neuro.kernels.jit import jit
from neuro.kernels.relational_graph import RelationalGraph
from neuro.kernels.team import spread
from neuro.kernels.vectors import Writer, count_bits, intrinsic, lanes

Array = NDArray[Any]

_STEPS = lanes(np.uint32)
"""Steps in a vector."""


@intrinsic
def _hear(
    typing: Any,
    trains: Any,
    at: Any,
    width: Any,
    sources: Any,
    masks: Any,
    mask: Any,
    pitch: Any,
    relations: Any,
    start: Any,
    stop: Any,
    heard: Any,
    counts: Any,
    to: Any,
) -> Any:
    """Hear edges at the steps of a vector, all that is heard staying in registers::

        sent = trains[at + sources[e] * width:] & masks[mask + relations[e] * pitch]
        heard[to:] = what is in any sent        counts[to:] = bits of all sent

    for e in [start, stop).
    """
    place = types.intp

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Writer(context, builder, signature)
        data = {k: code.data(args, k) for k in (0, 3, 4, 7, 10, 11)}
        name = f"llvm.ctpop.v{code.length}i32"
        kind = ir.FunctionType(code.vector, [code.vector])
        ones = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
        nothing = ir.Constant(code.vector, None)
        with code.loop(args[8], args[9], (nothing, nothing)) as (edge, carried):
            train = code.load(data[0], code.row(data[3], edge, args[2], args[1]))
            chosen = code.element(data[4], code.row(data[7], edge, args[6], args[5]))
            sent = builder.and_(train, code.spread(chosen))
            carried[0] = builder.or_(carried[0], sent)
            carried[1] = builder.add(carried[1], builder.call(ones, [sent]))
        code.store(carried[0], data[10], args[12])
        code.store(carried[1], data[11], args[12])
        return context.get_dummy_value()

    kinds = (trains, place, place, sources, masks, place, place, relations)
    return types.void(*kinds, place, place, heard, counts, place), write


@jit
def _run(
    trains: Array,  # [B * N * W * S] uint32, S whole vectors of steps, 0 from T - 1 on
    masks: Array,  # [J * R * B * W] uint32
    starts: Array,  # [N + 1]
    sources: Array,  # [E]
    relations: Array,  # [E]
    queries: int,
    nodes: int,
    words: int,
    steps: int,  # at which something can arrive, T - 1
    room: int,  # S
    kinds: int,
    delays: int,  # at most T - 1
    found: Array,  # [B * 4 * S] zeros, to be added to
    first: int,  # of the queries
    last: int,
    parallel: int,
    threads: int,
) -> None:
    if threads > 1:
        spread(parallel, threads)
        return
    heard = np.empty(delays * words * room, np.uint32)
    counts = np.empty(delays * words * room, np.uint32)
    together = np.zeros(words, np.uint32)
    silent = np.empty(nodes, np.bool_)
    for query in range(first, last):
        arrived = found[4 * query * room : (4 * query + 1) * room]
        waited = found[(4 * query + 1) * room : (4 * query + 2) * room]
        neurons = found[(4 * query + 2) * room : (4 * query + 3) * room]
        reached = found[(4 * query + 3) * room : (4 * query + 4) * room]
        for node in range(nodes):
            train = (query * nodes + node) * words * room
            silent[node] = not trains[train : train + words * room].any()
        for node in range(nodes):
            begin, end = starts[node], starts[node + 1]
            nothing = True
            for edge in range(begin, end):
                nothing = nothing and silent[sources[edge]]
            if nothing:
                continue
            for late in range(delays):
                for word in range(words):
                    for step in range(0, room, _STEPS):
                        _hear(
                            trains,
                            (query * nodes * words + word) * room + step,
                            words * room,
                            sources,
                            masks,
                            (late * kinds * queries + query) * words + word,
                            queries * words,
                            relations,
                            begin,
                            end,
                            heard,
                            counts,
                            (late * words + word) * room + step,
                        )
            for late in range(delays):
                for word in range(words):
                    place = (late * words + word) * room
                    for step in range(steps - late):
                        arrived[step] += counts[place + step]
                        if late:
                            waited[step] += counts[place + step]
            for step in range(steps):
                together[:] = 0
                for late in range(min(delays, step + 1)):
                    for word in range(words):
                        together[word] |= heard[(late * words + word) * room + step - late]
                count = 0
                for word in range(words):
                    count += count_bits(np.uint64(together[word]))
                neurons[step] += count
                reached[step] += count > 0


def count(trains: Tensor, masks: Tensor, graph: RelationalGraph) -> list[list[int]]:
    """Return the numbers of :class:`Arrivals`."""
    queries, nodes, steps, words = trains.shape
    delays, kinds = masks.shape[:2]
    steps = max(steps - 1, 0)
    room = -(-max(steps, 1) // _STEPS) * _STEPS
    padded = trains.new_zeros(queries, nodes, words, room)
    padded[..., :steps] = trains[:, :, :steps].transpose(2, 3)
    found = np.zeros((queries, 4, room), np.int64)
    operands = (
        flat(padded).view(np.uint32),
        flat(masks).view(np.uint32),
        *(flat(each) for each in (graph.in_starts, graph.in_sources, graph.in_relations)),
        *(queries, nodes, words, steps, room, kinds, min(delays, steps)),
        found.reshape(-1),
    )
    share_out(_run, operands, queries, queries * (graph.edges + nodes) * words * room)
    numbers: list[list[int]] = found.sum(0)[:, :steps].tolist()
    return numbers
