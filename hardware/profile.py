"""Hardware profiles: TOML files of quantities, none without a unit, a kind, a source and a year.

A profile is a name, one table per quantity, and under ``limits`` what a network may ask of the
chip::

    name = "loihi1"
    note = "what stands beside every result"        # optional, as are inherits, method,
    excludes = ["input and output of the board"]    # excludes, conflicts and no_energies

    [synaptic_operation_energy]
    value = 23.6
    unit = "pJ"
    kind = "simulated"
    source = "Davies et al. 2018, IEEE Micro 38(1), Table 2"
    year = 2018
    low = 23.6                      # optional, as are high, node_nm, vdd, page, quote and note
    note = "lower bound"

    [limits.neurons_per_core]
    value = 1024
    ...

``inherits = "horowitz45-fp32"`` (or a TOML file beside this one) takes over each quantity and limit
that the profile does not give itself.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, cast, get_args

from neuro.errors import DataError, UsageError, nearest

Kind = Literal[
    "measured",
    "simulated",
    "calibrated",
    "derived",
    "vendor",
    "published",
    "secondary",
    "unpublished",
    "assumed",
]
KINDS: tuple[str, ...] = get_args(Kind)

_PROFILES = Path(__file__).parent / "profiles"
_NUMBER = (int, float)
_REQUIRED: dict[str, type | tuple[type, ...]] = {
    "value": _NUMBER,
    "unit": str,
    "kind": str,
    "source": str,
    "year": int,
}
_OPTIONAL: dict[str, type | tuple[type, ...]] = {
    "note": str,
    "low": _NUMBER,
    "high": _NUMBER,
    "node_nm": _NUMBER,
    "vdd": _NUMBER,
    "page": str,
    "quote": str,
}
_TEXTS = ("inherits", "note", "method", "no_energies")
_LISTS = ("excludes", "conflicts")
_INHERITED = ("note", "method", "no_energies", "excludes")
_FIRST_YEAR = 1950


class ProfileError(DataError):
    """A profile is not what it should be; it is asked for by name, so the request is wrong."""

    exit_code = 2


@dataclass(frozen=True)
class Quantity:
    """A number someone can check.

    Args:
        value: the number, finite.
        unit: its unit; a count names what it counts.
        kind: measured on the chip, simulated before it, calibrated (simulated, then fitted to
            measurements), derived from other numbers, vendor (its maker's claim), published (a
            stated property of the design), secondary (from who quotes or implements the design, not
            from its maker), unpublished (there is no public number; this one stands in for it), or
            assumed.
        source: the publication, precise to the table or page.
        year: year of the source.
        note: what the number leaves open; where bounds come from.
        low, high: what the number may be as well, None where nothing is said.
        node_nm: process, in nm; None if not known, as for ``vdd``.
        vdd: supply voltage, in V.
        page: of the source, where its name does not say it.
        quote: its words.
    """

    value: float
    unit: str
    kind: Kind
    source: str
    year: int
    note: str = ""
    low: float | None = None
    high: float | None = None
    node_nm: float | None = None
    vdd: float | None = None
    page: str = ""
    quote: str = ""

    @property
    def citation(self) -> str:
        """Source, page and year in one line."""
        page = f", p. {self.page}" if self.page else ""
        year = "" if str(self.year) in self.source else f" ({self.year})"
        return f"{self.source}{page}{year}"


@dataclass(frozen=True)
class HardwareProfile:
    """A named set of quantities, ``profile["name"]``, and of limits, ``profile.limit("name")``.

    Args:
        name: as in the file.
        quantities: what things cost.
        limits: what there is.
        note: stands beside every result.
        method: by which its quantities are to be used, where counting events is not all of it.
        excludes: what no quantity stands for.
        conflicts: profiles of the same chip that disagree.
        no_energies: why there are none, and what there is instead.
        inherits: whose quantities and limits it has where it gives none; empty for none.
        file: it was read from, for messages; empty for none.
    """

    name: str
    quantities: Mapping[str, Quantity]
    limits: Mapping[str, Quantity] = field(default_factory=lambda: MappingProxyType({}))
    note: str = ""
    method: str = ""
    excludes: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()
    no_energies: str = ""
    inherits: str = ""
    file: str = ""

    def __getitem__(self, quantity: str) -> Quantity:
        """Return the quantity, or raise UsageError naming the closest one there is."""
        return self._known(quantity, self.quantities, "quantity")

    def limit(self, name: str) -> Quantity:
        """Return the limit, or raise UsageError naming the closest one there is."""
        return self._known(name, self.limits, "limit")

    def _known(self, name: str, there: Mapping[str, Quantity], what: str) -> Quantity:
        if name not in there:
            reason = f" {self.no_energies}" if self.no_energies and what == "quantity" else ""
            raise UsageError(
                f'Profile {self.name} has no {what} "{name}".{nearest(name, there)} '
                f"It has: {', '.join(sorted(there)) or 'none'}.{reason}"
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
        ProfileError: the file is missing, is not TOML, or a quantity is incomplete; the message
            names the file, the table, what was found and what was expected.
    """
    return _read(path, ())


def _read(path: Path, heirs: tuple[Path, ...]) -> HardwareProfile:
    if path.resolve() in heirs:
        raise ProfileError(f"{path}: the profile inherits from itself.")
    content = _content(path)
    name = content.pop("name", None)
    if not isinstance(name, str) or not name:
        raise ProfileError(f'{path}: expected name = "..." at the top, got {name!r}.')
    about: dict[str, Any] = {
        key: check(path, key, content.pop(key))
        for keys, check in ((_TEXTS, _text), (_LISTS, _texts))
        for key in keys
        if key in content
    }
    tables = content.pop("limits", {})
    if not isinstance(tables, dict):
        raise ProfileError(f"{path}: expected tables [limits.<name>], got limits = {tables!r}.")
    quantities = _quantities(f"{path}: ", content)
    limits = _quantities(f"{path}: ", tables, "limits.")
    parent = about.get("inherits")
    if parent is not None:
        base = _read(_place(path, parent), (*heirs, path.resolve()))
        quantities, limits = {**base.quantities, **quantities}, {**base.limits, **limits}
        about = {key: getattr(base, key) for key in _INHERITED} | about
    if not quantities and not limits:
        raise ProfileError(f"{path}: the profile holds no quantity; expected one table for each.")
    return HardwareProfile(
        name,
        MappingProxyType(quantities),
        MappingProxyType(limits),
        **about,
        file=str(path),
    )


def _content(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ProfileError(
            f"{path}: cannot read the hardware profile ({error.strerror})."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ProfileError(f"{path}: not a TOML file: {error}.") from error


def _place(path: Path, parent: str) -> Path:
    """Return the file of the profile that one inherits from."""
    if parent.endswith(".toml"):
        return path.parent / parent
    names = profile_names()
    if parent not in names:
        raise ProfileError(
            f'{path}: inherits = "{parent}" is no profile.{nearest(parent, names)} '
            f"There are: {', '.join(names)}; or name a .toml file."
        )
    return _PROFILES / f"{parent}.toml"


def _text(path: Path, key: str, value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ProfileError(f"{path}: {key} = {value!r} is not a text of at least one character.")
    return value


def _texts(path: Path, key: str, value: Any) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ProfileError(f"{path}: {key} = {value!r} is not a list of texts.")
    return tuple(_text(path, key, each) for each in value)


def _quantities(path: str, tables: Mapping[str, Any], group: str = "") -> dict[str, Quantity]:
    return {name: _quantity(f"{path}[{group}{name}]", table) for name, table in tables.items()}


def _quantity(where: str, table: Any) -> Quantity:
    if not isinstance(table, dict):
        raise ProfileError(f"{where}: expected a table with {', '.join(_REQUIRED)}, got {table!r}.")
    _check_entries(where, table)
    low, high = table.get("low", table["value"]), table.get("high", table["value"])
    if not low <= table["value"] <= high:
        raise ProfileError(f"{where}: value = {table['value']} is not between {low} and {high}.")
    if table["kind"] not in KINDS:
        raise ProfileError(
            f'{where}: kind = "{table["kind"]}"; expected one of {", ".join(KINDS)}.'
            f"{nearest(table['kind'], KINDS)}"
        )
    if table["year"] < _FIRST_YEAR:
        raise ProfileError(f"{where}: year = {table['year']}; expected {_FIRST_YEAR} or later.")
    numbers = {key for key, wanted in (_REQUIRED | _OPTIONAL).items() if wanted is _NUMBER}
    entries: dict[str, Any] = {
        key: float(value) if key in numbers else value for key, value in table.items()
    }
    return Quantity(**entries)


def _check_entries(where: str, table: dict[str, Any]) -> None:
    """Check that all entries there must be are there, and are what they must be."""
    entries = _REQUIRED | _OPTIONAL
    for key in table:
        if key not in entries:
            raise ProfileError(f'{where}: unknown key "{key}".{nearest(key, entries)}')
    for key, wanted in entries.items():
        if key not in table:
            if key in _REQUIRED:
                raise ProfileError(f'{where}: "{key}" is missing; a number needs its {key}.')
            continue
        value = table[key]
        # TOML's true is an int to Python.
        if isinstance(value, bool) or not isinstance(value, wanted) or value == "":
            raise ProfileError(f"{where}: {key} = {value!r} is not {_words(wanted)}.")
        if wanted is _NUMBER and not math.isfinite(table[key]):
            raise ProfileError(f"{where}: {key} = {value} is not finite.")
    for key in ("node_nm", "vdd"):
        if not table.get(key, 1) > 0:
            raise ProfileError(f"{where}: {key} = {table[key]} is not above 0.")


def _words(wanted: type | tuple[type, ...]) -> str:
    return {str: "a text of at least one character", int: "a whole number"}.get(
        cast(type, wanted), "a number"
    )
