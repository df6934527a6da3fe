"""Networks without time that a spiking one is compared with, trained on what it was trained on."""

import copy
import time
from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from math import isfinite, nan
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from neuro.config import TrainConfig
from neuro.data import Dataset
from neuro.errors import DivergedError, UsageError
from neuro.layers import Network
from neuro.models.twin import (
    BASELINES,
    baseline_bits,
    baseline_name,
    baseline_network,
    fit_steps,
)
from neuro.reports.baseline_files import FOLDER, Baseline, BaselineFiles
from neuro.reports.baseline_tuning import ROUNDED, Trial, given_rates, tune
from neuro.reports.timeless import mean_frames, timeless
from neuro.training import RunDirectory, load_run
from neuro.training.classification import ClassificationSession
from neuro.training.environment import computing
from neuro.training.epoch import train_epoch
from neuro.training.evaluate import Evaluation, evaluate
from neuro.training.interrupts import StopSignals, TrainingInterrupted
from neuro.training.session import Totals

CALIBRATION_SAMPLES = 256


def train_baselines(
    run_dir: Path,
    *,
    which: Collection[str] = BASELINES,
    lr: float | Mapping[str, float] | None = None,
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
    sample without time, the mean frame. Each chooses its learning rate on the run's validation
    samples (:mod:`neuro.reports.baseline_tuning`), for the run's was chosen for spikes; the best
    trial is the baseline.

    Args:
        run_dir: of a run that trained a classifier.
        which: of :data:`neuro.models.twin.BASELINES`. ``ann-int8`` trains ``ann-fp32`` first.
        lr: learning rate at the start in place of a chosen one, for all or by name.
        data_dir, download: as for :func:`neuro.training.load_run`.
        note: told how it goes.

    Raises:
        UsageError: an unknown name, a run on a graph or on series of changes, a baseline that is
            there with another learning rate, or with a given one where it is to be chosen; or a run
            without validation samples to choose by.
        CheckpointError: the folder is no run.
        DataError: a baseline that is there is damaged.
        DivergedError: NaN or infinity appeared, with every learning rate.
        TrainingInterrupted: SIGINT or SIGTERM came; what is finished stays, trials too.
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
    given = given_rates(lr, session.feeder.timesteps)
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
            work = _Work(BaselineFiles(run, config), session, given, stop, note)
            work.check(which)
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
    if not (run.path / FOLDER).is_dir():
        return {}
    files = BaselineFiles(run, _config(run))
    return {name: found for name in files.names() if (found := files.read(name)) is not None}


class _Learnt(NamedTuple):
    """A session whose network is a baseline, and what it took beside the run's own budget."""

    session: ClassificationSession
    budget: dict[str, Any]


class _Work:
    """The baselines of one run in the making."""

    def __init__(
        self,
        files: BaselineFiles,
        session: ClassificationSession,
        given: Mapping[str, float],
        stop: StopSignals,
        note: Callable[[str], None],
    ) -> None:
        self._files, self._spiking, self._given = files, session, given
        self._stop, self._note = stop, note
        self._timesteps = session.feeder.timesteps
        self._data: Dataset | None = None

    def check(self, which: Collection[str]) -> None:
        """Check before any training that all can be had as they are asked for.

        Raises:
            UsageError: some are there, trained otherwise, or are to be tuned, by no samples.
        """
        there = {name: self._files.read(name) for name in map(self._name, which)}
        for name in [name for name, found in there.items() if name in ROUNDED and found is None]:
            there[ROUNDED[name]] = self._files.read(ROUNDED[name])
        unlike = [why for found in there.values() if found and (why := self._unlike(found))]
        if unlike:
            raise UsageError(
                f"Baselines in {self._files.path} were trained otherwise: {'; '.join(unlike)}. "
                "Remove their folders to train them anew, or give their rates by --baseline-lr."
            )
        tuned = [name for name in there if name not in {*ROUNDED, *self._given}]
        if not len(self._spiking.partition.validation) and any(there[n] is None for n in tuned):
            raise UsageError(
                f"Run {self._files.path.parent} holds out no validation samples "
                "(validation_fraction 0) by which baselines could choose a learning rate. Give one "
                "by --baseline-lr."
            )

    def have(self, which: str) -> Baseline:
        """Return a baseline, trained if it is not there."""
        name = self._name(which)
        found = self._files.read(name)
        if found is not None:
            self._note(f"{name} is there: test accuracy {found.accuracy:.2%}")
            return found
        if name in ROUNDED:
            learnt = self._rounded(name, self.have(ROUNDED[name]))
        elif name in self._given:
            learnt = self._once(name, self._given[name])
        else:
            learnt = self._tuned(name)
        self._stop.deferred = False  # nothing to lose from here on: it takes effect at once
        found = self._finish(name, learnt)
        self._stop.deferred = True
        self._note(f"{name}: test accuracy {found.accuracy:.2%}")
        return found

    def _name(self, which: str) -> str:
        return baseline_name(which, self._timesteps)

    def _unlike(self, found: Baseline) -> str | None:
        """Return how a baseline that is there differs from what is asked for."""
        rate = self._given.get(ROUNDED.get(found.name, found.name))
        if rate is None and not found.tuned:
            return f"{found.name} with a given learning rate of {found.lr}, not with a chosen one"
        if rate is not None and rate != found.lr:
            return f"{found.name} with a learning rate of {found.lr}, not {rate}"
        return None

    def _tuned(self, name: str) -> _Learnt:
        """Return a baseline with the best of several learning rates."""
        best, trials = tune(self._spiking.config.lr, lambda lr: self._attempt(name, lr))
        session = self._session(name, lr=best.lr)
        session.network.load_state_dict(self._files.trial_weights(name, best.lr))
        rates = {repr(each.lr): each.accuracy for each in trials}
        return _Learnt(session, _took(best, rates, sum(each.seconds for each in trials)))

    def _attempt(self, name: str, lr: float) -> Trial:
        """Return a trial, which is kept; made if it is not there."""
        trial = self._files.read_trial(name, lr)
        if trial is None:
            session, trial = self._trial(name, lr)
            self._files.write_trial(name, trial, session.network)
        did = "diverged" if trial.accuracy is None else f"validation accuracy {trial.accuracy:.2%}"
        self._note(f"{name}, learning rate {lr:g}: {did}")
        if self._stop.received is not None:
            raise TrainingInterrupted(
                f"Stopped after a trial of the baseline {name}; it stays, as do those before it.",
                self._stop.received,
            )
        return trial

    def _trial(self, name: str, lr: float) -> tuple[ClassificationSession, Trial]:
        started = time.perf_counter()
        session = self._session(name, lr=lr)
        try:
            self._train(name, session)
            learnt = True
        except DivergedError:
            learnt = False
        seconds = time.perf_counter() - started
        trial = Trial(lr=lr, steps=session.position.step, seconds=seconds)
        found = session.validate() if learnt else {}
        loss = found.get("validation_loss", nan)
        if isfinite(loss):
            trial = replace(trial, accuracy=found["validation_accuracy"], loss=loss)
        return session, trial

    def _once(self, name: str, lr: float) -> _Learnt:
        """Return a baseline with a learning rate that was given."""
        started = time.perf_counter()
        session = self._session(name, lr=lr)
        self._train(name, session)
        seconds = time.perf_counter() - started
        return _Learnt(session, _took(Trial(lr=lr, steps=session.position.step, seconds=seconds)))

    def _train(self, name: str, session: ClassificationSession) -> None:
        """Train a baseline whole.

        Raises:
            DivergedError: NaN or infinity appeared.
            TrainingInterrupted: SIGINT or SIGTERM came.
        """
        config = session.config
        fit_steps(session.network, self._calibration(session))
        for epoch in range(1, config.epochs + 1):
            went = train_epoch(
                session,
                self._stop,
                epoch,
                doing=f"the baseline {name} with a learning rate of {config.lr:g}",
                left="baselines and trials that are finished stay",
                advice="Give baselines a lower learning rate.",
            )
            self._note(
                f"{name}, learning rate {config.lr:g}, epoch {epoch} of {config.epochs}: {went}"
            )
            session.position.epoch, session.position.batch = epoch + 1, 0
            session.totals = Totals()

    def _rounded(self, name: str, floats: Baseline) -> _Learnt:
        started = time.perf_counter()
        session = self._session(name, floats.network, lr=floats.lr)
        fit_steps(session.network, self._calibration(session))
        trial = Trial(lr=floats.lr, seconds=time.perf_counter() - started)
        changes = {"epochs": 0, "from": floats.name}
        return _Learnt(session, {**_took(trial, floats.budget["rates"]), **changes})

    def _session(
        self, name: str, like: Network | None = None, *, lr: float
    ) -> ClassificationSession:
        """Return a session on a baseline with the weights of a twin, or else the run's own."""
        network = self._spiking.network
        if like is not None:
            network = _copy_with(network, like)
        return ClassificationSession(
            timeless(self._spiking.config, lr),
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

    def _finish(self, name: str, learnt: _Learnt) -> Baseline:
        """Test a baseline and keep it."""
        session = learnt.session
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
            budget={
                "epochs": config.epochs,
                "batch_size": config.batch_size,
                "optimizer": config.optimizer.name,
                "schedule": config.schedule.name,
                "training_samples": len(session.partition.train),
                "calibration_samples": 0 if name == "ann-fp32" else CALIBRATION_SAMPLES,
                "from": "initial weights of the run",
                **learnt.budget,
            },
        )
        self._files.write(baseline, classes=session.dataset.classes)
        return baseline


def _took(
    trial: Trial, rates: Mapping[str, float | None] | None = None, tuning: float = 0.0
) -> dict[str, Any]:
    """Return what a budget says of learning rates, and of the time they took."""
    return {
        "steps": trial.steps,
        "lr": trial.lr,
        "rates": dict(rates or {}),
        "seconds": round(trial.seconds, 3),
        "tuning_seconds": round(tuning, 3),
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
