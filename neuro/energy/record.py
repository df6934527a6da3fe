"""The record of a report: counts, what they cost under each profile, and what stands beside them.

Every number of a report is made here, once; ``docs/json-output.md`` names the keys.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from neuro.energy.account import Account, Interval, account, check_kinds, ratio
from neuro.energy.counts import Counts, Facts, Ledger
from neuro.errors import UsageError
from neuro.hardware.profile import HardwareProfile

SCHEMA = 1
PICO = 1e12
"""Picojoules of a joule."""

Json = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """A network that does the same work otherwise.

    Attributes:
        name: short, as ``ann-fp32``.
        ledger: its operations.
        bits: of its weights and activations; None for 32-bit floats.
        accuracy: on the test set; None where it was not trained.
        profiles: what it is priced with in place of a profile of that name: its own precision.
    """

    name: str
    ledger: Ledger
    bits: int | None = None
    accuracy: float | None = None
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
    """

    what: Mapping[str, Any]
    ledger: Ledger
    batches: Sequence[Ledger] = ()
    parameters: int | None = None
    accuracy: float | None = None
    measure: str | None = None
    placement: Any = None

    def account(self, profile: HardwareProfile) -> Account:
        """Price a sample."""
        return account(self.ledger, profile, placement=self.placement, batches=self.batches)


def make_record(
    subject: Subject,
    profiles: Sequence[HardwareProfile],
    *,
    baselines: Sequence[Baseline] = (),
    break_even: Mapping[str, Mapping[str, float | None]] | None = None,
    training: Mapping[str, Mapping[str, Ledger]] | None = None,
    stored: str = "stored",
    allow_mixed_kinds: bool = False,
) -> Json:
    """Return the record of a report.

    Args:
        subject: what was counted.
        profiles: to price it with, at least one.
        baselines: networks beside it.
        break_even: by layer and profile, the rate at which it costs what a baseline's does.
        training: operations of learning, by rule and phase.
        stored: the phase whose state writes are what is kept between steps.
        allow_mixed_kinds: let measured and simulated prices stand in one column.

    Raises:
        UsageError: measured and simulated profiles together, without leave.
    """
    check_kinds(profiles, allow_mixed_kinds=allow_mixed_kinds)
    accounts = [subject.account(profile) for profile in profiles]
    return {
        **opening(subject),
        "layers": list(_layers(subject.ledger)),
        "totals": subject.ledger.per_sample.total.to_json(),
        "profiles": [
            _profile(profile, each) for profile, each in zip(profiles, accounts, strict=True)
        ],
        "baselines": [_baseline(subject, each, profiles) for each in baselines],
        "break_even": _break_even(subject.ledger, break_even or {}),
        "training": None if training is None else _training(training, profiles, stored),
    }


def opening(subject: Subject) -> Json:
    """Return what a record of a model begins with."""
    ledger = subject.ledger
    counted = sum(facts.parameters for facts in ledger.facts.values())
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
        "parameters": counted if subject.parameters is None else subject.parameters,
    }


def rate_of(counts: Counts, facts: Facts | None, timesteps: int) -> float | None:
    """Return spikes a neuron and step, or for synapses the share that spikes used.

    Args:
        counts: of a layer, for one sample.
        facts: of the layer.
        timesteps: of a sample.
    """
    if facts is None:
        return None
    if counts.spikes and facts.neurons:
        return counts.spikes / (facts.neurons * timesteps)
    if facts.signal != "real" and facts.dense:
        return counts.synaptic_additions / (facts.dense * timesteps)
    return 0.0 if facts.neurons else None


def priced(profile: HardwareProfile, found: Account) -> Json:
    """Return a total with its kind."""
    return {
        "name": profile.name,
        "kinds": list(found.kinds),
        "kind": ", ".join(found.kinds),
        "estimate": True,
        "total_pj": picojoules(found.total),
    }


def picojoules(joules: Interval) -> dict[str, float]:
    """Return an interval in picojoules, by name."""
    return {
        name: PICO * each for name, each in zip(("value", "low", "high"), joules, strict=True)
    }


def _layers(ledger: Ledger) -> Iterable[Json]:
    sample = ledger.per_sample
    for name, counts in sample.layers.items():
        facts = ledger.facts.get(name)
        yield {
            "name": name,
            "kind": facts.kind if facts else None,
            "signal": facts.signal if facts else None,
            "parameters": facts.parameters if facts else None,
            "weights": facts.weights if facts else None,
            "state": facts.state if facts else None,
            "neurons": facts.neurons if facts else None,
            "rate": rate_of(counts, facts, ledger.timesteps),
            "counts": counts.to_json(),
        }


def _profile(profile: HardwareProfile, found: Account) -> Json:
    return {
        **priced(profile, found),
        "spread_pj": None if found.spread is None else PICO * found.spread,
        "layers": [{"name": name, "pj": picojoules(pj)} for name, pj in found.layers.items()],
        "terms": [{"name": name, "pj": picojoules(pj)} for name, pj in found.terms.items()],
        "sensitivity": [
            {"constant": each.constant, "low_pj": PICO * each.low, "high_pj": PICO * each.high}
            for each in found.sensitivity
        ],
        "excluded": list(found.excluded),
        "citations": list(found.citations),
    }


def _baseline(subject: Subject, baseline: Baseline, profiles: Sequence[HardwareProfile]) -> Json:
    return {
        "name": baseline.name,
        "bits": baseline.bits,
        "accuracy": baseline.accuracy,
        "parameters": sum(facts.parameters for facts in baseline.ledger.facts.values()),
        "totals": baseline.ledger.per_sample.total.to_json(),
        "profiles": [_beside(subject, baseline, profile) for profile in profiles],
    }


def _beside(subject: Subject, baseline: Baseline, profile: HardwareProfile) -> Json:
    """Price a baseline beside the subject under one profile; say why where that cannot be."""
    own = baseline.profiles.get(profile.name, profile)
    try:
        found = account(baseline.ledger, own)
        beside = ratio(subject.ledger, baseline.ledger, profile, own, placement=subject.placement)
    except UsageError as error:
        nothing = {"total_pj": None, "ratio": None, "priced_by": None, "kind": None}
        return {"name": profile.name, **nothing, "reason": str(error)}
    return {
        **priced(own, found),
        "name": profile.name,
        "priced_by": own.name,
        "ratio": beside._asdict(),
        "reason": None,
    }


def _break_even(
    ledger: Ledger, found: Mapping[str, Mapping[str, float | None]]
) -> list[dict[str, Any]]:
    sample = ledger.per_sample
    return [
        {
            "layer": name,
            "rate": rate_of(sample.layers[name], ledger.facts.get(name), ledger.timesteps),
            "break_even": dict(rates),
        }
        for name, rates in found.items()
    ]


def _training(
    training: Mapping[str, Mapping[str, Ledger]], profiles: Sequence[HardwareProfile], stored: str
) -> Json:
    rules = {}
    for rule, phases in training.items():
        ledgers = {name: ledger.per_sample for name, ledger in phases.items()}
        whole = _joined(ledgers)
        rules[rule] = {
            "phases": {name: ledger.total.to_json() for name, ledger in ledgers.items()},
            "totals": whole.total.to_json(),
            "stored": ledgers[stored].total.state_writes if stored in ledgers else 0.0,
            "profiles": [priced(profile, account(whole, profile)) for profile in profiles],
        }
    return {"rules": rules}


def _joined(ledgers: Mapping[str, Ledger]) -> Ledger:
    """Return the layers of all phases side by side, as one ledger of one sample."""
    layers = {
        f"{phase}: {name}": counts
        for phase, ledger in ledgers.items()
        for name, counts in ledger.layers.items()
    }
    facts = {
        f"{phase}: {name}": each
        for phase, ledger in ledgers.items()
        for name, each in ledger.facts.items()
    }
    timesteps = max((ledger.timesteps for ledger in ledgers.values()), default=1)
    return Ledger(layers, facts=facts, samples=1, timesteps=timesteps)
