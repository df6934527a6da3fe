"""The tables of graph reasoning: all graphs that were trained on, and ablations of GRSNN."""

from collections.abc import Sequence
from typing import Any

from benchmarks.graph_grids import BEST, LEARNING_CURVE, budget_text
from benchmarks.grid_result import bars_of
from benchmarks.grids import find_grid
from benchmarks.markdown import (
    NONE,
    difference,
    machine_of,
    machines_of,
    number,
    source,
    spread,
    table,
)
from benchmarks.reasoning_energy import row_of, two_digits

Record = dict[str, Any]
Columns = dict[str, tuple[str, str]]
"""Headings, each with the number of a run that stands under it and how it is written."""

FACTS: Columns = {
    "MRR": ("mrr", ".3f"),
    "MRR, ties shared": ("mrr_realistic", ".3f"),
    "MR": ("mr", ".1f"),
    "Hits@1": ("hits_at_1", ".3f"),
    "Hits@3": ("hits_at_3", ".3f"),
    "Hits@10": ("hits_at_10", ".3f"),
    "Hits@10 of 50": ("hits_at_10_of_50", ".3f"),
    "Hits@10 of 50, itself a rival": ("hits_at_10_of_50_itself", ".3f"),
}
LINKS: Columns = {"AUROC": ("auroc", ".3f"), "AP": ("average_precision", ".3f")}
REASONERS = ("grsnn", "nbfnet")
MEASURED = {quantity + BEST: name for name, (quantity, _) in (FACTS | LINKS).items()}
COSTS = ("parameters", "firing rate", "min", "seeds", "command")


def render_reasoning(entries: Sequence[tuple[Record, str]]) -> str:
    """Return the tables of every graph trained on, by facts and by links."""
    parts = ["#### Graph reasoning", ""]
    if any(record["grid"] == LEARNING_CURVE for record, _ in entries):
        name = f"{LEARNING_CURVE}.png"
        parts += [f"![Validation over the epochs on {LEARNING_CURVE}](images/{name})", ""]
    for columns in (FACTS, LINKS):
        judged = next(iter(columns.values()))[0] + BEST
        chosen = [
            record for record, _ in entries if find_grid(record["grid"]).task.measure == judged
        ]
        rows = [_row(name, record, columns) for record in chosen for name in record["rules"]]
        if rows:
            parts += [table(("graph", "budget", "method", *columns, *COSTS), rows), ""]
    bars = [
        f"{record['dataset']}, {bar['text']}: **{'yes' if bar['holds'] else 'no'}**"
        for record, _ in entries
        for bar in bars_of(find_grid(record["grid"]), record["rules"])
    ]
    sources = sorted({anchor["source"] for record, _ in entries for anchor in _anchors(record)})
    published = (
        f" In brackets what was published ({', '.join(sources)}), of 20 epochs and all facts."
        if sources
        else ""
    )
    return "\n".join(
        [
            *parts,
            f"{_source(entries)} {MEASURES}{published}",
            *(["", "; ".join(bars) + "."] if bars else []),
            "",
        ]
    )


def beside_each_other(entries: Sequence[tuple[Record, str]]) -> str:
    """Return a short table of the graphs that both reasoners were trained on with several seeds."""
    rows = []
    for record, _ in entries:
        measure = find_grid(record["grid"]).task.measure
        methods = [record["rules"].get(name) for name in REASONERS]
        if any(found is None or found["n"] < 2 for found in methods):
            continue
        told = [
            f"{spread(found[measure], '.3f')}, {_budget(name, record)}"
            for name, found in zip(REASONERS, methods, strict=True)
        ]
        rate = number(methods[0].get("firing_rate" + BEST), ".3f")
        rows.append((record["title"], MEASURED[measure], *told, rate))
    header = ("graph", "test measure", *(f"`{name}`, trained" for name in REASONERS), "firing rate")
    return table(header, rows) if rows else ""


def learnt(record: Record) -> list[str]:
    """Say how far a network came on the graph whose learning curve is drawn; nothing of others."""
    if record["grid"] != LEARNING_CURVE:
        return []
    told = []
    for name, found in record["rules"].items():
        if found["n"]:
            measures = ", ".join(
                f"{heading} {spread(found[quantity + BEST], form)}"
                for heading, (quantity, form) in FACTS.items()
                if heading in ("MRR", "Hits@10")
            )
            seeds = f"{found['n']} seed{'s' if found['n'] > 1 else ''}"
            told.append(
                f"`{name}` on the whole test set of {record['title']}, {_budget(name, record)}, "
                f"{seeds}: {measures}."
            )
    return told


def render_ablations(entries: Sequence[tuple[Record, str]]) -> str:
    """Return the table of GRSNN with one setting changed."""
    rows = []
    for record, _ in entries:
        for name, found in record["rules"].items():
            measures = [
                spread(found.get(FACTS[heading][0] + BEST), FACTS[heading][1])
                for heading in ABLATED_MEASURES
            ]
            rows.append(
                (
                    f"`{record['dataset']}`",
                    _budget(name, record),
                    f"`{name}`",
                    *measures,
                    difference(name, record),
                    *_costs(name, record),
                )
            )
    header = (
        *("graph", "budget", "variant", *ABLATED_MEASURES),
        "MRR to the first row of the graph (points)",
        *COSTS,
    )
    return "\n".join(
        [
            "#### Ablations of GRSNN",
            "",
            table(header, rows),
            "",
            f"{_source(entries)} {MEASURES} Differences are paired by seed, with the half-width of "
            "their 95 % interval and the p of a paired t-test.",
            "",
        ]
    )


ABLATED_MEASURES = ("MRR", "Hits@10", "Hits@10 of 50")
MEASURES = (
    "Mean ± sample standard deviation over seeds, of the test after the epoch that did best in "
    "validation. Filtered ranks on both sides; a tie counts against the answer, or, shared, by "
    "half. Hits@10 of 50 is expected against 50 drawn entities. The firing rate is in spikes per "
    "neuron and time step; minutes are of the fastest seed, evaluation included: other work "
    "beside a run, or a pause of it, counts in those of the others."
)


def _row(name: str, record: Record, columns: Columns) -> tuple[str, ...]:
    found = record["rules"][name]
    published = {
        anchor["quantity"]: anchor["value"]
        for anchor in _anchors(record)
        if anchor["variant"] == name
    }
    measures = []
    for quantity, form in columns.values():
        text = spread(found.get(quantity + BEST), form)
        if quantity + BEST in published:
            text += f" ({published[quantity + BEST]:{form}})"
        measures.append(text)
    return (
        f"`{record['dataset']}`",
        _budget(name, record),
        f"`{name}`",
        *measures,
        *_costs(name, record),
    )


def _budget(name: str, record: Record) -> str:
    own = find_grid(record["grid"]).variant(name).settings
    return budget_text({**record["settings"], **own})


def _costs(name: str, record: Record) -> tuple[str, ...]:
    found, grid = record["rules"][name], find_grid(record["grid"])
    cells = [cell for cell in record["cells"] if cell["variant"] == name]
    seconds = [cell["seconds"] for cell in cells if cell.get("seconds") is not None]
    minutes = f"{min(seconds) / 60:.1f}" if seconds else NONE
    diverged = f", {found['diverged']} diverged" if found["diverged"] else ""
    return (
        number(found.get("parameters"), ",.0f"),
        number(found.get("firing_rate" + BEST), ".3f"),
        minutes,
        f"{found['n']} of {len(grid.seeds)}{diverged}",
        f"`python -m benchmarks.accuracy {grid.name} --only {name}`",
    )


def _anchors(record: Record) -> list[dict[str, Any]]:
    return list(record.get("anchors", ()))


def _source(entries: Sequence[tuple[Record, str]]) -> str:
    files = [file for _, file in entries]
    return source(files, machines_of(record for record, _ in entries))


def render_reasoning_energy(record: dict[str, Any], file: str) -> str:
    """Return a table of estimated energy a query for each graph."""
    parts = ["#### Estimated energy of a query to a graph", ""]
    for name, entry in record["graphs"].items():
        rows = [row_of(each) for each in entry["accountings"]]
        spiking, other = entry["runs"]
        claim = f"{entry['claim']:g}"
        header = ("accounting", f"`{spiking}`", f"`{other}`", "ratio", f"firing rate for {claim}")
        mrr = ", ".join(f"`{each}` {run['mrr']:.3f}" for each, run in entry["runs"].items())
        commands = "; ".join(f"`{run['command']}`" for run in entry["runs"].values())
        prices = entry["prices"]
        parts += [
            f"{name}, N = {entry['nodes']}, E = {entry['edges']}, d = {entry['neurons_per_node']}, "
            f"T = {entry['timesteps']}, L = {entry['layers']}; test MRR {mrr}; firing rate "
            f"{two_digits(100 * entry['firing_rate'])} %:",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(entry))} Every row: `{entry['command']}`, on the runs of "
            f"{commands}. Mean of {entry['queries']} test queries. Estimates of arithmetic alone "
            f"(`{prices['profile']}`, {prices['addition']['kind']}: an addition "
            f"{prices['addition']['value']:g} {prices['addition']['unit']}, a multiplication "
            f"{prices['multiplication']['value']:g} {prices['multiplication']['unit']}); memory "
            "and communication are not in them.",
            "",
        ]
    parts += [
        f"The published saving of {claim} times is theoretical, and by which accounting is not "
        "known. The first rows are closed forms: f T S additions of spikes (firing rate f, S = "
        "E d d synapses, as if each edge had a linear map) beside the products of a network "
        "without spikes. The last two count what happens: an addition for each spike that an edge "
        "delivers in time, and a multiply-accumulate for every other product. W comes after the "
        "sum over edges, so its products are with numbers of spikes; both leaks of each neuron are "
        "products at every step. Definitions: `benchmarks/reasoning_energy.py`.",
        "",
    ]
    return "\n".join(parts)
