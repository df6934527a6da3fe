"""Prices: every number has a unit and a source, and is an energy."""

from pathlib import Path

import pytest

from neuro.energy import PROFILE, load_prices
from neuro.errors import DataError, UsageError
from neuro.hardware import load_profile

ADDITION = {
    "value": "2",
    "unit": '"nJ"',
    "kind": '"measured"',
    "source": '"a table"',
    "year": "2020",
}


def write(folder: Path, **changes: str | None) -> Path:
    lines = ['name = "own"']
    for table, entries in {
        "addition_energy": {**ADDITION, **changes},
        "multiplication_energy": ADDITION,
    }.items():
        lines.append(f"[{table}]")
        lines += [f"{key} = {value}" for key, value in entries.items() if value is not None]
    path = folder / "own.toml"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_the_shipped_constants():
    prices = load_prices()
    assert prices.profile == PROFILE == "horowitz45-fp32"
    assert prices.addition.joules == pytest.approx((0.9e-12,) * 3)
    assert prices.multiplication.joules == pytest.approx((3.7e-12,) * 3)
    for price in (prices.addition, prices.multiplication):
        assert (price.unit, price.year) == ("pJ", 2014)
        assert price.source.startswith("Horowitz 2014")
    assert prices.kinds == "simulated"
    assert load_profile(PROFILE).quantities.keys() == {"addition_energy", "multiplication_energy"}


def test_units_and_bounds(tmp_path):
    prices = load_prices(write(tmp_path, low="1", high="4"))
    assert prices.addition.joules == pytest.approx((2e-9, 1e-9, 4e-9))
    assert prices.multiplication.joules == pytest.approx((2e-9, 2e-9, 2e-9))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"unit": None}, r'\[addition_energy\]: "unit" is missing; a number needs its unit'),
        ({"source": None}, r'\[addition_energy\]: "source" is missing'),
        ({"source": '""'}, "source = ''"),
        ({"unit": '"ns"'}, "Profile own: unit = 'ns'; Input should be 'J'"),
        ({"value": "0"}, "Profile own: value = 0.0; Input should be greater than 0"),
        ({"low": "-1"}, "Profile own: low = -1.0; Input should be greater than 0"),
        ({"high": "1"}, "is not between"),
    ],
)
def test_a_number_that_is_no_energy_is_refused(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        load_prices(write(tmp_path, **changes))


def test_a_profile_without_prices_is_refused():
    with pytest.raises(UsageError, match='Profile loihi1 has no quantity "addition_energy"'):
        load_prices("loihi1")
    with pytest.raises(UsageError, match='Did you mean "horowitz45-fp32"'):
        load_prices("horowitz45")
