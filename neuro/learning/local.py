"""Local read-outs: small classifiers on hidden layers, trained by their own loss."""

from math import ceil

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuro.layers import AvgPool2d, Network
from neuro.learning.gradients import add_gradient
from neuro.learning.objective import Objective
from neuro.learning.pass_through import StepRecord

POOLED_SIDE = 4


class LocalReadout(nn.Module):
    """A linear classifier on one spiking layer, ``o = V p + c`` for pooled activity ``p``.

    Convolutional layers are averaged first, until the shorter side of their maps is at most 4.
    The error returns through the read-out's own transpose (weight symmetry is assumed for local
    learning in OPZO), and the weights learn from the trace like the network's read-out::

        g = scale * pool^T V^T e        dV = sum_t e[t] pool(a[t])^T

    Args:
        layer_shape: ``(N,)`` or ``(C, H, W)``.
        classes: m.
        scale: gain of the spiking layer.
        generator: draws the initial weights ``N(0, 0.01)``.
    """

    def __init__(
        self, layer_shape: tuple[int, ...], classes: int, scale: float, generator: torch.Generator
    ) -> None:
        super().__init__()
        self.scale = scale
        self.pool: AvgPool2d | None = None
        if len(layer_shape) == 3:
            self.pool = AvgPool2d(ceil(min(layer_shape[1:]) / POOLED_SIDE))
        with torch.no_grad():
            features = self.features(torch.zeros(1, *layer_shape)).shape[1]
            self.weight = nn.Parameter(torch.empty(classes, features))
            self.weight.normal_(0.0, 0.01, generator=generator)
            self.bias = nn.Parameter(torch.zeros(classes))

    def features(self, activity: Tensor) -> Tensor:
        """Return pooled, flattened activity, ``(B, *layer_shape) -> (B, F)``."""
        return (self.pool(activity) if self.pool else activity).flatten(1)

    def logits(self, features: Tensor) -> Tensor:
        """Return ``(B, F) -> (B, m)``."""
        return functional.linear(features, self.weight, self.bias)

    def credit(self, error: Tensor, layer_shape: torch.Size) -> Tensor:
        """Return ``g`` for an error ``(B, m)``; shape ``(B, *layer_shape)``."""
        spread = error @ self.weight
        if self.pool:
            pooled = (*layer_shape[:2], *(side // self.pool.size for side in layer_shape[2:]))
            spread = self.pool.adjoint(spread.view(pooled), layer_shape)
        return spread.view(layer_shape) * self.scale

    def learn(self, error: Tensor, trace: Tensor) -> None:
        """Add this step's gradient: error ``(B, m)`` (divided by B), unscaled trace
        ``(B, *layer_shape)``."""
        add_gradient(self.weight, error.t() @ self.features(trace) * self.scale)
        add_gradient(self.bias, error.sum(0))


class LocalReadouts(nn.ModuleDict):
    """One local read-out for every spiking layer of a network."""

    def __init__(self, network: Network, generator: torch.Generator) -> None:
        super().__init__()
        for name, layer in network.neuron_nodes.items():
            self[name] = LocalReadout(network.shapes[name], network.classes, layer.scale, generator)

    def learn(
        self,
        record: StepRecord,
        objective: Objective,
        targets: Tensor,
        weight: float,
    ) -> dict[str, Tensor]:
        """Train the read-outs on one step and return the credit ``g`` of each layer.

        Args:
            record: the step.
            objective: the loss, the same as at the network's output.
            targets: ``(B,)``.
            weight: factor on the credit (the read-outs themselves learn at full strength).
        """
        credit = {}
        for name, readout in self.items():
            assert isinstance(readout, LocalReadout)
            spikes = record.spikes[name]
            features = readout.features(spikes) * readout.scale
            error = objective.errors(readout.logits(features), targets) / targets.shape[0]
            readout.learn(error, record.traces[name])
            credit[name] = readout.credit(error * weight, spikes.shape)
        return credit
