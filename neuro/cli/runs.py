"""``neuro runs``: run folders and how they stand."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuro.cli.output import print_json, print_table

if TYPE_CHECKING:
    from neuro.training import RunDirectory

MEASURES = {"accuracy": "test_accuracy", "mrr": "mrr", "auroc": "auroc"}
"""What runs are judged by, and the key of the summary that has it of the test set."""


def runs(folder: Path = Path("runs"), /, *, json: bool = False) -> None:
    """List the runs below a folder.

    Parameters
    ----------
    folder
        Where to look.
    json
        Print exactly one JSON object on stdout.
    """
    from neuro.training import find_runs

    records = [_describe(run) for run in find_runs(folder)]
    if json:
        print_json({"runs": records, "schema": 1})
    elif not records:
        print(f"No runs in {folder}. `neuro train opzo` makes one.")
    else:
        print_table(
            ("run", "state", "method", "dataset", "model", "epochs", "test", "validation"),
            [
                (
                    record["run"],
                    record["state"],
                    record["method"],
                    record["dataset"],
                    record["model"],
                    f"{record['epochs_done']}/{record['epochs']}",
                    _shown(record["measure"], record["test"]),
                    _shown(record["measure"], record["validation"]),
                )
                for record in records
            ],
        )


def _describe(run: "RunDirectory") -> dict[str, Any]:
    from neuro.errors import NeuroError
    from neuro.training.metrics import read_metrics

    state = "damaged"
    config: dict[str, Any] = {}
    metrics: dict[str, Any] = {}
    epochs: list[dict[str, Any]] = []
    message = ""
    try:
        config = run.read_json("config.json")
        state = run.state()
        epochs = read_metrics(run.metrics, "epoch")
        if (run.path / "summary.json").is_file():
            metrics = run.read_json("summary.json")["metrics"]
    except (NeuroError, KeyError, ValueError) as error:
        message = str(error)
        state = "damaged"
    latest = epochs[-1] if epochs else {}
    measure, test, validation = _judged(metrics, epochs)
    return {
        "run": str(run.path),
        "state": state,
        "message": message,
        "method": _name(config.get("rule") or config.get("method")),
        "dataset": config.get("dataset") or _folder(config.get("graph")),
        "model": _name(config.get("model") or config.get("method")),
        "epochs": config.get("epochs"),
        "epochs_done": latest.get("epoch", 0),
        "test_accuracy": metrics.get("test_accuracy"),
        "test_accuracy_best_validation": metrics.get("test_accuracy_best_validation"),
        "validation_accuracy": latest.get("validation_accuracy"),
        "measure": measure,
        "test": test,
        "validation": validation,
    }


def _judged(
    metrics: dict[str, Any], epochs: list[dict[str, Any]]
) -> tuple[str | None, float | None, float | None]:
    """Return by what a run is judged, on the test set and in its latest validation."""
    validated = {key: value for record in epochs for key, value in record.items()}
    for measure, tested in MEASURES.items():
        if tested in metrics or f"validation_{measure}" in validated:
            return measure, metrics.get(tested), validated.get(f"validation_{measure}")
    return None, None, None


def _name(options: Any) -> str | None:
    return options.get("name") if isinstance(options, dict) else None


def _folder(path: str | None) -> str | None:
    return None if path is None else Path(path).name


def _shown(measure: str | None, value: float | None) -> str:
    if measure is None or value is None:
        return ""
    return f"{value:.2%}" if measure == "accuracy" else f"{value:.4f} {measure.upper()}"
