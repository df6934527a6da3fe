"""Operations and estimated energy of a query to GRSNN and to NBFNet, and the claim of 20 times.

Two finished runs on one graph answer test queries, from both sides. GRSNN's operations are counted
from the spikes that these queries leave, NBFNet's from its shapes:

- An addition: a spike that an edge delivers to one neuron in time, and a spike's weight in the
  read-out. An edge has one link for each of its source's neurons, with the edge's delay.
- A multiply-accumulate: every product of real or whole numbers that is summed: W on what a neuron
  heard (it is applied after the sum over edges, so its input is a number of spikes, not a spike),
  both leaks of every neuron at every step, the maps that make delays, all of NBFNet's messages and
  linear maps, and the scoring of every node by the small network.
- Comparisons, roots, exponentials and everything that moves data are counted or left out, never
  priced: what stands in the table is arithmetic alone.

Prices are those of 32-bit floats at 45 nm. Beside what is counted stand the closed forms that
publications use, for it is not known which of them the claim is made by, and for each the firing
rate at which it would be 20.
"""

import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any

from benchmarks.command import main
from benchmarks.records import (
    RESULTS,
    SCHEMA,
    origin,
    read_result,
    write_result,
)
from neuro.config import ReasonConfig, load_reason_config
from neuro.energy import Interval, compare, energy_profile, significant
from neuro.errors import UsageError
from neuro.graph import GRSNN, NBFNet
from neuro.graph.accountings import CLAIM, Sizes, counted_accountings, published_accountings
from neuro.graph.operations import count_nbfnet
from neuro.hardware import HardwareProfile
from neuro.reports.reasoning import count_queries, draw_queries
from neuro.training import RunDirectory, load_reasoner
from neuro.training.reasoning import ReasoningSession

KIND = "reasoning-energy"


def reasoning_energy(
    grsnn: Path,
    nbfnet: Path,
    /,
    *,
    queries: int = 100,
    data_dir: Path | None = None,
    results: Path | None = None,
) -> None:
    """Count and price the operations of queries to two runs on one graph.

    Parameters
    ----------
    grsnn
        Folder of a finished run of grsnn or grsnn+.
    nbfnet
        Folder of a finished run of nbfnet on the same graph.
    queries
        How many test queries, drawn from both sides of all test triples; all if there are fewer.
    data_dir
        Folder with the graph; default where the runs found it.
    results
        Result file, in which the graph's entry is replaced; default
        benchmarks/results/reasoning-energy.json.
    """
    if queries < 1:
        raise UsageError(f"--queries must be >= 1, got {queries}.")
    file = results or RESULTS / "reasoning-energy.json"
    record: dict[str, Any] = {"schema": SCHEMA, "kind": KIND, "graphs": {}}
    if file.exists():
        record = read_result(file, KIND)
    spiking, other = (_open(folder, data_dir) for folder in (grsnn, nbfnet))
    _check_pair(grsnn, spiking, nbfnet, other)
    command = ["python", "-m", "benchmarks.reasoning_energy", "GRSNN_RUN", "NBFNET_RUN"]
    command += ["--queries", str(queries)]
    entry = {
        **origin(command),
        "runs": {
            spiking.config.method_name: _described(grsnn, spiking),
            other.config.method_name: _described(nbfnet, other),
        },
        **measure(spiking, other, queries, energy_profile()),
    }
    name = spiking.config.dataset_name
    write_result(file, {**record, "graphs": {**record["graphs"], name: entry}})
    for line in describe(name, entry):
        print(line)


def measure(
    spiking: ReasoningSession, other: ReasoningSession, queries: int, profile: HardwareProfile
) -> dict[str, Any]:
    """Return counts of a mean query and what they cost by each accounting.

    Args:
        spiking: of a GRSNN, at its trained weights.
        other: of an NBFNet on the same graph.
        queries: how many to draw.
        profile: prices of operations.
    """
    model, graph = spiking.model, spiking.test_graph.whole
    assert isinstance(model, GRSNN)
    assert isinstance(other.model, NBFNet)
    heads, relations = draw_queries(spiking, queries)
    count = len(heads)
    asked = list(count_queries(spiking, heads, relations))
    released, skipping = (reduce(add, ledgers).per_sample for ledgers in zip(*asked, strict=True))
    without = count_nbfnet(other.model, graph, queries=count, candidates=graph.nodes).over(count)
    sizes = Sizes(
        nodes=graph.nodes,
        edges=graph.edges,
        hidden=model.hidden,
        timesteps=model.timesteps,
        layers=len(other.model.layers),
    )
    neurons = sizes.nodes * sizes.hidden * sizes.timesteps
    firing_rate = released.total.spikes / neurons
    accountings = []
    for each in (
        *published_accountings(sizes, firing_rate),
        *counted_accountings(released, skipping, without),
    ):
        found = compare(each.spiking, each.other, profile, firing_rate=firing_rate, factor=CLAIM)
        accountings.append(
            {
                "name": each.name,
                "words": each.words,
                "spiking_joules": _joules(found.spiking),
                "other_joules": _joules(found.other),
                "ratio": found.ratio,
                "rate_for_claim": found.rate_for_factor,
            }
        )
    return {
        "queries": count,
        "nodes": sizes.nodes,
        "edges": sizes.edges,
        "neurons_per_node": sizes.hidden,
        "timesteps": sizes.timesteps,
        "layers": sizes.layers,
        "firing_rate": firing_rate,
        "claim": CLAIM,
        "prices": _prices(profile),
        "operations": {
            "grsnn": released.to_json(),
            "grsnn_silence_skipped": skipping.to_json(),
            "nbfnet": without.to_json(),
        },
        "accountings": accountings,
    }


def describe(name: str, entry: dict[str, Any]) -> Iterator[str]:
    """Yield the lines of a table of one graph."""
    yield (
        f"{name}: {entry['queries']} queries, firing rate {100 * entry['firing_rate']:.2g} %; "
        f"estimates of arithmetic alone, {entry['prices']['profile']} "
        f"({entry['prices']['addition']['kind']})"
    )
    rows = [("accounting", "GRSNN", "NBFNet", "ratio", "rate for 20")]
    rows += [row_of(each) for each in entry["accountings"]]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def row_of(accounting: dict[str, Any]) -> tuple[str, str, str, str, str]:
    """Return an accounting's name, both estimates, their ratio, and the rate of the claim."""
    ratio, rate = accounting["ratio"], accounting["rate_for_claim"]
    needed = "none" if rate is None else "any" if rate >= 1 else f"{100 * rate:.2g} %"
    return (
        accounting["name"],
        f"{significant(accounting['spiking_joules']['joules'])} (estimate)",
        f"{significant(accounting['other_joules']['joules'])} (estimate)",
        "-" if ratio is None else two_digits(ratio),
        needed,
    )


def two_digits(value: float) -> str:
    """Write a number with two significant digits and no exponent."""
    return f"{float(f'{value:.2g}'):.15g}"


def training_command(config: ReasonConfig) -> str:
    """Return the command that trains such a run: what differs from its graph's preset."""
    words = ["neuro", "train", config.method_name]
    chosen = {"graph": config.graph} if config.graph else {"dataset": config.dataset}
    words += ["--graph", "FOLDER"] if config.graph else ["--dataset", config.dataset_name]
    preset = load_reason_config(config.method_name, **chosen).training_settings()
    for key, value in config.training_settings().items():
        parts = value.items() if key == "method" else [("", value)]
        for part, setting in parts:
            before = preset[key][part] if part else preset[key]
            if setting != before:
                name = f"{key}.{part}" if part else key
                text = "null" if setting is None else json.dumps(setting, separators=(",", ":"))
                words += ["--set", f"{name}={text}"]
    return shlex.join(words)


def _joules(found: Interval) -> dict[str, float]:
    return {"joules": found.value, "low": found.low, "high": found.high}


def _prices(profile: HardwareProfile) -> dict[str, Any]:
    """Return what an addition and a multiplication cost, with their sources."""
    known = {name: asdict(profile[f"{name}_energy"]) for name in ("addition", "multiplication")}
    said = {
        name: {key: value for key, value in each.items() if value not in (None, "")}
        for name, each in known.items()
    }
    return {"profile": profile.name, **said}


def _open(folder: Path, data_dir: Path | None) -> ReasoningSession:
    """Open a run at its last weights.

    Raises:
        UsageError: it is not finished, or asks pairs of an undirected graph.
    """
    state = RunDirectory.open(folder).state()
    if state != "finished":
        raise UsageError(
            f"Run {folder} is {state}; its operations are counted once it is finished."
        )
    _, session = load_reasoner(folder, data_dir=data_dir)
    if session.task.undirected:
        raise UsageError(
            f"Run {folder} is on an undirected graph, whose questions are pairs of two runs each; "
            "operations are counted for queries to a graph of facts."
        )
    return session


def _check_pair(
    grsnn: Path, spiking: ReasoningSession, nbfnet: Path, other: ReasoningSession
) -> None:
    """Check that the runs are of the two kinds and on one graph.

    Raises:
        UsageError: they are not.
    """
    for folder, session, wanted in ((grsnn, spiking, GRSNN), (nbfnet, other, NBFNet)):
        if not isinstance(session.model, wanted):
            raise UsageError(
                f"Run {folder} trained {session.config.method_name}; give a run of grsnn or "
                "grsnn+ first, then one of nbfnet."
            )
    if spiking.data_key != other.data_key:
        raise UsageError(
            f"Runs {grsnn} ({spiking.config.dataset_name}) and {nbfnet} "
            f"({other.config.dataset_name}) are not on the same graph."
        )


def _described(folder: Path, session: ReasoningSession) -> dict[str, Any]:
    """Return how a run was trained, and how well it answers."""
    metrics = RunDirectory.open(folder).read_json("summary.json")["metrics"]
    return {
        "command": training_command(session.config),
        "mrr": metrics["mrr"],
        "parameters": metrics["parameters"],
    }


if __name__ == "__main__":
    main(reasoning_energy)
