"""SpikingJelly's LIF node in multi-step mode, as it is and under ``torch.compile``."""

from collections.abc import Callable
from typing import Any

import torch
from spikingjelly.activation_based import functional, neuron, surrogate
from torch import Tensor, nn


def layer() -> Callable[[Tensor], Tensor]:
    """Return the layer, which starts each sequence at rest."""
    node = _node()
    return _from_rest(node, node)


def compiled_layer() -> Callable[[Tensor], Tensor]:
    """Return the same, compiled."""
    node = _node()
    return _from_rest(node, torch.compile(node, dynamic=False))


def around(synapse: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a layer, a synapse and a second layer, which start each sequence at rest."""
    network = nn.Sequential(_node(), synapse, _node())
    return _from_rest(network, network)


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


def _from_rest(module: Any, forward: Any) -> Callable[[Tensor], Tensor]:
    def run(currents: Tensor) -> Tensor:
        functional.reset_net(module)
        spikes: Tensor = forward(currents)
        return spikes

    return run
