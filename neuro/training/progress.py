"""What a person sees while training: a bar on a terminal, one line an epoch anywhere else."""

import sys
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar


class Progress:
    """Says nothing; the base of those that do."""

    def begin(self, epochs: int, steps_per_epoch: int, done: int) -> None:
        """Training starts with ``done`` batches behind it."""

    def batch(
        self, epoch: int, step: int, loss: float, accuracy: float, rate: float | None
    ) -> None:
        """A batch is done: loss and accuracy over the epoch so far, firing rate if it spikes."""

    def epoch(self, record: dict[str, Any]) -> None:
        """An epoch is done; ``record`` is its line of metrics."""

    def note(self, text: str) -> None:
        """Something a user should know."""

    def end(self) -> None:
        """Training is over, or has failed."""


class LineProgress(Progress):
    """Plain lines on stderr."""

    def begin(self, epochs: int, steps_per_epoch: int, done: int) -> None:
        self._epochs = epochs

    def epoch(self, record: dict[str, Any]) -> None:
        self.note(describe_epoch(record, self._epochs))

    def note(self, text: str) -> None:
        print(text, file=sys.stderr, flush=True)


class BarProgress(Progress):
    """A live bar on stderr, with a line above it for each epoch."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)
        self._bar = Bar(
            TextColumn("epoch {task.fields[epoch]}/{task.fields[epochs]}"),
            BarColumn(bar_width=None),
            TextColumn("{task.percentage:3.0f}%"),
            TextColumn("{task.fields[figures]}"),
            TextColumn("{task.fields[speed]}"),
            TextColumn("ETA"),
            TimeRemainingColumn(),
            console=self._console,
            transient=True,
        )

    def begin(self, epochs: int, steps_per_epoch: int, done: int) -> None:
        self._epochs = epochs
        self._task = self._bar.add_task(
            "train",
            total=epochs * steps_per_epoch,
            completed=done,
            epoch=done // steps_per_epoch + 1,
            epochs=epochs,
            figures="",
            speed="",
        )
        self._bar.start()

    def batch(
        self, epoch: int, step: int, loss: float, accuracy: float, rate: float | None
    ) -> None:
        figures = [f"loss {loss:.4f}", f"accuracy {accuracy:.2%}"]
        if rate is not None:
            figures.append(f"firing rate {rate:.3f}")
        self._bar.update(self._task, completed=step, epoch=epoch, figures=" ".join(figures))

    def epoch(self, record: dict[str, Any]) -> None:
        self._bar.update(self._task, speed=f"{record['samples_per_second']:,.0f} samples/s")
        self.note(describe_epoch(record, self._epochs))

    def note(self, text: str) -> None:
        self._console.print(text, markup=False, soft_wrap=True)

    def end(self) -> None:
        self._bar.stop()


def terminal_progress(quiet: bool = False) -> Progress:
    """Return what fits: silence, a bar, or lines when stderr is not a terminal."""
    if quiet:
        return Progress()
    return BarProgress() if sys.stderr.isatty() else LineProgress()


def describe_epoch(record: dict[str, Any], epochs: int) -> str:
    """Return one line: loss, accuracies, firing rate, speed and time to go."""
    width = len(str(epochs))
    parts = [
        f"epoch {record['epoch']:{width}}/{epochs}",
        f"loss {record['train_loss']:.4f}",
        f"accuracy {record['train_accuracy']:.2%}",
    ]
    if "validation_accuracy" in record:
        parts.append(f"validation {record['validation_accuracy']:.2%}")
    for measure, name in (("mrr", "MRR"), ("auroc", "AUROC")):
        if f"validation_{measure}" in record:
            parts.append(f"validation {name} {record[f'validation_{measure}']:.4f}")
    if "firing_rate" in record:
        parts.append(f"firing rate {record['firing_rate']:.3f}")
    remaining = (epochs - record["epoch"]) * record["seconds"]
    parts += [
        f"{record['samples_per_second']:,.0f} samples/s",
        f"ETA {format_seconds(remaining)}",
    ]
    return "  ".join(parts)


def format_seconds(seconds: float) -> str:
    """Return ``m:ss`` or ``h:mm:ss``."""
    minutes, second = divmod(round(seconds), 60)
    hours, minute = divmod(minutes, 60)
    return f"{hours}:{minute:02}:{second:02}" if hours else f"{minute}:{second:02}"
