"""A run, or an export of one, opened and counted on real test data."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from neuro.energy.reporting.record import Subject
from neuro.errors import UsageError
from neuro.export.folder import MANIFEST
from neuro.reports.classifier import count_classifier, sample_batches
from neuro.reports.exports import count_export
from neuro.reports.opening import CountOptions, open_run
from neuro.reports.reasoning import ask_once, count_reasoner
from neuro.training.classification import ClassificationSession
from neuro.training.environment import computing
from neuro.training.reasoning import ReasoningSession


@dataclass(frozen=True, kw_only=True)
class Counted:
    """A run that was counted.

    Attributes:
        subject: its operations, and how well it does.
        session: of a classifier, at the weights that were counted.
        run_once: runs one sample, for a clock; None of an export.
    """

    subject: Subject
    session: ClassificationSession | None = None
    run_once: Callable[[], object] | None = field(default=None, compare=False)

    @property
    def spiking(self) -> bool:
        """Whether it has spiking layers, so that networks without can stand beside it."""
        return self.session is not None and bool(self.session.network.neuron_nodes)


def count(path: Path, options: CountOptions | None = None) -> Counted:
    """Count the operations of a run folder or an export folder on test samples.

    Raises:
        CheckpointError: the folder is no run, or the checkpoint is not there or damaged.
        UsageError: the run has saved no checkpoint yet, more samples are asked for than there are,
            or the steps of a reasoner.
        DataError: data or export are missing or damaged.
    """
    options = options or CountOptions()
    if (path / MANIFEST).is_file():
        return Counted(subject=count_export(path, options))
    run, session, checkpoint = open_run(path, options)
    if options.per_step and not isinstance(session, ClassificationSession):
        raise UsageError(
            f"--per-step is of classifiers and exports; run {path} reasons on a graph."
        )
    config = session.config
    what = {
        "run": str(path),
        "form": "run",
        "method": config.method_name,
        "dataset": config.dataset_name,
        "model": config.model_name,
        "checkpoint": checkpoint,
    }
    with computing(
        session.device,
        seed=config.seed,
        deterministic=config.deterministic,
        threads=config.threads,
    ):
        if isinstance(session, ClassificationSession):
            subject = count_classifier(run, session, what, options)
            steps, _ = next(sample_batches(session, 1))
            network = session.network
            return Counted(subject=subject, session=session, run_once=lambda: network.run(steps))
        assert isinstance(session, ReasoningSession)
        subject = count_reasoner(run, session, what, options.samples)
        return Counted(subject=subject, run_once=ask_once(session))
