"""Arrivals in plain torch, bit by bit: the definition."""

import torch
from torch import Tensor

from neuro.kernels.delayed_message.operands import WORD, unpack
from neuro.kernels.relational_graph import RelationalGraph


def count(trains: Tensor, masks: Tensor, graph: RelationalGraph) -> list[list[int]]:
    """Return the numbers of :class:`Arrivals`, query by query."""
    neurons, last = trains.shape[-1] * WORD, max(trains.shape[2] - 1, 0)
    nodes = graph.nodes
    entering = graph.in_starts.diff()
    ends = torch.arange(nodes, device=trains.device).repeat_interleave(entering)
    found = trains.new_zeros((4, last), dtype=torch.int64)
    arrived, waited, of_neurons, of_nodes = found
    for train, mask in zip(
        unpack(trains, neurons), unpack(masks, neurons).movedim(2, 0), strict=True
    ):
        heard = train.new_zeros((nodes, last, neurons))
        for late in range(min(len(mask), last)):
            gone = train[graph.in_sources.long(), : last - late]
            sent = gone & mask[late, graph.in_relations.long()].unsqueeze(1)
            arrived[: last - late] += sent.sum((0, 2))
            if late:
                waited[: last - late] += sent.sum((0, 2))
            where = sent.nonzero()
            heard[ends[where[:, 0]], where[:, 1] + late, where[:, 2]] = True
        of_neurons += heard.sum((0, 2))
        of_nodes += heard.any(-1).sum(0)
    return found.tolist()
