"""A tiny run on the embedded digits: seconds, one thread, nothing drawn unless asked."""

from pathlib import Path
from typing import Any

import pytest

from neuro.config import TrainConfig, load_config
from neuro.training import RunSummary, train


def make_config(rule: str = "opzo", /, **settings: Any) -> TrainConfig:
    base: dict[str, Any] = {
        "model": {"name": "mlp", "hidden": [16]},
        "timesteps": 3,
        "epochs": 2,
        "batch_size": 128,
        "threads": 1,
        "device": "cpu",
        "tensorboard": False,
        "plots": False,
    }
    return load_config(rule, **(base | settings))


@pytest.fixture
def tiny():
    """Make a tiny configuration; settings given replace its own."""
    return make_config


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory) -> tuple[Path, RunSummary]:
    """A finished run with everything that a run writes; read only."""
    path = tmp_path_factory.mktemp("runs") / "finished"
    config = make_config(tensorboard=True, plots=True, epochs=3, log_every_steps=4)
    return path, train(config, run_dir=path)
