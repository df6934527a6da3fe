"""Hardware profiles: every number is complete, and a broken file is named."""

from pathlib import Path

import pytest

from neuro.errors import DataError, UsageError
from neuro.hardware import Quantity, load_profile, profile_names, read_profile

COMPLETE = {
    "value": "23.6",
    "unit": '"pJ"',
    "kind": '"simulated"',
    "source": '"a table"',
    "year": "2018",
}


def write(folder: Path, **changes: str | None) -> Path:
    entries = {**COMPLETE, **changes}
    lines = [f"{key} = {value}" for key, value in entries.items() if value is not None]
    path = folder / "chip.toml"
    path.write_text('name = "chip"\n[energy]\n' + "\n".join(lines), encoding="utf-8")
    return path


def test_a_complete_quantity_is_read(tmp_path):
    profile = read_profile(write(tmp_path, note='"lower bound"'))
    assert profile.name == "chip"
    assert profile["energy"] == Quantity(
        23.6, "pJ", "simulated", "a table", 2018, note="lower bound"
    )


def test_bounds_are_read_and_none_is_made_up(tmp_path):
    bounded = read_profile(write(tmp_path, high="47.2"))["energy"]
    assert (bounded.low, bounded.high) == (None, 47.2)


@pytest.mark.parametrize("key", COMPLETE)
def test_a_number_without_one_of_its_facts_is_refused(tmp_path, key):
    with pytest.raises(DataError, match=rf'chip.toml: \[energy\]: "{key}" is missing'):
        read_profile(write(tmp_path, **{key: None}))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": '"mesured"'}, 'kind = "mesured".*Did you mean "measured"'),
        ({"value": '"23.6"'}, "value = '23.6' is not a number"),
        ({"value": "nan"}, "value = nan is not finite"),
        ({"value": "true"}, "value = True is not a number"),
        ({"source": '""'}, "source = '' is not a text"),
        ({"year": "2018.0"}, "year = 2018.0 is not a whole number"),
        ({"year": "18"}, "year = 18; expected 1950 or later"),
        ({"low": "-inf"}, "low = -inf is not finite"),
        ({"low": "24"}, "value = 23.6 is not between 24 and 23.6"),
        ({"low": "20", "high": "22"}, "value = 23.6 is not between 20 and 22"),
        ({"high": '"x"'}, "high = 'x' is not a number"),
        ({"vdd": "0"}, "vdd = 0 is not above 0"),
        ({"node_nm": '"14"'}, "node_nm = '14' is not a number"),
        ({"quote": '""'}, "quote = '' is not a text"),
        ({"sorce": '"x"'}, 'unknown key "sorce". Did you mean "source"'),
    ],
)
def test_a_wrong_entry_is_named(tmp_path, changes, message):
    with pytest.raises(DataError, match=message):
        read_profile(write(tmp_path, **changes))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('name = "x"', "holds no quantity"),
        ("[energy]\nvalue = 1", 'expected name = "..."'),
        ('name = "x"\nenergy = 3', r"\[energy\]: expected a table"),
        ("name = ", "not a TOML file"),
    ],
)
def test_a_file_that_is_no_profile_is_refused(tmp_path, content, message):
    path = tmp_path / "chip.toml"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_profile(path)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(DataError, match=r"none\.toml: cannot read.*No such file"):
        read_profile(tmp_path / "none.toml")


@pytest.mark.parametrize("name", profile_names())
def test_every_profile_that_comes_along_reads(name):
    profile = load_profile(name)
    assert profile.name == name
    assert profile.quantities or profile.limits


def test_loihi1_says_that_its_energies_are_simulated():
    loihi = load_profile("loihi1")
    energies = {key: each for key, each in loihi.quantities.items() if each.unit == "pJ"}
    assert {key: each.value for key, each in energies.items()} == {
        "synaptic_operation_energy": 23.6,
        "synaptic_update_stdp_energy": 120,
        "neuron_update_active_energy": 81,
        "neuron_update_inactive_energy": 52,
        "spike_within_tile_energy": 1.7,
        "tile_hop_east_west_energy": 3.0,
        "tile_hop_north_south_energy": 4.0,
    }
    assert {each.kind for each in energies.values()} == {"simulated"}


def test_unknown_names_are_answered_with_the_nearest():
    with pytest.raises(UsageError, match=r'No hardware profile "lohi1".*Did you mean "loihi1"'):
        load_profile("lohi1")
    with pytest.raises(UsageError, match='Did you mean "synaptic_operation_energy"'):
        load_profile("loihi1")["synaptic_operation_enrgy"]
    with pytest.raises(UsageError, match=r'no limit "neuron_per_core".*"neurons_per'):
        load_profile("loihi1").limit("neuron_per_core")


def test_where_a_number_comes_from_is_kept(tmp_path):
    told = {"node_nm": "14", "vdd": "0.75", "page": '"86"', "quote": '"23.6 pJ (min)"'}
    found = read_profile(write(tmp_path, **told))["energy"]
    assert (found.node_nm, found.vdd, found.page, found.quote) == (14, 0.75, "86", "23.6 pJ (min)")
    assert found.citation == "a table, p. 86 (2018)"
    assert read_profile(write(tmp_path, source='"Someone 2018"'))["energy"].citation == (
        "Someone 2018"
    )


@pytest.mark.parametrize("kind", ["calibrated", "derived", "vendor", "measured", "assumed"])
def test_kinds_of_numbers(tmp_path, kind):
    assert read_profile(write(tmp_path, kind=f'"{kind}"'))["energy"].kind == kind


def family(folder: Path, **files: str) -> Path:
    """Write profiles side by side and return the folder."""
    table = "\n".join(f"{key} = {value}" for key, value in COMPLETE.items())
    for name, text in files.items():
        content = f'name = "{name}"\n' + text.replace("{}", table)
        (folder / f"{name}.toml").write_text(content, encoding="utf-8")
    return folder


def test_what_a_profile_does_not_give_it_inherits(tmp_path):
    family(
        tmp_path,
        old='note = "old"\nexcludes = ["wires"]\nconflicts = ["x"]\n'
        "[a]\n{}\n[b]\n{}\n[limits.c]\n{}",
        new='inherits = "old.toml"\n[b]\nvalue = 5\nunit = "nJ"\nkind = "measured"\n'
        'source = "own"\nyear = 2020\nlow = 4',
        newest='inherits = "new.toml"\nnote = "own"\nexcludes = []\n[d]\n{}',
    )
    old, new, newest = (
        read_profile(tmp_path / f"{name}.toml") for name in ("old", "new", "newest")
    )
    assert (new.name, new["a"], new.limit("c")) == ("new", old["a"], old.limit("c"))
    assert new["b"] == Quantity(5, "nJ", "measured", "own", 2020, low=4)
    assert (new.note, new.excludes, new.conflicts) == ("old", ("wires",), ())
    assert newest.quantities.keys() == {"a", "b", "d"}
    assert (newest["b"], newest.note, newest.excludes) == (new["b"], "own", ())


def test_a_profile_of_ones_own_inherits_from_a_shipped_one(tmp_path):
    path = family(tmp_path, own='inherits = "horowitz45-fp32"\n[addition_energy]\n{}') / "own.toml"
    own, shipped = read_profile(path), load_profile("horowitz45-fp32")
    assert own["multiplication_energy"] == shipped["multiplication_energy"]
    assert own["addition_energy"].value == 23.6
    assert (own.file, own.excludes) == (str(path), shipped.excludes)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({"a": 'inherits = "b.toml"', "b": 'inherits = "a.toml"'}, "inherits from itself"),
        ({"a": 'inherits = "a.toml"'}, "inherits from itself"),
        ({"a": 'inherits = "none.toml"'}, r"none\.toml: cannot read"),
        ({"a": 'inherits = "lohi1"'}, 'inherits = "lohi1" is no profile. Did you mean "loihi1"'),
        ({"a": "inherits = 3\n[x]\n{}"}, "inherits = 3 is not a text"),
        ({"a": 'note = ""\n[x]\n{}'}, "note = '' is not a text"),
        ({"a": 'excludes = "x"\n[x]\n{}'}, "excludes = 'x' is not a list of texts"),
        ({"a": "conflicts = [1]\n[x]\n{}"}, "conflicts = 1 is not a text"),
    ],
)
def test_what_stands_above_the_tables_is_checked(tmp_path, files, message):
    with pytest.raises(DataError, match=message):
        read_profile(family(tmp_path, **files) / "a.toml")


def test_a_broken_profile_is_a_wrong_request(tmp_path):
    with pytest.raises(DataError) as refused:
        read_profile(write(tmp_path, unit=None))
    assert refused.value.exit_code == 2


def test_loihi2_has_no_energies():
    with pytest.raises(UsageError, match=r"Profile loihi2 has no quantity .* It has: none"):
        load_profile("loihi2")["synaptic_operation_energy"]


def test_limits_stand_apart_from_quantities(tmp_path):
    path = write(tmp_path)
    path.write_text(path.read_text().replace("[energy]", "[limits.cores]"), encoding="utf-8")
    profile = read_profile(path)
    assert profile.limit("cores").value == 23.6
    assert not profile.quantities


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        ("limits = 3", "expected tables"),
        ("[limits]\ncores = 3", r"\[limits.cores\]: expected a table"),
        ("[limits.cores]\nvalue = 3", r'\[limits.cores\]: "unit" is missing'),
    ],
)
def test_a_limit_is_as_complete_as_a_quantity(tmp_path, limits, message):
    path = tmp_path / "chip.toml"
    path.write_text(f'name = "x"\n{limits}', encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_profile(path)


def test_limits_of_loihi1_are_those_of_its_sources():
    limits = {name: each.value for name, each in load_profile("loihi1").limits.items()}
    assert limits == {
        "cores": 128,
        "tile_columns": 8,
        "tile_rows": 4,
        "cores_per_tile": 4,
        "neurons_per_core": 1024,
        "input_axons_per_core": 4096,
        "output_axons_per_core": 4096,
        "synapse_bits_per_core": 16384 * 64,
        "delay_slots_per_core": 8 * 1024,
        "decay_groups_per_core": 32,
        "threshold_groups_per_core": 8,
        "synapse_formats_per_core": 8,
        "du_minimum": 0,
        "du_maximum": 4095,
        "dv_minimum": 0,
        "dv_maximum": 4095,
        "vth_minimum": 0,
        "vth_maximum": 131071,
        "bias_mantissa_minimum": -4096,
        "bias_mantissa_maximum": 4095,
        "bias_exponent_minimum": 0,
        "bias_exponent_maximum": 7,
        "delay_minimum": 0,
        "delay_maximum": 62,
        "weight_exponent_minimum": -7,
        "weight_exponent_maximum": 7,
        "mixed_weight_minimum": -256,
        "mixed_weight_maximum": 254,
        "mixed_weight_odd": 0,
        "excitatory_weight_maximum": 255,
        "inhibitory_weight_minimum": -255,
        "weight_exponent_remainder": 0,
        "accumulator_bits": 21,
    }


def test_what_is_not_public_of_loihi2_is_marked():
    limits = load_profile("loihi2").limits
    assert {name for name, each in limits.items() if each.kind == "unpublished"} == {
        "tile_columns",
        "tile_rows",
        "cores_per_tile",
        "input_axons_per_core",
        "output_axons_per_core",
        "synapse_bits_per_core",
        "convolution_copies_per_core",
    }


def test_a_program_of_ones_own_is_a_limit_beside_those_of_the_chip():
    plain, microcode = load_profile("loihi2"), load_profile("loihi2-microcode")
    assert microcode.inherits == "loihi2"
    assert microcode.limits.keys() - plain.limits.keys() == {"own_programs"}
    assert microcode.limit("cores") == plain.limit("cores")


def test_a_profile_cannot_be_changed():
    with pytest.raises(TypeError):
        load_profile("loihi1").quantities["cores"] = None  # type: ignore[index]
