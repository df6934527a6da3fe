"""What delayed messages take and return, as every implementation sees it."""

import math
from typing import NamedTuple

import torch
from torch import Tensor

from neuro.kernels.relational_graph import RelationalGraph

WORD = 32
"""Neurons whose spikes share a word."""


class DelayedMessage(NamedTuple):
    """What T steps leave.

    Attributes:
        decoded: z, ``[B, N, d]``: the spikes of a neuron, weighted by ``read_out``.
        spikes: ``[B, N, T, ceil(d / 32)]`` int32: bit i of word w is neuron ``32 w + i``. Of no
            step, ``[B, N, 0, ...]``, if they are not kept.
        spike_counts: ``[B, T]`` int64: how many neurons fired.
    """

    decoded: Tensor
    spikes: Tensor
    spike_counts: Tensor


class Gradients(NamedTuple):
    """Of what :class:`Operands` holds: drive ``[B, d]``, delay ``[R, B, d]``, weight, bias."""

    drive: Tensor
    delay: Tensor
    weight: Tensor
    bias: Tensor


class Dynamics(NamedTuple):
    """The numbers of a neuron, and how delays get their gradient."""

    decay: float
    gain: float
    linear_scale: float
    threshold: float
    sharpness: float
    max_delay: int
    exact: bool

    @property
    def input_gain(self) -> float:
        """What the linear map is multiplied with."""
        return self.gain * self.linear_scale

    @property
    def time_constant(self) -> float:
        """Of membrane and current, in steps."""
        return -1 / math.log(self.decay)

    def trace_kernel(self, steps: int) -> list[float]:
        """Return ``-eps'(i)`` for i below ``steps``: the trace is the spikes filtered with it.

        The exact rule's trace also bears the linear scale, which the credit it meets lacks.
        """
        gain, tau = self.input_gain if self.exact else self.gain, self.time_constant
        return [-gain * (1 - (i + 1) / tau) * self.decay**i for i in range(steps)]


class Operands(NamedTuple):
    """Tensors of a call: ``delay`` is rounded, int64 ``[R, B, d]``; the others as they were given.

    ``read_out``: k, ``[T]``.
    """

    graph: RelationalGraph
    heads: Tensor
    drive: Tensor
    delay: Tensor
    weight: Tensor
    bias: Tensor
    read_out: Tensor


def words(neurons: int) -> int:
    """Return how many words hold the spikes of a node."""
    return -(-neurons // WORD)


def pack(spikes: Tensor) -> Tensor:
    """Pack bools ``[..., d]`` into words ``[..., ceil(d / 32)]``."""
    neurons = spikes.shape[-1]
    room = spikes.new_zeros((*spikes.shape[:-1], words(neurons) * WORD))
    room[..., :neurons] = spikes
    bits = torch.arange(WORD, device=spikes.device)
    total = (room.reshape(*room.shape[:-1], words(neurons), WORD).long() << bits).sum(-1)
    # Bit 31 is the sign of an int32.
    return torch.where(total >= 2**31, total - 2**32, total).int()


def unpack(packed: Tensor, neurons: int) -> Tensor:
    """Return the bools ``[..., d]`` that :func:`pack` packed."""
    bits = torch.arange(WORD, device=packed.device, dtype=torch.int32)
    return (packed.unsqueeze(-1) >> bits & 1).bool().flatten(-2)[..., :neurons]
