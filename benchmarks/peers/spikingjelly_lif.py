"""SpikingJelly's LIF node in multi-step mode, as it is and under ``torch.compile``."""

from collections.abc import Callable
from typing import Any

import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor


def layer() -> Callable[[Tensor], Tensor]:
    """Return the layer, which starts each sequence at rest."""
    node = _node()
    return _from_rest(node, node)


def compiled_layer() -> Callable[[Tensor], Tensor]:
    """Return the same, compiled."""
    node = _node()
    return _from_rest(node, torch.compile(node, dynamic=False))


def _node() -> Any:
    return neuron.LIFNode(
        tau=2.0,
        decay_input=True,
        v_threshold=1.0,
        v_reset=0.0,
        surrogate_function=surrogate.ATan(alpha=2.0),
        detach_reset=True,
        step_mode="m",
    )


def _from_rest(node: Any, forward: Any) -> Callable[[Tensor], Tensor]:
    def run(currents: Tensor) -> Tensor:
        functional.reset_net(node)
        spikes: Tensor = forward(currents)
        return spikes

    return run
