"""Prices: units become SI, names are known, and kinds are kept apart."""

from pathlib import Path

import pytest

from neuro.energy import PROFILE, check_kinds, energy_profile
from neuro.energy.pricing.prices import family, prices_of
from neuro.errors import UsageError
from neuro.hardware import HardwareProfile, Quantity, load_profile
from neuro.hardware.profile import ProfileError


def profile(**quantities: tuple[float, str]) -> HardwareProfile:
    return HardwareProfile(
        "own",
        {
            name: Quantity(value, unit, "assumed", "a test", 2020)
            for name, (value, unit) in quantities.items()
        },
    )


def write(folder: Path, table: str, **changes: str | None) -> Path:
    complete = {
        "value": "2",
        "unit": '"nJ"',
        "kind": '"measured"',
        "source": '"a table"',
        "year": "2020",
        **changes,
    }
    lines = [f"{key} = {value}" for key, value in complete.items() if value is not None]
    path = folder / "own.toml"
    path.write_text("\n".join(['name = "own"', f"[{table}]", *lines]), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("unit", "joules"),
    [("J", 1), ("mJ", 1e-3), ("uJ", 1e-6), ("nJ", 1e-9), ("pJ", 1e-12), ("fJ", 1e-15)],
)
def test_energies_become_joules(unit, joules):
    found = prices_of(profile(addition_energy=(3, unit))).constants["addition_energy"]
    assert (found.value, found.low, found.high) == pytest.approx((3 * joules,) * 3)


def test_other_units():
    found = prices_of(
        profile(
            addition_energy=(1, "pJ"),
            dram_energy=(16, "pJ per 64 bits"),
            sram_8kb_energy=(16, "pJ per byte"),
            sram_1mb_energy=(3, "fJ per bit"),
            static_power_core=(2, "mW"),
            spike_time=(5, "ns"),
            barrier_time_1_tile=(7, "us"),
            barrier_time_12_tiles=(9, "us"),
            word_bits=(8, "bits"),
        )
    )
    values = {name: each.value for name, each in found.constants.items()}
    assert values == pytest.approx(
        {
            "addition_energy": 1e-12,
            "dram_energy": 0.25e-12,
            "sram_8kb_energy": 2e-12,
            "sram_1mb_energy": 3e-15,
            "static_power_core": 2e-3,
            "spike_time": 5e-9,
            "barrier_time_1_tile": 7e-6,
            "barrier_time_12_tiles": 9e-6,
        }
    )
    assert found.levels == ((8 * 8192, "sram_8kb_energy"), (8 * 2**20, "sram_1mb_energy"))
    assert found.barriers == ((1, "barrier_time_1_tile"), (12, "barrier_time_12_tiles"))
    assert found.word_bits == 8


@pytest.mark.parametrize(
    ("table", "changes", "message"),
    [
        ("addition_energy", {"unit": None}, r'\[addition_energy\]: "unit" is missing; .* its unit'),
        ("addition_energy", {"source": None}, r'\[addition_energy\]: "source" is missing'),
        ("addition_energy", {"value": None}, r'\[addition_energy\]: "value" is missing'),
        ("addition_energy", {"source": '""'}, "source = '' is not a text"),
        ("addition_energy", {"unit": '"ns"'}, r"unit = 'ns' is no unit of an energy; .*\"pJ\""),
        ("addition_energy", {"unit": '"pj"'}, "unit = 'pj' is no unit of an energy"),
        ("addition_energy", {"unit": '"pJ per bit"'}, "no unit of an energy"),
        ("dram_energy", {"unit": '"pJ"'}, r"no unit of an energy of a bit; .*pJ per 64 bits"),
        ("dram_energy", {"unit": '"pJ per 0 bits"'}, "no unit of an energy of a bit"),
        ("spike_time", {"unit": '"pJ"'}, "no unit of time"),
        ("static_power_core", {"unit": '"pJ"'}, "no unit of power"),
        ("addition_energy", {"value": "0"}, r"\[addition_energy\]: value = 0 is not above 0"),
        ("addition_energy", {"low": "-1"}, "low = -1 is not above 0"),
        ("addition_energy", {"high": "1"}, "is not between"),
        ("adition_energy", {}, r"\[adition_energy\]: nothing .*Did you mean \"addition_energy\""),
    ],
)
def test_a_number_that_is_no_price_is_refused(tmp_path, table, changes, message):
    with pytest.raises(ProfileError, match=rf"own\.toml.*{message}") as refused:
        energy_profile(write(tmp_path, table, **changes))
    assert refused.value.exit_code == 2


def test_a_profile_without_prices_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"Profile own prices no event\. It needs one of addition"):
        energy_profile(write(tmp_path, "dram_energy", unit='"pJ per bit"'))
    with pytest.raises(UsageError, match='Did you mean "horowitz45-'):
        energy_profile("horowitz45")


def test_a_profile_is_a_name_or_a_path(tmp_path):
    path = write(tmp_path, "addition_energy")
    assert energy_profile(path) == energy_profile(str(path))
    assert energy_profile(path).name == "own"
    assert energy_profile() == load_profile(PROFILE)
    assert PROFILE == "horowitz45-fp32"
    with pytest.raises(ProfileError, match=r"none\.toml: cannot read"):
        energy_profile(str(tmp_path / "none.toml"))


def test_measured_and_simulated_are_kept_apart():
    truenorth, loihi, odin = map(load_profile, ("truenorth", "loihi1", "odin"))
    check_kinds([loihi, odin])
    check_kinds([truenorth])
    with pytest.raises(UsageError, match=r"truenorth \(measured\) and loihi1 \(simulated\) cannot"):
        check_kinds([loihi, truenorth])
    check_kinds([loihi, truenorth], allow_mixed_kinds=True)


def test_what_is_not_wholly_measured_is_simulated():
    assert family({"measured"}) == "measured"
    assert family({"measured", "simulated"}) == family({"calibrated"}) == "simulated"
