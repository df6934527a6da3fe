"""Which messages arrive, and whom they reach, found from the spikes that queries left."""

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro.graph.grsnn import GRSNN, Spikes
from neuro.kernels import RelationalGraph
from neuro.kernels.delayed_message.operands import pack

Words = NDArray[Any]

_ONES = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)
"""Bits that are set in each 16 of them."""


class Heard(NamedTuple):
    """What reached neurons, over all queries and steps.

    Attributes:
        arrived: messages, each from one neuron to one.
        waited: those of them that had a delay, so that they spent steps in a line of delay.
        neurons: neurons that some message reached, at each step.
        nodes: nodes that some message reached, at each step.
    """

    arrived: int
    waited: int
    neurons: int
    nodes: int


@torch.no_grad()
def count_heard(model: GRSNN, graph: RelationalGraph, relations: Tensor, features: Spikes) -> Heard:
    """Count the messages that arrived, and whom they reached.

    A spike of step s on an edge with delay D arrives at step s + 1 + D, if that is T - 1 or before.

    Args:
        model: that ran the queries.
        graph: on which they ran.
        relations: ``[B]``, of the queries.
        features: what they left.
    """
    delays = model.entering(relations)[1].round()
    of_delay = [pack(delays == late) for late in range(model.delay_bound + 1)]
    masks = torch.stack(of_delay).cpu().numpy().view(np.uint32)  # [J, R, B, W]
    trains = features.trains.cpu().numpy().view(np.uint32)  # [B, N, T, W]
    arriving = graph.in_starts.diff()
    destinations = torch.arange(graph.nodes, device=arriving.device).repeat_interleave(arriving)
    edges = [
        each.cpu().long().numpy() for each in (graph.in_sources, graph.in_relations, destinations)
    ]
    found = np.zeros(len(Heard._fields), np.int64)
    for query, of_query in enumerate(trains):
        sending = of_query.any((1, 2))[edges[0]]
        sources, kinds, ends = (each[sending] for each in edges)
        if not len(sources) or model.timesteps == 1:
            continue
        firsts = np.flatnonzero(np.diff(ends, prepend=-1))
        nodes = np.zeros((model.timesteps - 1, len(firsts)), bool)
        for word in range(trains.shape[-1]):
            of_edges = masks[:, :, query, word].take(kinds, axis=1)
            found += _reach(of_query[:, :, word], of_edges, sources, firsts, nodes)
        found[-1] += np.count_nonzero(nodes)
    return Heard(*found.tolist())


def _reach(
    trains: Words, masks: Words, sources: Words, firsts: Words, nodes: NDArray[np.bool_]
) -> list[int]:
    """Return what 32 neurons of each node hear of one query, as :class:`Heard`, but no nodes.

    Args:
        trains: a word of each node and step, ``[N, T]``.
        masks: by delay the neurons of each edge that have it, ``[J, E]``.
        sources: of the edges, ``[E]``, in the order of their destinations.
        firsts: the first edge into each node.
        nodes: ``[T - 1, destinations]``, set where something was heard.
    """
    gone = trains.T[:-1].take(sources, axis=1)  # [T - 1, E], arrives a step later at the earliest
    sent = gone & masks[0]
    at_once = ones(sent)
    for late, mask in enumerate(masks[1 : len(sent)], 1):
        sent[late:] |= gone[:-late] & mask
    arrived = ones(sent)
    reached = np.bitwise_or.reduceat(sent, firsts, axis=1)
    nodes |= reached != 0
    return [arrived, arrived - at_once, ones(reached), 0]


def ones(words: Words) -> int:
    """Return how many bits are set in an array of 32-bit words without gaps."""
    flat = words.reshape(-1)
    pairs = flat[: len(flat) // 2 * 2].view(np.uint64)
    return _count(pairs) + _count(flat[2 * len(pairs) :])


def bits_by_table(words: Words) -> int:
    """Do as :func:`ones`, 16 bits at a time: what NumPy 1 can."""
    return int(_ONES[words.view(np.uint16)].sum(dtype=np.int64))


def _by_operation(words: Words) -> int:
    return int(np.bitwise_count(words).sum(dtype=np.int64))


_count = _by_operation if hasattr(np, "bitwise_count") else bits_by_table
