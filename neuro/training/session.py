"""One training run in memory: network, rule, optimiser and where it stands; saved and restored."""

import time
from dataclasses import asdict, dataclass, field
from math import ceil

import torch
from torch import Tensor

from neuro.config import TrainConfig
from neuro.data import Dataset
from neuro.errors import CheckpointError, ConfigError, UsageError
from neuro.learning import build_rule
from neuro.models import build_model
from neuro.training.batches import Feeder, partition
from neuro.training.checkpoint import (
    Checkpoint,
    restore_torch_random_state,
    torch_random_state,
)
from neuro.training.memory import peak_memory_mb
from neuro.training.optimisers import build_optimiser, optimiser_tensors, restore_optimiser
from neuro.training.seeds import generator_for


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
        self, samples: int, loss: float, correct: int, rates: dict[str, float], seconds: float
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
    """The epoch with the highest validation accuracy; the earliest, where several have it."""

    epoch: int = 0
    accuracy: float = -1.0


@dataclass
class Spent:
    """What the run has cost so far, over all its processes."""

    seconds: float = 0.0
    training_seconds: float = 0.0
    trained_samples: int = 0
    peak_memory_mb: float = 0.0


class Session:
    """Everything that changes while training.

    Args:
        config: the configuration.
        dataset: loaded as the configuration asks.
        device: where to train.
        started: ``time.perf_counter()`` when the work began, loading included.
    """

    def __init__(
        self, config: TrainConfig, dataset: Dataset, device: torch.device, *, started: float
    ) -> None:
        self.config = config
        self.dataset = dataset
        self.device = device
        self.feeder = Feeder(dataset, config, device)
        weights = generator_for(config.seed, "weights")
        self.network = build_model(
            config.model, self.feeder.network_input_shape, dataset.classes, weights
        ).to(device)
        feedback = generator_for(config.seed, "rule")
        self.rule = build_rule(self.network, config.rule, generator=feedback).to(device)
        self.optimiser = build_optimiser(self.rule, config)
        self.partition = partition(len(dataset.train), config.validation_fraction, config.seed)
        self.steps_per_epoch = ceil(len(self.partition.train) / config.batch_size)
        self.position = Position()
        self.totals = Totals()
        self.best = Best()
        self.spent = Spent()
        self._started = started

    @property
    def trained_tensors(self) -> list[Tensor]:
        """Every tensor the optimiser changes."""
        return [tensor for group in self.optimiser.param_groups for tensor in group["params"]]

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
            "network": self.network.state_dict(),
            "rule": self.rule.state_dict(),
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
        return Checkpoint(self.config.fingerprint(), self.position.step, tensors, state)

    def restore(self, checkpoint: Checkpoint) -> None:
        """Go to the moment of a checkpoint.

        Raises:
            CheckpointError: it does not fit this network, rule or optimiser.
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
        """Load network and rule of a checkpoint, nothing else.

        Raises:
            CheckpointError: it does not fit this network or rule.
        """
        for part, module in (("network", self.network), ("rule", self.rule)):
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
