"""``neuro runs``: run folders and how they stand."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuro.cli.output import print_json, print_table

if TYPE_CHECKING:
    from neuro.training import RunDirectory


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
                    _percent(record["test_accuracy"]),
                    _percent(record["validation_accuracy"]),
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
    return {
        "run": str(run.path),
        "state": state,
        "message": message,
        "method": _name(config.get("rule")),
        "dataset": config.get("dataset"),
        "model": _name(config.get("model")),
        "epochs": config.get("epochs"),
        "epochs_done": latest.get("epoch", 0),
        "test_accuracy": metrics.get("test_accuracy"),
        "test_accuracy_best_validation": metrics.get("test_accuracy_best_validation"),
        "validation_accuracy": latest.get("validation_accuracy"),
    }


def _name(options: Any) -> str | None:
    return options.get("name") if isinstance(options, dict) else None


def _percent(share: float | None) -> str:
    return "" if share is None else f"{share:.2%}"
