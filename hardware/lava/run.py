"""Run an integer graph in Intel's Lava, in processes of their own that always end."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuro.errors import NeuroError, UsageError, nearest
from neuro.hardware.integer_graph import IntegerGraph, write_graph
from neuro.hardware.lava.chain import layers, network_options
from neuro.hardware.lava.interpreter import Interpreter, LavaMissingError, find_interpreter
from neuro.hardware.lava.netx import write_net
from neuro.hardware.lava.netx_rules import netx_findings
from neuro.hardware.lava.validate import lava_findings, refuse

Engine: TypeAlias = Literal["lava", "netx"]
SIGNALS = ("spikes", "u", "v")

_RUNNER = Path(__file__).with_name("runner.py")
_LOOK_EVERY_S = 0.02
_LAST_WORDS_S = 0.3
"""Seconds that further processes of Lava have to tell what they raised, after the first."""
_GOODBYE_S = 10.0
"""Seconds that asked processes have to end, before they are killed."""
_LOG_LINES = 30


class LavaError(NeuroError):
    """Lava failed or did not finish. ``log`` is all it printed, the tracebacks of its processes
    first."""

    def __init__(self, message: str, log: str) -> None:
        super().__init__(message)
        self.log = log


@dataclass(frozen=True, eq=False, kw_only=True)
class LavaRecording:
    """What Lava did with B samples.

    Args:
        steps: T, time steps that were run.
        spikes: of each recorded population, ``[T, B, *shape]``.
        u: currents after each step, the same shape; float64 if floating, else int32.
        v: potentials after the reset of each step, likewise.
        start_seconds: of each sample ``[B]``, to make and start its processes and run a step.
        step_seconds: of each sample ``[B]``, to run the steps after the first.
        interpreter: the Python, and the Lava, that did it.
    """

    steps: int
    spikes: Mapping[str, NDArray[np.int8]]
    u: Mapping[str, NDArray[Any]]
    v: Mapping[str, NDArray[Any]]
    start_seconds: NDArray[np.float64]
    step_seconds: NDArray[np.float64]
    interpreter: Interpreter


def run(
    graph: IntegerGraph,
    inputs: Mapping[str, NDArray[np.integer]],
    *,
    steps: int | None = None,
    record: Collection[str] | None = None,
    signals: Collection[str] = SIGNALS,
    engine: Engine = "lava",
    net: Path | None = None,
    chip: Literal["loihi1", "loihi2"] = "loihi2",
    floating: bool = False,
    weight_bits: int = 8,
    python: Path | str | None = None,
    timeout: float = 120.0,
    check: bool = True,
) -> LavaRecording:
    """Run every sample, one after another, in Lava's processes on this machine.

    A sample takes about a second to start, and much longer than in
    :mod:`neuro.hardware.fixed_point`: run a few.

    Args:
        graph: what runs.
        inputs: ``[T, B, *shape]`` integers of every source; after T steps nothing more arrives.
        steps: to run, ``graph.steps`` if left out.
        record: populations whose every step is kept; all of them if left out.
        signals: what of them, of ``spikes``, ``u`` and ``v``. Each costs Lava a process.
        engine: ``lava`` for a graph of Lava processes; ``netx`` for a ``.net`` file, read by netx.
        net: file that netx reads, written from the graph if left out.
        chip: whose run configuration is chosen. On a CPU both give equal numbers.
        floating: the same equations without rounding, wrapping or clipping, in Lava's floating
            models; u and v in the same units. Not with netx.
        weight_bits: to which Lava truncates the weights of dense and sparse synapses.
        python: interpreter that has Lava, see :func:`~.interpreter.find_interpreter`.
        timeout: seconds that each sample may take.
        check: refuse what Lava would compute otherwise than the graph says.

    Raises:
        LavaMissingError: there is no Lava, or no lava-dl for netx.
        LavaError: Lava failed, or a sample took longer than allowed. Nothing of it is left then.
        UsageError: Lava cannot express the graph; or inputs that do not fit it.
    """
    steps = graph.steps if steps is None else steps
    names = list(graph.populations) if record is None else list(record)
    _check_request(graph, inputs, steps, names, signals, engine, floating, weight_bits)
    for population in graph.populations.values():
        _ = population.cuba  # raises where the neurons are others
    if check and not floating:
        netx = engine == "netx"
        refuse(netx_findings(graph) if netx else lava_findings(graph, steps=steps))
    interpreter = find_interpreter(python)
    if engine == "netx" and interpreter.lava_dl is None:
        raise LavaMissingError(f"{interpreter.path} has no lava-dl, which reads .net files.")
    with tempfile.TemporaryDirectory(prefix="neuro-lava-") as name:
        folder = Path(name)
        job: dict[str, Any] = {
            "engine": engine,
            "chip": chip,
            "floating": floating,
            "weight_bits": weight_bits,
            "steps": steps,
            "samples": _batch(inputs),
            "populations": names,
            "signals": [each for each in SIGNALS if each in signals],
        }
        if engine == "netx":
            job |= _netx_job(graph, folder, net, steps)
        _write_job(graph, inputs, folder, job)
        _watch(interpreter, folder, job["samples"], timeout)
        return _recording(folder, job, interpreter)


def write_job(
    graph: IntegerGraph, inputs: Mapping[str, NDArray[np.integer]], folder: Path, *, chip: str
) -> None:
    """Write what Lava needs to run samples by itself, with ``python FOLDER/runner.py FOLDER``.

    It leaves ``sample<n>.npz`` there, spikes, u and v of every population and step, and seconds.

    Args:
        graph: what runs, in fixed point.
        inputs: as for :func:`run`.
        folder: to be made, or empty.
        chip: loihi1 or loihi2.

    Raises:
        UsageError: Lava would compute it otherwise than the graph says.
    """
    refuse(lava_findings(graph, steps=graph.steps))
    folder.mkdir(parents=True, exist_ok=True)
    job = {
        "engine": "lava",
        "chip": chip,
        "floating": False,
        "weight_bits": 8,
        "steps": graph.steps,
        "samples": _batch(inputs),
        "populations": list(graph.populations),
        "signals": list(SIGNALS),
    }
    _write_job(graph, inputs, folder, job)
    for program in (_RUNNER, _RUNNER.with_name("shim.py")):
        shutil.copy(program, folder)


def _batch(inputs: Mapping[str, NDArray[np.integer]]) -> int:
    """Return the number of samples: one where nothing comes from outside."""
    return next((given.shape[1] for given in inputs.values()), 1)


def _write_job(
    graph: IntegerGraph,
    inputs: Mapping[str, NDArray[np.integer]],
    folder: Path,
    job: Mapping[str, Any],
) -> None:
    if job["engine"] == "lava":
        write_graph(graph, folder)
    (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
    padded: dict[str, Any] = dict(_padded(inputs, job["steps"]))
    np.savez_compressed(folder / "inputs.npz", **padded)


def _check_request(
    graph: IntegerGraph,
    inputs: Mapping[str, NDArray[np.integer]],
    steps: int,
    names: list[str],
    signals: Collection[str],
    engine: str,
    floating: bool,
    weight_bits: int,
) -> None:
    if engine not in ("lava", "netx"):
        raise UsageError(f"unknown engine {engine!r}; expected lava or netx.")
    if engine == "netx" and floating:
        raise UsageError("netx runs integers alone; leave floating out, or use the engine lava.")
    for name in names:
        if name not in graph.populations:
            raise UsageError(f"no population {name!r} to record.{nearest(name, graph.populations)}")
    for name in signals:
        if name not in SIGNALS:
            raise UsageError(f"no signal {name!r} to record; expected some of {SIGNALS}.")
    if not 1 <= weight_bits <= 8:
        raise UsageError(f"{weight_bits} weight bits; a synapse has 1 to 8.")
    if not names or not signals or steps < 1:
        raise UsageError("nothing to record: name a population and a signal, and run a step.")
    if inputs.keys() != graph.sources.keys():
        raise UsageError(
            f"the graph has the sources {sorted(graph.sources)}, got inputs for {sorted(inputs)}."
        )
    for name, source in graph.sources.items():
        given = inputs[name]
        if given.dtype != np.bool_ and not np.issubdtype(given.dtype, np.integer):
            raise UsageError(f"the input {name!r} is of {given.dtype}; a chip takes integers.")
        if given.shape[2:] != source.shape or given.ndim < 2 or len(given) > steps:
            raise UsageError(
                f"the input {name!r} is of shape {given.shape}; expected [T, B, *{source.shape}] "
                f"with T of {steps} steps at most."
            )
    if len({given.shape[1] for given in inputs.values()}) > 1:
        raise UsageError("the inputs hold different numbers of samples.")
    if any(not given.shape[1] for given in inputs.values()):
        raise UsageError("the inputs hold no sample; expected [T, B, ...] with B of 1 at least.")


def _netx_job(graph: IntegerGraph, folder: Path, net: Path | None, steps: int) -> dict[str, Any]:
    if net is None:
        net = folder / "graph.net"
        write_net(graph, net, check=False)
    return {
        "net": str(net.resolve()),
        "network": network_options(graph, steps),
        "layers": {each.population.name: each.population.shape for each in layers(graph)},
    }


def _padded(inputs: Mapping[str, NDArray[np.integer]], steps: int) -> dict[str, NDArray[np.int32]]:
    """Return inputs ``[B, steps, *shape]``, silent after the last that is given.

    A prefix keeps their names from those of the parameters of ``numpy.savez``.
    """
    padded = {}
    for name, given in inputs.items():
        whole = np.zeros((given.shape[1], steps, *given.shape[2:]), np.int32)
        whole[:, : len(given)] = np.moveaxis(given, 0, 1)
        padded[f"input.{name}"] = whole
    return padded


def _recording(folder: Path, job: dict[str, Any], interpreter: Interpreter) -> LavaRecording:
    samples = []
    for number in range(job["samples"]):
        with np.load(folder / f"sample{number}.npz", allow_pickle=False) as stored:
            samples.append({name: stored[name] for name in stored.files})

    def stacked(signal_name: str) -> dict[str, NDArray[Any]]:
        if signal_name not in job["signals"]:
            return {}
        return {
            name: np.stack([sample[f"{name}.{signal_name}"] for sample in samples], axis=1)
            for name in job["populations"]
        }

    start, steps = np.stack([sample["seconds"] for sample in samples], axis=1)
    return LavaRecording(
        steps=job["steps"],
        spikes=stacked("spikes"),
        u=stacked("u"),
        v=stacked("v"),
        start_seconds=start,
        step_seconds=steps,
        interpreter=interpreter,
    )


def _watch(interpreter: Interpreter, folder: Path, samples: int, timeout: float) -> None:
    """Run the child until it is done, has told of a failure, or takes too long for a sample."""
    failure = folder / "failure.txt"
    with _child(interpreter, folder) as child:
        for number in range(samples):
            wanted = folder / f"sample{number}.npz"
            deadline = time.monotonic() + timeout
            while not wanted.exists():
                if child.poll() is not None and not wanted.exists():
                    raise _failed(folder, number, f"its process ended with {child.returncode}")
                if failure.exists():
                    time.sleep(_LAST_WORDS_S)
                    raise _failed(folder, number, "one of its processes raised")
                if time.monotonic() > deadline:
                    raise _failed(
                        folder, number, f"it had not finished after {timeout:g} s and was ended"
                    )
                time.sleep(_LOOK_EVERY_S)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(_GOODBYE_S)


def _failed(folder: Path, number: int, what: str) -> LavaError:
    raised, log = folder / "failure.txt", folder / "log.txt"
    told = raised.read_text(encoding="utf-8") if raised.exists() else ""
    printed = log.read_text(encoding="utf-8", errors="replace")
    end = told or "\n".join(printed.splitlines()[-_LOG_LINES:])
    return LavaError(f"Lava failed in sample {number}: {what}.\n{end.rstrip()}", told + printed)


@contextlib.contextmanager
def _child(interpreter: Interpreter, folder: Path) -> Iterator[subprocess.Popen[bytes]]:
    """The child program, in a process group of its own that is gone afterwards, come what may.

    It ends itself when the pipe to its stdin closes, should this process be killed.
    """
    few_threads = {f"{library}_NUM_THREADS": "1" for library in ("OMP", "OPENBLAS", "MKL")}
    with (folder / "log.txt").open("wb") as log:
        child = subprocess.Popen(
            [interpreter.path, _RUNNER, folder, "--watched"],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=subprocess.STDOUT,
            cwd=folder,
            env={**os.environ, **few_threads},
            start_new_session=True,
        )
        try:
            yield child
        finally:
            _end_group(child.pid)
            child.wait()
            if child.stdin is not None:
                child.stdin.close()


def _end_group(group: int) -> None:
    """End every process of a group; kill what does not end.

    Asked first, for Python's tracker of shared memory outlives the others by a moment only if it
    is not killed, and removes what they leave behind.
    """
    for order in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, order)
        deadline = time.monotonic() + _GOODBYE_S
        while living(group) and time.monotonic() < deadline:
            time.sleep(_LOOK_EVERY_S)
        if not living(group):
            return


def living(group: int) -> list[int]:
    """Return the processes of a group that have not ended, as Linux tells them.

    One that has, and that nobody waits for, is none of them.
    """
    found = []
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, in_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(in_group) == group and state not in "ZX":
                found.append(int(stat.parent.name))
    return found
