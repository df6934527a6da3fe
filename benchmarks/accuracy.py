"""Accuracy of learning rules: a grid of training runs, several at a time, resumable.

``python -m benchmarks.accuracy GRID`` trains every cell (rule variant x seed) of a grid of
:mod:`benchmarks.grids`, each as its own ``neuro train`` process, and writes
``benchmarks/results/GRID.json`` after every cell that ends. A finished run is not trained again, a
stopped one continues. The first SIGINT or SIGTERM lets each run save and stop.
"""

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated, Any

from cyclopts import Parameter

from benchmarks.cells import (
    Cell,
    Launch,
    cell_record,
    cell_state,
    discard,
    note_launch,
)
from benchmarks.command import CheckFailedError, main, say
from benchmarks.comparison import mean_and_std, paired_difference
from benchmarks.grids import Grid, find_grid
from benchmarks.records import REPOSITORY, RESULTS, origin, read_result, write_result
from neuro.errors import NeuroError, UsageError

KIND = "accuracy"
RUNS = REPOSITORY / "runs" / "benchmarks"
QUANTITIES = (
    "test_accuracy",
    "test_accuracy_best_validation",
    "firing_rate",
    "seconds",
    "samples_per_second",
    "peak_memory_mb",
)
POLL_SECONDS = 0.2


class GridStoppedError(NeuroError):
    """A signal stopped the grid; all its runs can be continued."""

    exit_code = 130


def accuracy(
    grid: str,
    /,
    *,
    jobs: int = 1,
    threads: int = 1,
    data_dir: Path | None = None,
    only: str | None = None,
    seeds: str | None = None,
    assignments: Annotated[tuple[str, ...], Parameter(name="--set")] = (),
    runs: Path = RUNS,
    results: Path | None = None,
    restart: bool = False,
    list_cells: Annotated[bool, Parameter(name="--list")] = False,
    check: bool = False,
) -> None:
    """Train the runs of a grid and write its result file.

    Parameters
    ----------
    grid
        Name of the grid, see benchmarks/grids.py.
    jobs
        Runs side by side.
    threads
        CPU threads of each run.
    data_dir
        Folder with the data; default the download folder.
    only
        Variants to run, separated by commas; default all.
    seeds
        Seeds to run, separated by commas; default those of the grid.
    assignments
        Settings laid over all cells, as for `neuro train`; needs --results.
    runs
        Folder for the run folders.
    results
        Result file; default benchmarks/results/GRID.json.
    restart
        Discard the chosen runs and train them again.
    list_cells
        Show the chosen cells, how they stand and their commands; train nothing.
    check
        Train nothing; fail if, by the result file, the bars of the grid are not reached.
    """
    chosen = find_grid(grid)
    if assignments and results is None:
        raise UsageError("--set changes what the grid is; name another file with --results.")
    if jobs < 1 or threads < 1:
        raise UsageError(f"--jobs and --threads must be >= 1, got {jobs} and {threads}.")
    folder = None if data_dir is None else data_dir.resolve()
    launch = Launch(runs.resolve(), folder, threads, jobs)
    file = results or RESULTS / f"{chosen.name}.json"
    cells = _select(chosen, only, seeds, assignments)
    if list_cells:
        for cell in cells:
            print(
                f"{cell.name:16} {cell_state(cell, launch.root):12} {launch.public_command(cell)}"
            )
        return
    if check:
        check_bars(read_result(file, KIND))
        return
    if restart:
        for cell in cells:
            discard(cell, launch.root)
    collected = GridResult(chosen, file, launch, assignments)
    failures = run_cells(cells, launch, collected.ended)
    collected.write()
    if failures:
        raise NeuroError(f"{len(failures)} of {len(cells)} runs failed: " + "; ".join(failures))


def run_cells(cells: Sequence[Cell], launch: Launch, ended: Callable[[Cell], None]) -> list[str]:
    """Run all cells that have not ended, ``launch.jobs`` at a time.

    Args:
        cells: in the order to start them.
        launch: how.
        ended: called after each cell that finished or diverged.

    Returns:
        One line for every cell that failed.

    Raises:
        GridStoppedError: a signal came; every run was told and has saved.
    """
    queue: deque[Cell] = deque()
    for cell in cells:
        state = cell_state(cell, launch.root)
        if state in ("finished", "diverged"):
            say(f"{cell.name}: {state} already")
        else:
            queue.append(cell)
    total = len(queue)
    running: dict[subprocess.Popen[bytes], tuple[Cell, float]] = {}
    failures: list[str] = []
    with _stop_signals(running) as stopped:
        while running or (queue and not stopped):
            while queue and len(running) < launch.jobs and not stopped:
                cell = queue.popleft()
                say(f"{cell.name}: started, {len(queue)} to come; log {_log(cell, launch)}")
                process = _start(cell, launch)
                running[process] = (cell, time.monotonic())
                if stopped:  # the signal came while the process was being made
                    process.send_signal(signal.SIGINT)
            for process in [process for process in running if process.poll() is not None]:
                cell, since = running.pop(process)
                seconds = time.monotonic() - since
                done = total - len(queue) - len(running)
                problem = _conclude(cell, launch, process.returncode, bool(stopped))
                if problem is None:
                    ended(cell)
                    say(f"[{done}/{total}] {_headline(cell, launch)}, {seconds:.0f} s")
                elif not stopped:
                    failures.append(problem)
                    say(f"[{done}/{total}] {problem}")
            time.sleep(POLL_SECONDS)
    if stopped:
        raise GridStoppedError("Stopped; the same command continues every run.")
    return failures


class GridResult:
    """The result file of a grid, written anew from the run folders whenever a cell ends.

    Cells of the file whose run folders lie elsewhere are kept, so long as their command is still
    the one the grid gives.
    """

    def __init__(
        self, grid: Grid, file: Path, launch: Launch, overrides: tuple[str, ...] = ()
    ) -> None:
        self._grid = grid
        self._file = file
        self._launch = launch
        self._overrides = overrides
        self._kept = self._read_old()

    def ended(self, cell: Cell) -> None:
        self.write()

    def write(self) -> None:
        """Collect every cell that has ended, of any selection, and write the file."""
        records = dict(self._kept)
        for cell in grid_cells(self._grid, self._seeds(), self._overrides):
            record = cell_record(cell, self._launch)
            if record is not None:
                records[cell.variant.name, cell.seed] = record
        if not records:
            return
        order = [variant.name for variant in self._grid.variants]
        ordered = sorted(records.values(), key=lambda r: (order.index(r["variant"]), r["seed"]))
        write_result(self._file, self._summary(ordered))

    def _summary(self, records: list[dict[str, Any]]) -> dict[str, Any]:
        opening = origin(self._command(), threads=self._launch.threads)
        return {**opening, **summarise(self._grid, records)}

    def _seeds(self) -> tuple[int, ...]:
        """The grid's seeds, and any other that has a run folder."""
        folder = self._launch.root / self._grid.name
        found = {
            int(path.name.rpartition("-s")[2].partition("-")[0])
            for path in folder.glob("*-s*-*")
            if path.is_dir()
        }
        return tuple(sorted({*self._grid.seeds, *found}))

    def _read_old(self) -> dict[tuple[str, int], dict[str, Any]]:
        if not self._file.exists():
            return {}
        names = {variant.name for variant in self._grid.variants}
        kept = {}
        for record in read_result(self._file, KIND)["cells"]:
            if record["variant"] not in names:
                continue
            variant = self._grid.variant(record["variant"])
            cell = Cell(self._grid, variant, record["seed"], self._overrides)
            if list(cell.arguments) == record["arguments"]:
                kept[variant.name, cell.seed] = record
        return kept

    def _command(self) -> list[str]:
        words = ["python", "-m", "benchmarks.accuracy", self._grid.name]
        words += ["--jobs", str(self._launch.jobs)]
        for text in self._overrides:
            words += ["--set", text]
        if self._launch.data_dir is not None:
            words += ["--data-dir", str(self._launch.data_dir)]
        return words


def summarise(grid: Grid, records: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Return the result file of a grid: means, differences from the baseline, bars, all cells."""
    finished = [record for record in records if record["state"] == "finished"]
    names = [variant.name for variant in grid.variants]
    by_variant = {name: [r for r in finished if r["variant"] == name] for name in names}
    rules = {
        name: {
            "rule": grid.variant(name).rule,
            "n": len(cells),
            "seeds": [cell["seed"] for cell in cells],
            "diverged": sum(r["variant"] == name and r["state"] == "diverged" for r in records),
            **{
                quantity: mean_and_std([cell[quantity] for cell in cells])
                for quantity in QUANTITIES
                if cells and all(cell.get(quantity) is not None for cell in cells)
            },
        }
        for name, cells in by_variant.items()
        if any(record["variant"] == name for record in records)
    }
    accuracies = {
        name: {cell["seed"]: cell["test_accuracy"] for cell in cells}
        for name, cells in by_variant.items()
    }
    differences = {
        name: paired_difference(accuracies[name], accuracies[grid.baseline])
        for name in rules
        if name != grid.baseline
    }
    devices = {"cuda" if record["gpu"] else "cpu" for record in finished}
    return {
        "kind": KIND,
        "grid": grid.name,
        "title": grid.title,
        "dataset": grid.dataset,
        "devices": sorted(devices),
        "settings": dict(grid.settings),
        "quantity": "test_accuracy is that of the last epoch; no epoch is chosen by test accuracy",
        "rules": rules,
        "baseline": grid.baseline,
        "test": "two-sided paired t-test over seeds; beyond noise means p < 0.05",
        "differences": {name: each for name, each in differences.items() if each is not None},
        "bars": bars_of(grid, rules),
        "cells": list(records),
    }


def bars_of(grid: Grid, rules: dict[str, Any]) -> list[dict[str, Any]]:
    """Return each bar of the grid whose variants all have runs, with what was measured."""
    found = []
    for bar in grid.bars:
        if all(bar.quantity in rules.get(name, {}) for name in bar.weights):
            value = sum(
                weight * rules[name][bar.quantity]["mean"] for name, weight in bar.weights.items()
            )
            seeds = min(rules[name]["n"] for name in bar.weights)
            margin = value - bar.at_least
            found.append({"text": bar.text, "margin": margin, "seeds": seeds, "holds": margin >= 0})
    return found


def check_bars(result: dict[str, Any]) -> None:
    """Print every bar of a result file.

    Raises:
        CheckFailedError: one does not hold, or one of the grid was not measured.
    """
    grid = find_grid(result["grid"])
    measured = {bar["text"]: bar for bar in bars_of(grid, result["rules"])}
    failed = 0
    for bar in grid.bars:
        found = measured.get(bar.text)
        failed += found is None or not found["holds"]
        verdict = "not measured"
        if found is not None:
            verdict = f"{'holds' if found['holds'] else 'FAILS'} (margin {found['margin']:+.4f})"
        print(f"{bar.text}: {verdict}")
    if failed:
        raise CheckFailedError(f"{failed} of {len(grid.bars)} bars of {grid.name} do not hold.")


def grid_cells(grid: Grid, seeds: Sequence[int], overrides: tuple[str, ...] = ()) -> list[Cell]:
    """Return the cells of a grid, seed by seed, so that early results compare all rules."""
    return [Cell(grid, variant, seed, overrides) for seed in seeds for variant in grid.variants]


def _select(
    grid: Grid, only: str | None, seeds: str | None, overrides: tuple[str, ...]
) -> list[Cell]:
    try:
        numbers = grid.seeds if seeds is None else tuple(int(seed) for seed in seeds.split(","))
    except ValueError:
        raise UsageError(f"--seeds takes whole numbers, as in 0,1,2; got {seeds!r}.") from None
    names = None if only is None else [name.strip() for name in only.split(",")]
    if names is not None:
        names = [grid.variant(name).name for name in names]
    return [
        cell
        for cell in grid_cells(grid, numbers, overrides)
        if names is None or cell.variant.name in names
    ]


def _log(cell: Cell, launch: Launch) -> Path:
    folder = cell.folder(launch.root)
    return folder.with_name(f"{folder.name}.log")


def _start(cell: Cell, launch: Launch) -> "subprocess.Popen[bytes]":
    log = _log(cell, launch)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as errors:
        return subprocess.Popen(
            launch.command(cell),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=errors,
            cwd=REPOSITORY,
            env={**os.environ, **launch.environment()},
            start_new_session=True,  # a terminal's Ctrl-C reaches it through us, once
        )


def _conclude(cell: Cell, launch: Launch, code: int, stopped: bool) -> str | None:
    """Return why a cell has not ended, None if it has."""
    state = cell_state(cell, launch.root)
    if (state == "finished" and code == 0) or state == "diverged":
        note_launch(cell, launch)
        return None
    if stopped:
        return f"{cell.name}: stopped"
    log = _log(cell, launch)
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return f"{cell.name} failed with exit code {code}: {lines[-1] if lines else 'no message'}"


def _headline(cell: Cell, launch: Launch) -> str:
    record = cell_record(cell, launch)
    assert record is not None
    if record["state"] == "diverged":
        return f"{cell.name}: diverged"
    return f"{cell.name}: test accuracy {record['test_accuracy']:.2%}"


@contextmanager
def _stop_signals(
    running: "dict[subprocess.Popen[bytes], tuple[Cell, float]]",
) -> Iterator[list[int]]:
    """Pass SIGINT and SIGTERM on to the runs; the list yielded holds the signals that came."""
    received: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        received.append(number)
        say("Stopping: every run saves after its batch." if len(received) == 1 else "Stopping now.")
        for process in list(running):
            if process.poll() is None:
                process.send_signal(signal.SIGINT)

    before = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


if __name__ == "__main__":
    main(accuracy)
