"""Networks without time that a spiking one is compared with, trained on what it was trained on.

Each is kept in the run's folder, whole or not at all::

    baselines/ann-fp32/baseline.json          what it is, how it did, SHA-256 of:
    baselines/ann-fp32/weights.safetensors    its parameters
"""

import copy
import hashlib
import json
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from neuro.config import TrainConfig
from neuro.data import Dataset
from neuro.data.dataset import Split
from neuro.errors import CheckpointError, DataError, NeuroError, UsageError
from neuro.layers import Network
from neuro.models import build_model
from neuro.models.twin import (
    BASELINES,
    baseline_bits,
    baseline_name,
    baseline_network,
    fit_steps,
)
from neuro.training import RunDirectory, load_run
from neuro.training.checkpoint import write_atomically
from neuro.training.classification import ClassificationSession
from neuro.training.environment import computing
from neuro.training.epoch import train_epoch
from neuro.training.evaluate import Evaluation, evaluate
from neuro.training.interrupts import StopSignals
from neuro.training.session import Totals

FOLDER = "baselines"
RECORD = "baseline.json"
WEIGHTS = "weights.safetensors"
CALIBRATION_SAMPLES = 256
_FORMAT = 1
_CHUNK = 512


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
        budget: what its training was given, by name.
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

    def to_json(self) -> dict[str, Any]:
        """Return all but the network as plain values."""
        told = {name: value for name, value in vars(self).items() if name != "network"}
        return {**told, "budget": dict(self.budget)}


def train_baselines(
    run_dir: Path,
    *,
    which: Collection[str] = BASELINES,
    lr: float | None = None,
    data_dir: Path | None = None,
    download: bool = True,
    note: Callable[[str], None] = print,
) -> dict[str, Baseline]:
    """Train the baselines of a run that are not there yet, and return all that were asked for.

    ``ann-fp32`` and ``qnn`` learn by backpropagation from the run's samples in the run's order:
    same partition, epochs, batch size, augmentation, loss, optimiser, schedule and initial weights;
    the weights after the last epoch are kept. ``qnn`` learns with its rounding from the start, its
    steps fitted first to 256 training samples. ``ann-int8`` is ``ann-fp32`` with its weights and
    activations rounded and the steps fitted to those samples; nothing of it is trained.

    They see a static sample as it is, whatever encoding spikes had, once; of events, which have no
    sample without time, the mean frame. The learning rate is the run's, which was chosen for
    spikes: give others and compare.

    Args:
        run_dir: of a run that trained a classifier.
        which: of :data:`neuro.models.twin.BASELINES`. ``ann-int8`` trains ``ann-fp32`` first.
        lr: learning rate at the start; the run's by default.
        data_dir, download: as for :func:`neuro.training.load_run`.
        note: told how it goes.

    Raises:
        UsageError: an unknown name, a run on a graph or on series of changes, or a baseline that
            is there with another learning rate.
        CheckpointError: the folder is no run.
        DataError: a baseline that is there is damaged.
        DivergedError: NaN or infinity appeared.
        TrainingInterrupted: SIGINT or SIGTERM came; what is finished stays.
    """
    run = RunDirectory.open(run_dir)
    config = _config(run)
    for name in which:
        baseline_bits(name, config.timesteps)
    _, session = load_run(run_dir, data_dir=data_dir, download=download)
    assert isinstance(session, ClassificationSession)
    if session.feeder.series:
        raise UsageError(
            f"Run {run_dir} was fed the changes of a series, step by step: its network is no "
            "classifier of a whole sample, and has no baseline without time."
        )
    run.lock()
    try:
        with (
            StopSignals() as stop,
            computing(
                session.device,
                seed=config.seed,
                deterministic=config.deterministic,
                threads=config.threads,
            ),
        ):
            stop.deferred = True
            work = _Work(run, session, config.lr if lr is None else lr, stop, note)
            return {found.name: found for found in map(work.have, which)}
    finally:
        run.unlock()


def read_baselines(run_dir: Path) -> dict[str, Baseline]:
    """Return the baselines of a run that are there, by name; no data are read.

    Raises:
        CheckpointError: the folder is no run.
        DataError: a baseline is damaged or belongs to another configuration.
        UsageError: the run is on a graph.
    """
    run = RunDirectory.open(run_dir)
    folders = sorted(file.parent for file in (run.path / FOLDER).glob(f"*/{RECORD}"))
    if not folders:
        return {}
    config, fingerprint = _config(run), run.fingerprint()
    return {folder.name: _read(folder, config, fingerprint) for folder in folders}


class _Work:
    """The baselines of one run in the making."""

    def __init__(
        self,
        run: RunDirectory,
        session: ClassificationSession,
        lr: float,
        stop: StopSignals,
        note: Callable[[str], None],
    ) -> None:
        self._run, self._spiking, self._lr = run, session, lr
        self._stop, self._note = stop, note
        self._timesteps = session.feeder.timesteps
        self._config = _timeless(session.config, lr)
        self._data: Dataset | None = None

    def have(self, which: str) -> Baseline:
        """Return a baseline, trained if it is not there."""
        name = baseline_name(which, self._timesteps)
        folder = self._run.path / FOLDER / name
        if (folder / RECORD).exists():
            return self._check(_read(folder, self._spiking.config, self._run.fingerprint()))
        started = time.perf_counter()
        if name == "ann-int8":
            session = self._rounded(self.have("ann-fp32"))
        else:
            session = self._trained(name)
        self._stop.deferred = False  # nothing to lose from here on: it takes effect at once
        found = self._finish(name, session, time.perf_counter() - started)
        self._stop.deferred = True
        self._note(f"{name}: test accuracy {found.accuracy:.2%}")
        return found

    def _check(self, found: Baseline) -> Baseline:
        rate = found.budget["lr"]
        if rate != self._lr:
            raise UsageError(
                f"Baseline {found.name} is there, trained with a learning rate of {rate:g}, not "
                f"{self._lr:g}. Remove {self._run.path / FOLDER / found.name} to train it anew."
            )
        self._note(f"{found.name} is there: test accuracy {found.accuracy:.2%}")
        return found

    def _trained(self, name: str) -> ClassificationSession:
        session = self._session(name, self._spiking.network)
        fit_steps(session.network, self._calibration(session))
        for epoch in range(1, session.config.epochs + 1):
            went = train_epoch(
                session,
                self._stop,
                epoch,
                doing=f"the baseline {name}",
                left="baselines that are finished stay",
                advice="Give baselines a lower learning rate.",
            )
            self._note(f"{name}, epoch {epoch} of {session.config.epochs}: {went}")
            session.position.epoch, session.position.batch = epoch + 1, 0
            session.totals = Totals()
        return session

    def _rounded(self, floats: Baseline) -> ClassificationSession:
        session = self._session("ann-int8", floats.network)
        fit_steps(session.network, self._calibration(session))
        return session

    def _session(self, name: str, like: Network) -> ClassificationSession:
        """Return a session on a baseline with the weights that a network has."""
        network = self._spiking.network
        if like is not network:
            network = _copy_with(network, like)
        return ClassificationSession(
            self._config,
            self._dataset(),
            self._spiking.device,
            started=time.perf_counter(),
            network=baseline_network(network, name, self._timesteps),
        )

    def _dataset(self) -> Dataset:
        if self._data is None:
            self._data = mean_frames(self._spiking.dataset)
        return self._data

    def _calibration(self, session: ClassificationSession) -> Tensor:
        """Return samples it trains on."""
        chosen = session.partition.train[:CALIBRATION_SAMPLES]
        return session.feeder.take(session.dataset.train, chosen).inputs

    def _finish(self, name: str, session: ClassificationSession, seconds: float) -> Baseline:
        config = session.config
        found: Evaluation = evaluate(
            session.network,
            session.feeder,
            session.dataset.test,
            batch_size=config.evaluation_batch_size,
            seed=config.seed,
        )
        bits = baseline_bits(name, self._timesteps)
        baseline = Baseline(
            name=name,
            network=session.network,
            accuracy=found.accuracy,
            loss=found.loss,
            samples=found.samples,
            timesteps=self._timesteps,
            weight_bits=bits.weights,
            activation_bits=bits.activations,
            input="mean frame" if self._spiking.feeder.events else "static",
            seed=config.seed,
            budget=_budget(name, session, seconds),
        )
        self._write(baseline)
        return baseline

    def _write(self, baseline: Baseline) -> None:
        folder = self._run.path / FOLDER / baseline.name
        weights = save_tensors(
            {
                name: tensor.detach().to("cpu", copy=True).contiguous()
                for name, tensor in baseline.network.state_dict().items()
            }
        )
        session = self._spiking
        record = {
            "format": _FORMAT,
            "config_fingerprint": self._run.fingerprint(),
            "sha256": hashlib.sha256(weights).hexdigest(),
            "input_shape": list(session.feeder.network_input_shape),
            "classes": session.dataset.classes,
            **baseline.to_json(),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            write_atomically(folder / WEIGHTS, weights)
            write_atomically(folder / RECORD, (json.dumps(record, indent=2) + "\n").encode())
        except OSError as error:
            raise UsageError(f"Cannot write the baseline {folder}: {error.strerror}.") from error


def mean_frames(dataset: Dataset) -> Dataset:
    """Return event data as static data, each sample the mean of its frames; others as they are."""
    if dataset.kind == "static":
        return dataset

    def mean(split: Split) -> Split:
        shape = (len(split), *split.inputs.shape[2:])
        frames = torch.empty(shape, dtype=torch.float32)
        for first in range(0, len(split), _CHUNK):
            some = slice(first, first + _CHUNK)
            frames[some] = split.inputs[some].to(torch.float32).mean(1)
        return Split(frames, split.targets)

    return replace(dataset, kind="static", train=mean(dataset.train), test=mean(dataset.test))


def _timeless(config: TrainConfig, lr: float) -> TrainConfig:
    """Return the configuration of a run for one step of backpropagation."""
    loss = config.rule.mse_weight
    plain = TrainConfig.model_validate({"rule": {"name": "bptt", "mse_weight": loss}})
    changes = {"rule": plain.rule, "encoding": plain.encoding, "timesteps": 1, "lr": lr}
    return config.model_copy(update=changes)


def _budget(name: str, session: ClassificationSession, seconds: float) -> dict[str, Any]:
    config = session.config
    trained = name != "ann-int8"
    return {
        "epochs": config.epochs if trained else 0,
        "steps": session.position.step,
        "batch_size": config.batch_size,
        "lr": config.lr,
        "optimizer": config.optimizer.name,
        "schedule": config.schedule.name,
        "training_samples": len(session.partition.train),
        "calibration_samples": 0 if name == "ann-fp32" else CALIBRATION_SAMPLES,
        "from": "initial weights of the run" if trained else "ann-fp32",
        "seconds": round(seconds, 3),
    }


def _copy_with(spiking: Network, floats: Network) -> Network:
    """Return the spiking network with the weights of its twin, which has them by the same names."""
    found = copy.deepcopy(spiking)
    found.load_state_dict(floats.state_dict(), strict=False)
    return found


def _config(run: RunDirectory) -> TrainConfig:
    config = run.config()
    if not isinstance(config, TrainConfig):
        raise UsageError(
            f"Run {run.path} trained {config.method_name}, which reasons over a graph; its "
            "baseline is NBFNet: train one with `neuro train nbfnet` and compare the runs."
        )
    return config


def _read(folder: Path, config: TrainConfig, fingerprint: str) -> Baseline:
    try:
        record = json.loads((folder / RECORD).read_text("utf-8"))
        weights = (folder / WEIGHTS).read_bytes()
        if record["format"] != _FORMAT:
            raise _damaged(folder, f"its format is {record['format']}, not {_FORMAT}")
        if record["config_fingerprint"] != fingerprint:
            raise _damaged(folder, "it belongs to another configuration than the run's")
        if hashlib.sha256(weights).hexdigest() != record["sha256"]:
            raise _damaged(folder, f"the checksum of {WEIGHTS} differs from that in {RECORD}")
        network = baseline_network(
            build_model(
                config.model,
                tuple(record["input_shape"]),
                record["classes"],
                torch.Generator(),
            ),
            record["name"],
            record["timesteps"],
        )
        network.load_state_dict(load_tensors(weights))
        found = Baseline(
            network=network,
            **{name: record[name] for name in Baseline.__dataclass_fields__ if name != "network"},
        )
    except (DataError, CheckpointError):
        raise
    except OSError as error:
        raise _damaged(folder, error.strerror or "it cannot be read") from None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, NeuroError) as error:
        raise _damaged(folder, " ".join(f"{type(error).__name__}: {error}".split())) from None
    except SafetensorError as error:
        raise _damaged(folder, f"{WEIGHTS} is no safetensors file ({error})") from None
    return found


def _damaged(folder: Path, reason: str) -> DataError:
    return DataError(
        f"Baseline {folder} is damaged: {reason}. Remove the folder and train it again."
    )
