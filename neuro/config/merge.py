"""Settings from several places, merged into one table that remembers where each value came from."""

import re
import tomllib
from collections.abc import Iterator, Mapping
from typing import Any

from neuro.errors import ConfigError

TAGGED = ("rule", "model", "encoding", "optimizer", "schedule", "method")
"""Tables whose ``name`` chooses the kind: a new name starts a new table; ``model = "conv5"`` is
short for ``model = { name = "conv5" }``."""

NO_VALUE = "null"
"""TOML has no word for "no value"; this string is it, in files and in ``--set``."""

_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*(\.[A-Za-z_][A-Za-z0-9_-]*)*")
_BARE_WORD = re.compile(r"[A-Za-z_][A-Za-z0-9_.:+-]*")


def parse_assignment(text: str) -> tuple[tuple[str, ...], Any]:
    """Read ``key.sub=value``; the value is TOML, or a bare word that stands for a string.

    Args:
        text: for example ``rule.alpha=0.1``, ``model.hidden=[256,256]``, ``encoding.name=rate``.

    Returns:
        The path of the key and the value.

    Raises:
        ConfigError: there is no ``=``, or the value is not TOML.
    """
    key, equals, value = (part.strip() for part in text.partition("="))
    if not equals or not _KEY.fullmatch(key):
        raise ConfigError(f'--set needs key=value, as in --set rule.alpha=0.1; got "{text}".')
    path = tuple(part.replace("-", "_") for part in key.split("."))
    try:
        table = tomllib.loads(f"value = {value}")
    except tomllib.TOMLDecodeError:
        if _BARE_WORD.fullmatch(value):
            return path, value
        raise ConfigError(
            f'--set {key}: "{value}" is not a TOML value. Write numbers as 1e-3, lists as [1,2], '
            'text as "..." and no value as null.'
        ) from None
    if set(table) != {"value"}:
        raise ConfigError(f'--set {key}: "{value}" holds more than one value.')
    return path, table["value"]


class Settings:
    """One nested table of settings; ``origin(path)`` tells which source set a value."""

    def __init__(self) -> None:
        self.table: dict[str, Any] = {}
        self.dropped: list[tuple[str, str, str]] = []
        self._origins: dict[tuple[str, ...], str] = {}

    def add(self, table: Mapping[str, Any], source: str) -> None:
        """Lay ``table`` over what is there; ``source`` is how messages name it."""
        self._merge(self.table, table, source, ())

    def assign(self, path: tuple[str, ...], value: Any, source: str) -> None:
        """Set one value by its path."""
        nested: Any = value
        for part in reversed(path):
            nested = {part: nested}
        self.add(nested, source)

    def origin(self, path: tuple[str, ...]) -> str:
        """Return the source of the value at ``path``, or of the nearest table above it."""
        while path and path not in self._origins:
            path = path[:-1]
        return self._origins.get(path, "the defaults")

    def leaves(self) -> Iterator[tuple[str, ...]]:
        """Paths of every value that was set."""
        yield from self._origins

    def _merge(
        self,
        target: dict[str, Any],
        table: Mapping[str, Any],
        source: str,
        path: tuple[str, ...],
    ) -> None:
        for key, given in table.items():
            here = (*path, key)
            tagged = not path and key in TAGGED
            value = {"name": given} if tagged and isinstance(given, str) else given
            if not isinstance(value, Mapping):
                target[key] = None if value == NO_VALUE else value
                self._origins[here] = source
                continue
            known = target.get(key)
            if not isinstance(known, dict):
                known = target[key] = {}
            if tagged and "name" in known and value.get("name", known["name"]) != known["name"]:
                self._forget(key, known)
                known.clear()
            self._merge(known, value, source, here)

    def _forget(self, key: str, known: Mapping[str, Any]) -> None:
        """Options of another rule or model do not carry over; remember them for a note."""
        for option in known:
            origin = self._origins.pop((key, option), "")
            if option != "name" and origin:
                self.dropped.append((f"{key}.{option}", origin, f"{key} {known.get('name')}"))
