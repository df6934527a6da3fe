"""Operations that happened, and what they cost: counts know no joules, prices know no networks."""

from neuro.energy.counting.network import CountedReadout, NetworkCounter, count_network
from neuro.energy.counts import Counts, Facts, Ledger, layer_norm, linear
from neuro.energy.operators.dispatch import ModuleCounter, count_module
from neuro.energy.pricing.account import Account, account, joules, ratio, significant
from neuro.energy.pricing.comparison import Comparison, compare
from neuro.energy.pricing.measured import Meter, measure
from neuro.energy.pricing.placement import PlacementTerms, placement_terms
from neuro.energy.pricing.prices import PROFILE, check_kinds, energy_profile, energy_profiles
from neuro.energy.pricing.scenarios import Interval, Sensitivity
from neuro.energy.pricing.traffic import Traffic
from neuro.energy.reporting.report import Report, report
from neuro.energy.signals import SIGNALS, Signal, check_signal

__all__ = [
    "PROFILE",
    "SIGNALS",
    "Account",
    "Comparison",
    "CountedReadout",
    "Counts",
    "Facts",
    "Interval",
    "Ledger",
    "Meter",
    "ModuleCounter",
    "NetworkCounter",
    "PlacementTerms",
    "Report",
    "Sensitivity",
    "Signal",
    "Traffic",
    "account",
    "check_kinds",
    "check_signal",
    "compare",
    "count_module",
    "count_network",
    "energy_profile",
    "energy_profiles",
    "joules",
    "layer_norm",
    "linear",
    "measure",
    "placement_terms",
    "ratio",
    "report",
    "significant",
]
