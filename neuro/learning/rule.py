"""The one protocol of learning rules.

A rule is an argument to training, not a property of a model: it drives a network through one
batch and leaves ``dL/dp`` in ``p.grad``. The loop owns the optimiser.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

from neuro.choices import check_choices
from neuro.errors import UsageError
from neuro.layers import Network

AfterStep = Callable[[], None]


class Outcome(NamedTuple):
    """What learning from one batch gives.

    ``loss``: scalar, mean over batch and time. ``logits``: ``(B, m)``, mean over time.
    ``firing_rates``: spikes per neuron and step, by layer, scalars.
    """

    loss: Tensor
    logits: Tensor
    firing_rates: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class RuleOptions:
    """Options common to all rules.

    Attributes:
        mse_weight: beta of the loss ``(1 - beta) * CE + beta * MSE``; 0.05 for images, 0.001
            for event recordings (OTTT's settings).
    """

    mse_weight: float = 0.05

    def __post_init__(self) -> None:
        check_choices(self)
        if not 0 <= self.mse_weight <= 1:
            raise UsageError(f"rule.mse_weight must lie in [0, 1], got {self.mse_weight:g}.")


class LearningRule(nn.Module, ABC):
    """Turns the output error of a batch into gradients.

    A rule is an ``nn.Module``: its buffers (feedback matrices) and submodules (local read-outs)
    are what a checkpoint keeps of it. The network is held aside, not as a submodule, so that its
    parameters are saved once.

    Args:
        network: the network to train.
        options: this rule's options.
        generator: source of whatever the rule draws at the start (random feedback).
    """

    Options: ClassVar[type[RuleOptions]]
    summary: ClassVar[str]

    def __init__(self, network: Network, options: Any, *, generator: torch.Generator) -> None:
        super().__init__()
        self._network = (network,)
        self.options = options

    @property
    def network(self) -> Network:
        return self._network[0]

    @abstractmethod
    def learn(
        self,
        inputs: Iterable[Tensor],
        timesteps: int,
        targets: Tensor,
        *,
        generator: torch.Generator,
        after_step: AfterStep | None = None,
    ) -> Outcome:
        """Run one batch and add its gradients to ``p.grad`` of network and rule.

        Args:
            inputs: ``timesteps`` tensors ``x[t]`` of shape ``(B, *input_shape)``, read one by one.
            timesteps: T; the loss is divided by it.
            targets: ``(B,)`` class indices.
            generator: source of all noise of this batch.
            after_step: called after each time step when the rule updates online.
        """

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        """Return optimiser groups of all that trains: the network's, then the rule's own."""
        groups: list[dict[str, Any]] = [{"params": list(self.network.parameters()), "lr": lr}]
        own = list(self.parameters())
        if own:
            groups.append({"params": own, "lr": lr})
        return groups
