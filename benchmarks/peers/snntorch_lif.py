"""snnTorch's Leaky neuron in a loop over time.

It has no factor on its input. Its potential is therefore twice that of the layer compared with:
a threshold of 2 and a surrogate of half the sharpness make spikes and gradients the same. It fires
above the threshold, not at it.
"""

from collections.abc import Callable

import torch
from snntorch import Leaky, surrogate
from torch import Tensor


def layer() -> Callable[[Tensor], Tensor]:
    """Return the layer."""
    node = Leaky(
        beta=0.5, threshold=2.0, spike_grad=surrogate.atan(alpha=1.0), reset_mechanism="zero"
    )

    def run(currents: Tensor) -> Tensor:
        potential = torch.zeros_like(currents[0])
        outputs = []
        for current in currents:
            spikes, potential = node(current, potential)
            outputs.append(spikes)
        return torch.stack(outputs)

    return run
