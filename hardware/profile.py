"""Hardware profiles: TOML files of quantities, none without a unit, a kind, a source and a year.

A profile is a name, one table per quantity, and under ``limits`` what a network may ask of the
chip::

    name = "loihi1"

    [synaptic_operation_energy]
    value = 23.6
    unit = "pJ"
    kind = "simulated"
    source = "Davies et al. 2018, IEEE Micro 38(1), Table 2"
    year = 2018
    low = 23.6                      # optional, as are high and note
    note = "lower bound"

    [limits.neurons_per_core]
    value = 1024
    ...

One that says ``extends = "loihi2"`` has all that a profile of the package has, and its own beside
or in place of that.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

from neuro.errors import DataError, UsageError, nearest

Kind = Literal["measured", "simulated", "published", "secondary", "unpublished", "assumed"]
KINDS: tuple[str, ...] = get_args(Kind)

_PROFILES = Path(__file__).parent / "profiles"
_REQUIRED: dict[str, type | tuple[type, ...]] = {
    "value": (int, float),
    "unit": str,
    "kind": str,
    "source": str,
    "year": int,
}
_OPTIONAL: dict[str, type | tuple[type, ...]] = {
    "note": str,
    "low": (int, float),
    "high": (int, float),
}
_FIRST_YEAR = 1950


@dataclass(frozen=True)
class Quantity:
    """A number someone can check.

    Args:
        value: the number, finite.
        unit: its unit; a count names what it counts.
        kind: measured on the chip, simulated before it, published (a stated property of the
            design), secondary (from who quotes or implements the design, not from its maker),
            unpublished (there is no public number; this one stands in for it), or assumed.
        source: the publication, precise to the table or page.
        year: year of the source.
        note: what the number leaves open.
        low, high: what the number may be as well, None where the source says nothing.
    """

    value: float
    unit: str
    kind: Kind
    source: str
    year: int
    note: str = ""
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class HardwareProfile:
    """A named set of quantities, ``profile["name"]``, and of limits, ``profile.limit("name")``.

    ``extends`` names the profile it has them from that are not its own.
    """

    name: str
    quantities: Mapping[str, Quantity]
    limits: Mapping[str, Quantity] = field(default_factory=lambda: MappingProxyType({}))
    extends: str | None = None

    def __getitem__(self, quantity: str) -> Quantity:
        """Return the quantity, or raise UsageError naming the closest one there is."""
        return self._known(quantity, self.quantities, "quantity")

    def limit(self, name: str) -> Quantity:
        """Return the limit, or raise UsageError naming the closest one there is."""
        return self._known(name, self.limits, "limit")

    def _known(self, name: str, there: Mapping[str, Quantity], what: str) -> Quantity:
        if name not in there:
            raise UsageError(
                f'Profile {self.name} has no {what} "{name}".{nearest(name, there)} '
                f"It has: {', '.join(sorted(there)) or 'none'}."
            )
        return there[name]


def profile_names() -> list[str]:
    """Return the names of the profiles that come with the package."""
    return sorted(path.stem for path in _PROFILES.glob("*.toml"))


def load_profile(name: str) -> HardwareProfile:
    """Return a profile that comes with the package.

    Raises:
        UsageError: there is none of that name.
    """
    names = profile_names()
    if name not in names:
        raise UsageError(
            f'No hardware profile "{name}".{nearest(name, names)} There are: {", ".join(names)}.'
        )
    return read_profile(_PROFILES / f"{name}.toml")


def read_profile(path: Path) -> HardwareProfile:
    """Read a profile from a TOML file.

    Raises:
        DataError: the file is missing, is not TOML, or a quantity is incomplete; the message names
            the file, the table, what was found and what was expected.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise DataError(f"{path}: cannot read the hardware profile ({error.strerror}).") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a TOML file: {error}.") from error
    name = content.pop("name", None)
    if not isinstance(name, str) or not name:
        raise DataError(f'{path}: expected name = "..." at the top, got {name!r}.')
    base = _extended(path, content.pop("extends", None))
    limits = content.pop("limits", {})
    if not isinstance(limits, dict):
        raise DataError(f"{path}: expected tables [limits.<name>], got limits = {limits!r}.")
    if not content and not limits:
        raise DataError(f"{path}: the profile holds no quantity; expected one table for each.")
    return HardwareProfile(
        name,
        MappingProxyType({**base.quantities, **_quantities(f"{path}: ", content)}),
        MappingProxyType({**base.limits, **_quantities(f"{path}: ", limits, "limits.")}),
        base.name or None,
    )


def _extended(path: Path, name: Any) -> HardwareProfile:
    """Return the profile that one extends; one without a name or anything, if none."""
    if name is None:
        return HardwareProfile("", {})
    names = [each for each in profile_names() if each != path.stem]
    if name not in names:
        raise DataError(f"{path}: extends = {name!r}; expected one of {', '.join(names)}.")
    return load_profile(name)


def _quantities(path: str, tables: Mapping[str, Any], group: str = "") -> dict[str, Quantity]:
    return {name: _quantity(f"{path}[{group}{name}]", table) for name, table in tables.items()}


def _quantity(where: str, table: Any) -> Quantity:
    if not isinstance(table, dict):
        raise DataError(f"{where}: expected a table with {', '.join(_REQUIRED)}, got {table!r}.")
    fields = _REQUIRED | _OPTIONAL
    for key in table:
        if key not in fields:
            raise DataError(f'{where}: unknown key "{key}".{nearest(key, fields)}')
    for key, wanted in fields.items():
        if key not in table:
            if key in _REQUIRED:
                raise DataError(f'{where}: "{key}" is missing; a number needs its {key}.')
            continue
        value = table[key]
        # TOML's true is an int to Python.
        if isinstance(value, bool) or not isinstance(value, wanted) or value == "":
            raise DataError(f"{where}: {key} = {value!r} is not {_words(wanted)}.")
    for key in ("value", "low", "high"):
        if not math.isfinite(table.get(key, 0)):
            raise DataError(f"{where}: {key} = {table[key]} is not finite.")
    low, high = table.get("low", table["value"]), table.get("high", table["value"])
    if not low <= table["value"] <= high:
        raise DataError(f"{where}: value = {table['value']} is not between {low} and {high}.")
    if table["kind"] not in KINDS:
        raise DataError(
            f'{where}: kind = "{table["kind"]}"; expected one of {", ".join(KINDS)}.'
            f"{nearest(table['kind'], KINDS)}"
        )
    if table["year"] < _FIRST_YEAR:
        raise DataError(f"{where}: year = {table['year']}; expected {_FIRST_YEAR} or later.")
    return Quantity(
        value=float(table["value"]),
        unit=table["unit"],
        kind=cast(Kind, table["kind"]),
        source=table["source"],
        year=table["year"],
        note=table.get("note", ""),
        low=_bound(table, "low"),
        high=_bound(table, "high"),
    )


def _bound(table: dict[str, Any], key: str) -> float | None:
    return float(table[key]) if key in table else None


def _words(wanted: type | tuple[type, ...]) -> str:
    return {str: "a text of at least one character", int: "a whole number"}.get(
        cast(type, wanted), "a number"
    )
