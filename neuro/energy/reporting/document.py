"""What a report says: titled tables of text, and lists below them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
"""Plain values, as :mod:`neuro.energy.reporting.record` makes them."""


@dataclass(frozen=True)
class Table:
    """A title, a header, rows as long as it, and what is to be known to read them."""

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    note: str = ""


@dataclass(frozen=True)
class Document:
    """A title, lines that say what was counted, tables, and by profile what its totals leave out,
    what has to be known of it, and its sources."""

    title: str
    lines: tuple[str, ...]
    tables: tuple[Table, ...]
    unpriced: Mapping[str, tuple[str, ...]]
    excluded: Mapping[str, tuple[str, ...]]
    notes: Mapping[str, tuple[str, ...]]
    sources: Mapping[str, tuple[str, ...]]

    @property
    def lists(self) -> Mapping[str, Mapping[str, tuple[str, ...]]]:
        """What stands below the tables, by heading and profile; nothing that is empty."""
        found = {
            "No price": self.unpriced,
            "Left out": self.excluded,
            "Notes": self.notes,
            "Sources": self.sources,
        }
        return {heading: of for heading, of in found.items() if any(of.values())}


def by_profile(record: Record, key: str) -> Mapping[str, tuple[str, ...]]:
    """Return a list that each profile has."""
    return {each["name"]: tuple(each[key]) for each in record["profiles"]}
