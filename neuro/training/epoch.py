"""An epoch that leaves no records: for training that is part of something else."""

import time

from neuro.errors import DivergedError
from neuro.training.interrupts import StopSignals, TrainingInterrupted
from neuro.training.session import Session
from neuro.training.updates import Updates


def train_epoch(
    session: Session, stop: StopSignals, number: int, *, doing: str, left: str, advice: str
) -> str:
    """Train the rest of the epoch of the session's position and say how it went.

    The position stays at the end of the epoch; the totals are those of its batches.

    Args:
        session: to train.
        stop: looked at after each batch.
        number: of the epoch, for messages, as are:
        doing: "fine-tuning".
        left: what a signal leaves behind: "nothing was written".
        advice: against divergence, a sentence.

    Raises:
        DivergedError: NaN or infinity appeared.
        TrainingInterrupted: SIGINT or SIGTERM came.
    """
    session.begin_epoch()
    while session.position.batch < session.steps_per_epoch:
        started = time.perf_counter()
        try:
            learned = session.learn(Updates(session))
        except DivergedError as error:
            raise DivergedError(f"{doing[0].upper()}{doing[1:]}: {error} {advice}") from error
        session.position.batch += 1
        session.position.step += 1
        session.totals.add(*learned, time.perf_counter() - started)
        if stop.received is not None:
            raise TrainingInterrupted(
                f"Stopped in epoch {number} of {doing}; {left}.", stop.received
            )
    totals = session.totals
    return (
        f"loss {totals.loss / totals.samples:.4f}, accuracy {totals.correct / totals.samples:.2%}"
    )
