"""Counts times prices: estimates of arithmetic alone.

Memory, wires, control and idle neurons' leakage are not in them.
"""

from dataclasses import dataclass
from typing import NamedTuple

from neuro.energy.counts import Counts, Ledger
from neuro.energy.prices import Prices


class Estimate(NamedTuple):
    """Joules: the value, and with all prices at their bounds."""

    joules: float
    low: float
    high: float


def estimate(counts: Counts, prices: Prices) -> Estimate:
    """Price counts.

    Additions, of spikes, biases and resets too, cost an addition; decays cost a multiplication, and
    multiply-accumulates both. Comparisons, functions, events and movement have no price of their
    own.
    """
    additions, multiplications = counts.all_additions, counts.all_multiplications
    pairs = zip(prices.addition.joules, prices.multiplication.joules, strict=True)
    return Estimate(*(additions * plus + multiplications * times for plus, times in pairs))


@dataclass(frozen=True)
class Comparison:
    """A spiking network beside another one on the same work.

    Attributes:
        spiking: its estimate.
        other: that of the other one.
        ratio: other over spiking; None if spiking costs nothing.
        firing_rate: spikes per neuron and step of the spiking network.
        rate_for_factor: the firing rate at which the ratio would be ``factor``, what spikes drive
            being in proportion to it; None if what they do not drive is too dear already, or
            nothing fired and the proportion is unknown. May be above 1.
        factor: what the ratio is compared with.
    """

    spiking: Estimate
    other: Estimate
    ratio: float | None
    firing_rate: float
    rate_for_factor: float | None
    factor: float


def compare(
    spiking: Ledger, other: Ledger, prices: Prices, *, firing_rate: float, factor: float
) -> Comparison:
    """Price two ledgers and tell at which firing rate one would be ``factor`` times the other.

    Args:
        spiking: operations of the spiking network, its ``driven`` layers named.
        other: operations of the other network.
        prices: of both.
        firing_rate: of the spiking network, when its operations were counted.
        factor: above 0.
    """
    if not factor > 0:
        raise ValueError(f"compare: factor must be above 0, got {factor}")
    ours, theirs = estimate(spiking.total, prices), estimate(other.total, prices)
    driven = estimate(spiking.driven_total, prices).joules
    left = theirs.joules / factor - (ours.joules - driven)
    reachable = driven > 0 and left > 0
    return Comparison(
        ours,
        theirs,
        theirs.joules / ours.joules if ours.joules else None,
        firing_rate,
        firing_rate * left / driven if reachable else None,
        factor,
    )
