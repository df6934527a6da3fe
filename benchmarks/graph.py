"""Time and memory of delayed messages over knowledge graphs, beside torch alone.

A network of 32 neurons a node runs 10 steps for a few queries at once, as GRSNN does before it
scores candidates: ``inference`` without a graph of operations, ``training`` with the gradients of
drive, delays, weight and bias from 257 candidates of each query. Weights are those of a network
that has learnt nothing yet, whose spikes reach few nodes; where ``busy``, biases make all nodes
fire. Calls are interleaved; ratios are medians over rounds of the ratio within a round. Before a
speed is reported the results must agree.

Peak memory is that of one call in a process of its own, by which glibc gives freed memory back at
once; what is returned counts. Linux only.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from benchmarks.command import CheckFailedError, main, say
from benchmarks.graph_row import CONTENDERS, NAIVE, OURS, Problem, Task, draw_problem, read_graph
from benchmarks.interleaved import ratios, summary, take_turns
from benchmarks.memory import RETURN_FREED_MEMORY
from benchmarks.records import (
    REPOSITORY,
    RESULTS,
    options_given,
    origin,
    read_result,
    write_result,
)
from neuro.errors import NeuroError, UsageError

KIND = "graph"
TASKS = (
    Task("kg/WN18RR", "inference", 8),
    Task("kg/FB15k-237", "inference", 5, linear_scale=0.1),
    Task("kg/WN18RR", "inference", 8, busy=True),
    Task("kg/FB15k-237", "inference", 5, linear_scale=0.1, busy=True),
    Task("kg-inductive/fb237_v1", "training", 32),
    Task("kg/WN18RR", "training", 8),
)
TIME_FACTORS = {"inference": 30.0, "training": 10.0}
"""How many times faster than naive torch ours must be."""
MEMORY_FACTORS = {"inference": 50.0, "training": 20.0}
"""How many times less memory ours must take."""
SPIKE_TOLERANCE = 1e-6
"""Share of what is decoded: a matrix product sums in another order, and a spike may tip over."""
GRADIENT_TOLERANCE = 1e-3
"""Of the largest gradient."""


def graph(
    *,
    data_dir: Path = Path("data"),
    tasks: str = "",
    rounds: int = 3,
    threads: int = 2,
    results: Path | None = None,
    check: bool = False,
) -> None:
    """Time delayed messages over knowledge graphs and measure their memory.

    Parameters
    ----------
    data_dir
        Folder that holds kg/WN18RR, kg/FB15k-237 and kg-inductive/fb237_v1.
    tasks
        Only tasks whose name contains this.
    rounds
        Timed calls of each contender.
    threads
        CPU threads.
    results
        Result file; default benchmarks/results/graph.json.
    check
        Time nothing; fail unless, by the result file, every inference is 30 times faster than naive
        torch and takes 50 times less memory, and every training 10 and 20 times.
    """
    file = results or RESULTS / "graph.json"
    if check:
        check_bars(read_result(file, KIND))
        return
    for name, number in {"rounds": rounds, "threads": threads}.items():
        if number < 1:
            raise UsageError(f"--{name} must be >= 1, got {number}.")
    chosen = [task for task in TASKS if tasks in task.name]
    if not chosen:
        names = "; ".join(task.name for task in TASKS)
        raise UsageError(f"--tasks {tasks!r} is part of no name; there are {names}.")
    torch.set_num_threads(threads)
    given = {"tasks": tasks, "rounds": rounds, "threads": threads}
    options = ["--data-dir", str(data_dir), *options_given(graph, **given)]
    record: dict[str, Any] = {
        **origin(["python", "-m", "benchmarks.graph", *options]),
        "kind": KIND,
        "rounds": rounds,
        "tasks": {},
    }
    for task in chosen:
        facts, relations = read_graph(data_dir / task.folder)
        found = measure(draw_problem(task, facts, relations), rounds)
        for contender in CONTENDERS:
            found["contenders"][contender] |= measure_memory(task, contender, data_dir, threads)
        sizes = {"nodes": facts.nodes, "edges": facts.edges, "relations": relations}
        record["tasks"][task.name] = {**asdict(task), **sizes, **found}
        say(describe(task.name, record["tasks"][task.name]))
    write_result(file, record)


def measure(problem: Problem, rounds: int) -> dict[str, Any]:
    """Compare ours with naive torch, then time both.

    Raises:
        CheckFailedError: they do not agree.
    """
    found = compare(problem.run(OURS), problem.run(NAIVE))
    steps = {name: lambda name=name: void(problem.run(name)) for name in CONTENDERS}
    seconds = take_turns(steps, rounds, 0)
    times = {
        name: {
            **summary([1e3 * value for value in each], "ms", 3),
            "over_neuro": ratios(each, seconds[OURS]),
        }
        for name, each in seconds.items()
    }
    return {**found, "contenders": times}


def void(results: tuple[Tensor, ...]) -> None:
    """Drop what a call returned."""


def compare(ours: tuple[Tensor, ...], others: tuple[Tensor, ...]) -> dict[str, float]:
    """Return the share of equal decoded numbers, the largest gap of a gradient, and how many
    neurons fired at all.

    Raises:
        CheckFailedError: results do not agree.
    """
    equal = (ours[0] - others[0]).abs() < 1e-4
    share = float(equal.double().mean())
    gap = max(
        (
            float((one - other).abs().max() / other.abs().max().clamp(min=1e-30))
            for one, other in zip(ours[1:], others[1:], strict=True)
        ),
        default=0.0,
    )
    if 1 - share > SPIKE_TOLERANCE or not gap <= GRADIENT_TOLERANCE:
        raise CheckFailedError(
            f"Naive torch decodes {1 - share:.2e} of all numbers otherwise, and its gradients "
            f"differ by {gap:.2e} of the largest."
        )
    fired = float((ours[0] > 0).double().mean())
    return {"equal": share, "gradient_gap": gap, "share_of_neurons_that_fire": fired}


def measure_memory(task: Task, contender: str, data_dir: Path, threads: int) -> dict[str, float]:
    """Measure one call in a process of its own."""
    given = {
        "task": asdict(task),
        "contender": contender,
        "data_dir": str(data_dir),
        "threads": threads,
    }
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.graph_row", json.dumps(given)],
        cwd=REPOSITORY,
        env={**os.environ, **RETURN_FREED_MEMORY},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise NeuroError(f"{task.name}, {contender}: the process failed:\n{done.stderr[-2000:]}")
    found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return found


def describe(name: str, found: dict[str, Any]) -> str:
    """Return one line about a task."""
    ours, naive = (found["contenders"][each] for each in CONTENDERS)
    time, memory = factors(found)
    return (
        f"{name}: {ours['median_ms']:.1f} ms and {ours['peak_memory_mb']:.0f} MB, naive "
        f"{naive['median_ms']:.0f} ms and {naive['peak_memory_mb']:.0f} MB: {time:.0f} times "
        f"faster, {memory:.0f} times less memory"
    )


def factors(found: dict[str, Any]) -> tuple[float, float]:
    """Return how many times faster ours is, and how many times less memory it takes."""
    ours, naive = (found["contenders"][each] for each in CONTENDERS)
    return naive["over_neuro"]["median"], naive["peak_memory_mb"] / ours["peak_memory_mb"]


def bars_of(record: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Yield text, factor and what it must at least be."""
    for name, found in record["tasks"].items():
        time, memory = factors(found)
        quantity = found["quantity"]
        yield f"{name}: times faster than naive torch", time, TIME_FACTORS[quantity]
        yield f"{name}: times less memory", memory, MEMORY_FACTORS[quantity]


def check_bars(record: dict[str, Any]) -> None:
    """Print each bar.

    Raises:
        CheckFailedError: one does not hold, or a task was not measured.
    """
    failed = 0
    for text, factor, least in bars_of(record):
        failed += factor < least
        holds = "holds" if factor >= least else "FAILS"
        print(f"{text}: {factor:.1f}, at least {least:g}: {holds}")
    missing = [task.name for task in TASKS if task.name not in record["tasks"]]
    if missing:
        raise CheckFailedError(f"Not measured: {'; '.join(missing)}.")
    if failed:
        raise CheckFailedError(f"{failed} bars of graph do not hold.")


if __name__ == "__main__":
    main(graph)
