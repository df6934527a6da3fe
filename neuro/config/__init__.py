"""Typed configurations: one frozen object a run, presets, and how settings are merged."""

from neuro.config.base import RunConfig
from neuro.config.kinds import AnyConfig, read_config
from neuro.config.load import (
    LoadedConfig,
    load_config,
    load_reason_config,
    resolve_config,
    resume_config,
)
from neuro.config.presets import preset_for, preset_names
from neuro.config.reason import ReasonConfig
from neuro.config.train import TrainConfig

__all__ = [
    "AnyConfig",
    "LoadedConfig",
    "ReasonConfig",
    "RunConfig",
    "TrainConfig",
    "load_config",
    "load_reason_config",
    "preset_for",
    "preset_names",
    "read_config",
    "resolve_config",
    "resume_config",
]
