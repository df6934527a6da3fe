"""Results on stdout: one JSON object, or text for people."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuro.training import RunSummary


def print_json(record: dict[str, Any]) -> None:
    """Print one JSON object, and nothing else."""
    print(json.dumps(record, indent=2, allow_nan=False))


def print_table(header: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """Print left-aligned columns as wide as they need to be; nothing is cut."""
    cells = [[str(cell) for cell in row] for row in (header, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(header))]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(line.rstrip())


def print_summary(summary: "RunSummary") -> None:
    """Print what a run, or its evaluation, came to."""
    metrics = summary.metrics
    print(f"{summary.method} on {summary.dataset} with {summary.model}: {summary.run}")
    best = metrics.get("test_accuracy_best_validation")
    rows: list[tuple[str, str]] = [
        ("test accuracy", f"{_percent(metrics['test_accuracy'])} after epoch {metrics['epochs']}")
    ]
    if best is not None:
        epoch = metrics["best_validation_epoch"]
        rows.append(
            ("", f"{_percent(best)} after epoch {epoch}, which had the best validation accuracy")
        )
    rows.append(("firing rate", f"{metrics['firing_rate']:.4f} spikes per neuron and step"))
    rows += [(f"  {layer}", f"{rate:.4f}") for layer, rate in summary.firing_rates.items()]
    rows.append(("time", f"{summary.seconds:.1f} s"))
    speed = metrics.get("samples_per_second")
    if speed is not None:
        rows.append(("speed", f"{speed:,.0f} training samples/s"))
    rows.append(("peak memory", f"{summary.peak_memory_mb:.0f} MB"))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        print(f"  {name.ljust(width)}  {value}")


def _percent(share: float | int | None) -> str:
    return "none" if share is None else f"{share:.2%}"
