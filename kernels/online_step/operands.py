"""What an online step takes and returns, as every implementation sees it."""

from typing import NamedTuple

from torch import Tensor

from neuro.kernels.lif.variant import PARAMETERS, Variant
from neuro.kernels.noise.stream import NoiseStream


class OnlineStep(NamedTuple):
    """What a step leaves: tensors of the current's shape, and the number of neurons that fired.

    ``emitted``: what goes on to the next layer. ``factor``: the error of the input current per
    error of the spikes, ``gain * psi(u - A)``. ``spikes``: 0 or 1, empty unless asked for.
    ``spike_count``: 0-d int64.
    """

    emitted: Tensor
    factor: Tensor
    spikes: Tensor
    spike_count: Tensor


class Layer(NamedTuple):
    """Parameters ``(8,)`` or ``(8, ...)``, and states that change in place; absent ones are empty.

    ``traces``: the stages of the eligibility trace, none to keep no trace.
    """

    parameters: Tensor
    membrane_potential: Tensor
    synaptic_current: Tensor
    adaptation: Tensor
    traces: tuple[Tensor, ...]

    def trace_decays(self, variant: Variant) -> list[Tensor]:
        """Return the decay of each stage: spikes are filtered as the neuron filters its input."""
        return [self.parameters[row] for row in trace_rows(variant)]


class Injection(NamedTuple):
    """Noise for a step: the stream to draw it from, or what was drawn, of the current's shape; its
    strength by sample ``(B,)``; and whether it moves the membrane potential before firing instead
    of what is emitted."""

    noise: NoiseStream | Tensor
    strength: Tensor
    before_firing: bool


def trace_rows(variant: Variant) -> tuple[int, ...]:
    """Return the rows of the parameters that hold the decays of the trace's stages."""
    decay, current_decay = PARAMETERS.index("decay"), PARAMETERS.index("current_decay")
    return (current_decay, decay) if variant.synaptic else (decay,)
