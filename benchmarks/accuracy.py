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
from typing import Annotated

from cyclopts import Parameter

from benchmarks.cells import Cell, Launch, cell_record, cell_state, discard, note_launch
from benchmarks.command import main, say
from benchmarks.grid_result import KIND, GridResult, check_bars, grid_cells
from benchmarks.grids import Grid, find_grid
from benchmarks.records import REPOSITORY, RESULTS, read_result
from neuro.errors import NeuroError, UsageError

RUNS = REPOSITORY / "runs" / "benchmarks"
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
