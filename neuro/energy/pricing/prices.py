"""What an event costs: the quantities of a hardware profile in SI units, each a positive number."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Literal

from neuro.energy.pricing.events import EVENTS
from neuro.errors import UsageError, nearest
from neuro.hardware import HardwareProfile, Quantity, load_profile, profile_names, read_profile
from neuro.hardware.profile import ProfileError

PROFILE = "horowitz45-fp32"
"""32-bit floats at 45 nm, which publications on spiking networks price with."""

Family = Literal["measured", "simulated"]
Dimension = Literal["energy", "energy of a bit", "time", "power", "bits"]

_SCALES = {"": 1.0, "m": 1e-3, "u": 1e-6, "n": 1e-9, "p": 1e-12, "f": 1e-15}
_BASES: Mapping[str, Dimension] = {"J": "energy", "s": "time", "W": "power"}
_UNIT = re.compile(r"(?P<prefix>[munpf]?)(?P<base>[JsW])")
_OF_DATA = re.compile(r"(?P<energy>.*J) per (?:(?P<bits>\d+) bits|(?P<one>bit|byte))")
_EXAMPLES: Mapping[Dimension, str] = {
    "energy": '"pJ"',
    "energy of a bit": '"pJ per 64 bits" or "pJ per byte"',
    "time": '"ns"',
    "power": '"mW"',
    "bits": '"bits"',
}

_ENERGIES = {*(f"{name}_energy" for name in EVENTS)} | {
    "tile_hop_east_west_energy",
    "tile_hop_north_south_energy",
    "synaptic_update_stdp_energy",
    "reset_energy_chip",
}
_TIMES = {*(f"{name}_time" for name in EVENTS)} | {
    "tile_hop_east_west_time",
    "tile_hop_north_south_time",
    "synaptic_update_stdp_time",
    "barrier_time_chips",
    "step_time_workloads",
}
_POWERS = {"static_power_core", "static_power_chip"}
_SRAM = re.compile(r"sram_(?P<size>\d+)(?P<scale>kb|mb)_energy")
_BARRIER = re.compile(r"barrier_time_(?P<tiles>\d+)_tiles?")
DRAM = "dram_energy"
WORD = "word_bits"


@dataclass(frozen=True)
class Constant:
    """A quantity in SI units: joules, joules a bit, seconds or watts.

    Attributes:
        name: in the profile.
        quantity: it was read from.
        value: above 0, as are the bounds.
        low: the value where the source gives no bound.
        high: likewise.
    """

    name: str
    quantity: Quantity
    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Prices:
    """The constants of a profile.

    Attributes:
        profile: it is made from.
        constants: by name.
        levels: sizes of memories, in bits, and the name of each one's price, smallest first.
        barriers: numbers of tiles, and the name of the time to synchronise them, fewest first.
        word_bits: of the numbers that are computed with.
    """

    profile: HardwareProfile
    constants: Mapping[str, Constant]
    levels: tuple[tuple[float, str], ...]
    barriers: tuple[tuple[float, str], ...]
    word_bits: int

    @property
    def family(self) -> Family:
        """Whether all that is priced was measured."""
        return family({each.quantity.kind for each in self.constants.values()})


def family(kinds: set[str]) -> Family:
    """Return "measured" for numbers that were all measured, "simulated" for any others."""
    return "measured" if kinds == {"measured"} else "simulated"


def check_kinds(profiles: Iterable[HardwareProfile], *, allow_mixed_kinds: bool = False) -> None:
    """Check that totals by these profiles may stand in one column.

    Raises:
        UsageError: some are measured, others simulated, and that is not allowed.
    """
    families = {profile.name: prices_of(profile).family for profile in profiles}
    require_one_family(families, allow_mixed_kinds=allow_mixed_kinds)


def require_one_family(families: Mapping[str, Family], *, allow_mixed_kinds: bool) -> None:
    """Check that totals may stand beside each other.

    Args:
        families: by name of what is compared.
        allow_mixed_kinds: whether they may anyway.

    Raises:
        UsageError: some are of measured numbers, others of simulated ones.
    """
    if allow_mixed_kinds or len(set(families.values())) < 2:
        return
    sides = {kind: [name for name, each in families.items() if each == kind] for kind in FAMILIES}
    raise UsageError(
        f"{', '.join(sides['measured'])} (measured) and {', '.join(sides['simulated'])} "
        "(simulated) cannot be ranked: a simulated total leaves out what a measured one holds. "
        "Compare profiles of one kind, or allow mixed kinds."
    )


FAMILIES: tuple[Family, ...] = ("measured", "simulated")


def energy_profiles() -> list[str]:
    """Return the names of the profiles that come with the package and price something."""
    return [name for name in profile_names() if not load_profile(name).no_energies]


def energy_profile(profile: str | Path = PROFILE) -> HardwareProfile:
    """Return a profile that prices something.

    Args:
        profile: name of one that comes with the package, or a TOML file: a Path, or a text that
            ends in ``.toml``.

    Raises:
        UsageError: there is no profile of that name, or no energies of that chip are published.
        ProfileError: a number lacks its unit or source, or is no energy above 0.
    """
    path = isinstance(profile, Path) or profile.endswith(".toml")
    found = read_profile(Path(profile)) if path else load_profile(str(profile))
    prices_of(found)
    return found


def prices_of(profile: HardwareProfile) -> Prices:
    """Return the constants of a profile.

    Raises:
        UsageError: it has no energies.
        ProfileError: an unknown quantity, or a number that is not what its name says.
    """
    if profile.no_energies:
        raise UsageError(f"Profile {profile.name}: {profile.no_energies}")
    constants = {
        name: _constant(profile, name) for name in profile.quantities if _dimension(profile, name)
    }
    word = constants.pop(WORD, None)
    if not any(f"{name}_energy" in constants for name in EVENTS):
        raise UsageError(
            f"Profile {profile.name} prices no event. It needs one of "
            f"{', '.join(f'{name}_energy' for name in EVENTS)}."
        )
    return Prices(
        profile=profile,
        constants=MappingProxyType(constants),
        levels=tuple(sorted((_bits(name), name) for name in constants if _SRAM.fullmatch(name))),
        barriers=tuple(
            sorted(
                (float(match["tiles"]), name)
                for name in constants
                if (match := _BARRIER.fullmatch(name))
            )
        ),
        word_bits=32 if word is None else int(word.value),
    )


def _bits(name: str) -> float:
    match = _SRAM.fullmatch(name)
    assert match is not None
    return 8 * int(match["size"]) * {"kb": 2**10, "mb": 2**20}[match["scale"]]


def _dimension(profile: HardwareProfile, name: str) -> Dimension:
    """Return what a quantity of this name is.

    Raises:
        ProfileError: no quantity has this name, so it would price nothing.
    """
    if name in _ENERGIES:
        return "energy"
    if _SRAM.fullmatch(name) or name == DRAM:
        return "energy of a bit"
    if name in _TIMES or _BARRIER.fullmatch(name):
        return "time"
    if name in _POWERS:
        return "power"
    if name == WORD:
        return "bits"
    known = [*_ENERGIES, *_TIMES, *_POWERS, WORD, DRAM, "sram_8kb_energy", "barrier_time_1_tile"]
    raise ProfileError(
        f"{profile.file or profile.name}: [{name}]: nothing is priced by that name."
        f"{nearest(name, known)} Energies are: {', '.join(sorted(_ENERGIES))}, {DRAM}, "
        "sram_<size>kb_energy."
    )


def _constant(profile: HardwareProfile, name: str) -> Constant:
    quantity, dimension = profile[name], _dimension(profile, name)
    where = f"{profile.file or profile.name}: [{name}]"
    found = _scale(quantity.unit)
    if found is None or found[1] != dimension:
        raise ProfileError(
            f"{where}: unit = {quantity.unit!r} is no unit of {_a(dimension)}; expected one like "
            f"{_EXAMPLES[dimension]}."
        )
    bounds = {"value": quantity.value, "low": quantity.low, "high": quantity.high}
    for key, number in bounds.items():
        if number is not None and not number > 0:
            raise ProfileError(f"{where}: {key} = {number:g} is not above 0.")
    scale = found[0]
    low = quantity.value if quantity.low is None else quantity.low
    high = quantity.value if quantity.high is None else quantity.high
    return Constant(name, quantity, scale * quantity.value, scale * low, scale * high)


def _scale(unit: str) -> tuple[float, Dimension] | None:
    """Return how many SI units a unit is, and of what."""
    if unit == "bits":
        return 1.0, "bits"
    of_data = _OF_DATA.fullmatch(unit)
    match = _UNIT.fullmatch(of_data["energy"] if of_data else unit)
    if match is None:
        return None
    scale = _SCALES[match["prefix"]]
    if of_data is None:
        return scale, _BASES[match["base"]]
    bits = int(of_data["bits"] or {"bit": 1, "byte": 8}[of_data["one"]])
    return (scale / bits, "energy of a bit") if bits else None


def _a(dimension: Dimension) -> str:
    return dimension if dimension in ("time", "power", "bits") else f"an {dimension}"
