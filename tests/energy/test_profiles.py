"""The profiles that come along: every number pinned, sourced, and of the unit its name asks for."""

import pytest

from neuro.energy import energy_profile, energy_profiles
from neuro.energy.pricing.prices import prices_of
from neuro.errors import UsageError
from neuro.hardware import load_profile, profile_names

# value, low, high, unit, kind; None where the source gives no bound
SIM, MEA, CAL, SEC, PUB = "simulated", "measured", "calibrated", "secondary", "published"
PJ, NS, US, BITS64, BYTE = "pJ", "ns", "us", "pJ per 64 bits", "pJ per byte"
MEMORY = {
    "sram_8kb_energy": (10, 10, 20, BITS64, SIM),
    "sram_32kb_energy": (20, 20, 40, BITS64, SIM),
    "sram_1mb_energy": (100, 100, 200, BITS64, SIM),
    "dram_energy": (1950, 1300, 2600, BITS64, SIM),
}


def arithmetic(addition, multiplication, bits):
    return {
        "addition_energy": (*addition, PJ, SIM),
        "multiplication_energy": (*multiplication, PJ, SIM),
        "word_bits": (bits, None, None, "bits", PUB),
        **MEMORY,
    }


def simulated(value, unit, low=None, high=None):
    return value, low, high, unit, SIM


def calibrated(value, unit, low=None, high=None):
    return value, low, high, unit, CAL


def synaptic(value, kind=SEC, low=None, high=None):
    return {"synaptic_operation_energy": (value, low, high, PJ, kind)}


PINNED = {
    "horowitz45-fp32": arithmetic((0.9, 0.85, 0.95), (3.7, 3.65, 3.75), 32),
    "horowitz45-fp16": arithmetic((0.4, 0.35, 0.45), (1.1, 1.05, 1.15), 16),
    "horowitz45-int32": arithmetic((0.1, 0.05, 0.15), (3.1, 3.05, 3.15), 32),
    "horowitz45-int8": arithmetic((0.03, 0.025, 0.035), (0.2, 0.15, 0.25), 8),
    "lemaire45": {
        "addition_energy": (0.1, 0.05, 0.15, PJ, SIM),
        "multiplication_energy": (3.1, 3.05, 3.15, PJ, SIM),
        "sram_8kb_energy": (2.5, 1.25, 2.5, BYTE, SEC),
        "sram_32kb_energy": (5, 2.5, 5, BYTE, SEC),
        "sram_1mb_energy": (25, 12.5, 25, BYTE, SEC),
    },
    "loihi1": {
        "synaptic_operation_energy": simulated(23.6, PJ, 23.6, 35.5),
        "synaptic_operation_time": simulated(3.5, NS),
        "synaptic_update_stdp_energy": simulated(120, PJ, 80, 180),
        "synaptic_update_stdp_time": simulated(6.1, NS),
        "neuron_update_active_energy": simulated(81, PJ, 72.8, 142.1),
        "neuron_update_active_time": simulated(8.4, NS),
        "neuron_update_inactive_energy": simulated(52, PJ, 51.2, 72.8),
        "neuron_update_inactive_time": simulated(5.3, NS),
        "spike_within_tile_energy": simulated(1.7, PJ, 1.13, 2.55),
        "spike_within_tile_time": simulated(2.1, NS),
        "tile_hop_east_west_energy": simulated(3.0, PJ, 2.0, 4.5),
        "tile_hop_east_west_time": simulated(4.1, NS),
        "tile_hop_north_south_energy": simulated(4.0, PJ, 2.67, 6.0),
        "tile_hop_north_south_time": simulated(6.5, NS),
        "barrier_time_1_tile": simulated(113, NS),
        "barrier_time_32_tiles": simulated(465, NS),
        "barrier_time_chips": (15, 14, 16, US, MEA),
        "step_time_workloads": (9.4, 5.8, 13, US, MEA),
        "static_power_core": (0.82, None, None, "mW", MEA),
        "static_power_chip": (104, None, None, "mW", MEA),
        "reset_energy_chip": (5.9, None, None, "uJ", MEA),
    },
    "loihi1-sanafe": {
        "synaptic_operation_energy": calibrated(35.5, PJ, 33.6, 35.5),
        "synaptic_operation_time": calibrated(3.8, NS, 3.8, 4.7),
        "synaptic_operation_convolution_energy": calibrated(24.0, PJ),
        "synaptic_operation_convolution_time": calibrated(3.1, NS),
        "neuron_access_energy": calibrated(51.2, PJ),
        "neuron_access_time": calibrated(6.0, NS),
        "neuron_integration_energy": calibrated(21.6, PJ),
        "neuron_integration_time": calibrated(3.7, NS),
        "spike_energy": calibrated(69.3, PJ),
        "spike_time": calibrated(30, NS),
        "message_energy": calibrated(111, PJ),
        "message_time": calibrated(5.1, NS),
        "message_in_time": calibrated(16, NS),
        "tile_hop_east_west_energy": calibrated(3.0, PJ),
        "tile_hop_east_west_time": calibrated(4.1, NS),
        "tile_hop_north_south_energy": calibrated(4.2, PJ),
        "tile_hop_north_south_time": calibrated(6.5, NS),
        "barrier_time_1_tile": calibrated(0.6, US),
        "barrier_time_2_tiles": calibrated(1.0, US),
        "barrier_time_4_tiles": calibrated(1.4, US),
        "barrier_time_29_tiles": calibrated(1.8, US),
    },
    "loihi2": {},
    "loihi2-microcode": {},
    "truenorth": synaptic(26, MEA, 2.5, 26),
    "truenorth-akopyan": synaptic(2.5),
    "spinnaker1": {
        "synaptic_operation_energy": (13.3, None, None, "nJ", SEC),
        "neuron_update_energy": (26, None, None, "nJ", SEC),
    },
    "spinnaker1-seneca": synaptic(45),
    "spinnaker2": {
        "synaptic_operation_energy": (450, None, None, PJ, SEC),
        "neuron_update_energy": (2.19, None, None, "nJ", SEC),
    },
    "spinnaker2-seneca": synaptic(10),
    "odin": synaptic(12.7),
    "seneca": synaptic(2.8, SIM),
    "cpu-i7-4960x": {"mac_equivalent_energy": (8.6, None, None, "nJ", SEC)},
    "gpu-titan-black": {"mac_equivalent_energy": (0.3, None, None, "nJ", SEC)},
    "arm-cortex-a": {"mac_equivalent_energy": (0.9, None, None, "nJ", SEC)},
}
PRICED = sorted(PINNED.keys() - {"loihi2", "loihi2-microcode"})


@pytest.mark.parametrize("name", profile_names())
def test_every_number_is_pinned(name):
    found = {
        key: (each.value, each.low, each.high, each.unit, each.kind)
        for key, each in load_profile(name).quantities.items()
    }
    assert found == PINNED[name]


@pytest.mark.parametrize(
    ("name", "mac", "ac"),
    [("fp32", 4.6, 0.9), ("fp16", 1.5, 0.4), ("int32", 3.2, 0.1), ("int8", 0.23, 0.03)],
)
def test_a_multiply_accumulate_at_each_precision(name, mac, ac):
    constants = prices_of(load_profile(f"horowitz45-{name}")).constants
    add, multiply = (constants[f"{each}_energy"].value for each in ("addition", "multiplication"))
    assert add == pytest.approx(ac * 1e-12)
    assert add + multiply == pytest.approx(mac * 1e-12)


def test_all_but_loihi2_price_something():
    assert energy_profiles() == PRICED
    for name in PRICED:
        assert energy_profile(name).name == name


@pytest.mark.parametrize("name", PRICED)
def test_every_number_can_be_looked_up(name):
    for key, each in load_profile(name).quantities.items():
        assert any(character.isdigit() for character in each.source), key
        bounded = each.low is not None or each.high is not None
        assert each.note or not bounded, f"{key}: where do the bounds come from?"


@pytest.mark.parametrize("name", profile_names())
def test_conflicts_are_told_from_both_sides(name):
    for rival in load_profile(name).conflicts:
        assert name in load_profile(rival).conflicts


def test_chips_with_conflicting_sources():
    pairs = {(name, other) for name in PRICED for other in load_profile(name).conflicts}
    chips = ("loihi1", "spinnaker1", "spinnaker2", "truenorth")
    rivals = ("loihi1-sanafe", "spinnaker1-seneca", "spinnaker2-seneca", "truenorth-akopyan")
    assert {pair for pair in pairs if pair[0] in chips} == set(zip(chips, rivals, strict=True))


def test_loihi2_says_what_there_is_instead():
    with pytest.raises(UsageError, match=r"Profile loihi2: No energies per event.*ICASSP.*path"):
        energy_profile("loihi2")
    with pytest.raises(UsageError, match=r'no quantity "synaptic_operation_energy".*whole systems'):
        load_profile("loihi2")["synaptic_operation_energy"]
    assert not {"loihi2", "loihi2-microcode"} & set(energy_profiles())
