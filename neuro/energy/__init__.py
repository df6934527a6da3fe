"""Operations that happened, and what they cost: counts know no joules, prices know no networks."""

from neuro.energy.counts import Counts, Ledger, layer_norm, linear
from neuro.energy.estimate import Comparison, Estimate, compare, estimate
from neuro.energy.prices import PROFILE, Price, Prices, load_prices

__all__ = [
    "PROFILE",
    "Comparison",
    "Counts",
    "Estimate",
    "Ledger",
    "Price",
    "Prices",
    "compare",
    "estimate",
    "layer_norm",
    "linear",
    "load_prices",
]
