"""Delayed messages in plain torch, edge by edge: the definition the other implementations equal.

Every product and sum is an operation of its own, and the linear map is summed neuron by neuron in
their order: another order could move a potential across the threshold.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from neuro.kernels.delayed_message.operands import (
    DelayedMessage,
    Dynamics,
    Gradients,
    Operands,
    pack,
)
from neuro.kernels.surrogates import DERIVATIVES


class _Step(NamedTuple):
    """A step: spikes [N, B, d], potential before the reset, and what messages summed to."""

    fired: Tensor
    charged: Tensor
    arrived: Tensor


@torch.no_grad()
def forward(operands: Operands, dynamics: Dynamics, keep_spikes: bool) -> DelayedMessage:
    """Run all steps."""
    decoded = operands.drive.new_zeros(_shape(operands))
    history = []
    for step, weight in zip(_steps(operands, dynamics), operands.read_out, strict=True):
        history.append(step.fired)
        decoded = decoded + weight * step.fired
    spikes = torch.stack(history)
    packed = pack(spikes if keep_spikes else spikes[:0]).permute(2, 1, 0, 3).contiguous()
    return DelayedMessage(
        decoded.transpose(0, 1).contiguous(), packed, spikes.sum((1, 3)).t().contiguous()
    )


@torch.no_grad()
def backward(of_decoded: Tensor, operands: Operands, dynamics: Dynamics) -> Gradients:
    """Run all steps again, then back through them."""
    _, heads, drive, delay, weight, bias, read_out = operands
    history = list(_steps(operands, dynamics))
    traces = _traces(history, dynamics)
    psi = DERIVATIVES["sigmoid"]
    gain, batch = dynamics.input_gain, torch.arange(len(heads), device=heads.device)
    of_decoded = of_decoded.transpose(0, 1)
    to_spikes = [factor * of_decoded for factor in read_out]
    found = Gradients(
        torch.zeros_like(drive),
        drive.new_zeros(delay.shape),
        torch.zeros_like(weight),
        torch.zeros_like(bias),
    )
    to_potential = to_current = torch.zeros_like(of_decoded)
    for t in reversed(range(len(history))):
        fired, charged, arrived = history[t]
        # what comes back through the spike: messages, read-out and reset
        through_spike = psi(charged - dynamics.threshold, dynamics.sharpness)
        through_spike = through_spike * (to_spikes[t] - to_potential * charged)
        to_charged = through_spike + to_potential * ~fired
        found.drive.add_(to_charged[heads, batch])
        if t == 0:
            break
        to_current = to_current + to_charged
        to_linear = gain * to_current
        found.weight.add_(torch.einsum("nbi,nbk->ik", to_linear, arrived))
        found.bias.add_(to_linear.sum((0, 1)))
        to_arrived = to_linear @ weight
        credit = through_spike @ weight if dynamics.exact else to_arrived
        for edges, sent, place in _messages(operands, t):
            back = sent * to_arrived[edges.destinations]
            to_spikes_of_all = torch.stack(to_spikes[:t])
            to_spikes_of_all.index_put_(place, back, accumulate=True)
            to_spikes[:t] = to_spikes_of_all
            back = sent * credit[edges.destinations] * torch.stack(traces[:t])[place]
            found.delay.index_add_(0, edges.relations, back)
        to_potential = dynamics.decay * to_charged
        to_current = dynamics.decay * to_current
    return found


def _shape(operands: Operands) -> tuple[int, int, int]:
    return (operands.graph.nodes, *operands.drive.shape)


def _steps(operands: Operands, dynamics: Dynamics) -> Iterator[_Step]:
    boundary = operands.drive.new_zeros(_shape(operands))
    batch = torch.arange(len(operands.heads), device=boundary.device)
    boundary[operands.heads, batch] = operands.drive
    current = potential = torch.zeros_like(boundary)
    history: list[Tensor] = []
    for t in range(len(operands.read_out)):
        arrived = torch.zeros_like(boundary)
        if t == 0:
            charged = boundary
        else:
            for edges, sent, place in _messages(operands, t):
                message = sent & torch.stack(history)[place]
                arrived.index_add_(0, edges.destinations, message.to(arrived.dtype))
            linear = _linear(arrived, operands.weight) + operands.bias
            current = dynamics.decay * current + dynamics.input_gain * linear
            charged = dynamics.decay * potential + current + boundary
        fired = charged >= dynamics.threshold
        potential = torch.where(fired, 0, charged)
        history.append(fired)
        yield _Step(fired, charged, arrived)


def _linear(arrived: Tensor, weight: Tensor) -> Tensor:
    """``W @ arrived``, from the first neuron to the last, each product rounded."""
    total = torch.zeros_like(arrived)
    for k in range(len(weight)):
        total = total + arrived[..., k : k + 1] * weight[:, k]
    return total


class _Edges(NamedTuple):
    sources: Tensor
    relations: Tensor
    destinations: Tensor


_Place = tuple[Tensor, Tensor, Tensor, Tensor]

_CHUNK = 1 << 22
"""Neurons of edges that are looked at together."""


def _messages(operands: Operands, t: int) -> Iterator[tuple[_Edges, Tensor, _Place]]:
    """Yield edges, which of their neurons send to step t, and where in the history what they send
    lies; ``[E, B, d]`` each, edges in a few pieces."""
    graph, (batch, neurons) = operands.graph, operands.drive.shape
    nodes = torch.arange(graph.nodes, device=graph.in_starts.device)
    destinations = nodes.repeat_interleave(graph.in_starts.diff())
    piece = max(1, _CHUNK // max(1, batch * neurons))
    columns = torch.arange(batch, device=nodes.device)[:, None]
    rows = torch.arange(neurons, device=nodes.device)
    for first in range(0, graph.edges, piece):
        edges = _Edges(
            graph.in_sources[first : first + piece].long(),
            graph.in_relations[first : first + piece].long(),
            destinations[first : first + piece],
        )
        delay = operands.delay[edges.relations]
        sent = delay < t
        place = (t - 1 - delay).clamp(min=0)
        yield edges, sent, (place, edges.sources[:, None, None], columns, rows)


def _traces(history: list[_Step], dynamics: Dynamics) -> list[Tensor]:
    """Filter spikes with ``-eps'``, by recurrence: B <- lam (B + A), A <- lam A + s."""
    tau, traces = dynamics.time_constant, []
    gain = dynamics.input_gain if dynamics.exact else dynamics.gain
    single = double = torch.zeros_like(history[0].charged)
    for step in history:
        double = dynamics.decay * (double + single)
        single = dynamics.decay * single + step.fired
        traces.append(-gain * ((1 - 1 / tau) * single - double / tau))
    return traces
