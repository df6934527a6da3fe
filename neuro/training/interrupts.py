"""SIGINT and SIGTERM: finish the batch, save, and leave with the exit code shells expect."""

import signal
import threading
from types import FrameType, TracebackType
from typing import Any

from neuro.errors import NeuroError


class TrainingInterrupted(NeuroError):
    """A signal stopped training; ``exit_code`` is 128 + signal number."""

    def __init__(self, message: str, signal_number: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal_number


class StopSignals:
    """Within ``with``, remembers the first SIGINT or SIGTERM instead of dying from it.

    ``deferred`` says whether the code that runs looks at ``received`` itself (the batch loop does);
    otherwise the signal raises :class:`TrainingInterrupted` on the spot. A second signal always
    does. A signal that the parent process had this one ignore (a shell does for jobs in the
    background) stays ignored. Outside the main thread Python allows no handlers at all.
    """

    def __init__(self) -> None:
        self.received: int | None = None
        self.deferred = False
        self._before: dict[signal.Signals, Any] = {}

    def __enter__(self) -> "StopSignals":
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is signal.SIG_IGN:
                    continue
                self._before[number] = signal.signal(number, self._handle)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _handle(self, number: int, frame: FrameType | None) -> None:
        again = self.received is not None
        self.received = number
        if again or not self.deferred:
            raise TrainingInterrupted(f"Stopped by {signal.Signals(number).name}.", number)
