"""The results section of README.md, made from the result files alone.

Everything between ``<!-- results:start -->`` and ``<!-- results:end -->`` is written here; each row
names its command, each table its file. ``--check`` fails when the section is not what the files
say.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.agreement_table import render_agreement, render_counting
from benchmarks.command import CheckFailedError, main, say
from benchmarks.export_table import render_exports
from benchmarks.grid_result import bars_of
from benchmarks.grids import GRIDS, find_grid
from benchmarks.kept import RECOMPUTE
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
from benchmarks.memory import growth_by_rule
from benchmarks.reasoning_tables import (
    render_ablations,
    render_reasoning,
    render_reasoning_energy,
)
from benchmarks.records import REPOSITORY, RESULTS, read_result
from benchmarks.speed import PEER
from benchmarks.synapses import SPARSE
from neuro.errors import UsageError
from neuro.training.checkpoint import write_atomically

START, END = "<!-- results:start -->", "<!-- results:end -->"
README = REPOSITORY / "README.md"
Entry = tuple[dict[str, Any], str]
"""A result and the name of its file."""
Renderer = Callable[[Sequence[Entry]], str]
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")
KINDS_OF_GRIDS = frozenset(grid.task.kind for grid in GRIDS.values())


def tables(*, readme: Path = README, results: Path = RESULTS, check: bool = False) -> None:
    """Write the results section of the README.

    Parameters
    ----------
    readme
        The file that holds the section.
    results
        Folder of the result files.
    check
        Write nothing; fail if the section is not what the files say.
    """
    text = readme.read_text("utf-8")
    section = render(results)
    wanted = place(text, section)
    missing = [name for name in IMAGE.findall(section) if not (readme.parent / name).is_file()]
    if check:
        if wanted != text:
            raise CheckFailedError(
                f"The results in {readme.name} are not those of {results.name}/; "
                "write them again with: python -m benchmarks.tables"
            )
        if missing:
            raise CheckFailedError(
                f"{readme.name} shows pictures that are not there: {', '.join(missing)}; "
                "draw them with: python -m benchmarks.figures"
            )
        return
    write_atomically(readme, wanted.encode())
    for name in missing:
        say(f"{name} is not there; draw it with: python -m benchmarks.figures")


def place(text: str, section: str) -> str:
    """Return ``text`` with ``section`` between the two marks.

    Raises:
        UsageError: the marks are not there, once each and in order.
    """
    if text.count(START) != 1 or text.count(END) != 1 or text.index(START) > text.index(END):
        raise UsageError(f"The README must hold {START} and then {END}, once each.")
    before, _, rest = text.partition(START)
    after = rest.partition(END)[2]
    return f"{before}{START}\n\n{section}\n{END}{after}"


def render(results: Path) -> str:
    """Return the whole section as Markdown."""
    found: dict[str, list[Entry]] = {kind: [] for kind in RENDERERS}
    for file in sorted(results.glob("*.json")):
        kind = json.loads(file.read_text("utf-8")).get("kind")
        if kind not in RENDERERS:
            raise UsageError(f"{file} is of kind {kind!r}; known: {', '.join(RENDERERS)}.")
        found[kind].append((read_result(file, kind), file.name))
    grids = list(GRIDS)
    parts = []
    for kind, entries in found.items():
        if kind in KINDS_OF_GRIDS:
            entries.sort(key=lambda entry: grids.index(entry[0]["grid"]))
        if entries:
            parts.append(RENDERERS[kind](entries))
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
            f"![Variance of gradients and cosine of credit by layer](docs/images/{stem}.png)",
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


def render_memory(record: dict[str, Any], file: str) -> str:
    """Return the table of peak memory over T."""
    steps = sorted({row["timesteps"] for row in record["rows"]})
    growth = growth_by_rule(record)
    gradients = record.get("gradients_mb")
    rows = []
    for rule in growth:
        found = {row["timesteps"]: row for row in record["rows"] if row["rule"] == rule}
        cells = [f"{found[step]['update_mb']:.1f}" if step in found else "" for step in steps]
        rows.append((f"`{rule}`", *cells, f"{growth[rule]:.2f}"))
    header = ("rule", *(f"T = {step} (MiB)" for step in steps), "largest / smallest")
    return "\n".join(
        [
            f"#### Peak memory of one update, {record['network']}, batch of {record['batch_size']}",
            "",
            f"![Peak memory over time steps](docs/images/{Path(file).stem}.png)",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`. A fresh "
            "process for each number; beyond weights and program; inputs are streamed."
            + (f" The gradients alone take {gradients:.1f} MiB." if gradients else ""),
            "",
        ]
    )


def render_speed(record: dict[str, Any], file: str) -> str:
    """Return the table of time per training sample."""
    rows = []
    for each in record["workloads"].values():
        for contender, found in each["contenders"].items():
            rows.append(
                (
                    f"{each['title']}, T = {each['timesteps']}, B = {each['batch_size']}",
                    f"`{contender}`",
                    f"{found['median_us']:.0f} ({found['p20_us']:.0f} to {found['p80_us']:.0f})",
                    f"{each['opzo_over'][contender]['median']:.2f}",
                )
            )
    header = ("network and input", "rule", "µs per training sample", "opzo / rule")
    version = record["spikingjelly"]
    peer = f" `{PEER}` is SpikingJelly {version}, with equal gradients." if version else ""
    return "\n".join(
        [
            "#### Time per training sample",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`"
            f"{' (`make bench-peers`)' if version else ''}. Median (20th to 80th percentile) of "
            f"{record['rounds']} interleaved steps in one process; no weight standardisation in "
            f"any contender.{peer}",
            "",
        ]
    )


def render_layers(record: dict[str, Any], file: str) -> str:
    """Return the table of a LIF layer's time and memory."""
    rows = []
    for name, found in record["contenders"].items():
        cells = []
        for quantity in ("forward", "forward_backward"):
            times = found[quantity]
            spread = f"({times['p20_ms']:.2f} to {times['p80_ms']:.2f})"
            cells += [f"{times['median_ms']:.2f} {spread}", f"{times['over_neuro']['median']:.2f}"]
        equal, kept = found.get("equal_spikes"), found.get("saved_bytes")
        cells.append(NONE if kept is None else f"{kept:.1f}")
        cells.append(NONE if equal is None else f"{100 * equal:.2f}")
        rows.append((name, *cells))
    header = (
        "contender",
        "forward (ms)",
        "/ neuro",
        "forward + backward (ms)",
        "/ neuro",
        "bytes kept",
        "equal spikes (%)",
    )
    sizes = f"T = {record['timesteps']}, B = {record['batch_size']}, N = {record['neurons']}"
    peers = record["peers"] or {}
    versions = ", ".join(f"{name} {version}" for name, version in peers.items())
    absent = "; ".join(f"{name}: {reason}" for name, reason in record["absent"].items())
    return "\n".join(
        [
            f"#### One LIF layer over a whole sequence, {sizes}",
            "",
            f"![Time of a LIF layer](docs/images/{Path(file).stem}.png)",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`"
            f"{' (`make bench-peers`)' if peers else ''}. Median (20th to 80th percentile) of "
            f"{record['rounds']} interleaved calls in one process; bytes that autograd keeps for "
            "backward, by neuron and time step; `copy` computes nothing and moves the memory that "
            f"any layer must.{f' Versions: {versions}.' if peers else ''}"
            f"{f' Absent: {absent}' if absent else ''}",
            "",
        ]
    )


def render_kept(record: dict[str, Any], file: str) -> str:
    """Return the table of what backward keeps of a synapse and its layer."""
    least = record["contenders"][RECOMPUTE]["bytes_kept"]
    rows = []
    for name, found in record["contenders"].items():
        times = found["forward_backward"]
        rows.append(
            (
                name,
                f"{found['bytes_kept']:.2f}",
                f"{found['bytes_kept'] / least:.1f}",
                f"{times['median_ms']:.1f} ({times['p20_ms']:.1f} to {times['p80_ms']:.1f})",
                f"{times['over_neuro']['median']:.2f}",
            )
        )
    header = (
        "contender",
        "bytes kept",
        f"/ {RECOMPUTE}",
        "forward + backward (ms)",
        "/ neuro",
    )
    sizes = f"T = {record['timesteps']}, B = {record['batch_size']}, N = {record['neurons']}"
    version = record["spikingjelly"]
    return "\n".join(
        [
            f"#### What backward keeps of a dense synapse and its LIF layer, {sizes}",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`"
            f"{' (`make bench-peers`)' if version else ''}. Bytes by neuron and time step that the "
            "forward pass leaves in memory besides weights and spikes sent, the spikes received "
            "included; `recompute` is `rule.recompute` of `bptt`, with equal gradients. Median "
            f"(20th to 80th percentile) of {record['rounds']} interleaved steps in one process."
            f"{f' SpikingJelly {version}.' if version else ''}",
            "",
        ]
    )


def render_warm_start(record: dict[str, Any], file: str) -> str:
    """Return the tables of first calls and of whole processes."""
    rows = []
    for op, found in record["ops"].items():
        cold, warm = found["cold"], found["warm"]
        milliseconds = (cold["first_seconds"], warm["first_seconds"], warm["second_seconds"])
        functions = (cold["compiled"], warm["compiled"])
        rows.append(
            (
                f"`{op}`",
                *(f"{1e3 * seconds:.{0 if seconds > 0.1 else 2}f}" for seconds in milliseconds),
                " / ".join(f"{number:.0f}" for number in functions),
            )
        )
    header = (
        "op",
        "first call, empty cache (ms)",
        "first call, warm (ms)",
        "next call (ms)",
        "functions compiled, empty / warm",
    )
    processes = [(f"`{name}`", f"{seconds:.2f}") for name, seconds in record["processes"].items()]
    return "\n".join(
        [
            "#### Warm start",
            "",
            table(header, rows),
            "",
            table(("process", "s"), processes),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`. Median of "
            f"{record['repeats']} fresh processes. Compiled kernels are kept on disk; first calls "
            "are timed once Numba and torch's compiler, which torch imports at the first custom "
            "operation, are imported. The second table is of whole processes.",
            "",
        ]
    )


def render_synapses(record: dict[str, Any], file: str) -> str:
    """Return the table of synapses from events beside the dense product."""
    most = str(max(record["threads"]))
    rows = []
    for layer in record["layers"]:
        points = layer["curves"][most]["points"]
        found = {each["density"]: each for each in points}
        cells = []
        for density in (0.001, SPARSE, 0.1):
            cells.append(f"{found[density]['dense_over']['neuro']['median']:.1f}")
        alone = {each["density"]: each for each in layer["curves"]["1"]["points"]}
        crossing = layer["curves"][most]["crossing"]
        rows.append(
            (
                layer["name"],
                f"{found[SPARSE]['times']['dense']['median_ms']:.2f}",
                f"{found[SPARSE]['times']['neuro']['median_ms']:.2f}",
                *cells,
                f"{alone[SPARSE]['dense_over']['neuro']['median']:.1f}",
                f"{min(each['dense_over']['neuro']['median'] for each in points):.2f}",
                "never faster" if crossing is None else f"{100 * crossing:.0f} %",
                f"{100 * layer['expected_crossing']:.0f} %",
            )
        )
    header = (
        "synapse",
        "dense (ms)",
        "neuro at 2 % (ms)",
        "dense / neuro at 0.1 %",
        "at 2 %",
        "at 10 %",
        "at 2 %, 1 thread",
        "at worst",
        "events slower from",
        "dense chosen from",
    )
    return "\n".join(
        [
            "#### Synapses driven by spike events",
            "",
            f"![Speed over density](docs/images/{Path(file).stem}.png)",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`. Medians of "
            f"{record['rounds']} interleaved calls in one process, float32; finding the events "
            "and transposing the weight are part of every call. Above the density chosen by the "
            "rule of `neuro doctor --kernels`, the dense product serves.",
            "",
        ]
    )


def render_relational(record: dict[str, Any], file: str) -> str:
    """Return the table of relational products beside torch's gather and scatter."""
    most = str(max(record["threads"]))
    rows = [
        (
            row["graph"],
            row["aggregate"],
            row["direction"],
            f"{row['times'][most]['torch']['median_ms']:.0f}",
            f"{row['times'][most]['neuro']['median_ms']:.1f}",
            f"{row['times'][most]['torch_over_ours']['median']:.1f}",
            f"{row['times']['1']['torch_over_ours']['median']:.1f}",
            f"{row['memory_mb']['torch']:.0f}",
            f"{row['memory_mb']['neuro']:.0f}",
        )
        for row in record["rows"]
    ]
    header = (
        "graph",
        "aggregate",
        "direction",
        "torch (ms)",
        "neuro (ms)",
        "torch / neuro",
        "with 1 thread",
        "torch (MiB)",
        "neuro (MiB)",
    )
    return "\n".join(
        [
            "#### Messages on relational graphs",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`. Medians of "
            f"{record['rounds']} interleaved steps in one process, float32, graphs drawn with the "
            "sizes and unevenness of the data sets named. Memory is what a step takes beyond its "
            "operands, in a fresh process; torch gathers, multiplies and scatters.",
            "",
        ]
    )


def render_energy_cost(record: dict[str, Any], file: str) -> str:
    """Return the table of ordinary networks, evaluated with and without counting."""
    rows = []
    for each in record["networks"].values():
        times, ratio = each["times"], each["over_evaluation"]
        rows.append(
            (
                each["title"],
                *(f"{times[name]['median_ms']:.1f}" for name in ("evaluation", "counting")),
                f"{ratio['median']:.2f} ({ratio['p20']:.2f} to {ratio['p80']:.2f})",
            )
        )
    header = ("network and input", "evaluation (ms)", "with counting (ms)", "ratio")
    return "\n".join(
        [
            "#### What counting any module costs",
            "",
            table(header, rows),
            "",
            f"{source([file], machine_of(record))} Every row: `{record['command']}`. Networks "
            f"without spikes, by torch's dispatcher. Medians of {record['rounds']} interleaved "
            f"passes over {record['batches']} batches of {record['batch_size']}; ratios (20th to "
            "80th percentile) within a round.",
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
    "relational": _each(render_relational),
    "reasoning-energy": _each(render_reasoning_energy),
    "energy-cost": _each(render_energy_cost),
    "exports": _each(render_exports),
    "energy-agreement": _each(render_agreement),
    "counting": _each(render_counting),
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
