"""What an estimate leaves out, in words."""

from collections.abc import Iterator

from neuro.energy.counts import Ledger
from neuro.energy.pricing.events import EVENTS, EVENTS_BESIDE, MOVEMENT, events_of
from neuro.energy.pricing.placement import HOPS, STATIC, PlacementTerms
from neuro.energy.pricing.prices import Prices


def excluded(
    sample: Ledger, prices: Prices, placement: PlacementTerms | None, *, include_memory: bool
) -> Iterator[str]:
    """Yield what happened but has no price, what has one but was not counted, and what the profile
    says of itself.

    Args:
        sample: what happened in one.
        prices: what has a price.
        placement: on a chip.
        include_memory: whether the memory model is in the total.
    """
    if not prices.profile.method:
        for column, number in _unpriced(sample, prices).items():
            yield f"{column.replace('_', ' ')}: {number:.3g} a sample without a price"
        if prices.levels:
            yield from _memory(sample, include_memory)
    yield from _placing(prices, placement)
    yield from prices.profile.excludes


def _unpriced(sample: Ledger, prices: Prices) -> dict[str, float]:
    """Return the columns, summed over the layers in which nothing covers them."""
    found: dict[str, float] = {}
    for name, counts in sample.layers.items():
        events = events_of(prices.constants, "_energy", sample.facts.get(name))
        covered = EVENTS_BESIDE.union(*(EVENTS[event].covers(counts) for event in events))
        if prices.levels:
            covered |= MOVEMENT
        for column, number in vars(counts).items():
            if number and column not in covered:
                found[column] = found.get(column, 0.0) + number
    return found


def _memory(sample: Ledger, include_memory: bool) -> Iterator[str]:
    moving = {
        name
        for name, counts in sample.layers.items()
        if any(getattr(counts, column) for column in MOVEMENT)
    }
    unknown = sorted(moving - sample.facts.keys())
    if not moving:
        yield "memory: no reads or writes were counted"
    elif unknown:
        yield f"memory of layers whose sizes are not known: {', '.join(unknown)}"
    elif not include_memory:
        yield "memory: it stands apart"


def _placing(prices: Prices, placement: PlacementTerms | None) -> Iterator[str]:
    known = prices.constants
    static = "static power" if STATIC in known else None
    hops = "hops between tiles" if any(name in known for name in HOPS) else None
    if placement is None:
        missing = " and ".join(filter(None, (static, hops)))
        if missing:
            yield f"{missing}: no placement was given"
        return
    if "reset_energy_chip" in known:
        yield "reset of the chips between samples"
    yield "messages from outside the chips"
