"""What other frameworks make of a ``.nir`` file: the same samples through each of their readers.

    python -m neuro.hardware.nir.conformance FILE [--reader norse] [--python INTERPRETER] [--json]

Every reader runs in a process of its own, one sample at a time, and is compared with this package's
reading of the file. It is one of: exact, differs (with the share of outputs that agree), refused
(with its reason), not installed, timed out.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from neuro.errors import NeuroError, UsageError, nearest
from neuro.hardware.nir.file import read_nir
from neuro.hardware.nir.imports import interpret
from neuro.hardware.nir.interpreter import Interpreter

READERS = ("norse", "snntorch", "spikingjelly", "sinabs")
Verdict = Literal["exact", "differs", "refused", "not installed", "timed out"]

TOLERANCE = 1e-5
"""By how much outputs that are not spikes may differ, as a share of the largest."""
_CHILD = Path(__file__).with_name("readers.py")


@dataclass(frozen=True)
class Row:
    """What one reader made of a file.

    Attributes:
        reader: the framework.
        version: its version; empty where it is not installed.
        verdict: see the module.
        agreement: share of outputs, over all steps and samples, that are equal; None without any.
        detail: the reason, or the sums of outputs.
    """

    reader: str
    version: str
    verdict: Verdict
    agreement: float | None
    detail: str


def conformance(
    path: str | Path,
    samples: NDArray[Any] | None = None,
    *,
    readers: Sequence[str] = READERS,
    python: str = sys.executable,
    dt: float | None = None,
    steps: int = 40,
    seed: int = 0,
    timeout: float = 120.0,
) -> list[Row]:
    """Run a file in every reader and compare with this package's.

    Args:
        path: the ``.nir`` file.
        samples: inputs ``(N, T, *input_shape)``; None for one of random spikes at rate 0.3.
        readers: which, of ``READERS``.
        python: the interpreter that has them; it needs nir, numpy and torch besides.
        dt: seconds of a step; None for what the file says.
        steps: steps of the random spikes.
        seed: their seed.
        timeout: seconds each reader may take.

    Raises:
        DataError: the file cannot be read here.
        UsageError: samples that do not fit, an unknown reader, or no dt.
    """
    unknown = [reader for reader in readers if reader not in READERS]
    if unknown:
        raise UsageError(
            f"no NIR reader {unknown[0]!r}; there are {', '.join(READERS)}."
            f"{nearest(unknown[0], READERS)}"
        )
    graph = read_nir(path)
    model = interpret(graph, dt=dt)
    if samples is None:
        random = np.random.default_rng(seed)
        samples = random.random((1, steps, *model.input_shape)) < 0.3
    inputs = np.asarray(samples, np.float32)
    if inputs.ndim != len(model.input_shape) + 2:
        raise UsageError(f"samples are (N, T, {model.input_shape}), got {inputs.shape}.")
    job = Job(Path(path), inputs, expected_outputs(model, inputs), model.dt)
    return [run_reader(reader, [job], python, timeout)[0] for reader in readers]


@dataclass(frozen=True)
class Job:
    """A file, samples ``(N, T, ...)`` for it, the outputs expected, and seconds of a step."""

    file: Path
    samples: NDArray[np.float32]
    expected: NDArray[np.float64]
    dt: float


@torch.no_grad()
def expected_outputs(model: Interpreter, samples: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return what this package makes of samples."""
    outputs, _ = model.sequence(torch.tensor(samples).transpose(0, 1))
    return outputs.transpose(0, 1).double().numpy()


def run_reader(reader: str, jobs: Sequence[Job], python: str, timeout: float) -> list[Row]:
    """Run jobs in one reader, in one process.

    Args:
        reader: one of ``READERS``.
        jobs: what to run.
        python: the interpreter that has the reader.
        timeout: seconds for all of them; jobs not done by then are timed out.

    Raises:
        UsageError: there is no such interpreter.
    """
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        tasks = []
        for number, job in enumerate(jobs):
            samples, outputs = place / f"samples{number}.npy", place / f"outputs{number}.npy"
            np.save(samples, job.samples)
            tasks.append(
                {
                    "file": str(job.file.resolve()),
                    "samples": str(samples),
                    "outputs": str(outputs),
                    "dt": job.dt,
                }
            )
        (place / "jobs.json").write_text(json.dumps(tasks), encoding="utf-8")
        # -P: the folder of the script holds modules that are called as the readers are
        command = [python, "-P", str(_CHILD), reader, str(place / "jobs.json")]
        late = False
        try:
            done = subprocess.run(
                command, capture_output=True, timeout=timeout, cwd=folder, env=_environment()
            )
            out, problems = done.stdout, done.stderr
            code = f"exit code {done.returncode}"
        except subprocess.TimeoutExpired as error:
            late, out, problems = True, error.stdout or b"", error.stderr or b""
            code = f"after {timeout:g} s"
        except OSError as error:
            raise UsageError(f"cannot run {python}: {error.strerror}.") from error
        reports = _reports(out)
        last = (problems.decode("utf-8", "replace").strip().splitlines() or [code])[-1]
        rows = []
        for number, job in enumerate(jobs):
            if number < len(reports):
                rows.append(_row(reader, reports[number], place / f"outputs{number}.npy", job))
            elif late:
                rows.append(Row(reader, "", "timed out", None, code))
            else:
                bare = any(last.endswith(f"No module named {name!r}") for name in _NEEDED)
                rows.append(Row(reader, "", "not installed" if bare else "refused", None, last))
        return rows


def _environment() -> dict[str, str]:
    """Return an environment in which readers that walk over sets do so in one order."""
    return {**os.environ, "PYTHONHASHSEED": "0"}


def _reports(out: bytes) -> list[dict[str, str]]:
    lines = out.decode("utf-8", "replace").splitlines()
    return [json.loads(line.removeprefix("report ")) for line in lines if line[:7] == "report "]


def _row(reader: str, report: dict[str, str], outputs: Path, job: Job) -> Row:
    version = report.get("version", "")
    if "missing" in report:
        return Row(reader, version, "not installed", None, f"needs {report['missing']}")
    if "error" in report:
        return Row(reader, version, "refused", None, " ".join(report["error"].split()))
    return _compared(reader, version, np.load(outputs), job.expected)


_NEEDED = ("nir", "numpy", "torch")


def _compared(
    reader: str, version: str, made: NDArray[np.float64], expected: NDArray[np.float64]
) -> Row:
    """Compare a reader's outputs with ours; it may have dropped or added an axis of one sample."""
    if made.size != expected.size:
        detail = f"outputs of shape {made.shape[2:]}, expected {expected.shape[2:]}"
        return Row(reader, version, "differs", 0.0, detail)
    made = made.reshape(expected.shape)
    spikes = bool(np.isin(expected, (0, 1)).all())
    largest = float(np.abs(expected).max(initial=0.0))
    close = made == expected if spikes else np.abs(made - expected) <= TOLERANCE * largest
    agreement = float(close.mean()) if close.size else 1.0
    unit = "spikes" if spikes else "summed output"
    detail = f"{made.sum():g} for {expected.sum():g} {unit}"
    if not expected.any():
        detail += ": silent, which shows little; give samples that make it fire"
    return Row(reader, version, "exact" if agreement == 1 else "differs", agreement, detail)


def table(rows: Sequence[Row]) -> str:
    """Return rows as aligned text."""
    cells = [("reader", "version", "result", "agreement", "")]
    for row in rows:
        share = "" if row.agreement is None else f"{100 * row.agreement:.1f} %"
        cells.append((row.reader, row.version, row.verdict, share, row.detail))
    widths = [max(len(line[column]) for line in cells) for column in range(4)]
    return "\n".join(
        "  ".join([*(c.ljust(w) for c, w in zip(line, widths, strict=False)), line[4]]).rstrip()
        for line in cells
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table of a file; returns the exit code, 0 also where readers differ or refuse."""
    parser = argparse.ArgumentParser(prog="python -m neuro.hardware.nir.conformance")
    parser.add_argument("file", type=Path)
    parser.add_argument("--reader", action="append", help="only this one; may be repeated")
    parser.add_argument("--python", default=sys.executable, help="the interpreter that has them")
    parser.add_argument("--dt", type=float, help="seconds of a step, where the file does not say")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--timeout", type=float, default=120.0, help="seconds for each reader")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    try:
        rows = conformance(
            options.file,
            readers=options.reader or READERS,
            python=options.python,
            dt=options.dt,
            steps=options.steps,
            seed=options.seed,
            timeout=options.timeout,
        )
    except NeuroError as error:
        print(error, file=sys.stderr)
        return error.exit_code
    print(json.dumps([asdict(row) for row in rows], indent=2) if options.json else table(rows))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
