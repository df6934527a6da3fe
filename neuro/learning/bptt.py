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
    """Options of ``bptt``.

    Attributes:
        recompute: keep one bit per presynaptic spike and compute the currents again in the
            backward pass: same gradients, a fraction of the memory, one more product per synapse.
    """

    name: Literal["bptt"] = "bptt"
    recompute: bool = False


class BPTT(LearningRule):
    """Surrogate-gradient descent on ``L = mean_b sum_t L[t]`` through space and time.

    The reference for every other rule, and the only one that trains neuron parameters. Its memory
    grows with T, with ``recompute`` far more slowly: see :meth:`Network.advance_sequence`. Source:
    Neftci, Mostafa, Zenke, "Surrogate gradient learning in spiking neural networks", IEEE Signal
    Processing Magazine 36(6), 2019.
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
        x = _over_time(list(inputs))
        if len(x) != timesteps:
            raise UsageError(f"expected {timesteps} time steps of input, got {len(x)}.")
        state = network.initial_state(x.shape[1], x.device, x.dtype)
        layers = network.neuron_nodes
        rates: dict[str, Tensor] = {}

        def note_rate(name: str, value: Tensor) -> None:
            if name in layers:
                rates[name] = value.detach().mean() / layers[name].scale

        outputs, _ = network.advance_sequence(
            x,
            state,
            network.effective_weights(),
            recompute=self.options.recompute,
            observe=note_rate,
        )
        loss = torch.stack([objective.losses(output, targets).mean() for output in outputs]).sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return Outcome(loss.detach(), outputs.detach().mean(0), rates)


def _over_time(steps: list[Tensor]) -> Tensor:
    """Lay the inputs out as ``(T, B, ...)``; one that stays the same is not copied."""
    if not steps:
        raise UsageError("bptt learns from at least one time step of input, got none.")
    first = steps[0]
    if all(step is first for step in steps):
        return first.expand(len(steps), *first.shape)
    return torch.stack(steps)
