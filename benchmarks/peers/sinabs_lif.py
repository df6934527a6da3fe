"""Sinabs' LIF layer; it takes batch before time, and a surrogate as any function."""

import math
from collections.abc import Callable

from sinabs.activation import MembraneReset, SingleSpike
from sinabs.layers import LIF
from torch import Tensor


def layer() -> Callable[[Tensor], Tensor]:
    """Return the layer: currents ``[B, T, ...]``, its time constant not learnt."""
    node = LIF(
        tau_mem=1 / math.log(2),
        spike_threshold=1.0,
        spike_fn=SingleSpike,
        reset_fn=MembraneReset(),
        surrogate_grad_fn=_atan,
        norm_input=True,
    ).requires_grad_(False)

    def run(currents: Tensor) -> Tensor:
        node.reset_states()
        spikes: Tensor = node(currents)
        return spikes

    return run


def _atan(potential: Tensor, threshold: Tensor) -> Tensor:
    return 1 / (1 + (math.pi * (potential - threshold)).square())
