"""One run in memory: what it trains, its optimiser, and where it stands; saved and restored.

What is common to all kinds of training is here, and the loop knows nothing more of a session. A
kind of training says how its batches are learnt from and how it is judged.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neuro.config import AnyConfig
from neuro.errors import CheckpointError, ConfigError, UsageError
from neuro.training.checkpoint import (
    Checkpoint,
    restore_torch_random_state,
    torch_random_state,
)
from neuro.training.memory import peak_memory_mb
from neuro.training.optimisers import optimiser_tensors, restore_optimiser
from neuro.training.updates import Updates


@dataclass
class Position:
    """The batch to be done next: ``epoch`` from 1, ``batch`` from 0, ``step`` batches done."""

    epoch: int = 1
    batch: int = 0
    step: int = 0


@dataclass
class Totals:
    """Sums over the batches of an epoch so far."""

    samples: int = 0
    loss: float = 0.0
    correct: int = 0
    firing_rates: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0

    def add(
        self, samples: int, loss: float, correct: int, rates: Mapping[str, float], seconds: float
    ) -> None:
        """Take in one batch; ``loss`` and ``rates`` are its means."""
        self.samples += samples
        self.loss += loss * samples
        self.correct += correct
        self.seconds += seconds
        for name, rate in rates.items():
            self.firing_rates[name] = self.firing_rates.get(name, 0.0) + rate * samples

    def mean_firing_rates(self) -> dict[str, float]:
        """Return spikes per neuron and step, by layer."""
        return {name: total / self.samples for name, total in self.firing_rates.items()}


@dataclass
class Best:
    """The epoch that did best in validation, by the measure of the session.

    ``accuracy`` holds that measure, whichever it is; the earliest epoch, where several have it.
    """

    epoch: int = 0
    accuracy: float = -1.0


@dataclass
class Spent:
    """What the run has cost so far, over all its processes."""

    seconds: float = 0.0
    training_seconds: float = 0.0
    trained_samples: int = 0
    peak_memory_mb: float = 0.0


class Learned(NamedTuple):
    """What one batch gave; ``loss`` and ``firing_rates`` are means over its samples."""

    samples: int
    loss: float
    correct: int
    firing_rates: Mapping[str, float]


class Tested(NamedTuple):
    """How a model did: numbers by name, and spikes per neuron and step by layer."""

    metrics: dict[str, float]
    firing_rates: dict[str, float]


class Session(ABC):
    """Everything that changes while training.

    Args:
        config: the configuration.
        device: where to train.
        started: ``time.perf_counter()`` when the work began, loading included.

    Attributes:
        validation_measure: what of a validation is largest in the best epoch; a key of what
            :meth:`validate` returns, after ``validation_``.
        validates_long: whether a validation may take longer than a signal should wait.
        data_key: names the data where files of a user's may change under a run; None elsewhere.
        notes: what a user should know of the data and of what runs.
    """

    validation_measure = "accuracy"
    validates_long = False
    data_key: str | None = None
    notes: tuple[str, ...] = ()

    config: AnyConfig
    # made by each kind of session
    steps_per_epoch: int
    optimiser: torch.optim.Optimizer

    def __init__(self, config: AnyConfig, device: torch.device, *, started: float) -> None:
        self.config = config
        self.fingerprint = config.fingerprint()
        self.device = device
        self.position = Position()
        self.totals = Totals()
        self.best = Best()
        self.spent = Spent()
        self._started = started

    @property
    @abstractmethod
    def modules(self) -> dict[str, nn.Module]:
        """What a checkpoint keeps, by the name of its group of tensors."""

    @abstractmethod
    def begin_epoch(self) -> None:
        """Get ready for the batches of the epoch of ``position``."""

    @abstractmethod
    def learn(self, updates: Updates) -> Learned:
        """Learn from the batch of ``position``.

        Args:
            updates: told of the loss, and steps the optimiser.

        Raises:
            DivergedError: NaN or infinity.
        """

    @abstractmethod
    def learning_rate(self) -> float:
        """The learning rate at ``position``."""

    @abstractmethod
    def validate(self) -> dict[str, float]:
        """Return numbers by name, ``validation_...``; empty if this epoch is not validated."""

    @abstractmethod
    def test(self, *, events: bool = False) -> Tested:
        """Judge the model as it is on the test set.

        Args:
            events: take currents from spike events where few neurons fire.
        """

    @abstractmethod
    def mean_firing_rate(self, firing_rates: Mapping[str, float]) -> float | None:
        """Return spikes per neuron and step over all layers; None where nothing spikes."""

    @abstractmethod
    def find_not_finite(self, loss: float) -> str:
        """Say where the first NaN or infinity is."""

    @abstractmethod
    def draw(self, epochs: list[dict[str, Any]], folder: Path) -> None:
        """Draw the figures of a finished run from its lines of metrics."""

    @abstractmethod
    def summarise(
        self, last: Tested, best: Tested | None, epochs: list[dict[str, Any]]
    ) -> dict[str, float | int | None]:
        """Return the metrics of a summary that are this kind's own.

        Args:
            last: the test after the last epoch.
            best: the test after the best epoch; None without validation.
            epochs: the lines of metrics.
        """

    @property
    def trained_tensors(self) -> list[Tensor]:
        """Every tensor the optimiser changes."""
        return [tensor for group in self.optimiser.param_groups for tensor in group["params"]]

    @property
    def parameters(self) -> int:
        """Trainable numbers of the network."""
        return sum(p.numel() for p in self.modules["network"].parameters())

    def clock(self) -> Spent:
        """Return what was spent up to now."""
        seconds = self.spent.seconds + time.perf_counter() - self._started
        peak = max(self.spent.peak_memory_mb, peak_memory_mb(self.device))
        return Spent(seconds, self.spent.training_seconds, self.spent.trained_samples, peak)

    def capture(self, metrics_offset: int) -> Checkpoint:
        """Return the moment as a checkpoint.

        Args:
            metrics_offset: bytes of ``metrics.jsonl`` written before this moment.
        """
        optimiser_values, optimiser_rest = optimiser_tensors(self.optimiser)
        groups = {
            **{name: module.state_dict() for name, module in self.modules.items()},
            "optimiser": optimiser_values,
            "random": torch_random_state(self.device),
        }
        tensors = {
            f"{group}/{name}": tensor
            for group, named in groups.items()
            for name, tensor in named.items()
        }
        state = {
            "position": asdict(self.position),
            "totals": asdict(self.totals),
            "best": asdict(self.best),
            "spent": asdict(self.clock()),
            "metrics_offset": metrics_offset,
            "optimiser": optimiser_rest,
        }
        if self.data_key is not None:
            state["data"] = self.data_key
        return Checkpoint(self.fingerprint, self.position.step, tensors, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go to the moment of a checkpoint.

        Raises:
            CheckpointError: it does not fit this network, rule, optimiser or data.
        """
        self.restore_weights(checkpoint)
        state = checkpoint.state
        try:
            restore_optimiser(
                self.optimiser, _group(checkpoint, "optimiser"), dict(state["optimiser"])
            )
            self.position = Position(**state["position"])
            self.totals = Totals(**state["totals"])
            self.best = Best(**state["best"])
            self.spent = Spent(**state["spent"])
        except (ConfigError, KeyError, TypeError) as error:
            raise CheckpointError(f"The checkpoint does not fit this run: {error}.") from error
        restore_torch_random_state(_group(checkpoint, "random"), self.device)

    def restore_weights(self, checkpoint: Checkpoint) -> None:
        """Load what was trained of a checkpoint, nothing else.

        Raises:
            CheckpointError: it does not fit this network, rule or data.
        """
        if checkpoint.state.get("data", self.data_key) != self.data_key:
            raise CheckpointError(
                f"The data of {self.config.dataset_name} are not those the run was trained on: "
                "files were changed or replaced. Restore them, or start a new run."
            )
        for part, module in self.modules.items():
            try:
                module.load_state_dict(_group(checkpoint, part))
            except RuntimeError as error:
                reason = " ".join(str(error).split())
                raise CheckpointError(
                    f"The checkpoint does not fit the {part} of this configuration: {reason}"
                ) from None


def choose_device(wish: str) -> torch.device:
    """Return the device for ``auto``, ``cpu``, ``cuda`` or ``cuda:N``.

    Raises:
        UsageError: a GPU was asked for that is not there.
    """
    if wish == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    device = torch.device(wish)
    if device.type == "cuda":
        if not torch.cuda.is_available():
            build = "this torch is a CPU build" if torch.version.cuda is None else "no GPU is seen"
            raise UsageError(f'device "{wish}": {build}. `neuro doctor` says more; or use cpu.')
        if (device.index or 0) >= torch.cuda.device_count():
            raise UsageError(f'device "{wish}": only {torch.cuda.device_count()} GPU(s) are here.')
    return device


def _group(checkpoint: Checkpoint, group: str) -> dict[str, Tensor]:
    prefix = f"{group}/"
    return {
        name.removeprefix(prefix): tensor
        for name, tensor in checkpoint.tensors.items()
        if name.startswith(prefix)
    }
