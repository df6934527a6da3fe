"""How long a fresh process takes to its first kernel call, with compiled kernels on disk or not.

For every op two processes share an empty cache folder. The first one compiles (``cold``), the next
one finds the compiled functions there (``warm``). Each makes one small call, timed once Numba and
torch's compiler, which torch imports at the first call of any custom operation, are imported.
``compiled`` counts the functions a process adds to the folder: the second one may add none. Beside
them stand whole processes: one that does nothing, those imports, and ``neuro --help``.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.command import CheckFailedError, main, say
from benchmarks.records import (
    REPOSITORY,
    RESULTS,
    options_given,
    origin,
    read_result,
    write_result,
)
from benchmarks.warm_start_row import CALLS
from neuro.errors import NeuroError, UsageError
from neuro.kernels.dispatch import VARIABLE

KIND = "warm_start"
HELP = "neuro --help"
PROCESSES = {
    "python, nothing": ("-c", "pass"),
    "import torch": ("-c", "import torch"),
    "import torch._dynamo": ("-c", "import torch._dynamo"),
    "import numba": ("-c", "import numba"),
    "import neuro": ("-c", "import neuro"),
    "import neuro.training": ("-c", "import neuro.training"),
    HELP: ("-m", "neuro", "--help"),
}
WARM_LIMIT = 1.0
"""Seconds that a warm first call may take; most of them pass until Numba has set itself up."""
HELP_LIMIT = 0.5
"""Seconds that ``neuro --help`` may take beyond an interpreter that does nothing."""


def warm_start(*, repeats: int = 5, results: Path | None = None, check: bool = False) -> None:
    """Time first calls of all ops in fresh processes, with an empty and a filled cache.

    Parameters
    ----------
    repeats
        Pairs of processes for each op; their median counts.
    results
        Result file; default benchmarks/results/warm_start.json.
    check
        Measure nothing; fail unless, by the result file, a warm process compiles nothing and takes
        at most a second for its first call, and `neuro --help` at most 0.5 s more than an
        interpreter that does nothing.
    """
    file = results or RESULTS / "warm_start.json"
    if check:
        check_bars(read_result(file, KIND))
        return
    if repeats < 1:
        raise UsageError(f"--repeats must be >= 1, got {repeats}.")
    ops = {}
    for op in CALLS:
        pairs = [measure_pair(op) for _ in range(repeats)]
        ops[op] = {way: _median([pair[way] for pair in pairs]) for way in ("cold", "warm")}
        cold, warm = (ops[op][way]["first_seconds"] for way in ("cold", "warm"))
        say(f"{op:20} cold {cold:7.3f} s, warm {warm:7.3f} s")
    processes = {}
    for name, arguments in PROCESSES.items():
        seconds = [time_process(arguments) for _ in range(repeats + 1)][1:]
        processes[name] = round(median(seconds), 4)
        say(f"{name:24} {processes[name]:7.3f} s")
    options = options_given(warm_start, repeats=repeats)
    record = {
        **origin(["python", "-m", "benchmarks.warm_start", *options], threads=1),
        "kind": KIND,
        "repeats": repeats,
        "ops": ops,
        "processes": processes,
    }
    write_result(file, record)


def measure_pair(op: str) -> dict[str, dict[str, float]]:
    """Measure one op in two processes that share a cache folder, empty at first."""
    found = {}
    with tempfile.TemporaryDirectory(prefix="neuro-warm-start-") as folder:
        functions = 0
        for way in ("cold", "warm"):
            output = _run(
                ("-m", "benchmarks.warm_start_row", op),
                {"NUMBA_CACHE_DIR": folder, VARIABLE: "numba"},
            )
            before, functions = functions, len(list(Path(folder).rglob("*.nbc")))
            found[way] = {**json.loads(output), "compiled": functions - before}
    return found


def time_process(arguments: Sequence[str]) -> float:
    """Return the seconds of a whole process."""
    started = time.perf_counter()
    _run(arguments, {})
    return time.perf_counter() - started


def _run(arguments: Sequence[str], environment: dict[str, str]) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
        capture_output=True,
        text=True,
    )
    if done.returncode != 0:
        raise NeuroError(f"The process {' '.join(arguments)} failed: {done.stderr.strip()}")
    return done.stdout


def _median(found: Sequence[dict[str, float]]) -> dict[str, float]:
    return {key: round(median(each[key] for each in found), 4) for key in found[0]}


def bars_of(record: dict[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Yield text, figure, and the most it may be."""
    for op, found in record["ops"].items():
        yield f"{op}: functions a warm process compiles", found["warm"]["compiled"], 0
        yield f"{op}: seconds of a warm first call", found["warm"]["first_seconds"], WARM_LIMIT
    processes = record["processes"]
    seconds = processes[HELP] - processes["python, nothing"]
    yield f"{HELP}: seconds beyond an interpreter that does nothing", seconds, HELP_LIMIT


def check_bars(record: dict[str, Any]) -> None:
    """Print each bar.

    Raises:
        CheckFailedError: one does not hold.
    """
    failed = 0
    for text, value, most in bars_of(record):
        failed += value > most
        print(f"{text}: {value:.2f}, at most {most:g}: {'holds' if value <= most else 'FAILS'}")
    if failed:
        raise CheckFailedError(f"{failed} bars of warm start do not hold.")


if __name__ == "__main__":
    main(warm_start)
