"""Direct Kolen-Pollack learning: feedback that learns alongside the read-out."""

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import torch

from neuro.layers import Network
from neuro.learning.credit import Credit
from neuro.learning.direct import DirectOptions, DirectRule, random_feedback
from neuro.learning.feedback import Feedback
from neuro.learning.gradients import add_gradient
from neuro.learning.online import Moment
from neuro.learning.rule import RuleOptions


@dataclass(frozen=True, kw_only=True)
class DKPOptions(DirectOptions):
    """Options of ``dkp``.

    Attributes:
        feedback_scale: factor on the uniform feedback weights at the start. At zero, silent layers
            get no error and stay silent.
        feedback_lr_scale: learning rate of the feedback over that of the network.
        feedback_decay: weight decay of the feedback matrices.
        centre_activity: subtract each neuron's mean trace over the batch before correlating.
            Spikes are never negative, so a raw ``a e^T`` carries the mean error of the batch in
            every row, until the network is calibrated; centring removes it.
    """

    name: Literal["dkp"] = "dkp"
    feedback_scale: float = 1.0
    feedback_lr_scale: float = 1.0
    feedback_decay: float = 1e-6
    centre_activity: bool = True


class DKP(DirectRule):
    """``g_l = B_l e`` where ``B_l`` descends on the same product as the read-out would::

        dL/dB_l := mean_b a_l e^T            B_l <- B_l - eta * (a_l e^T + decay * B_l)

    At the last hidden layer this is the read-out's own gradient, transposed: ``B - B_0`` follows
    ``W^T - W_0^T``. In lower layers ``B_l`` becomes a linear classifier of the output error
    on that layer's activity. The sign is that of gradient *descent*: a neuron active when class c
    is wanted (``e_c < 0``) gets positive feedback from c.

    Source: Webster et al., "Learning the connections in direct feedback alignment", 2020 (DKP),
    after Kolen & Pollack 1994, whose random start it keeps. Centring is ours.
    """

    Options: ClassVar[type[RuleOptions]] = DKPOptions
    summary: ClassVar[str] = "direct Kolen-Pollack: feedback learned from activity and error"

    def __init__(
        self, network: Network, options: DKPOptions, *, generator: torch.Generator
    ) -> None:
        super().__init__(network, options, generator=generator)
        self.feedback = random_feedback(
            network, options, options.feedback_scale, generator, trainable=True
        )

    def credit(self, moment: Moment) -> dict[str, Credit]:
        for name in self.feedback:
            feedback = self.feedback_of(name)
            trace = moment.record.traces[name]
            if self.options.centre_activity:
                trace = trace - trace.mean(0)
            scale = self.network.neuron_nodes[name].scale
            add_gradient(feedback.projection, scale * feedback.correlate(trace, moment.error))
        return super().credit(moment)

    def parameter_groups(self, lr: float) -> list[dict[str, Any]]:
        groups = super().parameter_groups(lr)
        feedback = list(self.feedback.parameters())
        ids = {id(parameter) for parameter in feedback}
        for group in groups:
            group["params"] = [p for p in group["params"] if id(p) not in ids]
        scaled = lr * self.options.feedback_lr_scale
        decay = self.options.feedback_decay
        return [
            *(group for group in groups if group["params"]),
            {"params": feedback, "lr": scaled, "weight_decay": decay},
        ]

    def feedback_of(self, name: str) -> Feedback:
        feedback = self.feedback[name]
        assert isinstance(feedback, Feedback)
        return feedback
