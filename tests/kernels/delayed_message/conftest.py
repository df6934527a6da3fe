"""Which way messages are sent on the CPU."""

import importlib
import math

import pytest

CPU = importlib.import_module("neuro.kernels.delayed_message.cpu")


@pytest.fixture(params=["push", "pull", "as it comes"])
def direction(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The way messages are sent on the CPU."""
    limits = {"push": math.inf, "pull": -1.0}
    if request.param in limits:
        monkeypatch.setattr(CPU, "PUSH_BELOW", limits[request.param])
    return str(request.param)
