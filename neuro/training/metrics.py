"""What happened during training, as JSON lines and as TensorBoard events."""

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neuro.errors import CheckpointError

if TYPE_CHECKING:
    from torch.utils import tensorboard as events


class MetricsLog:
    """Appends records to ``metrics.jsonl`` and mirrors their numbers to TensorBoard.

    Args:
        file: the JSON lines.
        tensorboard: folder of event files; None writes none.
        offset: bytes of ``file`` to keep: what lies behind them happened after the checkpoint that
            is being resumed, and happens again.
        purge_step: first step that happens again; TensorBoard hides earlier events from there on.

    Raises:
        CheckpointError: the file is shorter than the checkpoint says.
    """

    def __init__(
        self,
        file: Path,
        tensorboard: Path | None,
        *,
        offset: int = 0,
        purge_step: int | None = None,
    ) -> None:
        size = file.stat().st_size if file.exists() else 0
        if size < offset:
            raise CheckpointError(
                f"{file} holds {size} bytes, but the checkpoint was made when it held {offset}: "
                "lines were removed. Restore the file, or start a new run."
            )
        self._file = file.open("ab")
        self._file.truncate(offset)
        self._writer: events.SummaryWriter | None = None
        if tensorboard is not None:
            from torch.utils.tensorboard import SummaryWriter

            self._writer = SummaryWriter(str(tensorboard), purge_step=purge_step)

    def record(self, kind: str, step: int, values: dict[str, Any]) -> None:
        """Append one line.

        Args:
            kind: ``"step"`` or ``"epoch"``.
            step: batches done.
            values: numbers by name; a dict of numbers goes one level deep.
        """
        line = json.dumps({"kind": kind, "step": step, **values})
        self._file.write(line.encode() + b"\n")
        self._file.flush()
        if self._writer is None:
            return
        for name, value in values.items():
            for part, number in value.items() if isinstance(value, dict) else [("", value)]:
                if isinstance(number, int | float) and name != "epoch":
                    tag = f"{kind}/{name}/{part}" if part else f"{kind}/{name}"
                    self._writer.add_scalar(tag, number, step)

    def offset(self) -> int:
        """Return the size of the file, once everything written so far is on the disk."""
        self._file.flush()
        os.fsync(self._file.fileno())
        return self._file.tell()

    def close(self) -> None:
        """Finish both files."""
        self._file.close()
        if self._writer is not None:
            self._writer.close()


def read_metrics(file: Path, kind: str) -> list[dict[str, Any]]:
    """Return the records of one kind, in order; a line cut off by a kill is left out."""
    if not file.exists():
        return []
    records = []
    for line in file.read_text("utf-8").split("\n")[:-1]:
        record = json.loads(line)
        if record["kind"] == kind:
            records.append(record)
    return records
