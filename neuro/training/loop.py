"""The batch loop: feed, learn, check, step, record, save."""

import time
from math import isfinite

import torch

from neuro.errors import DivergedError
from neuro.training.batches import epoch_order
from neuro.training.checkpoint import save_checkpoint
from neuro.training.divergence import find_not_finite, total_norm
from neuro.training.evaluate import evaluate, mean_firing_rate
from neuro.training.interrupts import StopSignals, TrainingInterrupted
from neuro.training.metrics import MetricsLog
from neuro.training.optimisers import learning_rate_factor, set_learning_rate
from neuro.training.progress import Progress
from neuro.training.run_directory import RunDirectory
from neuro.training.seeds import generator_for
from neuro.training.session import Best, Session, Totals


def train_epochs(
    session: Session,
    run: RunDirectory,
    log: MetricsLog,
    progress: Progress,
    stop: StopSignals,
) -> None:
    """Train from where the session stands to the last epoch.

    Raises:
        DivergedError: NaN or infinity; the last checkpoint stays as it was.
        TrainingInterrupted: a signal came; the moment after the batch is saved.
    """
    config, position = session.config, session.position
    saver = _Saver(session, run, log)
    progress.begin(config.epochs, session.steps_per_epoch, position.step)
    stop.deferred = True
    try:
        while position.epoch <= config.epochs:
            epoch_started = time.perf_counter()
            order = epoch_order(session.partition.train, config.seed, position.epoch)
            while position.batch < session.steps_per_epoch:
                start = position.batch * config.batch_size
                _train_batch(session, order[start : start + config.batch_size], log, progress)
                saver.batch_done()
                if stop.received is not None:
                    saver.save("last")
                    raise TrainingInterrupted(
                        f"Stopped in epoch {position.epoch} of {config.epochs} after batch "
                        f"{position.batch} of {session.steps_per_epoch}; saved.",
                        stop.received,
                    )
            _end_epoch(session, log, progress, saver, epoch_started)
    finally:
        stop.deferred = False
        progress.end()


class _Saver:
    """Writes checkpoints when they are due."""

    def __init__(self, session: Session, run: RunDirectory, log: MetricsLog) -> None:
        self._session = session
        self._run = run
        self._log = log
        self._saved_at = time.monotonic()

    def batch_done(self) -> None:
        """Save ``last`` if enough steps or seconds have gone by."""
        config = self._session.config
        steps, seconds = config.checkpoint_every_steps, config.checkpoint_every_seconds
        by_steps = steps is not None and self._session.position.step % steps == 0
        by_time = seconds is not None and time.monotonic() - self._saved_at >= seconds
        if by_steps or by_time:
            self.save("last")

    def save(self, *names: str) -> None:
        """Save this moment under each name, ``last`` last: it is what a run resumes from."""
        checkpoint = self._session.capture(self._log.offset())
        for name in names:
            save_checkpoint(self._run.checkpoints, name, checkpoint)
        self._saved_at = time.monotonic()


def save_start(session: Session, run: RunDirectory, log: MetricsLog) -> None:
    """Save the moment before the first batch of this process as ``last``."""
    _Saver(session, run, log).save("last")


def _train_batch(
    session: Session, indices: torch.Tensor, log: MetricsLog, progress: Progress
) -> None:
    config, position, totals = session.config, session.position, session.totals
    started = time.perf_counter()
    epoch, batch = position.epoch, position.batch
    feeder = session.feeder
    inputs, targets = feeder.take(
        session.dataset.train, indices, generator_for(config.seed, "augment", epoch, batch)
    )
    factor = learning_rate_factor(config, position.step, session.steps_per_epoch)
    set_learning_rate(session.optimiser, factor)
    updates = _Updates(session)
    online = getattr(config.rule, "update", "accumulate") == "online"
    encoding, noise = (
        generator_for(config.seed, purpose, epoch, batch, device=session.device)
        for purpose in ("encode", "noise")
    )
    outcome = session.rule.learn(
        feeder.over_time(inputs, encoding),
        feeder.timesteps,
        targets,
        generator=noise,
        after_step=updates.apply if online else None,
    )
    correct = (outcome.logits.argmax(1) == targets).sum()
    loss, right, *rates = torch.stack(
        [outcome.loss, correct, *outcome.firing_rates.values()]  # one transfer from a GPU
    ).tolist()
    updates.loss = loss
    if not isfinite(loss):
        raise updates.diverged()
    if not online:
        updates.apply()

    position.batch += 1
    position.step += 1
    seconds = time.perf_counter() - started
    firing_rates = dict(zip(outcome.firing_rates, rates, strict=True))
    totals.add(len(indices), loss, int(right), firing_rates, seconds)
    session.spent.training_seconds += seconds
    session.spent.trained_samples += len(indices)
    rate = mean_firing_rate(session.network, firing_rates)
    if position.step % config.log_every_steps == 0:
        log.record(
            "step",
            position.step,
            {
                "epoch": epoch,
                "train_loss": loss,
                "train_accuracy": right / len(indices),
                "gradient_norm": updates.gradient_norm,
                "firing_rate": rate,
                "lr": config.lr * factor,
                "samples_per_second": len(indices) / seconds,
            },
        )
    progress.batch(
        epoch, position.step, totals.loss / totals.samples, totals.correct / totals.samples, rate
    )


class _Updates:
    """Optimiser steps of one batch, each checked for NaN and infinity before and after."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._tensors = session.trained_tensors
        self.loss = 0.0
        self.gradient_norm = 0.0
        session.optimiser.zero_grad()

    def apply(self) -> None:
        """Check and clip the gradients, step, check the weights, clear the gradients."""
        gradients = [tensor.grad for tensor in self._tensors if tensor.grad is not None]
        norm = total_norm(gradients)
        self.gradient_norm = float(norm)
        if not isfinite(self.gradient_norm):
            raise self.diverged()
        limit = self._session.config.gradient_clip
        if limit is not None and self.gradient_norm > limit:
            torch.nn.utils.clip_grads_with_norm_(self._tensors, limit, norm)
        self._session.optimiser.step()
        if not isfinite(float(total_norm(tensor.detach() for tensor in self._tensors))):
            raise self.diverged()
        self._session.optimiser.zero_grad()

    def diverged(self) -> DivergedError:
        """Return the error that names epoch, batch, step and layer."""
        position = self._session.position
        return DivergedError(
            f"Training diverged in epoch {position.epoch}, batch {position.batch + 1} "
            f"(step {position.step + 1}): {find_not_finite(self._session.rule, self.loss)}. "
            "Lower lr, or limit the gradient with gradient_clip."
        )


def _end_epoch(
    session: Session, log: MetricsLog, progress: Progress, saver: _Saver, started: float
) -> None:
    config, position, totals = session.config, session.position, session.totals
    epoch = position.epoch
    rates = totals.mean_firing_rates()
    factor = learning_rate_factor(config, position.step, session.steps_per_epoch)
    record = {
        "epoch": epoch,
        "train_loss": totals.loss / totals.samples,
        "train_accuracy": totals.correct / totals.samples,
        "firing_rate": mean_firing_rate(session.network, rates),
        "firing_rates": rates,
        "lr": config.lr * factor,
        "samples_per_second": totals.samples / totals.seconds,
    }
    names = ["last"]
    if len(session.partition.validation):
        held_out = _validate(session)
        record |= {"validation_loss": held_out[0], "validation_accuracy": held_out[1]}
        if held_out[1] > session.best.accuracy:
            session.best = Best(epoch, held_out[1])
            names = ["best", "last"]
    if config.keep_every_epochs is not None and epoch % config.keep_every_epochs == 0:
        names = [f"epoch-{epoch:04d}", *names]
    record["seconds"] = time.perf_counter() - started
    log.record("epoch", position.step, record)
    position.epoch, position.batch = epoch + 1, 0
    session.totals = Totals()
    saver.save(*names)
    progress.epoch(record)


def _validate(session: Session) -> tuple[float, float]:
    found = evaluate(
        session.network,
        session.feeder,
        session.dataset.train,
        indices=session.partition.validation,
        batch_size=session.config.evaluation_batch_size,
        seed=session.config.seed,
    )
    return found.loss, found.accuracy
