"""Signals between nodes that backward gets again: from one bit a spike, or by computing them anew.

Autograd keeps what a node was given: of a spiking layer its currents, of a synapse its activity,
each dense and over all time steps. Under :func:`restoring` it keeps a :class:`Signal` in its place,
which gives the tensor back when backward asks. Spikes are unpacked from bits; what synapses and
linear maps made of spikes is computed again by the same operations on the same numbers, so it is
the same tensor. The graph stays as it is, hence gradients are equal bit for bit wherever a product
computed twice is.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from neuro.errors import UsageError
from neuro.kernels import pack_spikes, unpack_spikes


class Signal(ABC):
    """A tensor that can be had again."""

    @abstractmethod
    def restore(self) -> Tensor:
        """Return the tensor, detached."""


class Dense(Signal):
    """A tensor kept as it is.

    Raises:
        UsageError: on restoring, if it was changed in place since; autograd would refuse it too.
    """

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor.detach()
        self._version = tensor._version

    def restore(self) -> Tensor:
        if self._tensor._version != self._version:
            raise UsageError(
                f"a tensor {tuple(self._tensor.shape)} that backward needs was changed in place "
                f"after the forward pass; call backward before the optimiser steps."
            )
        return self._tensor


class Packed(Signal):
    """A spike train of entries 0 and ``scale``, one bit each.

    Raises:
        ValueError: an entry is neither.
    """

    def __init__(self, spikes: Tensor, scale: float) -> None:
        self._bits = pack_spikes(spikes.detach(), scale=scale)
        self._shape, self._dtype, self._scale = spikes.shape, spikes.dtype, scale

    def restore(self) -> Tensor:
        return unpack_spikes(self._bits, self._shape, dtype=self._dtype, scale=self._scale)


class Computed(Signal):
    """What ``compute`` makes of other signals.

    Args:
        compute: a function of their tensors, without randomness or memory.
        sources: the signals.
        weights: tensors that ``compute`` reads besides; a change of them in place is refused.
    """

    def __init__(
        self,
        compute: Callable[[list[Tensor]], Tensor],
        sources: Sequence[Signal],
        weights: Sequence[Tensor] = (),
    ) -> None:
        self._compute = compute
        self._sources = list(sources)
        self._weights = [Dense(weight) for weight in weights]

    @torch.no_grad()
    def restore(self) -> Tensor:
        for weight in self._weights:
            weight.restore()
        return self._compute([source.restore() for source in self._sources])


class _Reshaped(Signal):
    def __init__(self, signal: Signal, shape: torch.Size) -> None:
        self._signal = signal
        self._shape = shape

    def restore(self) -> Tensor:
        return self._signal.restore().reshape(self._shape)


@contextmanager
def restoring(tensors: Sequence[Tensor], signals: Sequence[Signal]) -> Iterator[None]:
    """Let autograd keep each signal in place of its tensor, inside this context.

    Only what holds a whole tensor in its order is replaced, whatever its shape; of a part of it,
    and of all else, autograd keeps what it always does.
    """
    known = list(zip(tensors, signals, strict=True))

    def keep(saved: Tensor) -> Signal:
        for tensor, signal in known:
            if _same_entries(saved, tensor):
                return _Reshaped(signal, saved.shape)
        return Dense(saved)

    with saved_tensors_hooks(keep, lambda signal: signal.restore()):
        yield
    known.clear()  # autograd holds on to the hook, which must not hold on to the tensors


def _same_entries(one: Tensor, other: Tensor) -> bool:
    return (
        one.data_ptr() == other.data_ptr()
        and one.shape.numel() == other.shape.numel()
        and one.is_contiguous()
        and other.is_contiguous()
    )
