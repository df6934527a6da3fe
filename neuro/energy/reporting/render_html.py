"""A report as one page that needs nothing else: no network, no font, no library.

Every figure is written here, by the same functions as those of the other renderings; the page's
script only chooses which profile is shown. Without it all of them are.
"""

import json
from collections.abc import Mapping, Sequence
from functools import cache
from math import log10
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

from neuro.energy.pricing.lines import MEMORY
from neuro.energy.reporting import cells, tables
from neuro.energy.reporting.bibtex import bibtex
from neuro.energy.reporting.document import Document, Record, Table

FAINTEST = 1e-3
"""Shortest bar that is drawn, as a share of the longest."""


def html(record: Record, document: Document) -> str:
    """Write a report, or a comparison, as one HTML page with its record inside."""
    return _template().render(
        document=document,
        record=record,
        bibtex=bibtex(each for named in document.sources.values() for each in named),
        sections=[_section(record, each) for each in _chosen(record)],
        general=_general(record, document),
        embedded=_embedded(record),
    )  # fmt: skip


def _chosen(record: Record) -> Sequence[Record]:
    """Return the profiles that a reader chooses among; of a comparison none."""
    profiles: Sequence[Record] = [] if "runs" in record else record["profiles"]
    return profiles


@cache
def _template() -> Template:
    environment = Environment(
        loader=PackageLoader("neuro.energy.reporting", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("report.html")


def _embedded(record: Record) -> str:
    """Write the record so that no text in it can end the element that holds it."""
    text = json.dumps(record, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _general(record: Record, document: Document) -> Sequence[Table]:
    """Return the tables that do not depend on the chosen profile."""
    if "runs" in record:
        return document.tables
    found = [tables.layers(record)]
    found += [tables.baselines(record)] if record["baselines"] else []
    found += [tables.break_even(record)] if record["break_even"] else []
    found += [tables.training(record)] if record["training"] else []
    return found


def _section(record: Record, profile: Record) -> dict[str, Any]:
    """Return what is shown of one profile."""
    return {
        "name": profile["name"],
        "kind": profile["kind"],
        "total": cells.labelled(profile),
        "band": cells.total_band(profile),
        "measured": cells.is_measured(profile),
        "layers": _bars(profile["layers"]),
        "terms": _bars([each for each in profile["terms"] if not _apart(each)]),
        "memory": _bars([each for each in profile["terms"] if _apart(each)]),
        "baselines": _beside(record, profile),
        "sensitivity": _swings(profile),
        "scope": profile["scope"],
        "with_memory": cells.with_memory(profile),
        "excluded": profile["excluded"],
        "notes": profile["notes"],
    }


def _apart(term: Record) -> bool:
    """Whether a term is of the memory model, which the total does not hold."""
    return str(term["name"]).startswith(MEMORY)


def _bars(rows: Sequence[Record]) -> list[dict[str, Any]]:
    """Return bars on a scale from 0 to the largest upper end."""
    longest = max((row["pj"]["high"] for row in rows), default=0.0)
    return [
        {
            "name": row["name"],
            "figure": cells.joules(row["pj"]["value"]),
            "band": cells.band(row["pj"]),
            **{key: _share(row["pj"][key], longest) for key in ("value", "low", "high")},
        }
        for row in rows
    ]


def _beside(record: Record, profile: Record) -> list[dict[str, Any]]:
    """Return the network and its baselines under one profile, on one scale."""
    accuracy = cells.quality(record["measure"], record["accuracy"])
    first = {"name": "this network", "accuracy": accuracy, "kind": profile["kind"]}
    rows = [{**first, "pj": profile["total_pj"], "priced_by": profile["name"], "reason": ""}]
    for baseline in record["baselines"]:
        (own,) = (each for each in baseline["profiles"] if each["name"] == profile["name"])
        answer = cells.quality(record["measure"], baseline["accuracy"])
        rows.append(
            {
                "name": baseline["name"],
                "accuracy": tables.NOT_TRAINED if baseline["accuracy"] is None else answer,
                "kind": own["kind"],
                "pj": own["total_pj"],
                "priced_by": own["priced_by"],
                "reason": own["reason"],
            }
        )
    longest = max((row["pj"]["high"] for row in rows if row["pj"]), default=0.0)
    for row in rows:
        pj: Mapping[str, float] | None = row["pj"]
        if pj is not None:
            total = {"total_pj": pj, "kind": row["kind"]}
            row["figure"], row["band"] = cells.labelled(total), cells.total_band(total)
            row |= {key: _share(pj[key], longest) for key in ("value", "low", "high")}
    return rows if len(rows) > 1 else []


def _swings(profile: Record) -> list[dict[str, Any]]:
    """Return bars between the totals at a constant's bounds, on the scale of the widest."""
    rows = profile["sensitivity"]
    ends = [row[key] for row in rows for key in ("low_pj", "high_pj")]
    low, high = min(ends, default=0.0), max(ends, default=0.0)
    return [
        {
            "name": row["constant"],
            "figure": f"{cells.joules(row['low_pj'])} to {cells.joules(row['high_pj'])}",
            "low": _share(min(row["low_pj"], row["high_pj"]) - low, high - low),
            "high": _share(max(row["low_pj"], row["high_pj"]) - low, high - low),
        }
        for row in rows
    ]


def _share(part: float, whole: float) -> str:
    """Return a share of 100 as CSS has it."""
    if whole <= 0:
        return "0"
    share = part / whole
    return f"{100 * share:.{max(1, 1 - int(log10(max(share, FAINTEST))))}f}"
