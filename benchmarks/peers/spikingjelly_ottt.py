"""OTTT as SpikingJelly trains it, on the same network, weights and loss as ours.

Its layers run once on spikes without a graph and once on traces with one; autograd then takes each
time step back. Uses ``OTTTSequential``, ``OTTTLIFNode`` and ``ottt_online_training`` as published.
"""

from typing import Any

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from spikingjelly.activation_based.learning import online_learning
from torch import Tensor, nn

from neuro.layers import AvgPool2d, Flatten, Network, Spiking
from neuro.learning.objective import Objective
from neuro.neurons import LIF
from neuro.surrogate import Sigmoid


class SpikingJellyOTTT:
    """A sequential network of ours, rebuilt from SpikingJelly's parts with equal weights.

    Args:
        network: synapses without weight standardisation, LIF neurons with soft reset, pooling.
        mse_weight: of the loss.
        timesteps: T.
    """

    def __init__(self, network: Network, mse_weight: float, timesteps: int) -> None:
        self.model = layer.OTTTSequential(*(_module(m) for m in network.nodes.values()))
        self.model.train()
        self._objective = Objective(mse_weight, timesteps)
        self._timesteps = timesteps

    def parameters(self) -> list[nn.Parameter]:
        """In the order of the network's own."""
        return list(self.model.parameters())

    def train_batch(
        self, inputs: Tensor, targets: Tensor, optimiser: torch.optim.Optimizer
    ) -> Tensor:
        """Train on one batch, one optimiser step; return the loss.

        Args:
            inputs: ``(T, B, ...)``; an expanded tensor costs no memory.
            targets: ``(B,)``.
            optimiser: over :meth:`parameters`.
        """
        loss, _ = online_learning.ottt_online_training(
            model=self.model,
            optimizer=optimiser,
            x_seq=inputs.transpose(0, 1),
            target_seq=targets[:, None].expand(-1, self._timesteps),
            f_loss_t=lambda logits, wanted: self._objective.losses(logits, wanted).mean(),
            online=False,
        )
        functional.reset_net(self.model)
        found: Tensor = loss
        return found


def _module(module: nn.Module) -> nn.Module:
    built: Any
    if isinstance(module, Spiking):
        lif = module.neuron
        assert type(lif) is LIF
        assert isinstance(lif.surrogate, Sigmoid)
        assert module.scale == 1
        built = neuron.OTTTLIFNode(
            tau=1 / (1 - float(lif.decay)),
            decay_input=False,
            v_threshold=float(lif.threshold),
            v_reset=None,
            surrogate_function=surrogate.Sigmoid(alpha=lif.surrogate.slope),
        )
    elif isinstance(module, AvgPool2d):
        built = nn.AvgPool2d(module.size)
    elif isinstance(module, Flatten):
        built = nn.Flatten()
    elif isinstance(module, nn.Conv2d):
        size, padding = module.kernel_size[0], module.padding[0]
        built = nn.Conv2d(module.in_channels, module.out_channels, size, padding=int(padding))
        built.load_state_dict(module.state_dict())
    elif isinstance(module, nn.Linear):
        built = nn.Linear(module.in_features, module.out_features)
        built.load_state_dict(module.state_dict())
    else:
        raise TypeError(f"no counterpart for {type(module).__name__}")
    result: nn.Module = built
    return result
