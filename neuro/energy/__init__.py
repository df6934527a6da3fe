"""Operations that happened, and what they cost: counts know no joules, prices know no networks."""

from neuro.energy.counts import Counts, Facts, Ledger, layer_norm, linear
from neuro.energy.dispatch import ModuleCounter, count_module
from neuro.energy.estimate import Comparison, Estimate, compare, estimate
from neuro.energy.network import CountedReadout, NetworkCounter, count_network
from neuro.energy.prices import PROFILE, Price, Prices, load_prices
from neuro.energy.signals import SIGNALS, Signal, check_signal

__all__ = [
    "PROFILE",
    "SIGNALS",
    "Comparison",
    "CountedReadout",
    "Counts",
    "Estimate",
    "Facts",
    "Ledger",
    "ModuleCounter",
    "NetworkCounter",
    "Price",
    "Prices",
    "Signal",
    "check_signal",
    "compare",
    "count_module",
    "count_network",
    "estimate",
    "layer_norm",
    "linear",
    "load_prices",
]
