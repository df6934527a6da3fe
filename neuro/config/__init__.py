"""Typed configurations: one frozen object a run, presets, and how settings are merged."""

from neuro.config.load import LoadedConfig, load_config, resolve_config, resume_config
from neuro.config.presets import preset_for, preset_names
from neuro.config.train import TrainConfig

__all__ = [
    "LoadedConfig",
    "TrainConfig",
    "load_config",
    "preset_for",
    "preset_names",
    "resolve_config",
    "resume_config",
]
