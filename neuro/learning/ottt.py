"""Online training through time: exact spatial credit at each step, traces for the past."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from neuro.learning.online import OnlineOptions, OnlineRule
from neuro.learning.rule import RuleOptions


@dataclass(frozen=True, kw_only=True)
class OTTTOptions(OnlineOptions):
    """Options of ``ottt``."""

    name: Literal["ottt"] = "ottt"


class OTTT(OnlineRule):
    """Spatial backpropagation at each time step, temporal credit by traces::

        dL/dW_l = sum_t delta_l[t] a_{l-1}[t]^T
        delta_l[t] = (W_{l+1}^T delta_{l+1}[t]) * psi(u_l[t] - threshold)

    With T = 1 it equals backpropagation. The forward runs once per step.

    Source: Xiao et al., "Online training through time for spiking neural networks", NeurIPS 2022,
    eq. 8-10.
    """

    Options: ClassVar[type[RuleOptions]] = OTTTOptions
    summary: ClassVar[str] = "online training through time: spatial backprop, temporal traces"
    exact: ClassVar[bool] = True
