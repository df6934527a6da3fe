"""An export of integers counted on the test samples it holds, as its simulator runs them."""

from pathlib import Path
from typing import Any

from neuro.energy.integer import count_integer_graph
from neuro.energy.record import Subject
from neuro.errors import UsageError
from neuro.export.folder import Export, read_export
from neuro.hardware import fixed_point
from neuro.hardware.targets import target_named
from neuro.reports.opening import CountOptions


def count_export(path: Path, options: CountOptions) -> Subject:
    """Run an export's own test samples in the simulator and count them.

    Raises:
        DataError: the export is damaged.
        UsageError: it holds real numbers, or fewer samples, or a checkpoint was named.
    """
    export = read_export(path)
    if export.form == "nir":
        raise UsageError(
            f"{path} is a NIR graph: its real numbers run on no chip of ours. Count the run it was "
            f"made of: neuro energy {export.manifest.get('run', 'RUN')}"
        )
    if options.checkpoint is not None:
        raise UsageError(
            f"--checkpoint is of runs; {path} was made of {export.manifest.get('checkpoint')}."
        )
    graph, samples = export.graph(), export.samples().first(options.samples)
    target = target_named(str(export.manifest["profile"]))
    recording = fixed_point.run(
        graph,
        samples.inputs,
        record=list(graph.populations),
        accumulator_bits=target.accumulator_bits,
    )
    ledger = count_integer_graph(graph, recording, samples.inputs)
    accuracy, measure, judged = _answers(export.manifest)
    return Subject(
        what={**_names(path, export), "signal": "graded", "accuracy_samples": judged},
        ledger=ledger,
        accuracy=accuracy,
        measure=measure,
        placement=placement_terms(export),
    )


def _names(path: Path, export: Export) -> dict[str, Any]:
    manifest = export.manifest
    names = {key: manifest.get(key) for key in ("method", "dataset", "model", "checkpoint")}
    return {"run": str(path), "form": f"export to {export.form}", **names}


def _answers(manifest: Any) -> tuple[float | None, str | None, int | None]:
    """Return how well the integers did when they were exported."""
    comparison = manifest.get("comparison")
    if comparison is None:
        return None, None, None
    if "integer_accuracy" in comparison:
        return comparison["integer_accuracy"], "accuracy", comparison["samples"]
    return comparison["chip_mrr"], "mrr", comparison["facts"]
