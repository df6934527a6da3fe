"""Backpropagation through time: the full unroll, by autograd."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar, Literal

import torch
from torch import Tensor

from neuro.errors import UsageError
from neuro.learning.objective import Objective
from neuro.learning.rule import AfterStep, LearningRule, Outcome, RuleOptions


@dataclass(frozen=True, kw_only=True)
class BPTTOptions(RuleOptions):
    """Options of ``bptt``."""

    name: Literal["bptt"] = "bptt"


class BPTT(LearningRule):
    """Surrogate-gradient descent on ``L = mean_b sum_t L[t]`` through space and time.

    The reference for every other rule, and the only one that trains neuron parameters. Its memory
    grows with T. Source: Neftci, Mostafa, Zenke, "Surrogate gradient learning in spiking neural
    networks", IEEE Signal Processing Magazine 36(6), 2019.
    """

    Options: ClassVar[type[RuleOptions]] = BPTTOptions
    summary: ClassVar[str] = "backpropagation through time: exact reference, memory grows with T"

    def learn(
        self,
        inputs: Iterable[Tensor],
        timesteps: int,
        targets: Tensor,
        *,
        generator: torch.Generator,
        after_step: AfterStep | None = None,
    ) -> Outcome:
        network = self.network
        objective = Objective(self.options.mse_weight, timesteps)
        state = None
        loss = logits = torch.zeros(())
        rates: dict[str, Tensor] = {}
        seen = 0
        weights = network.effective_weights()
        for x in inputs:
            if state is None:
                state = network.initial_state(x.shape[0], x.device, x.dtype)
            values, state = network.advance(x, state, weights)
            output = values[network.output]
            loss = loss.to(output) + objective.losses(output, targets).mean()
            logits = output.detach() if seen == 0 else logits + output.detach()
            for name, layer in network.neuron_nodes.items():
                rate = values[name].detach().mean() / layer.scale
                rates[name] = rates[name] + rate if name in rates else rate
            seen += 1
        if seen != timesteps:
            raise UsageError(f"expected {timesteps} time steps of input, got {seen}.")
        loss.backward()  # type: ignore[no-untyped-call]
        return Outcome(
            loss.detach(), logits / timesteps, {name: r / timesteps for name, r in rates.items()}
        )
