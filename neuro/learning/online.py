"""The time loop that all online rules share; a rule only says where spatial credit comes from.

    temporal credit      presynaptic trace            the same for every rule
    surrogate            psi(u - threshold)           the same for every rule
    spatial credit       g = dL/ds of each layer      exact, random, learned or estimated

One forward per step, updates by hand, no autograd through the network, memory flat in time.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import chain
from typing import ClassVar, Literal

import torch
from torch import Tensor

from neuro.errors import UsageError
from neuro.layers import Network
from neuro.learning.credit import Credit, add_credit
from neuro.learning.frames import in_blocks
from neuro.learning.gradients import GradientSums
from neuro.learning.local import LocalReadouts
from neuro.learning.objective import Objective
from neuro.learning.pass_through import (
    ForwardPass,
    Perturbation,
    StepRecord,
    propagate,
)
from neuro.learning.rule import AfterStep, LearningRule, Outcome, RuleOptions
from neuro.learning.signals import classify_signals


@dataclass(frozen=True, kw_only=True)
class OnlineOptions(RuleOptions):
    """Options of every online rule.

    Attributes:
        update: "accumulate" gradients over T and step once a batch, or "online", an optimiser step
            after every time step.
        local_learning: give every hidden layer a local read-out whose loss adds to its credit.
        local_weight: factor on that local credit.
    """

    update: Literal["accumulate", "online"] = "accumulate"
    local_learning: bool = False
    local_weight: float = 1.0


@dataclass
class Moment:
    """One time step as a rule sees it.

    ``error`` is per sample, ``e = dL[t]/do``; ``batch`` divides it where gradients form.
    """

    index: int
    timesteps: int
    record: StepRecord
    error: Tensor
    targets: Tensor
    objective: Objective

    @property
    def batch(self) -> int:
        return self.targets.shape[0]


@dataclass
class CreditProbe:
    """Collects, when attached to a rule, the error each layer got beside the exact one.

    ``assigned`` and ``exact``: ``g = dL/ds`` by layer, one entry per time step seen; both at equal
    weights, activity and noise. Costs one spatial backward pass a step; changes nothing.
    """

    assigned: list[dict[str, Tensor]]
    exact: list[dict[str, Tensor]]

    @classmethod
    def empty(cls) -> "CreditProbe":
        return cls([], [])

    def cosines(self) -> dict[str, float]:
        """Return, by layer, the mean over steps of ``<g, g_exact> / (|g| |g_exact|)``."""
        total: dict[str, float] = {}
        for assigned, exact in zip(self.assigned, self.exact, strict=True):
            for name, truth in exact.items():
                given = assigned[name] if name in assigned else torch.zeros_like(truth)
                norms = given.norm() * truth.norm()
                cosine = float((given * truth).sum() / norms) if norms > 0 else 0.0
                total[name] = total.get(name, 0.0) + cosine / len(self.exact)
        return total


class OnlineRule(LearningRule):
    """Base of the online rules: subclasses give spatial credit.

    Attributes:
        exact: whether errors travel down through transposed weights (spatial backpropagation).
        probe: set to a :class:`CreditProbe` to record credit against the exact error.
    """

    Options: ClassVar[type[RuleOptions]] = OnlineOptions
    exact: ClassVar[bool] = False

    def __init__(
        self, network: Network, options: OnlineOptions, *, generator: torch.Generator
    ) -> None:
        super().__init__(network, options, generator=generator)
        classify_signals(network)
        self.probe: CreditProbe | None = None
        self.local = LocalReadouts(network, generator) if options.local_learning else None

    def begin(self, batch_like: Tensor, timesteps: int, generator: torch.Generator) -> None:
        """Prepare for a batch; called before its first step."""

    def perturbation(self, index: int) -> Perturbation | None:
        """Return the noise of time step ``index``, or None for a clean forward."""
        return None

    def credit(self, moment: Moment) -> Mapping[str, Credit]:
        """Return ``g = dL/ds`` by layer, divided by the batch size."""
        return {}

    def conclude(self, moment: Moment) -> None:
        """Learn from a step what its own credit must not know yet; called once it is used up."""

    @torch.no_grad()
    def learn(
        self,
        inputs: Iterable[Tensor],
        timesteps: int,
        targets: Tensor,
        *,
        generator: torch.Generator,
        after_step: AfterStep | None = None,
    ) -> Outcome:
        options: OnlineOptions = self.options
        online = options.update == "online"
        if online and after_step is None:
            raise UsageError('update="online" needs after_step, the optimiser step of the loop.')
        frames = iter(inputs)
        first = next(frames, None)
        if first is None:
            raise _wrong_number_of_inputs(timesteps, 0)
        objective = Objective(options.mse_weight, timesteps)
        sums = GradientSums(self.network)
        forward = ForwardPass(
            self.network,
            sums,
            first,
            reuse_constant_input=not online,
            keep_spikes=self.local is not None,
        )
        self.begin(first, timesteps, generator)
        room = 1 if online else sums.frames_at_once(first)

        def ready(block: Tensor) -> None:
            sums.settle()
            forward.look_ahead(block)

        loss = logits = torch.zeros(())
        rates: dict[str, Tensor] = {}
        seen = 0
        for index, x in enumerate(in_blocks(chain([first], frames), room, ready)):
            record = forward.step(x, self.perturbation(index))
            losses, error = objective.at(record.logits, targets)
            moment = Moment(index, timesteps, record, error, targets, objective)
            self._assign(forward, moment)
            self.conclude(moment)
            loss = loss.to(error) + losses.mean()
            logits = record.logits if index == 0 else logits + record.logits
            for name, count in record.spike_counts.items():
                rate = count / record.factors[name].numel()
                rates[name] = rates[name] + rate if name in rates else rate
            seen += 1
            if online and after_step is not None:
                sums.deposit()
                after_step()
                sums.refresh()
        if seen != timesteps:
            raise _wrong_number_of_inputs(timesteps, seen)
        if not online:
            sums.deposit()
        return Outcome(
            loss, logits / timesteps, {name: rate / timesteps for name, rate in rates.items()}
        )

    def _assign(self, forward: ForwardPass, moment: Moment) -> None:
        """Find every layer's credit for one step and sum the gradients it gives."""
        error = moment.error / moment.batch
        credit = dict(self.credit(moment))
        if self.local is not None:
            local = self.local.learn(
                moment.record,
                moment.objective,
                moment.targets,
                self.options.local_weight,
            )
            for name, part in local.items():
                credit[name] = add_credit(credit.get(name), part)
        assigned: dict[str, Tensor] | None = {} if self.probe else None
        propagate(forward, moment.record, error, credit, exact=self.exact, received=assigned)
        if self.probe is not None and assigned is not None:
            truth: dict[str, Tensor] = {}
            propagate(
                forward,
                moment.record,
                error,
                {},
                exact=True,
                accumulate=False,
                received=truth,
            )
            self.probe.assigned.append(assigned)
            self.probe.exact.append(truth)


def _wrong_number_of_inputs(timesteps: int, seen: int) -> UsageError:
    return UsageError(f"expected {timesteps} time steps of input, got {seen}.")
