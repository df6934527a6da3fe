"""One training run of a grid: its command, its folder, how it stands, and what came out."""

import hashlib
import json
import shlex
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from benchmarks.grid import Grid, Settings, Variant
from benchmarks.records import public_command
from neuro.config import AnyConfig, resolve_config
from neuro.errors import UsageError
from neuro.training import RunDirectory
from neuro.training.metrics import read_metrics

FLAGS = ("dataset", "model", "timesteps", "epochs", "batch_size", "lr", "optimizer", "device")
"""Settings that have a flag of their own; all others are given by ``--set``."""

DIGITS_OF_CURVES = 5

State = Literal["new", "interrupted", "running", "finished", "diverged"]


@dataclass(frozen=True)
class Cell:
    """One variant of a grid with one seed, and settings laid over all (``overrides``)."""

    grid: Grid
    variant: Variant
    seed: int
    overrides: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return f"{self.variant.name}-s{self.seed}"

    @property
    def title(self) -> str:
        """Its name among the cells of all grids."""
        return f"{self.grid.name}/{self.name}"

    @property
    def settings(self) -> Settings:
        return {"dataset": self.grid.dataset, **self.grid.settings, **self.variant.settings}

    @property
    def arguments(self) -> tuple[str, ...]:
        """The words behind ``neuro`` that decide the result."""
        words = ["train", self.variant.method]
        for key, value in self.settings.items():
            if key in FLAGS:
                words += [f"--{key.replace('_', '-')}", str(value)]
            else:
                words += ["--set", _assignment(key, value)]
        words += ["--seed", str(self.seed)]
        for text in self.overrides:
            words += ["--set", text]
        return tuple(words)

    def folder(self, root: Path) -> Path:
        """The run folder; another setting makes another folder, so no old run is overwritten."""
        digest = hashlib.blake2b(shlex.join(self.arguments).encode(), digest_size=4).hexdigest()
        return root / (self.grid.folder or self.grid.name) / f"{self.name}-{digest}"

    def config(self) -> AnyConfig:
        """What the command resolves to with the presets and defaults of today."""
        flags = {key: value for key, value in self.settings.items() if key in FLAGS}
        assignments = [
            _assignment(key, value) for key, value in self.settings.items() if key not in FLAGS
        ]
        return resolve_config(
            self.variant.method,
            flags={**flags, "seed": self.seed},
            assignments=[*assignments, *self.overrides],
        ).config


@dataclass(frozen=True)
class Launch:
    """How cells are run.

    Attributes:
        root: the folder of all run folders.
        data_dir: passed on to ``neuro train``; None uses the download folder.
        threads: CPU threads of each run.
        jobs: runs side by side; recorded, for it bears on the seconds.
    """

    root: Path
    data_dir: Path | None
    threads: int = 1
    jobs: int = 1

    def environment(self) -> dict[str, str]:
        """Variables a run is started with."""
        return {"OMP_NUM_THREADS": str(self.threads)}

    def command(self, cell: Cell) -> list[str]:
        """The process to start now: a new run, or the continuation of a stopped one."""
        folder = cell.folder(self.root)
        words = [sys.executable, "-m", "neuro"]
        if cell_state(cell, self.root) == "new":
            words += [*cell.arguments, "--run-dir", str(folder)]
        else:
            words += ["train", "--resume", str(folder)]
        if self.data_dir is not None:
            words += ["--data-dir", str(self.data_dir)]
        return [*words, "--json"]

    def public_command(self, cell: Cell) -> str:
        """The command a person gives to get the same run."""
        data = [] if self.data_dir is None else ["--data-dir", str(self.data_dir)]
        variables = " ".join(f"{name}={value}" for name, value in self.environment().items())
        return f"{variables} {public_command(['neuro', *cell.arguments, *data])}"


def cell_state(cell: Cell, root: Path) -> State:
    """Tell how the run of a cell stands.

    Raises:
        UsageError: its folder was made when presets or defaults were others.
    """
    folder = cell.folder(root)
    if not (folder / "config.json").is_file():
        return "new"
    run = RunDirectory.open(folder)
    then, now = run.config().training_settings(), cell.config().training_settings()
    changed = [key for key in now if then[key] != now[key]]
    if changed:
        changes = ", ".join(f"{key} was {then[key]}, is {now[key]}" for key in changed)
        raise UsageError(
            f"Run {folder} does not match its command any more, because a preset or default has "
            f"changed: {changes}. Give --restart to train it again."
        )
    state = run.state()
    if state in ("running", "finished", "diverged"):
        return state  # type: ignore[return-value]  # the three are States
    return "interrupted"


def discard(cell: Cell, root: Path) -> None:
    """Remove the run of a cell."""
    folder = cell.folder(root)
    if folder.exists():
        shutil.rmtree(folder)


def cell_record(cell: Cell, launch: Launch) -> dict[str, Any] | None:
    """Return what came out of a cell, None while it has not ended."""
    state = cell_state(cell, launch.root)
    if state not in ("finished", "diverged"):
        return None
    run = RunDirectory.open(cell.folder(launch.root))
    record: dict[str, Any] = {
        "variant": cell.variant.name,
        "method": cell.variant.method,
        "seed": cell.seed,
        "state": state,
        "command": launch.public_command(cell),
        "arguments": list(cell.arguments),
        **_environment(run),
    }
    if state == "diverged":
        return {**record, "message": run.read_json("status.json")["message"].split(" The last")[0]}
    summary = run.read_json("summary.json")
    epochs = read_metrics(run.metrics, "epoch")
    return {
        **record,
        **summary["metrics"],
        "firing_rates": summary["firing_rates"],
        "seconds": summary["seconds"],
        "peak_memory_mb": summary["peak_memory_mb"],
        "curves": _curves(cell.grid.task.curves, epochs),
    }


def _curves(names: Sequence[str], epochs: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return numbers by epoch, and the epochs of those that not every epoch has."""
    curves: dict[str, Any] = {}
    for name in names:
        having = [epoch for epoch in epochs if name in epoch]
        if having:
            curves[name] = [round(epoch[name], DIGITS_OF_CURVES) for epoch in having]
        if 0 < len(having) < len(epochs):
            curves[f"{name}_epochs"] = [epoch["epoch"] for epoch in having]
    return curves


def _environment(run: RunDirectory) -> dict[str, Any]:
    found = run.read_json("environment.json")
    started = run.path / "benchmark.json"
    jobs = json.loads(started.read_text("utf-8"))["jobs"] if started.is_file() else None
    return {
        "date": found["time"],
        "git_commit": found["git_commit"],
        "neuro": found["neuro"],
        "torch": found["packages"]["torch"],
        "cpu": found["cpu"],
        "gpu": found["gpu"],
        "threads": found["threads"],
        "jobs": jobs,
        "resumed": len(found.get("resumed", [])),
    }


def note_launch(cell: Cell, launch: Launch) -> None:
    """Write into a run folder how many runs went side by side when it ended."""
    record: Mapping[str, Any] = {"jobs": launch.jobs}
    (cell.folder(launch.root) / "benchmark.json").write_text(json.dumps(record) + "\n")


def _assignment(key: str, value: Any) -> str:
    """Write ``key=value`` as ``--set`` reads it (TOML, and null)."""
    return f"{key}={'null' if value is None else json.dumps(value, separators=(',', ':'))}"
