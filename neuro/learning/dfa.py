"""Direct feedback alignment: a fixed random matrix carries the error to each layer."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import torch

from neuro.layers import Network
from neuro.learning.direct import DirectOptions, DirectRule, random_feedback
from neuro.learning.feedback import Feedback
from neuro.learning.rule import RuleOptions


@dataclass(frozen=True, kw_only=True)
class DFAOptions(DirectOptions):
    """Options of ``dfa``.

    Attributes:
        feedback_scale: factor on the uniform feedback weights.
    """

    name: Literal["dfa"] = "dfa"
    feedback_scale: float = 1.0


class DFA(DirectRule):
    """``g_l = B_l e`` with ``B_l`` uniform in ``+-feedback_scale / sqrt(m)``, never changed.

    Source: Nøkland, "Direct feedback alignment provides learning in deep neural networks",
    NeurIPS 2016, eq. 7; the temporal part is OTTT's trace.
    """

    Options: ClassVar[type[RuleOptions]] = DFAOptions
    summary: ClassVar[str] = "direct feedback alignment: fixed random feedback"

    def __init__(
        self, network: Network, options: DFAOptions, *, generator: torch.Generator
    ) -> None:
        super().__init__(network, options, generator=generator)
        self.feedback = random_feedback(network, options, options.feedback_scale, generator)

    def feedback_of(self, name: str) -> Feedback:
        feedback = self.feedback[name]
        assert isinstance(feedback, Feedback)
        return feedback
