"""Results on stdout: one JSON object, or text for people."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuro.training import RunSummary

HEADLINES = (
    ("test_accuracy", "test accuracy", "{:.2%}"),
    ("mrr", "test MRR", "{:.4f}"),
    ("mrr_realistic", "  realistic ties", "{:.4f}"),
    ("hits_at_1", "test Hits@1", "{:.2%}"),
    ("hits_at_10", "test Hits@10", "{:.2%}"),
    ("mr", "test mean rank", "{:.1f}"),
    ("hits_at_10_of_50", "test Hits@10 of 50", "{:.2%}"),
    ("auroc", "test AUROC", "{:.4f}"),
    ("average_precision", "test average precision", "{:.4f}"),
)
"""What of a summary people are told: key, name and form."""


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


def describe(method: str, dataset: str, model: str) -> str:
    """Return what was trained on what, in a few words."""
    return f"{method} on {dataset}" + (f" with {model}" if model != method else "")


def print_summary(summary: "RunSummary") -> None:
    """Print what a run, or its evaluation, came to."""
    metrics = summary.metrics
    print(f"{describe(summary.method, summary.dataset, summary.model)}: {summary.run}")
    rows: list[tuple[str, str]] = []
    for measure, name, form in HEADLINES:
        if measure not in metrics:
            continue
        after = f" after epoch {metrics['epochs']}" if not rows else ""
        rows.append((name, form.format(metrics[measure]) + after))
        best = metrics.get(f"{measure}_best_validation")
        epoch = metrics.get("best_validation_epoch")
        if best is not None and epoch != metrics["epochs"]:
            which = f" after epoch {epoch}, the best of validation" if len(rows) == 1 else ""
            rows.append(("", form.format(best) + which))
    if "firing_rate" in metrics:
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
