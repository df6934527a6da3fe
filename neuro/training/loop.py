"""The batch loop: feed, learn, check, step, record, save."""

import time

from neuro.training.checkpoint import save_checkpoint
from neuro.training.interrupts import StopSignals, TrainingInterrupted
from neuro.training.metrics import MetricsLog
from neuro.training.progress import Progress
from neuro.training.run_directory import RunDirectory
from neuro.training.session import Best, Session, Totals
from neuro.training.updates import Updates


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
            session.begin_epoch()
            while position.batch < session.steps_per_epoch:
                _train_batch(session, log, progress)
                saver.batch_done()
                if stop.received is not None:
                    saver.save("last")
                    raise TrainingInterrupted(
                        f"Stopped in epoch {position.epoch} of {config.epochs} after batch "
                        f"{position.batch} of {session.steps_per_epoch}; saved.",
                        stop.received,
                    )
            _end_epoch(session, log, progress, saver, stop, epoch_started)
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


def _train_batch(session: Session, log: MetricsLog, progress: Progress) -> None:
    position, totals = session.position, session.totals
    started = time.perf_counter()
    lr = session.learning_rate()
    updates = Updates(session)
    learned = session.learn(updates)

    position.batch += 1
    position.step += 1
    seconds = time.perf_counter() - started
    totals.add(*learned, seconds)
    session.spent.training_seconds += seconds
    session.spent.trained_samples += learned.samples
    rate = session.mean_firing_rate(learned.firing_rates)
    if position.step % session.config.log_every_steps == 0:
        log.record(
            "step",
            position.step,
            {
                "epoch": position.epoch,
                "train_loss": learned.loss,
                "train_accuracy": learned.correct / learned.samples,
                "gradient_norm": updates.gradient_norm,
                **({} if rate is None else {"firing_rate": rate}),
                "lr": lr,
                "samples_per_second": learned.samples / seconds,
            },
        )
    progress.batch(
        position.epoch,
        position.step,
        totals.loss / totals.samples,
        totals.correct / totals.samples,
        rate,
    )


def _end_epoch(
    session: Session,
    log: MetricsLog,
    progress: Progress,
    saver: _Saver,
    stop: StopSignals,
    started: float,
) -> None:
    config, position, totals = session.config, session.position, session.totals
    epoch = position.epoch
    rates = totals.mean_firing_rates()
    rate = session.mean_firing_rate(rates)
    record = {
        "epoch": epoch,
        "train_loss": totals.loss / totals.samples,
        "train_accuracy": totals.correct / totals.samples,
        **({} if rate is None else {"firing_rate": rate, "firing_rates": rates}),
        "lr": session.learning_rate(),
        "samples_per_second": totals.samples / totals.seconds,
    }
    names = ["last"]
    held_out = _validate(session, saver, stop)
    if held_out:
        record |= held_out
        reached = held_out[f"validation_{session.validation_measure}"]
        if reached > session.best.accuracy:
            session.best = Best(epoch, reached)
            names = ["best", "last"]
    if config.keep_every_epochs is not None and epoch % config.keep_every_epochs == 0:
        names = [f"epoch-{epoch:04d}", *names]
    record["seconds"] = time.perf_counter() - started
    log.record("epoch", position.step, record)
    position.epoch, position.batch = epoch + 1, 0
    session.totals = Totals()
    saver.save(*names)
    progress.epoch(record)


def _validate(session: Session, saver: _Saver, stop: StopSignals) -> dict[str, float]:
    """Validate; where that takes long, a signal need not wait: the moment before it is saved."""
    if session.validates_long:
        saver.save("last")
        stop.deferred = False
        if stop.received is not None:  # while this was being saved
            raise TrainingInterrupted("Stopped before the validation; saved.", stop.received)
    held_out = session.validate()
    stop.deferred = True
    return held_out
