"""Proof of an export: its test samples through several engines, every register of every step."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuro.errors import DataError, UsageError, nearest
from neuro.export.folder import NET, Export, Samples
from neuro.hardware import fixed_point
from neuro.hardware.fixed_point_reference import run_sample, wired
from neuro.hardware.integer_graph import IntegerGraph
from neuro.hardware.lava.interpreter import LavaMissingError, find_interpreter
from neuro.hardware.targets import target_named

SIGNALS = ("spikes", "u", "v")
ENGINES = ("reference", "lava", "netx")
"""What the simulator is compared with."""

Trace: TypeAlias = Mapping[str, Mapping[str, NDArray[Any]]]
"""By signal and population, ``[T, B, *shape]``."""


@dataclass(frozen=True)
class LayerProof:
    """One population: neurons, spikes over all samples, and by engine and signal the numbers, of
    all samples, steps and neurons, that differ from the simulator's."""

    name: str
    neurons: int
    spikes: int
    mismatches: Mapping[str, Mapping[str, int]]


@dataclass(frozen=True)
class Proof:
    """What a comparison found.

    Attributes:
        samples: that were run.
        steps: of each.
        engines: by name, with the version and interpreter where it is another's.
        layers: in order.
    """

    samples: int
    steps: int
    engines: Mapping[str, str]
    layers: tuple[LayerProof, ...]

    @property
    def mismatches(self) -> int:
        """Numbers that differ, over all layers, engines and signals."""
        return sum(
            count
            for layer in self.layers
            for signals in layer.mismatches.values()
            for count in signals.values()
        )

    @property
    def wrong(self) -> tuple[str, ...]:
        """Engines with a number that differs."""
        return tuple(
            name
            for name in self.engines
            if any(any(layer.mismatches.get(name, {}).values()) for layer in self.layers)
        )

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "samples": self.samples,
            "steps": self.steps,
            "mismatches": self.mismatches,
            "engines": [{"name": name, "description": text} for name, text in self.engines.items()],
            "layers": [
                {
                    "name": layer.name,
                    "neurons": layer.neurons,
                    "spikes": layer.spikes,
                    "mismatches": {name: dict(each) for name, each in layer.mismatches.items()},
                }
                for layer in self.layers
            ],
        }


def engines_of(export: Export) -> tuple[str, ...]:
    """Return the engines an export of integers can be proven in."""
    if target_named(str(export.manifest["profile"])).microcode:
        return ("reference",)  # neurons that Lava does not have
    if (export.folder / NET).is_file():
        return ENGINES
    return tuple(name for name in ENGINES if name != "netx")


def verify(
    export: Export,
    *,
    engines: Collection[str] | None = None,
    samples: int | None = None,
    lava_python: Path | str | None = None,
    timeout: float = 120.0,
    note: Callable[[str], None] = print,
) -> Proof:
    """Run test samples of an export of integers in each engine.

    Args:
        export: from :func:`neuro.export.folder.read_export`.
        engines: of ``reference`` (the equations, one sample at a time, uncompiled), ``lava`` and
            ``netx`` (Intel's Lava, from the graph or from the ``.net`` file); None for all that
            the export has files for.
        samples: the first so many; None for all it holds.
        lava_python: interpreter that has Lava.
        timeout: seconds that a sample may take in Lava.
        note: told what is being done.

    Raises:
        UsageError: an engine that there is not, or more samples than the export holds.
        LavaMissingError: there is no Lava.
        LavaError: Lava failed or took too long.
    """
    asked = _asked(export, engines)
    graph, chosen = export.graph(), export.samples().first(samples)
    _check_inputs(graph, chosen, export)
    if not {"lava", "netx"}.isdisjoint(asked):
        lava_python = _lava(lava_python)
    names = list(graph.populations)
    mine = fixed_point.run(graph, chosen.inputs, record=names)
    own: Trace = {"spikes": mine.spikes, "u": mine.u, "v": mine.v}
    described = {"simulator": "neuro.hardware.fixed_point"}
    found: dict[str, dict[str, dict[str, int]]] = {name: {} for name in names}
    for name in asked:
        note(f"Running {_samples(len(chosen))} in {name}.")
        theirs, described[name] = _run(name, export, graph, chosen, lava_python, timeout)
        for population in names:
            found[population][name] = {
                signal: _differing(own[signal][population], theirs[signal][population])
                for signal in SIGNALS
            }
    layers = tuple(
        LayerProof(
            name,
            int(np.prod(graph.shape(name))),
            int(np.count_nonzero(own["spikes"][name])),
            found[name],
        )
        for name in names
    )
    return Proof(len(chosen), mine.steps, described, layers)


def _asked(export: Export, engines: Collection[str] | None) -> tuple[str, ...]:
    possible = engines_of(export)
    asked = possible if engines is None else tuple(dict.fromkeys(engines))
    for name in asked:
        if name not in possible:
            raise UsageError(
                f"{export.folder} cannot be run in {name!r}; it can in {', '.join(possible)}."
                f"{nearest(name, possible)}"
            )
    if not asked:
        raise UsageError(f"no engine to compare with; name some of {', '.join(possible)}.")
    return asked


def _check_inputs(graph: IntegerGraph, samples: Samples, export: Export) -> None:
    """Refuse samples of another graph."""
    for name, source in graph.sources.items():
        given = samples.inputs.get(name)
        if given is None or given.shape[2:] != source.shape or given.dtype.kind not in "iu":
            raise DataError(
                f"{export.folder}: samples.npz is not of graph.json: the source {name!r} takes "
                f"integers of shape {source.shape}. Export again."
            )


def _lava(named: Path | str | None) -> Path:
    """Return the Python that has Lava, before anything is run."""
    try:
        return find_interpreter(named).path
    except LavaMissingError as error:
        raise LavaMissingError(f"{error} Without Lava: --engines reference.") from None


def _samples(count: int) -> str:
    return f"{count} sample{'s' if count > 1 else ''}"


def _run(
    engine: str,
    export: Export,
    graph: IntegerGraph,
    samples: Samples,
    python: Path | str | None,
    timeout: float,
) -> tuple[Trace, str]:
    if engine == "reference":
        return _reference(graph, samples), "neuro.hardware.fixed_point_reference"
    from neuro.hardware.lava.netx import read_net
    from neuro.hardware.lava.run import run

    net = export.folder / NET if engine == "netx" else None
    if net is not None:
        read_net(net)  # tells in one line what is wrong with it
    loihi1 = target_named(str(export.manifest["profile"])).chip == "loihi1"
    recording = run(
        graph,
        samples.inputs,
        engine="lava" if net is None else "netx",
        net=net,
        chip="loihi1" if loihi1 else "loihi2",
        python=python,
        timeout=timeout,
    )
    interpreter = recording.interpreter
    versions = f"lava-nc {interpreter.lava}"
    if engine == "netx":
        versions += f", lava-dl {interpreter.lava_dl}"
    description = f"{versions}, fixed_pt, Python {interpreter.python} at {interpreter.path}"
    return {"spikes": recording.spikes, "u": recording.u, "v": recording.v}, description


def _reference(graph: IntegerGraph, samples: Samples) -> Trace:
    wiring = wired(graph)
    traces = []
    for b in range(len(samples)):
        inputs = {name: array[:, b] for name, array in samples.inputs.items()}
        traces.append(run_sample(graph, inputs, graph.steps, wiring=wiring))
    return {
        signal: {
            name: np.stack([getattr(trace[name], signal) for trace in traces], axis=1)
            for name in graph.populations
        }
        for signal in SIGNALS
    }


def _differing(mine: NDArray[Any], theirs: NDArray[Any]) -> int:
    if mine.shape != theirs.shape:
        raise DataError(f"an engine returned {theirs.shape} for a population of {mine.shape}.")
    return int(np.count_nonzero(mine != theirs))
