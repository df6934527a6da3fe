"""An export of integers counted on the test samples it holds, as its simulator runs them."""

from collections.abc import Mapping
from functools import reduce
from operator import add
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from neuro.energy.counting.integer import count_integer_graph
from neuro.energy.counts import Ledger
from neuro.energy.pricing.placement import placement_terms
from neuro.energy.reporting.record import Subject
from neuro.errors import UsageError
from neuro.export.folder import Export, Samples, read_export
from neuro.hardware import fixed_point, load_profile
from neuro.hardware.integer_graph import IntegerGraph
from neuro.hardware.place import Placement, place
from neuro.hardware.targets import target_named
from neuro.reports.opening import CountOptions

BLOCK = 8
"""Samples at once: the spread over blocks is told."""


class Ran(NamedTuple):
    """What an export's samples did: ledgers by block, and spikes of each neuron, over all."""

    ledgers: list[Ledger]
    spikes: dict[str, NDArray[np.int64]]


def count_export(path: Path, options: CountOptions) -> Subject:
    """Run an export's own test samples in the simulator, and count them.

    Raises:
        DataError: the export is damaged.
        UsageError: it holds real numbers, or fewer samples, or a checkpoint was named.
    """
    export = read_export(path)
    if export.form == "nir":
        raise UsageError(
            f"{path} is a NIR graph, of real numbers for other programs. Count the run it was made "
            f"of: neuro energy {export.manifest.get('run', 'RUN')}"
        )
    if options.checkpoint is not None:
        made = export.manifest.get("checkpoint")
        raise UsageError(f"--checkpoint is of runs; {path} was made of checkpoint {made}.")
    graph, samples = export.graph(), export.samples().first(options.samples)
    ran = _run(export, graph, samples, per_step=options.per_step)
    ledger = reduce(add, ran.ledgers)
    accuracy, measure, judged = _answers(export.manifest)
    placement = _placed(export, graph, ran.spikes)
    return Subject(
        what={**_names(path, export), "accuracy_samples": judged, "placement": _where(placement)},
        ledger=ledger,
        batches=ran.ledgers,
        accuracy=accuracy,
        measure=measure,
        placement=placement_terms(placement, ledger),
    )


def _run(export: Export, graph: IntegerGraph, samples: Samples, *, per_step: bool) -> Ran:
    bits = target_named(str(export.manifest["profile"])).accumulator_bits
    ledgers: list[Ledger] = []
    spikes = {name: np.zeros(graph.shape(name), np.int64) for name in graph.populations}
    for first in range(0, len(samples), BLOCK):
        inputs = {name: x[:, first : first + BLOCK] for name, x in samples.inputs.items()}
        recording = fixed_point.run(
            graph, inputs, record=list(graph.populations), accumulator_bits=bits
        )
        ledgers.append(count_integer_graph(graph, recording, inputs, per_step=per_step))
        for name, fired in recording.spikes.items():
            spikes[name] += np.count_nonzero(fired, axis=(0, 1))
    return Ran(ledgers, spikes)


def _placed(
    export: Export, graph: IntegerGraph, spikes: Mapping[str, NDArray[np.int64]]
) -> Placement:
    """Place the graph as it was placed when it was exported, and send it the spikes."""
    target = target_named(str(export.manifest["profile"]))
    before = export.manifest["placement"]
    chips = before["chips"] if before["packing"] == "tight" else None
    return place(graph, load_profile(target.chip), chips=chips, spikes=spikes)


def _where(placement: Placement) -> dict[str, Any]:
    return {
        "profile": placement.profile,
        "chips": placement.chips,
        "cores": len(placement.cores),
        "tiles": placement.tiles,
    }


def _names(path: Path, export: Export) -> dict[str, Any]:
    manifest = export.manifest
    names = {key: manifest.get(key) for key in ("method", "dataset", "model", "checkpoint")}
    return {"run": str(path), "form": f"export to {export.form}", **names}


def _answers(manifest: Mapping[str, Any]) -> tuple[float | None, str | None, int | None]:
    """Return how well the integers did when they were exported."""
    comparison = manifest.get("comparison")
    if comparison is None:
        return None, None, None
    if "integer_accuracy" in comparison:
        return comparison["integer_accuracy"], "accuracy", comparison["samples"]
    return comparison["chip_mrr"], "mrr", comparison["facts"]
