"""The tables of estimated energy: networks beside fair baselines, and what learning takes."""

from collections.abc import Mapping, Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any

from benchmarks.comparison import mean_and_std
from benchmarks.markdown import NONE, machine_of, percent, source, table
from neuro.energy import significant

PICO = 1e-12
BASELINES = ("ann-fp32", "ann-int8", "qnn")
TRAINED = ("ann-fp32", "qnn")
COMPARED = ("horowitz45-fp32", "horowitz45-int8", "lemaire45")
"""Profiles that price networks with and without spikes alike."""
CROSSED = ("horowitz45-int8", "horowitz45-fp32")
"""Spikes in 8 bits beside an ANN in 32 are no comparison of spikes."""
LEARNING = "horowitz45-fp32"
REFERENCE = "bptt"

Row = Mapping[str, Any]


def render_energy(record: dict[str, Any], file: str) -> str:
    """Return the tables of one result file."""
    spiking = [row for row in record["rows"] if row["baselines"]]
    others = [row for row in record["rows"] if not row["baselines"]]
    parts = [
        "#### Estimated energy",
        "",
        f"{source([file], machine_of(record))} `{record['command']}`. Operations are counted on "
        "samples of the test set and priced by published constants: estimates of arithmetic "
        "(`lemaire45`: and of memory), never measurements. In brackets 5 to 95 % over the bounds "
        "of the constants; where a source gives a minimum, the value may lie below. Whole "
        "reports, with bands, excluded terms and sources: [energy](energy). Baselines are trained "
        "with the budget of the spiking network, and see a static sample once, of events the mean "
        "frame. Each chose its learning rate among as many as its column says, around the spiking "
        "network's, by accuracy on validation samples of the first seed, and has it with the other "
        "seeds; where none is told, it is the spiking network's, which its grid or preset sets.",
        "",
    ]
    if spiking:
        parts += [_accuracies(spiking), "", *_ratios(spiking), "", _learning(spiking), ""]
    if others:
        parts += [_reasoners(others), ""]
    return "\n".join(parts)


def _groups(rows: Sequence[Row]) -> list[tuple[str, list[Row]]]:
    return [(name, list(each)) for name, each in groupby(rows, key=itemgetter("network"))]


def _baseline(row: Row, kind: str) -> Row:
    return next(each for each in row["baselines"] if each["name"].startswith(kind))


def _accuracies(rows: Sequence[Row]) -> str:
    """Return accuracy and size of each network and of its baselines."""
    lines = []
    for name, group in _groups(rows):
        qnn = _baseline(group[0], "qnn")["name"]
        measured = [[row["accuracy"] for row in group]]
        measured += [[_baseline(row, kind)["accuracy"] for row in group] for kind in BASELINES]
        lines.append(
            (
                f"`{name}`",
                str(len(group)),
                f"{group[0]['parameters']:,}",
                f"{group[0]['timesteps']}",
                *(_accuracy(values) for values in measured),
                qnn.removeprefix("qnn-"),
                *(_learning_rate(_baseline(group[0], kind)) for kind in TRAINED),
            )
        )
    header = ("network", "seeds", "parameters", "T", "spiking (%)", "ANN, 32-bit floats (%)",
              "ANN, 8 bits (%)", "QNN (%)", "its bits", "learning rate, ANN",
              "learning rate, QNN")  # fmt: skip
    return table(header, lines)


def _learning_rate(baseline: Row) -> str:
    """Return what a baseline was trained with, and of how many it is the best."""
    budget = baseline.get("budget")
    if not budget:
        return NONE
    tried = len(budget["rates"])
    return f"{budget['lr']:g}" + (f", best of {tried}" if tried else "")


def _accuracy(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    return percent(mean_and_std(known)) if len(known) == len(values) else NONE


def _ratios(rows: Sequence[Row]) -> list[str]:
    """Return energies of each network's first seed beside those of its baselines."""
    lines = []
    for _, group in _groups(rows):
        row = group[0]
        for profile in row["profiles"]:
            if profile["name"] not in COMPARED:
                continue
            beside = [_priced(_baseline(row, kind), profile["name"]) for kind in BASELINES]
            lines.append(
                (
                    f"`{row['network']}`",
                    f"`{profile['name']}`",
                    profile["kind"],
                    _band(profile["total_pj"]),
                    *(_of(each) for each in beside),
                    _rates(row),
                    _break_even(row, profile["name"]),
                )
            )
    header = ("network", "profile", "kind", "spiking", "spiking / ANN, 32-bit floats",
              "spiking / ANN, 8 bits", "spiking / QNN", "rates of inputs",
              "spiking wins below")  # fmt: skip
    words = (
        "A sample of the first seed, with the band in brackets. Below 1 the spiking network takes "
        "less. With `horowitz45`, baselines are priced in their own precision: 32-bit floats, or "
        "8-bit integers for fewer bits; spikes at 8-bit prices suppose that 8-bit weights keep the "
        "accuracy, as those of the networks in Lava do. "
        "The last two columns are of the synapses that spikes reach, first to last: the share of "
        "synaptic operations that happened, and the share at which the 32-bit ANN costs as much, "
        "neurons included."
    )
    return [table(header, lines), "", words]


def _priced(baseline: Row, profile: str) -> Row:
    found: Row = next(each for each in baseline["profiles"] if each["name"] == profile)
    return found


def _of(priced: Row) -> str:
    ratio = priced["ratio"]
    if ratio is None or (priced["name"], priced["priced_by"]) == CROSSED:
        return NONE
    text = f"{ratio['value']:.2g}"
    if ratio["low"] != ratio["high"]:
        text += f" ({ratio['low']:.2g} to {ratio['high']:.2g})"
    return text


def _band(total: Mapping[str, float]) -> str:
    text = significant(total["value"] * PICO)
    if total["low"] == total["high"]:
        return text
    return f"{text} ({significant(total['low'] * PICO)} to {significant(total['high'] * PICO)})"


def _rates(row: Row) -> str:
    return " / ".join(f"{each['rate']:.2f}" for each in row["break_even"]) or NONE


def _break_even(row: Row, profile: str) -> str:
    found = [each["break_even"].get(profile) for each in row["break_even"]]
    return " / ".join(_wins_below(rate) for rate in found) or NONE


def _wins_below(rate: float | None) -> str:
    if rate is None:
        return "never"
    return "any" if rate >= 1 else f"{rate:.2f}"


def _learning(rows: Sequence[Row]) -> str:
    """Return what learning from one sample takes, over that of the reference rule."""
    lines, rules = [], list(rows[0]["training"]["rules"])
    for _, group in _groups(rows):
        found = group[0]["training"]["rules"]
        reference = _joules(found[REFERENCE])
        for rule in rules:
            joules = _joules(found[rule])
            stored = sum(found[rule]["stored"].values()) if found[rule]["stored"] else None
            lines.append(
                (
                    f"`{group[0]['network']}`",
                    f"`{rule}`",
                    NONE if joules is None else significant(joules * PICO),
                    NONE if joules is None or not reference else f"{joules / reference:.2f}",
                    NONE if stored is None else f"{stored:,.0f}",
                )
            )
    header = ("network", "rule", f"learning from a sample, `{LEARNING}`", f"/ `{REFERENCE}`",
              "numbers kept a sample")  # fmt: skip
    return table(header, lines)


def _joules(rule: Row) -> float | None:
    for profile in rule["profiles"]:
        if profile["name"] == LEARNING:
            value: float = profile["total_pj"]["value"]
            return value
    return None


def _reasoners(rows: Sequence[Row]) -> str:
    """Return what a query takes."""
    lines = []
    for row in rows:
        priced = {profile["name"]: profile for profile in row["profiles"]}
        accuracy = row["accuracy"]
        lines.append(
            (
                f"`{row['network']}`",
                f"`{row['variant']}`",
                NONE if accuracy is None else f"{accuracy:.3f} ({row['measure']})",
                f"{row['parameters']:,}",
                *(
                    _band(priced[name][what]) if priced.get(name, {}).get(what) else NONE
                    for name in COMPARED[:2]
                    for what in ("total_pj", "with_memory_pj")
                ),
            )
        )
    priced_as = [f"`{name}`{more}" for name in COMPARED[:2] for more in ("", " with memory")]
    return table(("graph", "method", "how well", "parameters", *priced_as), lines)
