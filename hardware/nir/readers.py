"""Runs ``.nir`` files in another framework's reader: what conformance starts as a child process.

    python -P readers.py READER JOBS

It needs nir, numpy, torch and the reader, and nothing of this package, so that any interpreter can
run it. JOBS is a JSON file, a list of ``{"file", "samples", "outputs", "dt"}``; samples and outputs
are ``.npy``, ``(N, T, ...)``. For each job it prints a line of ``report`` and JSON: ``{"version"}``
and, where something failed, ``"missing"`` or ``"error"``.
"""

import contextlib
import importlib.metadata
import json
import sys
import warnings
from collections.abc import Callable
from typing import Any

import nir
import numpy as np
import torch

Step = Callable[[torch.Tensor], Any]


def norse(graph: nir.NIRGraph, dt: float) -> Step:
    """Return a function that steps a fresh model in norse."""
    from norse.torch import from_nir

    return _with_state(from_nir(graph, dt=dt))


def snntorch(graph: nir.NIRGraph, dt: float) -> Step:
    """Return a function that steps a fresh model in snntorch, which has a dt of its own."""
    from snntorch.import_nir import import_from_nir

    return _with_state(import_from_nir(graph))


def spikingjelly(graph: nir.NIRGraph, dt: float) -> Step:
    """Return a function that steps a fresh model in spikingjelly."""
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return _with_state(import_from_nir(graph, dt=dt))


def sinabs(graph: nir.NIRGraph, dt: float) -> Step:
    """Return a function that steps a fresh model in sinabs, whose layers keep their states."""
    from sinabs.nir import from_nir

    return _with_state(from_nir(graph, batch_size=1))


READERS = {each.__name__: each for each in (norse, snntorch, spikingjelly, sinabs)}


def _with_state(model: torch.nn.Module) -> Step:
    state: Any = None

    def step(x: torch.Tensor) -> Any:
        nonlocal state
        made = model(x, state)
        if isinstance(made, tuple):
            made, state = made[0], made[1]
        return made

    return step


def run(reader: str, path: str, samples: np.ndarray[Any, Any], dt: float) -> np.ndarray[Any, Any]:
    """Return the outputs ``(N, T, ...)`` of samples, each from rest, one sample a batch."""
    outputs = []
    for sample in samples:
        step = READERS[reader](nir.read(path), dt)
        outputs.append([step(x[None]).detach().double().numpy() for x in torch.tensor(sample)])
    return np.array(outputs)


def report(reader: str, job: dict[str, Any]) -> dict[str, str]:
    """Do a job and say how it went."""
    made: dict[str, str] = {}
    try:
        made["version"] = importlib.metadata.version(reader)
        with contextlib.redirect_stdout(sys.stderr), torch.no_grad():
            outputs = run(reader, job["file"], np.load(job["samples"]), job["dt"])
        np.save(job["outputs"], outputs)
    except (importlib.metadata.PackageNotFoundError, ImportError) as error:
        made["missing"] = str(getattr(error, "name", None) or error)
    except Exception as error:  # whatever a reader raises is how it refuses
        made["error"] = f"{type(error).__name__}: {error}"
    return made


def main(reader: str, jobs: str) -> None:
    """Do all jobs."""
    warnings.simplefilter("ignore")
    with open(jobs, encoding="utf-8") as file:
        for job in json.load(file):
            print("report", json.dumps(report(reader, job)), flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
