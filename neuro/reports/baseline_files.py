"""Baselines in the folder of their run, each whole or not at all.

::

    baselines/ann-fp32/baseline.json          what it is, how it did, SHA-256 of:
    baselines/ann-fp32/weights.safetensors    its parameters
    baselines/ann-fp32/trials/                learning rates tried so far, until it is there
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from neuro.config import TrainConfig
from neuro.errors import CheckpointError, DataError, NeuroError, UsageError
from neuro.layers import Network
from neuro.models import build_model
from neuro.models.twin import baseline_network
from neuro.reports.baseline_tuning import Trial
from neuro.training import RunDirectory
from neuro.training.checkpoint import (
    Checkpoint,
    checkpoint_names,
    load_checkpoint,
    save_checkpoint,
    write_atomically,
)

FOLDER = "baselines"
RECORD = "baseline.json"
WEIGHTS = "weights.safetensors"
TRIALS = "trials"
_FORMAT = 1
_UNTUNED: Mapping[str, Any] = {"rates": {}, "tuning_seconds": 0.0}
"""What the budget of a baseline says that was kept before learning rates were chosen."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Baseline:
    """A trained baseline.

    Attributes:
        name: ``ann-fp32``, ``ann-int8`` or, with its bits, ``qnn-3bit``.
        network: its weights are those of the last epoch.
        accuracy: on the test set, whole.
        loss: cross-entropy there.
        samples: of the test set.
        timesteps: T of the spiking network, which decides the bits of a ``qnn``.
        weight_bits, activation_bits: None for 32-bit floats.
        input: what it is fed: "static" samples as they are, or the "mean frame" of events.
        seed: of the run; of initial weights, order, augmentation and validation samples.
        budget: what its training was given, by name. ``lr`` is its learning rate; ``rates`` has the
            validation accuracy of each that was tried (None where it diverged), none if the rate
            was given; ``seconds`` are of the training it comes from, ``tuning_seconds`` of all.
    """

    name: str
    network: Network
    accuracy: float
    loss: float
    samples: int
    timesteps: int
    weight_bits: int | None
    activation_bits: int | None
    input: str
    seed: int
    budget: Mapping[str, Any]

    @property
    def lr(self) -> float:
        """Learning rate at the start."""
        rate: float = self.budget["lr"]
        return rate

    @property
    def tuned(self) -> bool:
        """Whether its learning rate was chosen among several."""
        return bool(self.budget["rates"])

    def to_json(self) -> dict[str, Any]:
        """Return all but the network as plain values."""
        told = {name: value for name, value in vars(self).items() if name != "network"}
        return {**told, "budget": dict(self.budget)}


class BaselineFiles:
    """The baselines of a run on disk.

    Args:
        run: the run.
        config: its configuration.
    """

    def __init__(self, run: RunDirectory, config: TrainConfig) -> None:
        self.path = run.path / FOLDER
        self._config, self._fingerprint = config, run.fingerprint()

    def names(self) -> list[str]:
        """Return which are there."""
        return sorted(file.parent.name for file in self.path.glob(f"*/{RECORD}"))

    def read(self, name: str) -> Baseline | None:
        """Return a baseline; None if it is not there.

        Raises:
            DataError: it is damaged or belongs to another configuration.
        """
        folder = self.path / name
        if not (folder / RECORD).exists():
            return None
        try:
            return self._read(folder)
        except (DataError, CheckpointError):
            raise
        except OSError as error:
            raise _damaged(folder, error.strerror or "it cannot be read") from None
        except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, NeuroError) as error:
            raise _damaged(folder, " ".join(f"{type(error).__name__}: {error}".split())) from None
        except SafetensorError as error:
            raise _damaged(folder, f"{WEIGHTS} is no safetensors file ({error})") from None

    def _read(self, folder: Path) -> Baseline:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        weights = (folder / WEIGHTS).read_bytes()
        if record["format"] != _FORMAT:
            raise _damaged(folder, f"its format is {record['format']}, not {_FORMAT}")
        if record["config_fingerprint"] != self._fingerprint:
            raise _damaged(folder, "it belongs to another configuration than the run's")
        if hashlib.sha256(weights).hexdigest() != record["sha256"]:
            raise _damaged(folder, f"the checksum of {WEIGHTS} differs from that in {RECORD}")
        shape, classes = tuple(record["input_shape"]), record["classes"]
        network = baseline_network(
            build_model(self._config.model, shape, classes, torch.Generator()),
            record["name"],
            record["timesteps"],
        )
        network.load_state_dict(load_tensors(weights))
        told = {name: record[name] for name in Baseline.__dataclass_fields__ if name != "network"}
        return Baseline(network=network, **{**told, "budget": {**_UNTUNED, **told["budget"]}})

    def write(self, baseline: Baseline, *, classes: int) -> None:
        """Keep a baseline, and nothing of the trials that led to it.

        Raises:
            UsageError: the folder cannot be written.
        """
        folder = self.path / baseline.name
        weights = save_tensors(
            {
                name: tensor.detach().to("cpu", copy=True).contiguous()
                for name, tensor in baseline.network.state_dict().items()
            }
        )
        record = {
            "format": _FORMAT,
            "config_fingerprint": self._fingerprint,
            "sha256": hashlib.sha256(weights).hexdigest(),
            "input_shape": list(baseline.network.input_shape),
            "classes": classes,
            **baseline.to_json(),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / WEIGHTS, weights)
            write_atomically(folder / RECORD, (json.dumps(record, indent=2) + "\n").encode())
            shutil.rmtree(folder / TRIALS, ignore_errors=True)
        except OSError as error:
            raise UsageError(f"Cannot write the baseline {folder}: {error.strerror}.") from error

    def read_trial(self, name: str, lr: float) -> Trial | None:
        """Return a trial of a baseline that was finished; None if it was not.

        Raises:
            DataError: it is damaged.
        """
        if repr(lr) not in checkpoint_names(self.path / name / TRIALS):
            return None
        try:
            return Trial(**self._moment(name, lr).state)
        except TypeError as error:
            raise _damaged_trial(self.path / name, lr) from error

    def trial_weights(self, name: str, lr: float) -> Mapping[str, Tensor]:
        """Return what a trial learnt."""
        return self._moment(name, lr).tensors

    def write_trial(self, name: str, trial: Trial, network: Network) -> None:
        """Keep a trial of a baseline, with what it learnt unless it diverged.

        Raises:
            CheckpointError: the folder cannot be written.
        """
        learnt = {} if trial.accuracy is None else network.state_dict()
        moment = Checkpoint(self._fingerprint, trial.steps, learnt, asdict(trial))
        save_checkpoint(self.path / name / TRIALS, repr(trial.lr), moment)

    def _moment(self, name: str, lr: float) -> Checkpoint:
        folder = self.path / name / TRIALS
        try:
            return load_checkpoint(folder, repr(lr), fingerprint=self._fingerprint)
        except CheckpointError as error:
            raise _damaged_trial(self.path / name, lr) from error


def _damaged_trial(folder: Path, lr: float) -> DataError:
    return _damaged(folder, f"its trial with a learning rate of {lr:g} cannot be read")


def _damaged(folder: Path, reason: str) -> DataError:
    return DataError(
        f"Baseline {folder} is damaged: {reason}. Remove the folder and train it again."
    )
