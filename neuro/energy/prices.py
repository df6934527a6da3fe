"""What an operation costs, from a hardware profile."""

from dataclasses import asdict
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from neuro.errors import DataError
from neuro.hardware import load_profile, read_profile

PROFILE = "horowitz45-fp32"
"""32-bit floats at 45 nm, which publications on spiking networks price with."""

Unit = Literal["J", "mJ", "uJ", "nJ", "pJ", "fJ"]
_JOULES: dict[Unit, float] = {
    "J": 1.0,
    "mJ": 1e-3,
    "uJ": 1e-6,
    "nJ": 1e-9,
    "pJ": 1e-12,
    "fJ": 1e-15,
}


class Price(BaseModel):
    """Energy of one operation.

    Attributes:
        value: in ``unit``, above 0; ``low`` and ``high`` where the source gives bounds.
        unit: of energy.
        kind: how the source came by it.
        source: the publication.
        year: of the source.
        note: what it leaves open.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    value: float = Field(gt=0)
    unit: Unit
    kind: str
    source: str = Field(min_length=1)
    year: int
    note: str = ""
    low: float | None = Field(default=None, gt=0)
    high: float | None = Field(default=None, gt=0)

    @property
    def joules(self) -> tuple[float, float, float]:
        """Value, low and high; bounds the source does not give are the value."""
        low = self.value if self.low is None else self.low
        high = self.value if self.high is None else self.high
        scale = _JOULES[self.unit]
        return scale * self.value, scale * low, scale * high


class Prices(BaseModel):
    """Energies of arithmetic; a multiply-accumulate costs a multiplication and an addition."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    profile: str
    addition: Price
    multiplication: Price

    @property
    def kinds(self) -> str:
        """How the prices were come by: what has to stand beside every total."""
        return ", ".join(sorted({self.addition.kind, self.multiplication.kind}))


def load_prices(profile: str | Path = PROFILE) -> Prices:
    """Read ``addition_energy`` and ``multiplication_energy`` of a hardware profile.

    Args:
        profile: name of one that comes with the package, or a TOML file.

    Raises:
        UsageError: there is no profile of that name, or it has no such energy.
        DataError: a number lacks its unit or source, or is no energy above 0.
    """
    found = read_profile(profile) if isinstance(profile, Path) else load_profile(profile)
    try:
        return Prices(
            profile=found.name,
            addition=Price(**asdict(found["addition_energy"])),
            multiplication=Price(**asdict(found["multiplication_energy"])),
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise DataError(
            f"Profile {found.name}: {first['loc'][0]} = {first['input']!r}; {first['msg']}."
        ) from None
