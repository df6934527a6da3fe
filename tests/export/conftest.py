"""Small trained runs, what they are exported to, and who reads that."""

import os
from pathlib import Path

import pytest

from neuro.config import TrainConfig
from neuro.export.make import ExportOptions, Report, export_run
from neuro.export.readers import VARIABLE, Readers, find_readers
from neuro.training import train
from tests.hardware.lava.conftest import lava

__all__ = ["lava"]

QUICK = ExportOptions(calibrate=32, samples=3, accuracy=0)


def trained(folder: Path, **changes: object) -> Path:
    """Train a very small network on digits and return its run."""
    config = TrainConfig.model_validate(
        {
            "rule": {"name": "opzo"},
            "dataset": "digits",
            "model": {"name": "mlp", "hidden": [12], "reset": "hard"},
            "timesteps": 4,
            "epochs": 1,
            "validation_fraction": 0.1,
            "tensorboard": False,
            "plots": False,
            "threads": 1,
            **changes,
        }
    )
    train(config, run_dir=folder)
    return folder


def quick(run: Path, folder: Path, **changes: object) -> Report:
    """Export a run, calibrated on a few samples and without accuracies."""
    options = ExportOptions(**{**vars(QUICK), **changes})
    return export_run(run, folder, options, note=lambda text: None)


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that can be exported; read only."""
    return trained(tmp_path_factory.mktemp("runs") / "hard")


@pytest.fixture(scope="session")
def soft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run as trained by default, whose spikes subtract the threshold; read only."""
    model = {"name": "mlp", "hidden": [12]}
    return trained(tmp_path_factory.mktemp("runs") / "soft", model=model)


@pytest.fixture(scope="session")
def readers() -> Readers:
    """The Python that reads NIR; without one the test is skipped, unless one is named."""
    found = find_readers()
    if found.missing:
        if os.environ.get(VARIABLE):
            pytest.fail(f"{found.path} has no {', '.join(found.missing)}")
        pytest.skip("NIR readers are not installed: run `make nir-readers`")
    return found
