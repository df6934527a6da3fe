"""Which messages arrive, and whom they reach, found from the spikes that queries left."""

import torch
from torch import Tensor

from neuro.graph.grsnn import GRSNN, Spikes
from neuro.kernels import Arrivals, RelationalGraph, count_arrivals
from neuro.kernels.delayed_message.operands import pack


@torch.no_grad()
def count_heard(
    model: GRSNN, graph: RelationalGraph, relations: Tensor, features: Spikes
) -> Arrivals:
    """Count the messages that arrived, and whom they reached.

    A spike of step s on an edge with delay D arrives at step s + 1 + D, if that is T - 1 or before.

    Args:
        model: that ran the queries.
        graph: on which they ran.
        relations: ``[B]``, of the queries.
        features: what they left, spike trains kept.
    """
    delays = model.entering(relations)[1].round()
    of_delay = [pack(delays == late) for late in range(model.delay_bound + 1)]
    return count_arrivals(features.trains, torch.stack(of_delay), graph)
