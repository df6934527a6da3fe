"""A run, or an export of one, opened and counted on real test data."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import torch

from neuro.energy.pricing.machine import Machine
from neuro.energy.reporting.record import Subject
from neuro.errors import UsageError
from neuro.export.folder import MANIFEST
from neuro.reports.classifier import count_classifier, run_samples, sample_batches
from neuro.reports.exports import count_export
from neuro.reports.opening import CountOptions, open_run
from neuro.reports.reasoning import ask_once, ask_queries, count_reasoner
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


def count(
    path: Path, options: CountOptions | None = None, *, machine: Machine | None = None
) -> Counted:
    """Count the operations of a run folder or an export folder on test samples.

    Args:
        path: the folder.
        options: what to count.
        machine: to measure what the same samples take on, too; of runs.

    Raises:
        CheckpointError: the folder is no run, or the checkpoint is not there or damaged.
        UsageError: the run has saved no checkpoint yet, more samples are asked for than there are,
            or an export or a device without counter is to be measured.
        DataError: data or export are missing or damaged.
    """
    options = options or CountOptions()
    if (path / MANIFEST).is_file():
        if machine is not None:
            raise UsageError(
                f"{path} is an export, whose integers are for a chip; what this machine's "
                "simulator takes is not measured. Measure the run that it was made of."
            )
        return Counted(subject=count_export(path, options))
    run, session, checkpoint = open_run(path, options)
    if machine is not None:
        machine.check(session.device)
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
            if machine is not None:
                work = run_samples(session, subject.ledger.samples)
                subject = _measured(subject, machine, work, session.device)
            return Counted(subject=subject, session=session, run_once=lambda: network.run(steps))
        assert isinstance(session, ReasoningSession)
        subject = count_reasoner(run, session, what, options.samples, per_step=options.per_step)
        if machine is not None:
            work = ask_queries(session, subject.ledger.samples)
            subject = _measured(subject, machine, work, session.device)
        return Counted(subject=subject, run_once=ask_once(session))


def _measured(
    subject: Subject, machine: Machine, work: Callable[[], object], device: torch.device
) -> Subject:
    """Return a subject with what its samples take on a machine."""
    return replace(subject, measured=machine.measure(work, subject.ledger.samples, device))
