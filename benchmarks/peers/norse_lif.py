"""Norse's LIF cell without synaptic current, lifted over time.

The gradient flows through its reset, and SuperSpike stands for ATan, at the sharpness that makes
both bumps equally wide at half their height.
"""

import math
from collections.abc import Callable

import torch
from norse.torch import LIFBoxCell, LIFBoxParameters, Lift
from norse.torch.functional.lif_box import (
    LIFBoxFeedForwardState,
)
from torch import Tensor


def layer() -> Callable[[Tensor], Tensor]:
    """Return the layer."""
    parameters = LIFBoxParameters(
        tau_mem_inv=torch.tensor(0.5),
        v_th=torch.tensor(1.0),
        method="super",
        alpha=torch.tensor(math.pi * (math.sqrt(2) - 1)),
    )
    lifted = Lift(LIFBoxCell(parameters, dt=1.0))

    def run(currents: Tensor) -> Tensor:
        at_rest = LIFBoxFeedForwardState(v=torch.zeros_like(currents[0]))
        spikes: Tensor = lifted((currents, at_rest))[0]
        return spikes

    return run
