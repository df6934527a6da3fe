"""docs/results.md and the highlights of README.md, made from the result files alone.

Everything between ``<!-- results:start -->`` and ``<!-- results:end -->`` is written here; each row
names its command, each table its file. ``--check`` fails when a section is not what the files say.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.agreement_table import render_agreement, render_counting, render_energy_cost
from benchmarks.command import CheckFailedError, main, say
from benchmarks.energy_table import render_energy
from benchmarks.export_table import render_exports
from benchmarks.graph_tables import render_graph, render_ranking, render_relational
from benchmarks.grid_result import bars_of
from benchmarks.grids import GRIDS, find_grid
from benchmarks.highlights import Entry, Results, highlights
from benchmarks.kernel_tables import (
    render_kept,
    render_layers,
    render_memory,
    render_speed,
    render_synapses,
    render_warm_start,
)
from benchmarks.markdown import (
    NONE,
    difference,
    machine_of,
    machines_of,
    number,
    percent,
    source,
    table,
)
from benchmarks.reasoning_tables import (
    render_ablations,
    render_reasoning,
    render_reasoning_energy,
)
from benchmarks.records import REPOSITORY, RESULTS, read_result
from neuro.errors import UsageError
from neuro.training.checkpoint import write_atomically

START, END = "<!-- results:start -->", "<!-- results:end -->"
README = REPOSITORY / "README.md"
DOCUMENT = REPOSITORY / "docs" / "results.md"
Renderer = Callable[[Sequence[Entry]], str]
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")
KINDS_OF_GRIDS = frozenset(grid.task.kind for grid in GRIDS.values())


def tables(
    *,
    readme: Path = README,
    document: Path = DOCUMENT,
    results: Path = RESULTS,
    check: bool = False,
) -> None:
    """Write the tables of all results, and the highlights.

    Parameters
    ----------
    readme
        The file that holds the highlights.
    document
        The file that holds the tables.
    results
        Folder of the result files.
    check
        Write nothing; fail if a section is not what the files say.
    """
    sections = {readme: highlights(read_results(results)), document: render(results)}
    for file, section in sections.items():
        text = file.read_text("utf-8")
        wanted = place(text, section)
        missing = [name for name in IMAGE.findall(section) if not (file.parent / name).is_file()]
        if not check:
            write_atomically(file, wanted.encode())
            for name in missing:
                say(f"{name} is not there; draw it with: python -m benchmarks.figures")
            continue
        if wanted != text:
            raise CheckFailedError(
                f"The results in {file.name} are not those of {results.name}/; "
                "write them again with: python -m benchmarks.tables"
            )
        if missing:
            raise CheckFailedError(
                f"{file.name} shows pictures that are not there: {', '.join(missing)}; "
                "draw them with: python -m benchmarks.figures"
            )


def place(text: str, section: str) -> str:
    """Return ``text`` with ``section`` between the two marks.

    Raises:
        UsageError: the marks are not there, once each and in order.
    """
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise UsageError(f"The file must hold {START} and then {END}, once each.")
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}\n\n{section}\n{END}{after}"


def read_results(folder: Path) -> Results:
    """Return all results by kind, in the order of the tables.

    Raises:
        UsageError: a file is damaged, or of an unknown kind.
    """
    found: Results = {kind: [] for kind in RENDERERS}
    for file in sorted(folder.glob("*.json")):
        kind = json.loads(file.read_text("utf-8")).get("kind")
        if kind not in RENDERERS:
            raise UsageError(f"{file} is of kind {kind!r}; known: {', '.join(RENDERERS)}.")
        found[kind].append((read_result(file, kind), file.name))
    grids = list(GRIDS)
    for kind in KINDS_OF_GRIDS & found.keys():
        found[kind].sort(key=lambda entry: grids.index(entry[0]["grid"]))
    return found


def render(results: Path) -> str:
    """Return all tables as Markdown."""
    found = read_results(results)
    parts = [RENDERERS[kind](entries) for kind, entries in found.items() if entries]
    return "\n".join(parts) if parts else "Nothing has been measured yet.\n"


def render_accuracy(record: dict[str, Any], file: str) -> str:
    """Return the table of one grid."""
    grid = find_grid(record["grid"])
    rows = []
    for name, rule in record["rules"].items():
        accuracy = rule.get("test_accuracy")
        rows.append(
            (
                f"`{name}`",
                percent(accuracy) if accuracy else f"diverged ({rule['diverged']})",
                percent(rule.get("test_accuracy_best_validation")),
                difference(name, record),
                str(rule["n"]),
                number(rule.get("firing_rate"), ".3f"),
                number(rule.get("seconds"), ".0f"),
                number(rule.get("peak_memory_mb"), ".0f"),
                f"`python -m benchmarks.accuracy {grid.name} --only {name}`",
            )
        )
    header = (
        "rule",
        "test accuracy, last epoch (%)",
        "at best validation epoch (%)",
        f"to `{record['baseline']}` (points)",
        "seeds",
        "firing rate",
        "s",
        "MiB",
        "command",
    )
    bars = [
        f"{bar['text']}: **{'yes' if bar['holds'] else 'no'}**"
        for bar in bars_of(grid, record["rules"])
    ]
    commands = [
        cell["command"] for cell in record["cells"] if cell["seed"] == record["cells"][0]["seed"]
    ]
    return "\n".join(
        [
            f"#### {record['title']}",
            "",
            table(header, rows),
            "",
            f"{source([file], machines_of([record]))} Mean ± sample standard deviation over seeds; "
            "s and MiB of one run, evaluation included. Differences are paired by seed, with the "
            "half-width of their 95 % interval and the p of a paired t-test.",
            *(["", "; ".join(bars) + "."] if bars else []),
            "",
            "<details><summary>The command of each rule's first run</summary>",
            "",
            "```bash",
            *commands,
            "```",
            "",
            "</details>",
            "",
        ]
    )


def render_gradients(record: dict[str, Any], file: str) -> str:
    """Return the picture and the table of the last point of the reference run."""
    layers, last = record["hidden_layers"], record["points"][-1]
    rows = []
    for rule in record["rules"]:
        found = last["rules"][rule]
        weights = [found["weights"][layer["synapse"]] for layer in layers]
        rows.append(
            (
                f"`{rule}`",
                " / ".join(f"{each['variance']:.1e}" for each in weights),
                " / ".join(_relative(each, record["batches"]) for each in weights),
                _cosines(found, record),
                _own_cosines(rule, record),
            )
        )
    header = (
        "rule",
        "variance per weight",
        "relative variance",
        "cosine to the exact error",
        "cosine in its own run",
    )
    stem = Path(file).stem
    return "\n".join(
        [
            f"#### Gradients by layer: {record['title']}",
            "",
            f"![Variance of gradients and cosine of credit by layer](images/{stem}.png)",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`. First to last "
            f"hidden layer, "
            f"after {last['step']} steps, {record['batches']} minibatches of "
            f"{record['batch_size']}; all rules at the weights of a run that "
            f"`{record['reference']}` trains, the last column at those of each rule's own run. "
            "Definitions: `benchmarks/gradients.py`.",
            "",
        ]
    )


def _each(render_one: Callable[[dict[str, Any], str], str]) -> Renderer:
    return lambda entries: "\n".join(render_one(record, file) for record, file in entries)


RENDERERS: dict[str, Renderer] = {
    "accuracy": _each(render_accuracy),
    "reasoning": render_reasoning,
    "ablation": render_ablations,
    "gradients": _each(render_gradients),
    "memory": _each(render_memory),
    "speed": _each(render_speed),
    "layers": _each(render_layers),
    "kept": _each(render_kept),
    "warm_start": _each(render_warm_start),
    "synapses": _each(render_synapses),
    "graph": _each(render_graph),
    "ranking": _each(render_ranking),
    "relational": _each(render_relational),
    "reasoning-energy": _each(render_reasoning_energy),
    "energy": _each(render_energy),
    "exports": _each(render_exports),
    "energy-agreement": _each(render_agreement),
    "counting": _each(render_counting),
    "energy-cost": _each(render_energy_cost),
}
"""By kind of result, in the order of the section."""


def _relative(weight: dict[str, Any], batches: int) -> str:
    value = weight["relative_variance"]
    return f"> {batches}" if value is None else f"{value:.2g}"


def _cosines(found: dict[str, Any], record: dict[str, Any]) -> str:
    values = [found["credit_cosine"][layer["neurons"]] for layer in record["hidden_layers"]]
    return " / ".join(f"{value:z.2f}" for value in values)


def _own_cosines(rule: str, record: dict[str, Any]) -> str:
    points = record["own"].get(rule)
    return _cosines(points[-1]["rules"][rule], record) if points else NONE


if __name__ == "__main__":
    main(tables)
