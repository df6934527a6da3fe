"""Counts times prices: what a sample costs, how sure that is, and what is not in it.

An estimate is a sum of amounts times constants. Its band comes from drawing every constant
independently and log-uniform between its bounds, the same draws for everything that is compared.
"""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from neuro.energy.counts import Ledger
from neuro.energy.pricing.events import EVENTS, events_of
from neuro.energy.pricing.excluded import excluded
from neuro.energy.pricing.lemaire import lemaire_lines
from neuro.energy.pricing.lines import Bill, Line, bill
from neuro.energy.pricing.placement import (
    STATIC_TERM,
    PlacementTerms,
    placement_lines,
    static_constants,
    static_joules,
)
from neuro.energy.pricing.prices import Family, Prices, family, prices_of, require_one_family
from neuro.energy.pricing.scenarios import DRAWS, Interval, Scenarios, Sensitivity
from neuro.energy.pricing.traffic import Traffic, memory_lines
from neuro.errors import UsageError
from neuro.hardware import HardwareProfile, load_profile

PICO = 1e-12
LEMAIRE = "lemaire"
_PREFIXES = ((1.0, "J"), (1e-3, "mJ"), (1e-6, "µJ"), (1e-9, "nJ"), (1e-12, "pJ"), (1e-15, "fJ"))


@dataclass(frozen=True, kw_only=True)
class Account:
    """An estimate of what a sample costs.

    Attributes:
        profile: whose prices were taken.
        kinds: how those of the total were come by; has to stand beside every total.
        scope: what the total holds.
        total: joules.
        with_memory: the total and the memory model; None where the profile has no memories, or no
            movement was counted.
        layers: of the total, by layer. What a placement adds belongs to no layer.
        terms: by what is paid for. Those of the memory model ("memory: ...") are here whether or
            not the total holds them.
        sensitivity: the total with each of its constants alone at its bounds, the widest first.
        excluded: what the total does not hold.
        notes: what the profile's sources leave open, and other figures for the same chip.
        spread: standard deviation of the total over batches; None for fewer than two.
        citations: sources of the constants of the total.
    """

    profile: str
    kinds: tuple[str, ...]
    scope: str
    total: Interval
    with_memory: Interval | None
    layers: Mapping[str, Interval]
    terms: Mapping[str, Interval]
    sensitivity: tuple[Sensitivity, ...]
    excluded: tuple[str, ...]
    notes: tuple[str, ...]
    spread: float | None
    citations: tuple[str, ...]

    @property
    def family(self) -> Family:
        """Measured, if all its constants are; else simulated."""
        return family(set(self.kinds))

    @property
    def kind(self) -> str:
        """The kinds in one line."""
        return ", ".join(self.kinds)

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it, in picojoules."""
        memory = self.with_memory
        return {
            "name": self.profile,
            "kind": self.kind,
            "kinds": list(self.kinds),
            "scope": self.scope,
            "total_pj": self.total.to_json(PICO),
            "with_memory_pj": None if memory is None else memory.to_json(PICO),
            "spread_pj": None if self.spread is None else self.spread / PICO,
            "layers": _listed(self.layers),
            "terms": _listed(self.terms),
            "sensitivity": [
                {"constant": name, "low_pj": low / PICO, "high_pj": high / PICO}
                for name, low, high in self.sensitivity
            ],
            "excluded": list(self.excluded),
            "notes": list(self.notes),
            "citations": list(self.citations),
        }


def account(
    ledger: Ledger,
    profile: HardwareProfile,
    *,
    placement: PlacementTerms | None = None,
    traffic: Traffic | None = None,
    include_memory: bool = False,
    batches: Sequence[Ledger] = (),
    draws: int = DRAWS,
    seed: int = 0,
) -> Account:
    """Estimate the energy of a sample.

    Args:
        ledger: what happened, over any number of samples.
        profile: what it costs.
        placement: on the chip's cores; without it a spike is one message within its tile, and
            nothing is drawn by waiting cores.
        traffic: reuse of what is fetched from memory.
        include_memory: whether the total holds the memory model, where the profile has one.
        batches: parts of the ledger, to tell how much samples differ.
        draws: of the constants, at least 1.
        seed: of the draws.

    Raises:
        UsageError: the profile prices nothing, or cannot price such a network.
        ProfileError: a quantity of the profile is not what its name says.
    """
    prices = prices_of(profile)
    scenarios = _scenarios([prices], draws, seed)
    method = _Method(prices, placement, traffic or Traffic(), include_memory)
    sample = ledger.per_sample
    found = method.bill(sample, scenarios)
    constants = [prices.constants[name].quantity for name in found.used]
    apart = any(term.startswith("memory: ") for term in found.terms)
    return Account(
        profile=profile.name,
        kinds=tuple(sorted({each.kind for each in constants})),
        scope=method.scope,
        total=scenarios.interval(found.total),
        with_memory=scenarios.interval(found.total + found.memory) if apart else None,
        layers={name: scenarios.interval(row) for name, row in found.layers.items()},
        terms={name: scenarios.interval(row) for name, row in found.terms.items()},
        sensitivity=scenarios.sensitivity(found.total, found.used),
        excluded=tuple(excluded(sample, prices, placement, include_memory=include_memory)),
        notes=tuple(_notes(profile, found)),
        spread=_spread(batches, method),
        citations=tuple(dict.fromkeys(each.citation for each in constants)),
    )


def ratio(
    spiking: Ledger,
    other: Ledger,
    profile: HardwareProfile,
    other_profile: HardwareProfile | None = None,
    *,
    placement: PlacementTerms | None = None,
    other_placement: PlacementTerms | None = None,
    traffic: Traffic | None = None,
    include_memory: bool = False,
    allow_mixed_kinds: bool = False,
    draws: int = DRAWS,
    seed: int = 0,
) -> Interval:
    """Estimate what a spiking network costs in units of what another one does.

    Constants that both sides share are drawn once for both, so that a network is exactly 1 of
    itself.

    Args:
        spiking: numerator.
        other: denominator.
        profile: of the spiking network, and of the other unless ``other_profile`` is given.
        other_profile: of the other.
        placement: of the spiking network.
        other_placement: of the other.
        traffic: of both; see :func:`account`, as for what follows.
        include_memory: of both.
        allow_mixed_kinds: whether a measured total may be compared with a simulated one.
        draws: of the constants.
        seed: of the draws.

    Raises:
        UsageError: the other costs nothing, or kinds are mixed.
    """
    ours = prices_of(profile)
    theirs = ours if other_profile is None else prices_of(other_profile)
    scenarios = _scenarios([ours, theirs], draws, seed)
    above = _Method(ours, placement, traffic or Traffic(), include_memory).bill(
        spiking.per_sample, scenarios
    )
    below = _Method(theirs, other_placement, traffic or Traffic(), include_memory).bill(
        other.per_sample, scenarios
    )
    if not below.total[0] > 0:
        raise UsageError(
            f"Profile {theirs.profile.name} prices nothing of what the other network does, so "
            "there is no ratio to it. Compare them by a profile that prices both."
        )
    sides = ((ours, above), (theirs, below))
    families = {
        prices.profile.name: family({prices.constants[name].quantity.kind for name in found.used})
        for prices, found in sides
        if found.used
    }
    require_one_family(families, allow_mixed_kinds=allow_mixed_kinds)
    return scenarios.interval(above.total / below.total)


def joules(
    ledger: Ledger,
    profile: HardwareProfile,
    *,
    traffic: Traffic | None = None,
    include_memory: bool = False,
) -> float:
    """Return the total of :func:`account` with all constants at their values."""
    method = _Method(prices_of(profile), None, traffic or Traffic(), include_memory)
    return method.joules(ledger)


def significant(joules: float) -> str:
    """Write an energy with at most two significant digits: "5.8 mJ"."""
    if joules < 0:
        return f"-{significant(-joules)}"
    if joules == 0:
        return "0 J"
    fits = (prefix for prefix in _PREFIXES if joules >= 0.995 * prefix[0])
    scale, unit = next(fits, _PREFIXES[-1])
    return f"{float(f'{joules / scale:.2g}'):.15g} {unit}"


@dataclass(frozen=True)
class _Method:
    """How a ledger becomes a bill."""

    prices: Prices
    placement: PlacementTerms | None
    traffic: Traffic
    include_memory: bool

    @property
    def scope(self) -> str:
        """What the total holds, in words."""
        if self.prices.profile.method == LEMAIRE:
            return "arithmetic, addresses and memory on the chip"
        if self.prices.levels:
            return "arithmetic and memory" if self.include_memory else "arithmetic alone"
        return "events" if self.placement is None else "events, messages and static power"

    def bill(self, sample: Ledger, scenarios: Scenarios) -> Bill:
        """Return the bill of a sample."""
        rows = scenarios.rows(self.prices)
        found = bill(
            self.lines(sample),
            sample.layers,
            rows,
            scenarios,
            include_memory=self.include_memory,
        )
        terms = self.placement
        if terms is not None and (static := static_constants(terms, self.prices)):
            found.add(None, STATIC_TERM, static_joules(terms, self.prices, rows))
            found.used |= dict.fromkeys(static)
        return found

    def joules(self, ledger: Ledger) -> float:
        """Return the total with all constants at their values."""
        return float(self.bill(ledger.per_sample, _scenarios([self.prices], 1, 0)).total[0])

    def lines(self, sample: Ledger) -> Iterator[Line]:
        """Yield the lines of a sample, all but static power."""
        known = self.prices.constants
        if self.prices.profile.method == LEMAIRE:
            yield from lemaire_lines(sample, self.prices)
            return
        for name, counts in sample.layers.items():
            facts = sample.facts.get(name)
            for event in events_of(known, "_energy", facts):
                if self.placement is None or not EVENTS[event].once_a_spike:
                    amount = EVENTS[event].amount(counts, facts, sample.timesteps)
                    yield Line(name, event.replace("_", " "), {f"{event}_energy": amount})
            if self.prices.levels and facts is not None:
                yield from memory_lines(name, counts, facts, self.prices, self.traffic)
        if self.placement is not None:
            yield from placement_lines(self.placement, self.prices)


def _scenarios(prices: Sequence[Prices], draws: int, seed: int) -> Scenarios:
    if draws < 1:
        raise UsageError(f"draws = {draws}; at least 1 is needed for a band.")
    return Scenarios(prices, draws, seed)


def _spread(batches: Sequence[Ledger], method: _Method) -> float | None:
    if len(batches) < 2:
        return None
    return statistics.stdev(method.joules(batch) for batch in batches)


def _notes(profile: HardwareProfile, found: Bill) -> Iterator[str]:
    """Yield what has to be known of the constants that were used."""
    if profile.note:
        yield profile.note
    for name in profile.conflicts:
        rival = load_profile(name)
        for used in found.used:
            if used in rival.quantities:
                said = rival[used]
                words = used.removesuffix("_energy").replace("_", " ")
                yield f"{name} has {said.value:g} {said.unit} for {words} ({said.citation})"


def _listed(intervals: Mapping[str, Interval]) -> list[dict[str, Any]]:
    return [{"name": name, "pj": each.to_json(PICO)} for name, each in intervals.items()]
