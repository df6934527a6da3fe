"""A run is a folder: what was asked, on what machine, what happened, and the weights.

config.json        every setting            metrics.jsonl    one line an epoch, and every N steps
environment.json   versions, machine        tensorboard/     the same as events
status.json        running, finished, …     checkpoints/     last and best
summary.json       what came out            plots/           PNG figures
"""

import fcntl
import json
import os
from datetime import datetime
from pathlib import Path
from typing import IO, Any, Literal

from pydantic import ValidationError

from neuro.config import AnyConfig, read_config
from neuro.config.base import fingerprint_of
from neuro.errors import CheckpointError, NeuroError, UsageError
from neuro.training.checkpoint import Checkpoint, load_checkpoint, write_atomically

State = Literal["running", "finished", "interrupted", "diverged", "failed"]
DEFAULT_ROOT = Path("runs")


class RunDirectory:
    """Paths and small records of one run; ``create`` a new one or ``open`` one that is there."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.checkpoints = path / "checkpoints"
        self.metrics = path / "metrics.jsonl"
        self.tensorboard = path / "tensorboard"
        self.plots = path / "plots"
        self._lock: IO[str] | None = None

    @classmethod
    def create(cls, path: Path | None, config: AnyConfig) -> "RunDirectory":
        """Make a new, locked run folder and write its configuration.

        Args:
            path: where; None makes ``runs/<date>-<method>-<dataset>-<model>-s<seed>``.
            config: the configuration.

        Raises:
            UsageError: the folder holds something already, or cannot be written.
        """
        if path is None:
            path = _fresh_path(config)
        try:
            # a lock alone is what a run leaves that was killed before it began
            if path.exists() and (not path.is_dir() or {p.name for p in path.iterdir()} - {"lock"}):
                raise UsageError(
                    f"Run folder {path} exists and is not empty. Name another with --run-dir, or "
                    f"continue it with: neuro train --resume {path}"
                )
            path.mkdir(parents=True, exist_ok=True)
            run = cls(path)
            run.lock()
            try:
                run.write_json("config.json", config.to_json())
            except BaseException:
                run.unlock()
                raise
        except OSError as error:
            raise UsageError(
                f"Cannot write the run folder {path}: {error.strerror}. "
                "Choose a writable place with --run-dir."
            ) from error
        return run

    @classmethod
    def open(cls, path: Path) -> "RunDirectory":
        """Return a run that is there.

        Raises:
            CheckpointError: the folder is no run.
        """
        if not path.is_dir():
            raise CheckpointError(
                f"There is no run folder {path}. `neuro runs` lists those that are there."
            )
        if not (path / "config.json").is_file():
            raise CheckpointError(f"{path} is not a run folder: it has no config.json.")
        return cls(path)

    def lock(self) -> None:
        """Keep other processes from training in this folder, until this one ends.

        Raises:
            UsageError: another process holds it, or the folder cannot be written.
        """
        try:
            lock = (self.path / "lock").open("w")
        except OSError as error:
            raise UsageError(
                f"Cannot write in the run folder {self.path}: {error.strerror}."
            ) from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.close()
            raise UsageError(f"Another process is training in {self.path}.") from None
        self._lock = lock

    def unlock(self) -> None:
        """Let other processes in again."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def locked_elsewhere(self) -> bool:
        """Tell whether a process is training here now."""
        file = self.path / "lock"
        if not file.exists():
            return False
        with file.open("r") as probe:
            try:
                fcntl.flock(probe, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                return True
        return False

    def config(self) -> AnyConfig:
        """Read the configuration back.

        Raises:
            CheckpointError: ``config.json`` is damaged or of another version of neuro.
        """
        record = self.read_json("config.json")
        try:
            return read_config(record)
        except (ValidationError, NeuroError, TypeError) as error:
            reason = " ".join(str(error).split())
            raise CheckpointError(
                f"{self.path / 'config.json'} is not a configuration of this version: {reason}"
            ) from None

    def fingerprint(self) -> str:
        """Return that of the configuration, which the run's checkpoints carry."""
        return fingerprint_of(self.read_json("config.json"))

    def load_checkpoint(self, name: str) -> Checkpoint:
        """Read a checkpoint of this run.

        Raises:
            CheckpointError: as :func:`neuro.training.checkpoint.load_checkpoint` does.
        """
        return load_checkpoint(self.checkpoints, name, fingerprint=self.fingerprint())

    def read_json(self, name: str) -> dict[str, Any]:
        """Read one of the run's records.

        Raises:
            CheckpointError: it is missing or not a JSON object.
        """
        file = self.path / name
        try:
            record = json.loads(file.read_text("utf-8"))
        except FileNotFoundError:
            raise CheckpointError(f"{self.path} has no {name}.") from None
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{file} cannot be read: {error}.") from None
        if not isinstance(record, dict):
            raise CheckpointError(f"{file} must hold a JSON object.")
        return record

    def write_json(self, name: str, record: dict[str, Any]) -> None:
        """Write one of the run's records, atomically."""
        write_atomically(self.path / name, (json.dumps(record, indent=2) + "\n").encode())

    def set_state(self, state: State, message: str = "") -> None:
        """Record how the run stands."""
        record = {"state": state, "message": message, "pid": os.getpid()}
        self.write_json("status.json", record)

    def state(self) -> str:
        """Return how the run stands; a run that says it is running but is not was killed."""
        if not (self.path / "status.json").is_file():
            return "running" if self.locked_elsewhere() else "interrupted"
        state = str(self.read_json("status.json")["state"])
        if state == "running" and not self.locked_elsewhere():
            return "interrupted"
        return state


def find_runs(root: Path) -> list[RunDirectory]:
    """Return the runs below a folder, oldest name first."""
    return [RunDirectory(file.parent) for file in sorted(root.glob("**/config.json"))]


def _fresh_path(config: AnyConfig) -> Path:
    day = datetime.now().strftime("%Y-%m-%d-%H%M%S")
    names = dict.fromkeys((config.method_name, config.dataset_name, config.model_name))
    label = "-".join(name.replace(":", "-") for name in names)
    name = f"{day}-{label}-s{config.seed}"
    path = DEFAULT_ROOT / name
    number = 2
    while path.exists():
        path = DEFAULT_ROOT / f"{name}-{number}"
        number += 1
    return path
