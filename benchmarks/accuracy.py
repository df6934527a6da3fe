"""How well rules and methods learn: grids of training runs, several at a time, resumable.

``python -m benchmarks.accuracy GRID`` trains every cell (variant x seed) of a grid of
:mod:`benchmarks.grids`, or of a collection of grids, each as its own ``neuro train`` process, and
writes ``benchmarks/results/GRID.json`` after every cell that ends. A finished run is not trained
again, a stopped one continues, and ``--missing`` trains what the result file lacks, wherever the
rest was trained. The first SIGINT or SIGTERM lets each run save and stop.
"""

import os
import signal
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Annotated

from cyclopts import Parameter

from benchmarks.cells import Cell, Launch, cell_record, cell_state, discard, note_launch
from benchmarks.command import CheckFailedError, main, say
from benchmarks.grid import Grid
from benchmarks.grid_result import GridResult, check_bars, grid_cells
from benchmarks.grids import COLLECTIONS, find_grids
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
    missing: bool = False,
    list_cells: Annotated[bool, Parameter(name="--list")] = False,
    check: bool = False,
) -> None:
    """Train the runs of a grid, or of a collection of grids, and write a result file for each.

    Parameters
    ----------
    grid
        Name of a grid or of a collection, see benchmarks/grids.py. In a collection the first seed
        of every grid comes before the second of any.
    jobs
        Runs side by side.
    threads
        CPU threads of each run.
    data_dir
        Folder with the data; default the download folder.
    only
        Variants to run, separated by commas; default all.
    seeds
        Seeds to run, separated by commas; default those of each grid.
    assignments
        Settings laid over all cells, as for `neuro train`; needs --results.
    runs
        Folder for the run folders.
    results
        Result file, default benchmarks/results/GRID.json; for a collection the folder of them.
    restart
        Discard the chosen runs and train them again.
    missing
        Only runs that the result files do not hold, such as those of another machine.
    list_cells
        Show the chosen cells, how they stand and their commands; train nothing.
    check
        Train nothing; fail if, by the result files, the bars of a grid are not reached.
    """
    chosen = find_grids(grid)
    if assignments and results is None:
        raise UsageError("--set changes what the grid is; name another file with --results.")
    if jobs < 1 or threads < 1:
        raise UsageError(f"--jobs and --threads must be >= 1, got {jobs} and {threads}.")
    folder = None if data_dir is None else data_dir.resolve()
    launch = Launch(runs.resolve(), folder, threads, jobs)
    files = _result_files(grid, chosen, results)
    cells = _select(chosen, only, seeds, assignments)
    collected = {
        each.name: GridResult(each, files[each.name], launch, assignments) for each in chosen
    }
    if missing:
        cells = [cell for cell in cells if not collected[cell.grid.name].holds(cell)]
    if list_cells:
        width = max((len(cell.title) for cell in cells), default=0)
        for cell in cells:
            state = cell_state(cell, launch.root)
            print(f"{cell.title:{width}} {state:12} {launch.public_command(cell)}")
        return
    if check:
        _check(chosen, files)
        return
    if restart:
        for cell in cells:
            discard(cell, launch.root)
    failures = run_cells(cells, launch, lambda cell: collected[cell.grid.name].write())
    for result in collected.values():
        result.write()
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
            say(f"{cell.title}: {state} already")
        else:
            queue.append(cell)
    total = len(queue)
    running: dict[subprocess.Popen[bytes], tuple[Cell, float]] = {}
    failures: list[str] = []
    with _stop_signals(running) as stopped:
        while running or (queue and not stopped):
            while queue and len(running) < launch.jobs and not stopped:
                cell = queue.popleft()
                say(f"{cell.title}: started, {len(queue)} to come; log {_log(cell, launch)}")
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


def _result_files(name: str, grids: Sequence[Grid], results: Path | None) -> dict[str, Path]:
    if name not in COLLECTIONS and results is not None:
        return {grids[0].name: results}
    folder = results or RESULTS
    if folder.suffix == ".json":
        raise UsageError(f"{name} has a result file for each grid: --results names their folder.")
    return {grid.name: folder / f"{grid.name}.json" for grid in grids}


def _check(grids: Sequence[Grid], files: Mapping[str, Path]) -> None:
    failures = []
    for grid in grids:
        try:
            check_bars(read_result(files[grid.name], grid.task.kind))
        except CheckFailedError as error:
            failures.append(str(error))
    if failures:
        raise CheckFailedError(" ".join(failures))


def _select(
    grids: Sequence[Grid], only: str | None, seeds: str | None, overrides: tuple[str, ...]
) -> list[Cell]:
    """Return the cells asked for, those of one seed of all grids together."""
    try:
        given = None if seeds is None else [int(seed) for seed in seeds.split(",")]
    except ValueError:
        raise UsageError(f"--seeds takes whole numbers, as in 0,1,2; got {seeds!r}.") from None
    names = None if only is None else [name.strip() for name in only.split(",")]
    for name in names or ():
        for grid in grids:
            grid.variant(name)
    return [
        cell
        for seed in given or sorted({seed for grid in grids for seed in grid.seeds})
        for grid in grids
        if given is not None or seed in grid.seeds
        for cell in grid_cells(grid, (seed,), overrides)
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
        return f"{cell.title}: stopped"
    log = _log(cell, launch)
    lines = log.read_text("utf-8", "replace").strip().splitlines()
    return f"{cell.title} failed with exit code {code}: {lines[-1] if lines else 'no message'}"


def _headline(cell: Cell, launch: Launch) -> str:
    record = cell_record(cell, launch)
    assert record is not None
    if record["state"] == "diverged":
        return f"{cell.title}: diverged"
    measure = cell.grid.task.measure
    return f"{cell.title}: {measure.replace('_', ' ')} {record[measure]:.4f}"


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
