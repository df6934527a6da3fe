"""Spiking neural networks trained online: neurons, networks, learning rules, data and runs.

``import neuro`` costs nothing: each public name is looked up in its module on first use.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from neuro.config import TrainConfig as TrainConfig
    from neuro.data import DATASETS as DATASETS
    from neuro.data import Dataset as Dataset
    from neuro.data import load_dataset as load_dataset
    from neuro.layers import Network as Network
    from neuro.learning import RULES as RULES
    from neuro.learning import build_rule as build_rule
    from neuro.models import MODELS as MODELS
    from neuro.models import build_model as build_model
    from neuro.training import train as train

__version__ = "0.1.0"

_PUBLIC = {
    "DATASETS": "neuro.data",
    "Dataset": "neuro.data",
    "MODELS": "neuro.models",
    "Network": "neuro.layers",
    "RULES": "neuro.learning",
    "ReasonConfig": "neuro.config",
    "TrainConfig": "neuro.config",
    "build_model": "neuro.models",
    "build_rule": "neuro.learning",
    "load_dataset": "neuro.data",
    "train": "neuro.training",
}

__all__ = [
    "DATASETS",
    "MODELS",
    "RULES",
    "Dataset",
    "Network",
    "ReasonConfig",
    "TrainConfig",
    "__version__",
    "build_model",
    "build_rule",
    "load_dataset",
    "train",
]


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'neuro' has no attribute {name!r}")
    value = getattr(import_module(_PUBLIC[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *_PUBLIC})
