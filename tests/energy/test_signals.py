"""Signals are declared; values may only contradict, never decide."""

import pytest
import torch

from neuro.energy import SIGNALS, check_signal
from neuro.energy.signals import known_signal
from neuro.errors import UsageError

INF = float("inf")


@pytest.mark.parametrize(
    ("values", "declared", "unit", "active"),
    [
        ([0, 1, 1], "binary", 1.0, 2),
        ([0.0, 2.74, 0.0], "binary", 2.74, 1),
        ([-1, 0, 1], "ternary", 1.0, 2),
        ([0.25, 0, 3], "graded", 1.0, 2),
        ([0.0, 0.0], "real", 1.0, 0),
        ([0.0, 0.0], "binary", 1.0, 0),
    ],
)
def test_what_agrees_is_counted(values, declared, unit, active):
    assert check_signal(torch.tensor(values), declared, "here", unit=unit) == active


@pytest.mark.parametrize(
    ("values", "declared", "message"),
    [
        ([0.5, 1], "binary", "conv1: declared binary, so all values are 0 or 1, but 1 of them is"),
        ([2, -1], "binary", "but 2 of them are not. Declare it"),
        ([0, -2.0], "ternary", "so all values are 0, 1 or -1, but 1 of them is not"),
        ([float("nan")], "binary", "but 1 of them is not"),
        ([INF, 0], "graded", "so all values are finite, but 1 of them is not"),
        ([float("nan"), 1], "real", "so all values are finite"),
    ],
)
def test_what_contradicts_is_refused(values, declared, message):
    with pytest.raises(UsageError, match=message):
        check_signal(torch.tensor(values), declared, "conv1")


def test_names():
    assert [known_signal(name, "x") for name in SIGNALS] == list(SIGNALS)
    with pytest.raises(UsageError, match='x: unknown signal "spikes"; expected one of binary'):
        known_signal("spikes", "x")
