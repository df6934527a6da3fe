"""A spiking network beside another one, and the firing rate at which a saving would be a claim."""

from dataclasses import dataclass

from neuro.energy.counts import Ledger
from neuro.energy.pricing.account import account, joules
from neuro.energy.pricing.scenarios import Interval
from neuro.hardware import HardwareProfile


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

    spiking: Interval
    other: Interval
    ratio: float | None
    firing_rate: float
    rate_for_factor: float | None
    factor: float


def compare(
    spiking: Ledger,
    other: Ledger,
    profile: HardwareProfile,
    *,
    firing_rate: float,
    factor: float,
) -> Comparison:
    """Price two ledgers and tell at which firing rate one would be ``factor`` times the other.

    Args:
        spiking: operations of the spiking network, its ``driven`` layers named.
        other: operations of the other network.
        profile: prices of both.
        firing_rate: of the spiking network, when its operations were counted.
        factor: above 0.
    """
    if not factor > 0:
        raise ValueError(f"compare: factor must be above 0, got {factor}")
    ours, theirs = account(spiking, profile).total, account(other, profile).total
    driven = joules(_driven(spiking), profile)
    left = theirs.value / factor - (ours.value - driven)
    reachable = driven > 0 and left > 0
    return Comparison(
        ours,
        theirs,
        theirs.value / ours.value if ours.value else None,
        firing_rate,
        firing_rate * left / driven if reachable else None,
        factor,
    )


def _driven(ledger: Ledger) -> Ledger:
    """Return the layers that spikes drive, alone."""
    return Ledger(
        {name: ledger.layers[name] for name in ledger.layers if name in ledger.driven},
        facts={name: facts for name, facts in ledger.facts.items() if name in ledger.driven},
        samples=ledger.samples,
        timesteps=ledger.timesteps,
    )
