"""Presets: one TOML file a dataset, with ``[for.RULE]`` tables for what a rule wants otherwise."""

import tomllib
from importlib.resources import files
from pathlib import Path
from typing import Any

from neuro.errors import ConfigError, nearest


def preset_names() -> list[str]:
    """Return the names of all presets, sorted."""
    folder = files("neuro.config") / "presets"
    return sorted(
        entry.name[: -len(".toml")] for entry in folder.iterdir() if entry.name.endswith(".toml")
    )


def preset_for(dataset: str) -> str | None:
    """Return the preset of a data set (``events:mnist`` -> ``events-mnist``), if it has one."""
    name = dataset.replace(":", "-")
    return name if name in preset_names() else None


def read_preset(name: str) -> dict[str, Any]:
    """Read a preset by name.

    Raises:
        ConfigError: there is no such preset.
    """
    names = preset_names()
    if name not in names:
        raise ConfigError(
            f'There is no preset "{name}".{nearest(name, names)} Presets: {", ".join(names)}.'
        )
    return tomllib.loads((files("neuro.config") / "presets" / f"{name}.toml").read_text("utf-8"))


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
