"""The record of a report: counts, what they cost under each profile, and what stands beside them.

Every number of a report is made here, once; ``docs/json-output.md`` names the keys.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from neuro.energy.counts import Counts, Facts, Ledger
from neuro.energy.pricing.account import Account, account, ratio
from neuro.energy.pricing.break_even import BreakEven
from neuro.energy.pricing.machine import MEASURED, Machine, Measurement
from neuro.energy.pricing.placement import PlacementTerms
from neuro.energy.pricing.prices import energy_profile, prices_of, require_one_family
from neuro.energy.pricing.scenarios import TAILS
from neuro.energy.training.cost import TrainingCost
from neuro.errors import UsageError
from neuro.hardware import HardwareProfile

SCHEMA = 1
PICO = 1e-12
PRODUCTS = frozenset({"multiplication_energy", "mac_equivalent_energy"})
"""What a profile has to price for a total of learning to mean anything."""
UNMEASURED = "Only the network itself is measured, as it answers."
LEARNING = "synaptic_update_stdp_energy"
"""What a chip takes to change a synapse in place."""

Json = dict[str, Any]
Pricing = HardwareProfile | Machine
"""What makes energies of operations, or measures them."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A network that does the same work otherwise.

    Attributes:
        name: short, as ``ann-fp32``.
        ledger: its operations.
        bits: of its weights and activations; None for 32-bit floats.
        accuracy: on the test set; None where it was not trained.
        budget: what its training was given, by name; None likewise.
        profiles: what it is priced with in place of a profile of that name: its own precision.
    """

    name: str
    ledger: Ledger
    bits: int | None = None
    accuracy: float | None = None
    budget: Mapping[str, Any] | None = None
    profiles: Mapping[str, HardwareProfile] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Subject:
    """What a report is about.

    Attributes:
        what: names by key; ``run`` at least.
        ledger: operations over its samples.
        batches: the same, batch by batch, for the spread; may be empty.
        parameters: trainable numbers; None sums those of the layers.
        accuracy: by ``measure``, or None.
        measure: what ``accuracy`` is: accuracy, mrr, ...
        placement: of an export on a chip: terms that operations do not have.
        measured: what a sample took on this machine, where that was asked for.
    """

    what: Mapping[str, Any]
    ledger: Ledger
    batches: Sequence[Ledger] = ()
    parameters: int | None = None
    accuracy: float | None = None
    measure: str | None = None
    placement: PlacementTerms | None = None
    measured: Measurement | None = None

    def account(self, profile: Pricing) -> Account | Measurement:
        """Price a sample, or tell what was measured."""
        if isinstance(profile, Machine):
            if self.measured is None:
                raise ValueError(f"{self.what['run']} was counted, but not measured")
            return self.measured
        return account(self.ledger, profile, placement=self.placement, batches=self.batches)


def make_record(
    subject: Subject,
    profiles: Sequence[Pricing],
    *,
    baselines: Sequence[Baseline] = (),
    break_even: Mapping[str, Sequence[BreakEven]] | None = None,
    training: Mapping[str, TrainingCost | str] | None = None,
    allow_mixed_kinds: bool = False,
) -> Json:
    """Return the record of a report.

    Args:
        subject: what was counted.
        profiles: to price it with, at least one; this machine only if the subject was measured.
        baselines: networks beside it.
        break_even: by profile, the rates at which layers cost what those of a baseline do.
        training: what learning takes, by rule, or why it is not known.
        allow_mixed_kinds: let measured and simulated prices stand in one column.

    Raises:
        UsageError: no profile, or measured and simulated ones together without leave.
    """
    check_profiles(profiles, allow_mixed_kinds=allow_mixed_kinds)
    return {
        **opening(subject),
        "layers": list(_layers(subject.ledger)),
        "totals": subject.ledger.per_sample.total.to_json(),
        "profiles": [priced(subject.account(profile)) for profile in profiles],
        "baselines": [_baseline(subject, each, profiles) for each in baselines],
        "break_even": _break_even(break_even or {}),
        "training": _training(training, profiles) if training else None,
    }


def open_profiles(
    profiles: Sequence[str | Path | Pricing], *, allow_mixed_kinds: bool
) -> list[Pricing]:
    """Read profiles and find this machine's counters, before anything that takes time.

    One name alone may stand without a list.

    Raises:
        UsageError: one is unknown, or has no prices, or their kinds do not go together; or
            "measured" is asked for and this machine has no counters.
        DataError: one is incomplete.
    """
    found = [_opened(each) for each in ([profiles] if isinstance(profiles, str) else profiles)]
    check_profiles(found, allow_mixed_kinds=allow_mixed_kinds)
    return found


def machine_among(profiles: Iterable[Pricing]) -> Machine | None:
    """Return this machine, if it is asked for."""
    return next((each for each in profiles if isinstance(each, Machine)), None)


def _opened(profile: str | Path | Pricing) -> Pricing:
    if profile == MEASURED:
        return Machine.here()
    return energy_profile(profile) if isinstance(profile, str | Path) else profile


def check_profiles(profiles: Sequence[Pricing], *, allow_mixed_kinds: bool) -> None:
    """Check that profiles may stand beside each other in one report.

    Raises:
        UsageError: there are none, two have one name, or some are measured and others simulated.
    """
    if not profiles:
        raise UsageError("Name at least one hardware profile, got none.")
    names = [profile.name for profile in profiles]
    for name in names:
        if names.count(name) > 1:
            raise UsageError(f"Two hardware profiles are called {name}; give one another name.")
    families = {
        each.name: each.family if isinstance(each, Machine) else prices_of(each).family
        for each in profiles
    }
    require_one_family(families, allow_mixed_kinds=allow_mixed_kinds)


def opening(subject: Subject) -> Json:
    """Return what a record of a model begins with."""
    ledger = subject.ledger
    return {
        "schema": SCHEMA,
        "what": {
            "unit": "samples",
            **subject.what,
            "samples": ledger.samples,
            "timesteps": ledger.timesteps,
        },
        "estimate": True,
        "accuracy": subject.accuracy,
        "measure": subject.measure,
        "coverage": 1.0,  # what has no rule is refused while counting
        "parameters": ledger.parameters if subject.parameters is None else subject.parameters,
    }


def priced(found: Account | Measurement) -> Json:
    """Return an account, marked as what it is."""
    return {"measurement": None, **found.to_json(), "family": found.family, "estimate": True}


def total(found: Account | Measurement) -> Json:
    """Return no more of an account than its total, marked likewise."""
    told = priced(found)
    return {key: told[key] for key in ("name", "kinds", "kind", "family", "estimate", "total_pj")}


def rate_of(counts: Counts, facts: Facts | None, timesteps: int) -> float | None:
    """Return spikes a neuron and step, or for synapses the share that spikes used.

    Args:
        counts: of a layer, for one sample.
        facts: of the layer.
        timesteps: of a sample.
    """
    if facts is None:
        return None
    if facts.kind == "neurons" and facts.neurons:
        return counts.spikes / (facts.neurons * timesteps)
    if facts.signal in ("binary", "ternary") and facts.dense:
        return counts.synaptic_additions / (facts.dense * timesteps)
    return None


def _layers(ledger: Ledger) -> Iterable[Json]:
    sample = ledger.per_sample
    for name, counts in sample.layers.items():
        facts = ledger.facts.get(name)
        known = {} if facts is None else facts.to_json()
        yield {
            "name": name,
            **{key: known.get(key) for key in TOLD},
            "rate": rate_of(counts, facts, ledger.timesteps),
            "counts": counts.to_json(),
            **(
                {"steps": [step.layers[name].to_json() for step in sample.steps]}
                if sample.steps
                else {}
            ),
        }


UNCOUNTED: Json = {
    "batch": None,
    "phases": {},
    "totals": {},
    "stored": {},
    "synaptic_updates": None,
    "profiles": [],
}
TOLD = ("kind", "signal", "parameters", "weights", "state", "neurons", "folded", "constant")
"""Facts of a layer that a report tells."""


def _baseline(subject: Subject, baseline: Baseline, profiles: Sequence[Pricing]) -> Json:
    return {
        "name": baseline.name,
        "bits": baseline.bits,
        "accuracy": baseline.accuracy,
        "budget": None if baseline.budget is None else dict(baseline.budget),
        "parameters": baseline.ledger.parameters,
        "totals": baseline.ledger.per_sample.total.to_json(),
        "profiles": [_beside(subject, baseline, profile) for profile in profiles],
    }


def _beside(subject: Subject, baseline: Baseline, profile: Pricing) -> Json:
    """Price a baseline beside the subject under one profile; say why where that cannot be."""
    if isinstance(profile, Machine):
        return {**_no_price(profile, UNMEASURED), "priced_by": None, "ratio": None}
    own = baseline.profiles.get(profile.name, profile)
    try:
        beside = ratio(
            subject.ledger,
            baseline.ledger,
            profile,
            own,
            placement=subject.placement,
            allow_mixed_kinds=True,  # who reads it chose the profile; own has its technology
        )
    except UsageError as error:
        return {**_no_price(profile, str(error)), "priced_by": None, "ratio": None}
    return {
        **total(account(baseline.ledger, own)),
        "name": profile.name,
        "priced_by": own.name,
        "ratio": beside.to_json(),
        "reason": None,
    }


def _no_price(profile: Pricing, reason: str) -> Json:
    nothing = dict.fromkeys(("kinds", "kind", "family", "total_pj"))
    return {"name": profile.name, **nothing, "estimate": True, "reason": reason}


def _break_even(found: Mapping[str, Sequence[BreakEven]]) -> list[Json]:
    rows: dict[str, Json] = {}
    for profile, rates in found.items():
        for each in rates:
            empty: Json = {"layer": each.layer, "rate": each.rate, "break_even": {}, "synapse": {}}
            row = rows.setdefault(each.layer, empty)
            row["break_even"][profile] = each.with_neurons
            row["synapse"][profile] = each.synapse
    return list(rows.values())


def _training(training: Mapping[str, TrainingCost | str], profiles: Sequence[Pricing]) -> Json:
    rules = {
        name: {**UNCOUNTED, "reason": cost} if isinstance(cost, str) else _rule(cost, profiles)
        for name, cost in training.items()
    }
    return {"rules": rules}


def _rule(cost: TrainingCost, profiles: Sequence[Pricing]) -> Json:
    """Return what learning from one sample of a batch takes."""
    batch, whole = cost.samples, _joined(cost)
    updates = None if cost.synaptic_updates is None else cost.synaptic_updates / batch
    return {
        "batch": batch,
        "phases": {name: each.total.over(batch).to_json() for name, each in cost.phases.items()},
        "totals": cost.total.over(batch).to_json(),
        "stored": {name: number / batch for name, number in cost.stored.items()},
        "synaptic_updates": updates,
        "profiles": [_learning(whole, updates, profile) for profile in profiles],
        "reason": None,
    }


def _learning(whole: Ledger, updates: float | None, profile: Pricing) -> Json:
    if isinstance(profile, Machine):
        return {**_no_price(profile, UNMEASURED), "on_chip_pj": None}
    on_chip = _on_chip(updates, profile)
    try:
        if PRODUCTS.isdisjoint(prices_of(profile).constants):
            raise UsageError(
                f"Profile {profile.name} prices no products, which most of learning is."
            )
        found = account(whole, profile)
    except UsageError as error:
        return {**_no_price(profile, str(error)), "on_chip_pj": on_chip}
    return {**total(found), "reason": None, "on_chip_pj": on_chip}


def _joined(cost: TrainingCost) -> Ledger:
    """Return the layers of all phases side by side, as one ledger of a batch."""
    layers: dict[str, Counts] = {}
    facts: dict[str, Facts] = {}
    for phase, ledger in cost.phases.items():
        layers |= {f"{phase}: {name}": counts for name, counts in ledger.layers.items()}
        facts |= {f"{phase}: {name}": each for name, each in ledger.facts.items()}
    return Ledger(layers, facts=facts, samples=cost.samples, timesteps=cost.timesteps)


def _on_chip(updates: float | None, profile: HardwareProfile) -> dict[str, float] | None:
    """Return what changing synapses in place takes, where that is published: nothing else of
    learning is in it."""
    constant = prices_of(profile).constants.get(LEARNING)
    if updates is None or constant is None:
        return None
    low, high = (constant.low * (constant.high / constant.low) ** tail for tail in TAILS)
    ends = {"value": constant.value, "low": low, "high": high}
    return {name: updates * each / PICO for name, each in ends.items()}
