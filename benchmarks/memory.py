"""Peak memory of one update as the number of time steps grows.

Every row is a fresh process. It builds the network, learns once from two time steps (compiled
kernels and workspaces come into being), drops the gradients, reads the resident memory, resets the
high-water mark (writes 5 to ``/proc/self/clear_refs``), learns once from T time steps, and reads
``VmHWM``. The row is the difference: what an update needs beyond weights and program. Inputs are
drawn one time step at a time and count only if the rule keeps them.

glibc is told to give every freed block above 64 KiB back at once, so that resident memory is memory
in use. Linux only.
"""

import json
import os
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.command import CheckFailedError, main, say
from benchmarks.figures import draw_memory
from benchmarks.memory_row import RECOMPUTE, Norm, Row
from benchmarks.records import (
    IMAGES,
    REPOSITORY,
    RESULTS,
    options_given,
    origin,
    read_result,
    write_result,
)
from neuro.errors import NeuroError, UsageError
from neuro.learning import rule_class

KIND = "memory"
RULES = ("opzo", "ottt", "bptt", f"bptt{RECOMPUTE}")
ONLINE = ("opzo", "ottt", "dfa", "dkp", "zo")
FLAT_WITHIN = 0.05
RECOMPUTED_SHARE = 0.75
"""Of what bptt takes at the largest T, what it may take with recompute. The dense input and the
one layer that is at work stay, and count for much in a network of two hidden layers."""
BEYOND_GRADIENTS_MB = 7.0
EVENTS: dict[str, Any] = {
    "rules": "opzo,ottt,bptt",
    "timesteps": "10,40,160",
    "features": 2312,
    "hidden": "800",
    "norm": "none",
    "batch_size": 64,
    "results": RESULTS / "memory-events.json",
    "figure": IMAGES / "memory-events.png",
}
"""The network of a common comparison of online rules, on event frames of N-MNIST's size."""

RETURN_FREED_MEMORY = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_TRIM_THRESHOLD_": "0"}


def memory(
    *,
    rules: str = ",".join(RULES),
    timesteps: str = "8,32,128",
    features: int = 784,
    hidden: str = "800,800",
    norm: Norm = "weight-standardised",
    batch_size: int = 128,
    repeats: int = 3,
    results: Path | None = None,
    figure: Path | None = None,
    check: bool = False,
) -> None:
    """Measure peak memory over T and draw it.

    Parameters
    ----------
    rules
        Learning rules, separated by commas; bptt+recompute is bptt with that option.
    timesteps
        Values of T, separated by commas.
    features
        Inputs of the network.
    hidden
        Widths of the hidden layers, separated by commas.
    norm
        Of the synapses: "weight-standardised", which keeps the weights twice more, or "none".
    batch_size
        Samples in the batch.
    repeats
        Processes for each row; their median counts.
    results
        Result file; default benchmarks/results/memory.json.
    figure
        PNG file; default docs/images/memory.png.
    check
        Measure nothing; fail unless, by the result file, online rules are flat in T within 5 %,
        bptt grows, and takes with recompute at most three quarters of that at the largest T; and
        opzo without standardisation takes at most 7 MiB beyond the gradients.
    """
    file = results or RESULTS / "memory.json"
    if check:
        check_flatness(read_result(file, KIND))
        return
    names = [name.strip() for name in rules.split(",")]
    for name in names:
        if name != f"bptt{RECOMPUTE}":
            rule_class(name)
    steps, widths = _numbers("--timesteps", timesteps), _numbers("--hidden", hidden)
    if repeats < 1:
        raise UsageError(f"--repeats must be >= 1, got {repeats}.")
    rows = []
    for name in names:
        for count in steps:
            rule = name.removesuffix(RECOMPUTE)
            row = Row(
                rule,
                count,
                tuple(widths),
                features,
                batch_size,
                recompute=rule != name,
                norm=norm,
            )
            found = [measure_apart(row) for _ in range(repeats)]
            rows.append(_row_record(row, found))
            say(f"{name:14} T = {count:4}: {rows[-1]['update_mb']:8.1f} MB")
    options = options_given(
        memory,
        rules=rules,
        timesteps=timesteps,
        features=features,
        hidden=hidden,
        norm=norm,
        batch_size=batch_size,
        repeats=repeats,
        results=_told(results),
        figure=_told(figure),
    )
    record = {
        **origin(["python", "-m", "benchmarks.memory", *options], threads=1),
        "kind": KIND,
        "quantity": "update_mb: VmHWM during one update minus VmRSS before it, in 2^20 bytes",
        "network": f"{features}-{'-'.join(map(str, widths))}-10",
        "norm": norm,
        "gradients_mb": round(gradients_mb(features, widths), 2),
        "batch_size": batch_size,
        "rows": rows,
    }
    write_result(file, record)
    draw_memory(record, figure or IMAGES / "memory.png")


def _told(file: Path | None) -> Path | None:
    """Return a path as a command from the repository names it."""
    inside = file is not None and file.is_relative_to(REPOSITORY)
    return file.relative_to(REPOSITORY) if file is not None and inside else file


def measure_apart(row: Row) -> dict[str, float]:
    """Measure one row in a fresh process.

    Raises:
        NeuroError: the process failed.
    """
    command = [sys.executable, "-m", "benchmarks.memory_row", json.dumps(asdict(row))]
    done = subprocess.run(
        command,
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", **RETURN_FREED_MEMORY},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise NeuroError(f"The process for {row} failed: {done.stderr.strip()}")
    found: dict[str, float] = json.loads(done.stdout)
    return found


def check_flatness(record: dict[str, Any]) -> None:
    """Print how each rule's memory changes from the smallest T to the largest.

    Raises:
        CheckFailedError: an online rule changes by more than 5 %, bptt does not grow, or
            recomputing does not save a quarter of it.
    """
    failed = []
    for rule, growth in growth_by_rule(record).items():
        online = rule in ONLINE
        holds = growth - 1 <= FLAT_WITHIN if online else growth > 1 + FLAT_WITHIN
        wanted = f"at most {1 + FLAT_WITHIN:g} times" if online else "grows"
        print(f"{rule}: {growth:.3f} times, {wanted}: {'holds' if holds else 'FAILS'}")
        if not holds:
            failed.append(rule)
    share = recomputed_share(record)
    if share is not None:
        holds = share <= RECOMPUTED_SHARE
        print(
            f"bptt{RECOMPUTE}: {share:.3f} of bptt, at most {RECOMPUTED_SHARE:g}: "
            f"{'holds' if holds else 'FAILS'}"
        )
        if not holds:
            failed.append(f"bptt{RECOMPUTE}")
    beyond = beyond_gradients(record)
    if beyond is not None:
        holds = beyond <= BEYOND_GRADIENTS_MB
        print(
            f"opzo beyond the gradients: {beyond:.1f} MiB, at most {BEYOND_GRADIENTS_MB:g}: "
            f"{'holds' if holds else 'FAILS'}"
        )
        if not holds:
            failed.append("opzo")
    if failed:
        raise CheckFailedError(f"Peak memory over T is not as claimed for {', '.join(failed)}.")


def growth_by_rule(record: dict[str, Any]) -> dict[str, float]:
    """Return, by rule, the largest memory over all T over the smallest."""
    found: dict[str, list[float]] = {}
    for row in record["rows"]:
        found.setdefault(row["rule"], []).append(row["update_mb"])
    return {rule: max(values) / min(values) for rule, values in found.items()}


def recomputed_share(record: dict[str, Any]) -> float | None:
    """Return what recomputing leaves of bptt's memory at the largest T; None if not measured."""
    largest = max(row["timesteps"] for row in record["rows"])
    found = {row["rule"]: row["update_mb"] for row in record["rows"] if row["timesteps"] == largest}
    if not {"bptt", f"bptt{RECOMPUTE}"} <= found.keys():
        return None
    share: float = found[f"bptt{RECOMPUTE}"] / found["bptt"]
    return share


def gradients_mb(features: int, hidden: Sequence[int], classes: int = 10) -> float:
    """Return the size of the gradients of all weights and biases."""
    widths = [features, *hidden, classes]
    return sum(4 * (a + 1) * b for a, b in pairwise(widths)) / 2**20


def beyond_gradients(record: dict[str, Any]) -> float | None:
    """Return opzo's largest memory less its gradients; None with weight standardisation."""
    found = [row["update_mb"] for row in record["rows"] if row["rule"] == "opzo"]
    if record.get("norm") != "none" or not found:
        return None
    most: float = max(found) - record["gradients_mb"]
    return most


def _row_record(row: Row, found: Sequence[dict[str, float]]) -> dict[str, Any]:
    return {
        "rule": row.name,
        "timesteps": row.timesteps,
        "update_mb": round(median(each["update_mb"] for each in found), 2),
        "process_mb": round(median(each["process_mb"] for each in found), 1),
        "repeats_mb": [round(each["update_mb"], 2) for each in found],
    }


def _numbers(flag: str, text: str) -> list[int]:
    try:
        numbers = [int(part) for part in text.split(",")]
    except ValueError:
        numbers = []
    if not numbers or min(numbers) < 1:
        raise UsageError(f"{flag} takes whole numbers >= 1 separated by commas, got {text!r}.")
    return numbers


if __name__ == "__main__":
    main(memory)
