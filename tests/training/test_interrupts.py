"""Signals: remembered while a batch runs, obeyed at once otherwise."""

import os
import signal
import threading

import pytest

from neuro.training.interrupts import StopSignals, TrainingInterrupted


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_deferred_signal_is_remembered(number):
    with StopSignals() as stop:
        stop.deferred = True
        os.kill(os.getpid(), number)
        assert stop.received == number


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_stops_at_once_otherwise_with_the_exit_code_of_shells(number, code):
    with pytest.raises(TrainingInterrupted) as caught, StopSignals():
        os.kill(os.getpid(), number)
    assert caught.value.exit_code == code


def test_a_second_signal_does_not_wait():
    with StopSignals() as stop:
        stop.deferred = True
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(TrainingInterrupted):
            os.kill(os.getpid(), signal.SIGTERM)


def test_handlers_are_put_back():
    before = signal.getsignal(signal.SIGINT)
    with StopSignals():
        assert signal.getsignal(signal.SIGINT) is not before
    assert signal.getsignal(signal.SIGINT) is before


def test_an_ignored_signal_stays_ignored():
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with StopSignals() as stop:
            os.kill(os.getpid(), signal.SIGINT)
            assert stop.received is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_other_threads_train_without_handlers():
    seen = []

    def work():
        with StopSignals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [signal.getsignal(signal.SIGTERM)]
