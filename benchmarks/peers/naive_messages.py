"""Delayed messages as torch alone computes them: one tensor ``[E, B, d]`` after another.

Spikes of all steps are stacked, each edge gathers those its delay points at, messages are added up
by ``index_add`` and mixed by one matrix product; autograd goes back through all of it. A delay's
gradient enters as a term that is zero, the trace times ``delay - delay``.
"""

import math
from typing import Any

import torch
from torch import Tensor

from neuro.kernels import RelationalGraph


class _Spike(torch.autograd.Function):
    """A step whose derivative is that of a sigmoid of slope 4."""

    @staticmethod
    def forward(ctx: Any, distance: Tensor) -> Tensor:
        ctx.save_for_backward(distance)
        return (distance >= 0).to(distance.dtype)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (distance,) = ctx.saved_tensors
        step = torch.sigmoid(4 * distance)
        return gradients[0] * 4 * step * (1 - step)


def naive_messages(
    graph: RelationalGraph,
    heads: Tensor,
    drive: Tensor,
    delay: Tensor,
    weight: Tensor,
    bias: Tensor,
    read_out: Tensor,
    *,
    decay: float,
    gain: float,
    linear_scale: float,
    threshold: float = 2.0,
) -> Tensor:
    """Return ``[B, N, d]``, as ``neuro.kernels.delayed_message`` defines it."""
    tau, learning = -1 / math.log(decay), torch.is_grad_enabled() and delay.requires_grad
    batch, neurons = drive.shape
    nodes = torch.arange(graph.nodes)
    sources, relations = graph.in_sources.long(), graph.in_relations.long()
    destinations = nodes.repeat_interleave(graph.in_starts.diff())
    boundary = drive.new_zeros(graph.nodes, batch, neurons)
    boundary = boundary.index_put((heads, torch.arange(batch)), drive)
    late = delay.detach().round().long()[relations]
    column = torch.arange(batch * neurons).reshape(batch, neurons)
    place = sources[:, None, None] * (batch * neurons) + column
    current = torch.zeros_like(boundary)
    single = double = torch.zeros_like(boundary)
    history: list[Tensor] = []
    traces: list[Tensor] = []
    decoded = torch.zeros_like(boundary)
    potential = current
    for t in range(len(read_out)):
        if t > 0:
            known = late < t
            index = ((t - 1 - late).clamp_(min=0) * boundary.numel() + place).flatten()
            sent = torch.stack(history).flatten().gather(0, index).view_as(late)
            if learning:
                slope = torch.stack(traces).flatten().gather(0, index).view_as(late)
                sent = sent + slope * (delay - delay.detach()).index_select(0, relations)
            message = torch.where(known, sent, 0.0)
            arrived = torch.zeros_like(boundary).index_add(0, destinations, message)
            linear = torch.nn.functional.linear(arrived, weight, bias)
            current = decay * current + gain * linear_scale * linear
        charged = decay * potential + current + boundary
        spikes: Tensor = _Spike.apply(charged - threshold)  # type: ignore[no-untyped-call]
        potential = charged * (1 - spikes)
        history.append(spikes)
        if learning:
            fired = spikes.detach()
            double = decay * (double + single)
            single = decay * single + fired
            traces.append(-gain * ((1 - 1 / tau) * single - double / tau))
        decoded = decoded + read_out[t] * spikes
    return decoded.transpose(0, 1)
