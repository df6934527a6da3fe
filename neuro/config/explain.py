"""What is wrong with a configuration, said in terms of the keys a user wrote."""

from collections.abc import Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from neuro.config.kinds import AnyKind
from neuro.config.merge import Settings
from neuro.errors import ConfigError, nearest


def option_keys(kind: AnyKind, section: str, name: str) -> list[str]:
    """Return the keys that ``[section]`` takes when its name is ``name``."""
    options = kind.options[section].get(name)
    if options is None:
        return ["name"]
    if issubclass(options, BaseModel):
        own = list(options.model_fields)
    else:
        own = [field.name for field in fields(options)] if is_dataclass(options) else []
    return ["name", *(key for key in own if key != "name")]


def check_keys(settings: Settings, kind: AnyKind) -> None:
    """Raise on the first unknown key or name, naming the nearest known one.

    Raises:
        ConfigError: an unknown key, or an unknown name in a table that has one.
    """
    for path in settings.leaves():
        _check_key(path[0], "", kind.config.keys(), settings, path)
    for section, known in kind.options.items():
        table = settings.table.get(section)
        if table is None:
            continue
        if not isinstance(table, dict):
            raise ConfigError(
                f"{section} must be a name or a table, got {table!r} "
                f"(from {settings.origin((section,))})."
            )
        name = table["name"] if "name" in table else _default_name(kind, section)
        if name not in known:
            raise ConfigError(
                f'Unknown {section} "{name}" (from {settings.origin((section, "name"))}).'
                f"{nearest(str(name), known)} Known: {', '.join(known)}."
            )
        table["name"] = name
        for key in table:
            keys = option_keys(kind, section, name)
            _check_key(key, f"{section}.", keys, settings, (section, key))


def explain(error: ValidationError, settings: Settings, kind: AnyKind) -> str:
    """Say in one line what pydantic found: key, value, source and reason of each error."""
    return " ".join(_explain_one(details, settings, kind) for details in error.errors())


def _explain_one(details: Any, settings: Settings, kind: AnyKind) -> str:
    path = tuple(str(part) for part in details["loc"])
    if len(path) > 1 and path[1] in kind.options.get(path[0], ()):
        path = (path[0], *path[2:])
    reason = str(details["msg"]).removeprefix("Value error, ")
    key = ".".join(path) or "The configuration"
    if details["type"] == "missing":
        return f"{key} is missing."
    source = settings.origin(path)
    shown = "" if isinstance(details["input"], Mapping) else f" = {details['input']!r}"
    return f"{key}{shown} (from {source}): {reason[:1].lower()}{reason[1:].rstrip('.')}."


def _check_key(
    key: str, prefix: str, known: Iterable[str], settings: Settings, path: tuple[str, ...]
) -> None:
    known = list(known)
    if key in known:
        return
    where = f"Options of {path[0]} {settings.table[path[0]]['name']}" if prefix else "Keys"
    suggestion = (
        nearest(key, known).replace('"', f'"{prefix}', 1) if prefix else nearest(key, known)
    )
    raise ConfigError(
        f'Unknown key "{prefix}{key}" (from {settings.origin(path)}).{suggestion} '
        f"{where}: {', '.join(known)}."
    )


def _default_name(kind: AnyKind, section: str) -> str:
    default: Any = kind.config.model_fields[section].get_default(call_default_factory=True)
    name = default["name"] if isinstance(default, Mapping) else default.name
    return str(name)
