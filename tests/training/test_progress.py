"""What a person sees."""

import sys

import pytest

from neuro.training.progress import (
    BarProgress,
    LineProgress,
    Progress,
    describe_epoch,
    format_seconds,
    terminal_progress,
)

RECORD = {
    "epoch": 3,
    "train_loss": 0.51234,
    "train_accuracy": 0.9,
    "validation_accuracy": 0.8765,
    "firing_rate": 0.1234,
    "samples_per_second": 12345.6,
    "seconds": 10.0,
}
LINE = (
    "epoch  3/12  loss 0.5123  accuracy 90.00%  validation 87.65%  firing rate 0.123  "
    "12,346 samples/s  ETA 1:30"
)


def test_an_epoch_is_one_line():
    assert describe_epoch(RECORD, 12) == LINE
    short = {key: value for key, value in RECORD.items() if key != "validation_accuracy"}
    assert "validation" not in describe_epoch(short, 12)


@pytest.mark.parametrize(("seconds", "text"), [(0, "0:00"), (59.6, "1:00"), (3725, "1:02:05")])
def test_times_are_short(seconds, text):
    assert format_seconds(seconds) == text


@pytest.mark.parametrize("kind", [LineProgress, BarProgress])
def test_lines_and_bars_write_to_stderr_alone(kind, capsys):
    progress = kind()
    progress.note("hello [world]")
    progress.begin(epochs=12, steps_per_epoch=5, done=10)
    progress.batch(3, 11, 0.5, 0.9, 0.1)
    progress.epoch(RECORD)
    progress.end()
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "hello [world]" in captured.err
    assert "validation 87.65%" in captured.err


def test_the_display_suits_where_stderr_goes(monkeypatch):
    assert isinstance(terminal_progress(), LineProgress)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert isinstance(terminal_progress(), BarProgress)
    assert type(terminal_progress(quiet=True)) is Progress
