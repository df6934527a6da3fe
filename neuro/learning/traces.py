"""Eligibility traces: the past of a neuron's spikes as its own membrane would filter it."""

from collections.abc import Sequence

from torch import Tensor

from neuro.neurons import Filter


class Trace:
    """One value per presynaptic neuron, whatever the number of its synapses.

    For a leaky neuron, ``a[t] = decay * a[t-1] + s[t] = sum_{k<=t} decay^(t-k) s[k]``
    (Xiao et al. 2022, eq. 7). Neurons with several time constants filter in cascade. Gains are
    left out, so that the latest spike counts one: they belong to the error of the neuron that
    receives. Injected noise never enters: the trace sees spikes only.
    """

    def __init__(self, filters: Sequence[Filter]) -> None:
        self.filters = tuple(filters)
        self.stages: list[Tensor] = []

    @property
    def value(self) -> Tensor:
        """``a[t]``, the last stage."""
        return self.stages[-1]

    def storage(self, like: Tensor) -> list[Tensor]:
        """Return the stages, for a kernel to update in place."""
        if not self.stages:
            self.stages = [like.new_zeros(like.shape) for _ in self.filters]
        return self.stages

    def update(self, spikes: Tensor) -> Tensor:
        """Take in ``s[t]`` and return ``a[t]``; the tensor returned is overwritten next step."""
        signal = spikes
        for stage, leaky in zip(self.storage(spikes), self.filters, strict=True):
            stage.mul_(leaky.decay).add_(signal)
            signal = stage
        return signal
