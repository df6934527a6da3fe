"""Opening a run at a checkpoint, to count it."""

from dataclasses import dataclass
from pathlib import Path

from neuro.errors import CheckpointError, UsageError
from neuro.training import RunDirectory, load_run
from neuro.training.checkpoint import checkpoint_names
from neuro.training.session import Session


@dataclass(frozen=True, kw_only=True)
class CountOptions:
    """What to count of a run.

    Attributes:
        checkpoint: ``last`` (None), ``best`` or another that is there; an export has its own.
        samples: of the test set; None is 512 of a classifier, 100 queries of a reasoner, all that
            an export holds.
        per_step: keep the counts of each time step, too.
        data_dir: where the data lie; None is where the run found them.
        download: whether missing data may be downloaded.
    """

    checkpoint: str | None = None
    samples: int | None = None
    per_step: bool = False
    data_dir: Path | None = None
    download: bool = True

    def __post_init__(self) -> None:
        if self.samples is not None and self.samples < 1:
            raise UsageError(f"--samples must be at least 1, got {self.samples}.")


def open_run(path: Path, options: CountOptions) -> tuple[RunDirectory, Session, str]:
    """Open a run at a checkpoint; return the checkpoint's name, too.

    Raises:
        CheckpointError: the folder is no run, or has no such checkpoint.
        UsageError: it has none at all.
    """
    run, checkpoint = RunDirectory.open(path), options.checkpoint or "last"
    if not checkpoint_names(run.checkpoints):
        raise UsageError(
            f"Run {path} has no checkpoint yet, so there is nothing to count. Train it on: "
            f"neuro train --resume {path}"
        )
    moment = run.load_checkpoint(checkpoint)
    _, session = load_run(path, data_dir=options.data_dir, download=options.download)
    session.restore_weights(moment)
    return run, session, checkpoint


def recorded(run: RunDirectory, checkpoint: str, measure: str) -> float | None:
    """Return what a finished run measured on the whole test set at a checkpoint; None if not.

    Raises:
        CheckpointError: the summary of the run is missing or damaged.
    """
    endings = {"last": "", "best": "_best_validation"}
    if checkpoint not in endings or run.state() != "finished":
        return None
    metrics = run.read_json("summary.json").get("metrics")
    if not isinstance(metrics, dict):
        raise CheckpointError(
            f"{run.path / 'summary.json'} is damaged: it has no table of metrics."
        )
    value: float | None = metrics.get(measure + endings[checkpoint])
    return value
