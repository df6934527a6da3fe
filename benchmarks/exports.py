"""Trained networks as integers for chips: accuracy kept, every number proven in Lava, time of both.

Each network of :mod:`benchmarks.export_networks` is trained by ``neuro train``, in a run folder of
its own; a run that is finished stays, a stopped one continues. It is then exported for its chips,
with a ``.net`` file if netx can hold it, and

- the float network and the integers answer the whole test set;
- test samples run in the uncompiled reference, in Lava's ``fixed_pt`` models and in netx: spikes,
  currents and potentials of all neurons and steps are compared with those of the simulator;
- the whole test set is timed in the simulator and the samples of the proof in Lava, in turns, each
  with all cores: a round takes a share of each. Lava makes and starts its processes for every
  sample; that, with the first step, is counted by itself, and only the steps that follow are
  compared, all steps at their rate. One monitor records the output. The fastest of each counts, as
  the machine does other things, too, which delay Lava's many processes most.
"""

import os
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.accuracy import run_cells
from benchmarks.cells import Cell, Launch, discard
from benchmarks.command import CheckFailedError, main, say
from benchmarks.export_networks import NETWORKS, PROFILES
from benchmarks.grid_result import grid_cells
from benchmarks.interleaved import summary
from benchmarks.records import (
    REPOSITORY,
    RESULTS,
    options_given,
    origin,
    public_command,
    read_result,
    write_result,
)
from neuro.errors import NeuroError, UsageError
from neuro.export.folder import Export, Form, read_export
from neuro.export.make import ExportOptions, Report, export_run
from neuro.export.run import load_classifier, messages_of_test_set
from neuro.export.verify import verify
from neuro.hardware import fixed_point
from neuro.hardware.fixed_point import Extremes
from neuro.hardware.lava import run as lava
from neuro.hardware.lava.interpreter import Interpreter, find_interpreter
from neuro.hardware.place import Placement
from neuro.layers import INPUT

KIND = "exports"
RUNS = REPOSITORY / "runs"
POINTS_LOST = 0.5
"""Most that integers may lose of the accuracy, in points."""
SAMPLES = 20
"""Least that must be proven in Lava."""
TIMES_FASTER = 100
"""What the simulator must be, beside the steps of Lava."""
LAVA_TIMEOUT = 600.0
"""Seconds that a sample may take in Lava."""


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What is measured, and with what.

    Attributes:
        samples: test samples of the proof.
        rounds: turns of the timing.
        launch: how networks are trained, and where the data lie.
        lava: interpreter that has it.
    """

    samples: int
    rounds: int
    launch: Launch
    lava: Interpreter


def exports(
    *,
    only: str | None = None,
    samples: int = SAMPLES,
    rounds: int = 10,
    data_dir: Path | None = None,
    runs: Path = RUNS,
    lava_python: Path | None = None,
    results: Path | None = None,
    restart: bool = False,
    check: bool = False,
) -> None:
    """Train networks, export them, compare their integers with Lava, and time both.

    Parameters
    ----------
    only
        Networks, separated by commas; default all. The others stay as the result file has them.
    samples
        Test samples to run in Lava.
    rounds
        Turns that the simulator and Lava take at being timed.
    data_dir
        Folder with the data; default the download folder.
    runs
        Folder for the run folders, which hold the exports.
    lava_python
        Python that has Lava; default the one that `make lava` makes.
    results
        Result file; default benchmarks/results/exports.json.
    restart
        Discard the chosen runs and train them again.
    check
        Measure nothing; fail unless, by the result file, integers lose 0.5 points of accuracy at
        most, no number of 20 samples differs in Lava and netx, and the simulator is 100 times as
        fast as the steps of Lava.
    """
    file = results or RESULTS / "exports.json"
    if check:
        check_bars(read_result(file, KIND))
        return
    if not 1 <= rounds <= samples:
        raise UsageError(f"--rounds must be 1 to the {samples} of --samples, got {rounds}.")
    settings = Settings(
        samples=samples,
        rounds=rounds,
        launch=Launch(runs.resolve(), None if data_dir is None else data_dir.resolve()),
        lava=find_interpreter(lava_python),
    )
    given = {"samples": samples, "rounds": rounds, "data_dir": data_dir}
    command = ["python", "-m", "benchmarks.exports", *options_given(exports, **given)]
    rows = _kept(file)
    for cell in _chosen(only):
        if restart:
            discard(cell, settings.launch.root)
        failures = run_cells([cell], settings.launch, lambda _: None)
        if failures:
            raise NeuroError(failures[0])
        for profile in PROFILES[cell.variant.name]:
            row = measure(cell, profile, settings)
            rows[row["network"], profile] = row
            write_result(file, _record(command, rows))
            say(_headline(row))


def _chosen(only: str | None) -> list[Cell]:
    cells = grid_cells(NETWORKS, NETWORKS.seeds)
    if only is None:
        return cells
    names = [NETWORKS.variant(name.strip()).name for name in only.split(",")]
    return [cell for cell in cells if cell.variant.name in names]


def _kept(file: Path) -> dict[tuple[str, str], dict[str, Any]]:
    """Return rows of a result file whose networks are still trained as they were."""
    if not file.exists():
        return {}
    arguments = {
        cell.variant.name: list(cell.arguments) for cell in grid_cells(NETWORKS, NETWORKS.seeds)
    }
    return {
        (row["network"], row["profile"]): row
        for row in read_result(file, KIND)["rows"]
        if row["arguments"] == arguments.get(row["network"])
    }


def _record(command: Sequence[str], rows: Mapping[tuple[str, str], Any]) -> dict[str, Any]:
    places = _places()
    ordered = sorted((each for each in rows if each in places), key=places.index)
    cores = len(os.sched_getaffinity(0))
    return {
        **origin(command, threads=cores),
        "kind": KIND,
        "rows": [rows[each] for each in ordered],
    }


def _places() -> list[tuple[str, str]]:
    """Return what there is to measure: networks and chips."""
    names = [variant.name for variant in NETWORKS.variants]
    return [(name, profile) for name in names for profile in PROFILES[name]]


def measure(cell: Cell, profile: str, settings: Settings) -> dict[str, Any]:
    """Export a trained network for a chip; return how well, how truly and how fast it runs."""
    launch = settings.launch
    run = cell.folder(launch.root)
    report, refused = export(run, profile, settings)
    made, record, placement = read_export(report.folder), report.record, report.placement
    assert placement is not None
    say(f"{cell.title} on {profile}: proving {settings.samples} samples in Lava")
    proof = verify(made, lava_python=settings.lava.path, timeout=LAVA_TIMEOUT, note=lambda _: None)
    say(f"{cell.title} on {profile}: timing")
    comparison = record["comparison"]
    form = record["to"]
    words = ["neuro", "export", "RUN", "--to", form, "--profile", profile]
    words += ["--chips", str(placement.chips)] if placement.chips > 1 else []
    words += ["--samples", str(settings.samples)] if settings.samples != SAMPLES else []
    return {
        "network": cell.variant.name,
        "dataset": record["dataset"],
        "model": record["model"],
        "profile": profile,
        "form": form,
        "netx_refused": refused,
        "arguments": list(cell.arguments),
        "commands": [launch.public_command(cell), public_command(words), "neuro verify EXPORT"],
        "steps": record["steps"],
        "message_bits": made.graph().sources[INPUT].message_bits,
        "test_samples": comparison["samples"],
        "float_accuracy": comparison["float_accuracy"],
        "integer_accuracy": comparison["integer_accuracy"],
        "agreement": comparison["agreement"],
        "layers": [_layer(layer, comparison) for layer in record["layers"]],
        "proof": {
            "samples": proof.samples,
            "neurons": sum(layer.neurons for layer in proof.layers),
            "spikes": sum(layer.spikes for layer in proof.layers),
            "mismatches": {
                engine: sum(sum(layer.mismatches[engine].values()) for layer in proof.layers)
                for engine in proof.engines
                if engine != "simulator"
            },
        },
        "lava": {
            "lava-nc": settings.lava.lava,
            "lava-dl": settings.lava.lava_dl,
            "python": settings.lava.python,
            "numpy": settings.lava.numpy,
        },
        "time": time_both(run, made, profile, settings),
        "placement": _placed(placement),
    }


def export(run: Path, profile: str, settings: Settings) -> tuple[Report, str | None]:
    """Export a run with a ``.net`` file, or, if netx cannot hold it, with a job for Lava alone.

    Returns:
        The export, and why netx refused it.
    """
    refused = None
    forms: tuple[Form, ...] = ("netx", "lava")
    for form in forms:
        folder = run / f"export-{form}-{profile}"
        if folder.exists():
            shutil.rmtree(folder)
    options: dict[str, Any] = {
        "profile": profile,
        "chips": None,
        "samples": settings.samples,
        "data_dir": settings.launch.data_dir,
    }
    try:
        report = _exported(run, ExportOptions(to="netx", **options))
    except UsageError as error:
        refused = str(error)
        report = _exported(run, ExportOptions(to="lava", **options))
    return report, refused


def _exported(run: Path, options: ExportOptions) -> Report:
    folder = run / f"export-{options.to}-{options.profile}"
    return export_run(run, folder, options, note=lambda text: say(f"{folder}: {text}"))


def time_both(run: Path, made: Export, profile: str, settings: Settings) -> dict[str, Any]:
    """Time the simulator on the whole test set and Lava on the samples of an export, in turns."""
    graph, held = made.graph(), made.samples().inputs
    session = load_classifier(run, data_dir=settings.launch.data_dir)
    batches = list(messages_of_test_set(session, graph))
    fixed_point.run(graph, {name: array[:, :1] for name, array in held.items()})  # compiles
    ours: list[float] = []
    starts: list[float] = []
    steps: list[float] = []
    for turn in range(settings.rounds):
        inputs = _joined(batches[turn :: settings.rounds] or batches)
        started = time.perf_counter()
        fixed_point.run(graph, inputs)
        ours.append((time.perf_counter() - started) / inputs[INPUT].shape[1])
        recording = lava.run(
            graph,
            {name: array[:, turn :: settings.rounds] for name, array in held.items()},
            record=[graph.output],
            signals=["v"],
            chip="loihi1" if profile == "loihi1" else "loihi2",
            python=settings.lava.path,
            timeout=LAVA_TIMEOUT,
        )
        starts += recording.start_seconds.tolist()
        steps += (recording.step_seconds * graph.steps / (graph.steps - 1)).tolist()
    whole = [start + each for start, each in zip(starts, steps, strict=True)]
    return {
        "rounds": settings.rounds,
        "cores": len(os.sched_getaffinity(0)),
        "simulator": {
            "samples": sum(each[INPUT].shape[1] for each in batches),
            "each": summary([1e3 * each for each in ours], "ms", digits=4),
        },
        "lava": {
            "samples": len(steps),
            "start": summary(starts, "s"),
            "steps": summary([1e3 * each for each in steps], "ms"),
        },
        "steps_over_simulator": round(min(steps) / min(ours), 1),
        "whole_over_simulator": round(min(whole) / min(ours), 1),
    }


def _joined(batches: Sequence[Mapping[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """Return batches as one; a constant input stays stored once."""
    joined = {}
    for name, first in batches[0].items():
        arrays = [batch[name] for batch in batches]
        constant = all(each.strides[0] == 0 for each in arrays)
        whole = np.concatenate([each[:1] if constant else each for each in arrays], axis=1)
        joined[name] = np.broadcast_to(whole, (len(first), *whole.shape[1:]))
    return joined


def _layer(layer: Mapping[str, Any], comparison: Mapping[str, Any]) -> dict[str, Any]:
    name = layer["name"]
    held = Extremes(*comparison["extremes"][name])
    return {
        "name": name,
        "clipped_weights": round(layer["clipped_weights"], 5),
        "weight_error": round(layer["weight_error"], 5),
        "spikes_per_sample": round(comparison["spikes"].get(name, 0.0), 2),
        "overflows": held.wrapped_inputs + held.wrapped_u + held.clipped_v,
    }


def _placed(placement: Placement) -> dict[str, Any]:
    loads = [core.load for core in placement.cores]
    resource, share = max((core.fullest for core in placement.cores), key=lambda found: found[1])
    return {
        "chips": placement.chips,
        "cores": len(placement.cores),
        "neurons": sum(load.neurons for load in loads),
        "synapses": sum(load.synapses for load in loads),
        "fullest": {"resource": resource, "share": round(share, 4)},
        "unpublished_limits": list(placement.unpublished),
    }


def _headline(row: Mapping[str, Any]) -> str:
    mismatches = sum(row["proof"]["mismatches"].values())
    return (
        f"{row['network']} on {row['profile']}: float {row['float_accuracy']:.2%}, integers "
        f"{row['integer_accuracy']:.2%}, {mismatches} mismatches in {row['proof']['samples']} "
        f"samples, {row['time']['steps_over_simulator']:.0f} times Lava's speed"
    )


def bars_of(row: Mapping[str, Any]) -> Iterator[tuple[str, float, float]]:
    """Yield text, figure, and the least it may be."""
    gained = 100 * (row["integer_accuracy"] - row["float_accuracy"])
    yield "points of accuracy gained", round(gained, 6), -POINTS_LOST
    mismatches, engines = row["proof"]["mismatches"], ["lava"]
    engines += ["netx"] if row["form"] == "netx" else []
    for engine in engines:
        same = row["proof"]["samples"] if mismatches.get(engine) == 0 else 0
        yield f"samples proven in {engine}", same, SAMPLES
    yield "times Lava's speed", row["time"]["steps_over_simulator"], TIMES_FASTER


def check_bars(record: Mapping[str, Any]) -> None:
    """Print each bar.

    Raises:
        CheckFailedError: one does not hold, or a network was not measured.
    """
    rows = {(row["network"], row["profile"]): row for row in record["rows"]}
    failed = 0
    for place in _places():
        name = " on ".join(place)
        if place not in rows:
            failed += 1
            print(f"{name}: not measured")
            continue
        for text, value, least in bars_of(rows[place]):
            failed += value < least
            verdict = "holds" if value >= least else "FAILS"
            print(f"{name}, {text}: {value:g}, at least {least:g}: {verdict}")
    if failed:
        raise CheckFailedError(f"{failed} bars of exports do not hold.")


if __name__ == "__main__":
    main(exports)
