"""What a report says, as titled tables of text: every rendering shows these cells and no others.

A table never adds or compares what was measured with what was simulated unless the report was asked
to; who makes the record sees to that.
"""

from collections.abc import Iterable, Mapping, Sequence

from neuro.energy.pricing.placement import PLACED_TERMS
from neuro.energy.reporting.cells import (
    band,
    is_measured,
    joules,
    labelled,
    number,
    percent,
    quality,
    ratio,
    shown,
    total_band,
    with_memory,
)
from neuro.energy.reporting.document import Document, Record, Table, by_profile

COUNTED = (
    ("spikes", "spikes"),
    ("synaptic_additions", "SynOps"),
    ("macs", "MACs"),
    ("neuron_updates", "updates"),
)
"""Counts of a layer that people are shown, and what the field calls them."""

NOT_TRAINED = "not trained; --baselines trains it"


def document(record: Record) -> Document:
    """Return what a report of one model says."""
    tables = [totals(record), layers(record)]
    tables += [layer_energies(record)] if any(each["layers"] for each in record["profiles"]) else []
    tables += [baselines(record)] if record["baselines"] else []
    tables += [break_even(record)] if record["break_even"] else []
    tables += [training(record)] if record["training"] else []
    tables += [sensitivity(each) for each in record["profiles"] if each["sensitivity"]]
    return Document(
        title(record["what"]),
        tuple(facts(record)),
        tuple(tables),
        unpriced(record),
        by_profile(record, "excluded"),
        by_profile(record, "notes"),
        by_profile(record, "citations"),
    )


def title(what: Record) -> str:
    """Return what was trained on what, in a few words."""
    method, dataset, model = (what.get(key) for key in ("method", "dataset", "model"))
    words = f"{method} on {dataset}" if method and dataset else str(what["run"])
    return words + (f" with {model}" if model and model not in (method, words) else "")


def facts(record: Record) -> Iterable[str]:
    """Yield what was counted, and how well it does."""
    what = record["what"]
    checkpoint = f", checkpoint {what['checkpoint']}" if what.get("checkpoint") else ""
    yield f"{what['run']}{checkpoint}"
    steps = what["timesteps"]
    yield (
        f"{number(record['parameters'])} parameters; {number(what['samples'])} "
        f"{what['unit']} counted, {steps} time step{'' if steps == 1 else 's'} each; "
        f"coverage {percent(record['coverage'])}"
    )
    placed = what.get("placement")
    if placed:
        yield (
            f"placed on {placed['profile']}: chips {placed['chips']}, tiles {placed['tiles']}, "
            f"cores {placed['cores']}"
        )
    if record["accuracy"] is not None:
        yield f"{record['measure']} {quality(record['measure'], record['accuracy'])}"
    yield "Operations and energies are means of one of these. Energies are estimates."


def totals(record: Record) -> Table:
    """Return the energy of a sample by profile."""
    rows = tuple(
        (
            each["name"],
            labelled(each),
            total_band(each),
            "-" if each["spread_pj"] is None else joules(each["spread_pj"]),
            each["scope"],
            with_memory(each) or "-",
        )
        for each in record["profiles"]
    )
    return Table(
        "Energy (estimate)",
        ("profile", "estimate and kind", "5 to 95 %", "spread over batches", "of what",
         "with memory"),
        rows,
        " ".join(_of_bands(record["profiles"])),
    )  # fmt: skip


def _of_bands(profiles: Sequence[Record]) -> Iterable[str]:
    """Yield what the bands of totals are of."""
    measured = [each["name"] for each in profiles if is_measured(each)]
    if len(measured) < len(profiles):
        yield (
            "The band is of the profile's constants alone, drawn within their bounds. A value that "
            "its source gives as a bound, a minimum say, may lie outside."
        )
    for name in measured:
        yield (
            f"{name}: read from this machine's counters, which hold whole devices; the band is of "
            "the intervals. What idling took is under Notes."
        )


def layers(record: Record) -> Table:
    """Return the operations of each layer."""
    rows = [
        (
            layer["name"],
            shown(layer["kind"]),
            shown(layer["signal"]),
            percent(layer["rate"]),
            *(number(layer["counts"].get(key, 0)) for key, _ in COUNTED),
            number(layer["parameters"]),
            number(layer["state"]),
        )
        for layer in record["layers"]
    ]
    total = (number(record["totals"].get(key, 0)) for key, _ in COUNTED)
    rows.append(("total", "", "", "", *total, number(record["parameters"]), ""))
    return Table(
        "Operations",
        ("layer", "kind", "input", "rate", *(words for _, words in COUNTED), "parameters", "state"),
        tuple(rows),
        "SynOps are additions that spikes cause, MACs products that are summed. The rate is of "
        "spikes a neuron and step, or of synapses in use. --json has every kind of operation.",
    )


def layer_energies(record: Record) -> Table:
    """Return the energy of each layer and of what a placement adds, a column for each profile."""
    profiles = record["profiles"]
    layers = [{each["name"]: each["pj"] for each in profile["layers"]} for profile in profiles]
    terms = [{each["name"]: each["pj"] for each in profile["terms"]} for profile in profiles]
    placed = [name for name in PLACED_TERMS if any(name in column for column in terms)]
    rows = _energies([layer["name"] for layer in record["layers"]], layers)
    rows += _energies(placed, terms)
    rows.append(("total", *(labelled(profile) for profile in profiles)))
    return Table(
        "Energy by layer (estimate)",
        ("layer", *(profile["name"] for profile in profiles)),
        tuple(rows),
    )


def _energies(
    names: Iterable[str], columns: Sequence[Mapping[str, Record]]
) -> list[tuple[str, ...]]:
    """Return a row for each name, with a dash in columns that have no energy of it."""
    return [
        (name, *(joules(column[name]["value"]) if name in column else "-" for column in columns))
        for name in names
    ]


def baselines(record: Record) -> Table:
    """Return the networks without spikes beside the spiking one."""
    accuracy = quality(record["measure"], record["accuracy"])
    rows = [
        (
            "this network",
            "",
            accuracy,
            each["name"],
            labelled(each),
            total_band(each),
            "1" if each["kind"] else "-",
        )
        for each in record["profiles"]
    ]
    for baseline in record["baselines"]:
        known = baseline["accuracy"] is not None
        answer = quality(record["measure"], baseline["accuracy"]) if known else NOT_TRAINED
        for each in baseline["profiles"]:
            rows.append(
                (
                    baseline["name"],
                    shown(baseline["bits"]),
                    answer,
                    _sides(each["name"], each["priced_by"]),
                    labelled(each),
                    total_band(each),
                    ratio(each["ratio"]),
                )
            )
    return Table(
        "Fair baselines (estimate)",
        ("network", "bits", record["measure"] or "result", "profile", "estimate and kind",
         "5 to 95 %", "this over it"),
        tuple(rows),
        "The same architecture without spikes, in one pass. The last column is the energy of this "
        "network over the other's: below 1 spikes win. Its band draws constants once for both. "
        "\"a beside b\": this network has the prices of a, the other those of b."
        + _learning_rates(record["baselines"]),
    )  # fmt: skip


def _learning_rates(baselines: Sequence[Record]) -> str:
    """Return what was trained with which; what is only rounded has no epochs."""
    told = []
    for each in baselines:
        budget = each.get("budget")  # a record that was saved earlier may have none
        if budget and budget["epochs"]:
            tried = len(budget["rates"])
            how = f"best of {tried} on validation samples" if tried else "given"
            told.append(f"{each['name']} {budget['lr']:g} ({how})")
    return f" Learning rates: {', '.join(told)}." if told else ""


def _sides(name: str, own: str | None) -> str:
    """Return whose prices both sides have, if they are not the same."""
    return name if own in (None, name) else f"{name} beside {own}"


def break_even(record: Record) -> Table:
    """Return the rates at which a spiking layer costs what the baseline's does."""
    names = list(dict.fromkeys(name for row in record["break_even"] for name in row["break_even"]))
    rows = tuple(
        (
            row["layer"],
            percent(row["rate"]),
            *(_rate_needed(row["rate"], row["break_even"].get(name)) for name in names),
        )
        for row in record["break_even"]
    )
    return Table(
        "Break-even rate",
        ("layer", "rate", *names),
        rows,
        "Below this share of its synaptic operations a step, the layer and the neurons behind it, "
        "over all steps, cost less than those of the first baseline. --json has synapses alone.",
    )


def _rate_needed(rate: float | None, needed: float | None) -> str:
    if needed is None:
        return "none"
    words = "any" if needed >= 1 else percent(needed)
    if rate is None:
        return words
    return f"{words} ({'below' if rate <= needed else 'above'})"


def training(record: Record) -> Table:
    """Return what learning from one sample takes, by rule."""
    rules = record["training"]["rules"]
    names = [profile["name"] for profile in record["profiles"]]
    rows = []
    for rule, cost in rules.items():
        if cost["reason"] is not None:
            rows.append((rule, "not counted", *["-"] * (4 + len(names))))
            continue
        rows.append(
            (
                rule,
                *(number(cost["totals"].get(key, 0)) for key in ("synaptic_additions", "macs")),
                number(sum(cost["stored"].values())),
                number(cost["synaptic_updates"]),
                *map(labelled, cost["profiles"]),
                "; ".join(_in_place(cost["profiles"])) or "-",
            )
        )
    return Table(
        "Training (estimate)",
        (
            "rule",
            "SynOps",
            "MACs",
            "numbers kept",
            "synaptic updates",
            *names,
            "updates in place",
        ),
        tuple(rows),
        "Learning from one sample of a batch: forward, error, gradients, feedback and optimiser. "
        "Numbers kept are what backward or the traces hold between steps; updates in place are "
        "what a chip takes to change synapses, no more of learning. --json has the phases.",
    )


def _in_place(profiles: Sequence[Record]) -> Iterable[str]:
    for each in profiles:
        pj = each["on_chip_pj"]
        if pj is not None:
            yield f"{joules(pj['value'])} ({band(pj)}; {each['name']})"


def sensitivity(profile: Record) -> Table:
    """Return how far each constant of a profile moves its total."""
    rows = tuple(
        (each["constant"], joules(each["low_pj"]), joules(each["high_pj"]))
        for each in profile["sensitivity"]
    )
    return Table(
        f"Sensitivity of {profile['name']} (estimate, {profile['kind']})",
        ("constant", "total at its low bound", "total at its high bound"),
        rows,
    )


def unpriced(record: Record) -> Mapping[str, tuple[str, ...]]:
    """Return why something has no price, or was not counted."""
    found: dict[str, dict[str, None]] = {}
    for baseline in record["baselines"]:
        for each in baseline["profiles"]:
            if each["reason"]:
                found.setdefault(f"{baseline['name']}, {each['name']}", {})[each["reason"]] = None
    for rule, cost in (record["training"] or {"rules": {}})["rules"].items():
        if cost["reason"]:
            found.setdefault(f"training by {rule}", {})[cost["reason"]] = None
        for each in cost["profiles"]:
            if each["reason"]:
                found.setdefault(f"training, {each['name']}", {})[each["reason"]] = None
    return {what: tuple(reasons) for what, reasons in found.items()}
