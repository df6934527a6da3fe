"""Arrivals in plain torch, bit by bit: the definition."""

from torch import Tensor

from neuro.kernels.delayed_message.operands import WORD, unpack
from neuro.kernels.relational_graph import RelationalGraph


def count(trains: Tensor, masks: Tensor, graph: RelationalGraph) -> list[int]:
    """Return the four numbers of :class:`Arrivals`, query by query."""
    neurons = trains.shape[-1] * WORD
    nodes = len(graph.in_starts) - 1
    entering = graph.in_starts.diff()
    ends = entering.new_tensor(range(nodes)).repeat_interleave(entering)
    arrived = waited = reached_neurons = reached_nodes = 0
    for train, mask in zip(
        unpack(trains, neurons), unpack(masks, neurons).movedim(2, 0), strict=True
    ):
        last = train.shape[1] - 1
        heard = train.new_zeros((nodes, max(last, 0), neurons))
        for late in range(min(len(mask), last)):
            gone = train[graph.in_sources.long(), : last - late]
            sent = gone & mask[late, graph.in_relations.long()].unsqueeze(1)
            arrived += int(sent.sum())
            waited += int(sent.sum()) if late else 0
            where = sent.nonzero()
            heard[ends[where[:, 0]], where[:, 1] + late, where[:, 2]] = True
        reached_neurons += int(heard.sum())
        reached_nodes += int(heard.any(-1).sum())
    return [arrived, waited, reached_neurons, reached_nodes]
