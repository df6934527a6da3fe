"""Learning rules: one protocol, one registry."""

from typing import Any

import torch

from neuro.errors import UsageError, nearest
from neuro.layers import Network
from neuro.learning.bptt import BPTT, BPTTOptions
from neuro.learning.dfa import DFA, DFAOptions
from neuro.learning.dkp import DKP, DKPOptions
from neuro.learning.online import CreditProbe, OnlineRule
from neuro.learning.opzo import OPZO, OPZOOptions
from neuro.learning.ottt import OTTT, OTTTOptions
from neuro.learning.rule import LearningRule, Outcome
from neuro.learning.zeroth_order import ZeroOrder, ZeroOrderOptions

RuleOptions = BPTTOptions | OTTTOptions | DFAOptions | DKPOptions | ZeroOrderOptions | OPZOOptions

RULES: dict[str, type[LearningRule]] = {
    "bptt": BPTT,
    "ottt": OTTT,
    "dfa": DFA,
    "dkp": DKP,
    "zo": ZeroOrder,
    "opzo": OPZO,
}


def build_rule(network: Network, options: Any, *, generator: torch.Generator) -> LearningRule:
    """Build the rule that ``options`` describe, for a network.

    Args:
        network: what to train.
        options: one of the option classes of :data:`RULES`.
        generator: source of random feedback and of local read-outs' weights.

    Raises:
        UsageError: for an unknown name, or a network the rule cannot train.
    """
    return rule_class(options.name)(network, options, generator=generator)


def rule_class(name: str) -> type[LearningRule]:
    """Look a rule up by name; an unknown name says which one is nearest."""
    if name not in RULES:
        raise UsageError(
            f"unknown learning rule {name!r}; there are {', '.join(RULES)}.{nearest(name, RULES)}"
        )
    return RULES[name]


__all__ = [
    "RULES",
    "CreditProbe",
    "LearningRule",
    "OnlineRule",
    "Outcome",
    "RuleOptions",
    "build_rule",
    "rule_class",
]
