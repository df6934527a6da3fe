"""Time and peak memory of messages on relational graphs: the kernel beside gather and scatter.

``torch`` gathers the sources' features, multiplies them by the relations', and scatters the
products with ``index_add`` and ``scatter_reduce``: a tensor of all messages, several in backward.
``neuro`` is :func:`neuro.kernels.relational_spmm` for the sum and ``relational_pna`` for sum, sum
of squares, largest and least. Graphs are drawn with the sizes of WN18RR and FB15k-237, inverse
edges included, and ends as uneven as there; features are 32 wide, in float32, each node has a
boundary.

Contenders take turns on equal operands, and are compared before. Memory is that of fresh processes:
what resident memory rises to in one step, beyond the operands.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, get_args

import torch

from benchmarks.command import CheckFailedError, main, say
from benchmarks.interleaved import ratios, summary, take_turns
from benchmarks.memory import RETURN_FREED_MEMORY
from benchmarks.records import REPOSITORY, RESULTS, options_given, origin, read_result, write_result
from benchmarks.relational_row import SHAPES, Aggregate, Contender, Direction, Layer, Row, Shape
from neuro.errors import NeuroError, UsageError
from neuro.training.memory import tune_malloc

KIND = "relational"
OURS, TORCH = "neuro", "torch"
SPEED_UP = 3.0
"""How many times faster than torch, at least."""
MEMORY = 3.0
"""How many times less memory than torch, at least, in training."""
TOLERANCE = 1e-4
"""Of the norm: sums in another order, and torch shares an extreme's gradient among the few messages
that are equal."""


def relational(
    *,
    rounds: int = 5,
    warm_up: int = 1,
    threads: int = 2,
    results: Path | None = None,
    check: bool = False,
) -> None:
    """Time the relational product beside torch, and measure the memory of both.

    Parameters
    ----------
    rounds
        Timed steps of each contender.
    warm_up
        Steps of each contender before.
    threads
        CPU threads; everything is timed with one, too.
    results
        Result file; default benchmarks/results/relational.json.
    check
        Measure nothing; fail unless, by the result file, ours is 3 times as fast as torch
        everywhere, and takes a third of its memory in training.
    """
    file = results or RESULTS / "relational.json"
    if check:
        check_bars(read_result(file, KIND))
        return
    for name, number in {"rounds": rounds, "warm-up": warm_up, "threads": threads}.items():
        if number < 1:
            raise UsageError(f"--{name} must be >= 1, got {number}.")
    malloc = tune_malloc()
    torch.set_num_threads(threads)
    options = options_given(relational, rounds=rounds, warm_up=warm_up, threads=threads)
    counts = sorted({1, threads})
    rows = []
    for shape in SHAPES.values():
        for aggregate in get_args(Aggregate):
            for row in measure(shape, aggregate, counts, rounds, warm_up):
                rows.append({**row, "memory_mb": memory_of(row)})
                say(_line(rows[-1]))
    record = {
        **origin(["python", "-m", "benchmarks.relational", *options]),
        "kind": KIND,
        "rounds": rounds,
        "malloc": malloc.reason,
        "threads": counts,
        "rows": rows,
    }
    write_result(file, record)
    for text, ratio, limit, holds in bars_of(record):
        print(f"{text}: {ratio:.2f}, {limit}: {'holds' if holds else 'FAILS'}")


def measure(
    shape: Shape,
    aggregate: Aggregate,
    threads: Sequence[int],
    rounds: int,
    warm_up: int,
) -> list[dict[str, Any]]:
    """Compare the contenders, and time them; a row for each direction."""
    layer = Layer(shape, aggregate)
    rows = []
    for direction in get_args(Direction):
        compare(layer, direction)
        found: dict[str, Any] = {
            "graph": shape.name,
            "aggregate": aggregate,
            "direction": direction,
            "times": {},
        }
        for count in threads:
            torch.set_num_threads(count)
            steps = {name: _timed(layer, name, direction) for name in get_args(Contender)}
            seconds = take_turns(steps, rounds, warm_up)
            found["times"][str(count)] = {
                **{
                    name: summary([1e3 * value for value in each], "ms", 3)
                    for name, each in seconds.items()
                },
                "torch_over_ours": ratios(seconds[TORCH], seconds[OURS]),
            }
        rows.append(found)
    return rows


def _line(row: dict[str, Any]) -> str:
    over = [each["torch_over_ours"]["median"] for each in row["times"].values()]
    name = f"{row['graph']}, {row['aggregate']}, {row['direction']}"
    return f"{name}: torch over ours {over}, MiB {row['memory_mb']}"


def _timed(layer: Layer, contender: Contender, direction: Direction) -> Any:
    step = layer.step(contender, direction)

    def run() -> None:
        step()

    return run


def compare(layer: Layer, direction: Direction) -> None:
    """Hold both contenders' results together.

    Raises:
        CheckFailedError: they differ.
    """
    pairs = zip(layer.step("neuro", direction)(), layer.step("torch", direction)(), strict=True)
    for ours, theirs in pairs:
        gap = float((ours - theirs).norm() / theirs.norm())
        if not gap <= TOLERANCE:
            raise CheckFailedError(
                f"{layer.aggregate}, {direction}: ours differs from torch by {gap:.2%} of the norm."
            )


def memory_of(row: dict[str, Any]) -> dict[str, float]:
    """Measure each contender's memory in a fresh process."""
    what = row["graph"], row["aggregate"], row["direction"]
    return {name: _measure_apart(Row(name, *what)) for name in get_args(Contender)}


def _measure_apart(row: Row) -> float:
    """Measure a row in a fresh process.

    Raises:
        NeuroError: the process failed.
    """
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.relational_row", json.dumps(asdict(row))],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", **RETURN_FREED_MEMORY},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise NeuroError(f"The process for {row} failed: {done.stderr.strip()}")
    found: dict[str, float] = json.loads(done.stdout)
    return round(found["step_mb"], 1)


def bars_of(record: dict[str, Any]) -> Iterator[tuple[str, float, str, bool]]:
    """Yield text, ratio, its limit in words, and whether it holds."""
    for row in record["rows"]:
        name = f"{row['graph']}, {row['aggregate']}, {row['direction']}"
        for threads, times in row["times"].items():
            ratio = times["torch_over_ours"]["median"]
            text = f"{name}, {threads} thread{'' if threads == '1' else 's'}: torch over ours"
            yield text, ratio, f"at least {SPEED_UP:g}", ratio >= SPEED_UP
        if row["direction"] == "training":
            ratio = row["memory_mb"][TORCH] / row["memory_mb"][OURS]
            text = f"{name}: memory of torch over ours"
            yield text, ratio, f"at least {MEMORY:g}", ratio >= MEMORY


def check_bars(record: dict[str, Any]) -> None:
    """Print each bar.

    Raises:
        CheckFailedError: one does not hold.
    """
    failed = 0
    for text, ratio, limit, holds in bars_of(record):
        failed += not holds
        print(f"{text}: {ratio:.2f}, {limit}: {'holds' if holds else 'FAILS'}")
    if failed:
        raise CheckFailedError(f"{failed} bars of relational do not hold.")


if __name__ == "__main__":
    main(relational)
