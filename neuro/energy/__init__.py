"""Operations that happened, and what they cost: counts know no joules, prices know no networks."""

from neuro.energy.account import Account, account, joules, ratio, significant
from neuro.energy.comparison import Comparison, compare
from neuro.energy.counts import Counts, Facts, Ledger, layer_norm, linear
from neuro.energy.dispatch import ModuleCounter, count_module
from neuro.energy.measured import Meter, measure
from neuro.energy.network import CountedReadout, NetworkCounter, count_network
from neuro.energy.placement import PlacementTerms, placement_terms
from neuro.energy.prices import PROFILE, check_kinds, energy_profile, energy_profiles
from neuro.energy.report import Report, report
from neuro.energy.scenarios import Interval, Sensitivity
from neuro.energy.signals import SIGNALS, Signal, check_signal
from neuro.energy.traffic import Traffic

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
