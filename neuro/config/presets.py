"""Presets: one TOML file a data set, with ``[for.NAME]`` tables for what a rule or method wants.

Those of graphs lie in a folder of their own, below the others.
"""

import tomllib
from importlib.resources import files
from importlib.resources.abc import Traversable
from pathlib import Path
from typing import Any

from neuro.errors import ConfigError, nearest

DATA_PRESETS = "presets"
GRAPH_PRESETS = "presets/graphs"


def preset_names(folder: str = DATA_PRESETS) -> list[str]:
    """Return the names of all presets of a folder, sorted."""
    return sorted(
        entry.name[: -len(".toml")]
        for entry in _folder(folder).iterdir()
        if entry.name.endswith(".toml")
    )


def preset_for(dataset: str, folder: str = DATA_PRESETS) -> str | None:
    """Return the preset of a data set (``events:mnist`` -> ``events-mnist``), if it has one."""
    name = dataset.replace(":", "-")
    return name if name in preset_names(folder) else None


def read_preset(name: str, folder: str = DATA_PRESETS) -> dict[str, Any]:
    """Read a preset by name.

    Raises:
        ConfigError: there is no such preset.
    """
    names = preset_names(folder)
    if name not in names:
        raise ConfigError(
            f'There is no preset "{name}".{nearest(name, names)} Presets: {", ".join(names)}.'
        )
    return tomllib.loads((_folder(folder) / f"{name}.toml").read_text("utf-8"))


def read_file(path: Path) -> dict[str, Any]:
    """Read settings from a TOML file, or from the ``config.json`` of a run.

    Raises:
        ConfigError: the file is missing, unreadable, or not TOML (JSON).
    """
    import json

    try:
        text = path.read_text("utf-8")
        table: Any = json.loads(text) if path.suffix == ".json" else tomllib.loads(text)
    except FileNotFoundError:
        raise ConfigError(f"The configuration file {path} does not exist.") from None
    except OSError as error:
        raise ConfigError(f"Cannot read the configuration file {path}: {error.strerror}.") from None
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        kind = "JSON" if path.suffix == ".json" else "TOML"
        raise ConfigError(f"{path} is not valid {kind}: {error}.") from None
    if not isinstance(table, dict):
        raise ConfigError(f"{path} must hold a table of settings, got {type(table).__name__}.")
    return table


def _folder(name: str) -> Traversable:
    return files("neuro.config").joinpath(*name.split("/"))
