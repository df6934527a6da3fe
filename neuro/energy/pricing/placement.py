"""What a placement adds to the energy of a network on a chip: ways of messages, static power.

::

    E = messages (e_tile + hops_x e_x + hops_y e_y) + P_core cores T t_step
    t_step = max(barrier(tiles), max over cores of sum(events latency))

What happens in a population is shared out over its cores by their neurons, and evenly over steps.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from neuro.energy.counts import Counts, Ledger
from neuro.energy.pricing.events import EVENTS, events_of
from neuro.energy.pricing.lines import Line
from neuro.energy.pricing.prices import Prices
from neuro.energy.pricing.scenarios import Array
from neuro.errors import UsageError, nearest
from neuro.hardware.place import Placement

CHIPS_BARRIER = "barrier_time_chips"
STATIC = "static_power_core"
ARROW = " -> "
_NUMBERED = re.compile(r" \(\d+\)$")
MESSAGES_TERM, HOPS_TERM, STATIC_TERM = "messages", "hops between tiles", "static power"
PLACED_TERMS = (MESSAGES_TERM, HOPS_TERM, STATIC_TERM)
"""What a placement adds, which belongs to no layer."""
HOPS = ("tile_hop_east_west_energy", "tile_hop_north_south_energy")


@dataclass(frozen=True, kw_only=True)
class PlacementTerms:
    """What a placed network does on its cores, for a sample.

    Attributes:
        profile: chip it was placed on.
        cores: in use, as are tiles and chips.
        tiles: see ``cores``.
        chips: see ``cores``.
        timesteps: of a sample.
        messages: that neurons sent to cores.
        hops_east_west: tile borders these crossed to the side.
        hops_north_south: and up or down.
        core_counts: what happened in each core, each different one once.
    """

    profile: str
    cores: int
    tiles: int
    chips: int
    timesteps: int
    messages: float
    hops_east_west: float
    hops_north_south: float
    core_counts: tuple[Counts, ...]


def placement_terms(placement: Placement, ledger: Ledger) -> PlacementTerms:
    """Return the terms of a placement that was given spikes.

    Args:
        placement: of :func:`neuro.hardware.place.place`, with the spikes of the ledger's samples.
        ledger: of the integer graph that was placed: a layer for each population, ``b``, and each
            connection into one, ``a -> b``.

    Raises:
        UsageError: the placement was given no spikes, or a population is not in the ledger.
    """
    messages = [route.messages for route in placement.routes]
    if any(each is None for each in messages):
        raise UsageError(
            "The placement knows no messages: give `place` the spikes of each population."
        )
    sent = [each for each in messages if each is not None]
    return PlacementTerms(
        profile=placement.profile,
        cores=len(placement.cores),
        tiles=placement.tiles,
        chips=placement.chips,
        timesteps=ledger.timesteps,
        messages=sum(each.sent for each in sent) / ledger.samples,
        hops_east_west=sum(each.hops_east_west for each in sent) / ledger.samples,
        hops_north_south=sum(each.hops_north_south for each in sent) / ledger.samples,
        core_counts=_core_counts(placement, ledger.per_sample),
    )


def _core_counts(placement: Placement, sample: Ledger) -> tuple[Counts, ...]:
    counts = _by_population(sample)
    blocks = [block for core in placement.cores for block in core.blocks]
    sizes: dict[str, int] = {}
    for block in blocks:
        if block.population not in counts:
            raise UsageError(
                f"Population {block.population!r} of the placement is not in the ledger."
                f"{nearest(block.population, counts)} Count the integer graph that was placed."
            )
        length = block.stop - block.start
        sizes[block.population] = sizes.get(block.population, 0) + length
    held = {
        tuple((block.population, block.stop - block.start) for block in core.blocks)
        for core in placement.cores
    }
    found = []
    for core in sorted(held):
        total = Counts()
        for population, length in core:
            total += counts[population].over(sizes[population] / length)
        found.append(total)
    return tuple(found)


def _by_population(sample: Ledger) -> dict[str, Counts]:
    """Return what happens in each population and in the connections into it."""
    found = {name: counts for name, counts in sample.layers.items() if ARROW not in name}
    for name, counts in sample.layers.items():
        target = _NUMBERED.sub("", name.rpartition(ARROW)[2])
        if ARROW in name and target in found:
            found[target] += counts
    return found


def placement_lines(terms: PlacementTerms, prices: Prices) -> Iterator[Line]:
    """Yield what messages cost, on their way and in their tiles."""
    messages = {
        f"{name}_energy": terms.messages
        for name, event in EVENTS.items()
        if event.once_a_spike and f"{name}_energy" in prices.constants
    }
    if messages:
        yield Line(None, MESSAGES_TERM, messages)
    crossed = zip(HOPS, (terms.hops_east_west, terms.hops_north_south), strict=True)
    hops = {name: number for name, number in crossed if name in prices.constants}
    if hops:
        yield Line(None, HOPS_TERM, hops)


def static_constants(terms: PlacementTerms, prices: Prices) -> list[str]:
    """Return the constants that :func:`static_joules` takes; none without a static power."""
    if STATIC not in prices.constants:
        return []
    timed = [f"{name}_time" for name in events_of(prices.constants, "_time", None)]
    return [STATIC, *timed, *_barrier(terms, prices)]


def static_joules(terms: PlacementTerms, prices: Prices, rows: Mapping[str, Array]) -> Array:
    """Return what the cores draw while a sample runs, in every scenario."""
    step = step_seconds(terms, prices, rows)
    return terms.cores * terms.timesteps * rows[STATIC] * step


def step_seconds(terms: PlacementTerms, prices: Prices, rows: Mapping[str, Array]) -> Array:
    """Return how long a step takes: the slowest core, or the barrier."""
    some = next(iter(rows.values()))
    step = np.zeros_like(some)
    for name, share in _barrier(terms, prices).items():
        step = step + share * rows[name]
    for counts in terms.core_counts:
        busy = np.zeros_like(some)
        for name in events_of(prices.constants, "_time", None):
            amount = EVENTS[name].amount(counts, None, terms.timesteps)
            busy = busy + amount / terms.timesteps * rows[f"{name}_time"]
        step = np.maximum(step, busy)
    return step


def _barrier(terms: PlacementTerms, prices: Prices) -> dict[str, float]:
    """Return the share of each known barrier in that of so many tiles, or of several chips."""
    if terms.chips > 1 and CHIPS_BARRIER in prices.constants:
        return {CHIPS_BARRIER: 1.0}
    known = prices.barriers
    if not known:
        return {}
    for (below, shorter), (above, longer) in pairwise(known):
        if below <= terms.tiles <= above:
            share = (terms.tiles - below) / (above - below)
            return {shorter: 1 - share, longer: share}
    return {(known[0] if terms.tiles < known[0][0] else known[-1])[1]: 1.0}
