"""Accounts: joules by hand, bands of known law, and everything that is left out."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.energy import Counts, Facts, Ledger, account, energy_profile, joules, ratio, significant
from neuro.errors import UsageError
from neuro.hardware import HardwareProfile, Quantity, load_profile

FP32, LOIHI, SANAFE = map(load_profile, ("horowitz45-fp32", "loihi1", "loihi1-sanafe"))
COLUMNS = st.integers(0, 10**6)


def own(kind="assumed", **quantities) -> HardwareProfile:
    """Return a profile of joules: ``name=(value, low, high)``."""
    found = {
        name: Quantity(value, "J", kind, "a test", 2020, low=low, high=high)
        for name, (value, low, high) in quantities.items()
    }
    return HardwareProfile("own", found)


def one(samples=1, timesteps=1, facts=None, **columns) -> Ledger:
    return Ledger(
        {"layer": Counts(**columns)},
        facts={} if facts is None else {"layer": facts},
        samples=samples,
        timesteps=timesteps,
    )


@pytest.mark.parametrize(
    ("column", "pj"),
    [
        ("synaptic_additions", 0.9),
        ("additions", 0.9),
        ("bias_additions", 0.9),
        ("resets", 0.9),
        ("multiplications", 3.7),
        ("decays", 3.7),
        ("macs", 4.6),
        ("spikes_in", 0),
        ("comparisons", 0),
        ("functions", 0),
        ("neuron_updates", 0),
        ("delay_pushes", 0),
    ],
)
def test_arithmetic_by_column(column, pj):
    assert joules(one(**{column: 1}), FP32) == pytest.approx(pj * 1e-12)


def test_events_of_a_chip():
    busy = {"synaptic_additions": 10, "neuron_updates": 8, "active_updates": 3, "spikes": 2}
    found = account(one(**busy), LOIHI)
    expected = {
        "synaptic operation": 10 * 23.6,
        "neuron update active": 3 * 81,
        "neuron update inactive": 5 * 52,
        "spike within tile": 2 * 1.7,
    }
    values = {name: each.value / 1e-12 for name, each in found.terms.items()}
    assert values == pytest.approx(expected)
    assert found.total.value == pytest.approx(sum(expected.values()) * 1e-12)
    assert (found.kind, found.family, found.scope) == ("simulated", "simulated", "events")


def test_a_neuron_that_fired_was_active():
    fired = one(neuron_updates=8, spikes=2)
    assert joules(fired, LOIHI) == pytest.approx((2 * 81 + 6 * 52 + 2 * 1.7) * 1e-12)


def test_a_simulator_with_prices_for_convolutions():
    events = {"synaptic_additions": 10, "neuron_updates": 4, "active_updates": 3, "spikes": 2}
    neurons = 4 * 51.2 + 3 * 21.6 + 2 * (69.3 + 111)
    linear = joules(one(**events, facts=Facts(kind="linear")), SANAFE)
    assert linear == pytest.approx((10 * 35.5 + neurons) * 1e-12)
    convolution = joules(one(**events, facts=Facts(kind="convolution")), SANAFE)
    assert convolution == pytest.approx((10 * 24.0 + neurons) * 1e-12)
    assert joules(one(**events), SANAFE) == linear


def test_a_dense_machine_skips_nothing():
    processor = load_profile("cpu-i7-4960x")
    spiking = {"synaptic_additions": 5, "neuron_updates": 6}
    facts = Facts(kind="linear", signal="binary", dense=100)
    assert joules(one(**spiking, facts=facts, timesteps=4), processor) == pytest.approx(
        (4 * 100 + 6) * 8.6e-9
    )
    still = Facts(kind="linear", dense=100, constant=True)
    assert joules(one(macs=100, facts=still, timesteps=4), processor) == pytest.approx(100 * 8.6e-9)
    assert joules(one(macs=7, multiplications=2), processor) == pytest.approx(9 * 8.6e-9)


def test_a_sample_is_what_is_priced():
    both = one(macs=3) + one(macs=5)
    assert account(both, FP32).total.value == pytest.approx(4 * 4.6e-12)


def test_layers_and_terms_add_up():
    ledger = Ledger({"a": Counts(macs=3, additions=2), "b": Counts(decays=5), "c": Counts()})
    found = account(ledger, FP32)
    assert list(found.layers) == ["a", "b", "c"]
    assert sum(each.value for each in found.layers.values()) == pytest.approx(found.total.value)
    assert sum(each.value for each in found.terms.values()) == pytest.approx(found.total.value)
    assert found.layers["c"] == (0, 0, 0)


def test_one_constant_has_the_band_of_its_law():
    low, high = 2.0, 32.0
    found = account(one(additions=1), own(addition_energy=(5, low, high)), draws=200_000).total
    assert found.value == 5
    assert found.low == pytest.approx(low * (high / low) ** 0.05, rel=0.01)
    assert found.high == pytest.approx(low * (high / low) ** 0.95, rel=0.01)


def test_the_band_of_loihi_begins_at_its_minimum():
    found = account(one(synaptic_additions=1), LOIHI, draws=200_000).total
    assert found.value == pytest.approx(23.6e-12)
    assert found.low == pytest.approx(23.6e-12 * (35.5 / 23.6) ** 0.05, rel=1e-3)
    assert found.high == pytest.approx(23.6e-12 * (35.5 / 23.6) ** 0.95, rel=1e-3)


def test_constants_are_drawn_independently():
    """Of many equal constants the sum's band is that of a mean, far narrower than each one's."""
    names = ("addition", "multiplication", "synaptic_operation", "spike", "neuron_update")
    many = own(**{f"{name}_energy": (1, 0.1, 10) for name in names})
    counts = Counts(macs=1, synaptic_additions=1, spikes=1, neuron_updates=1)
    found = account(Ledger({"a": counts}), many).total
    rng = np.random.default_rng(7)
    draws = 0.1 * 100 ** rng.random((5, 200_000))
    weights = np.array([2, 1, 1, 1, 1])  # an addition for the MAC and one for the synapse
    low, high = np.quantile(weights @ draws, (0.05, 0.95))
    assert (found.low, found.high) == pytest.approx((low, high), rel=0.05)


def test_bounds_that_are_equal_have_no_band():
    ledger = Ledger({"a": Counts(macs=3, additions=7), "b": Counts(macs=11)})
    fixed = own(addition_energy=(0.3, None, None), multiplication_energy=(0.7, 0.7, 0.7))
    found = account(ledger, fixed)
    for each in (found.total, *found.layers.values(), *found.terms.values()):
        assert each.low == each.value == each.high


def test_seeds_reproduce():
    ledger = one(synaptic_additions=9, neuron_updates=4)
    assert account(ledger, LOIHI) == account(ledger, LOIHI)
    assert account(ledger, LOIHI).total != account(ledger, LOIHI, seed=1).total
    with pytest.raises(UsageError, match="draws = 0; at least 1"):
        account(ledger, LOIHI, draws=0)


def test_a_dominated_constant_comes_last():
    prices = own(
        addition_energy=(1, 0.5, 2), multiplication_energy=(1, 0.9, 1.1), spike_energy=(1, 0.1, 10)
    )
    found = account(one(additions=100, multiplications=100, spikes=1), prices).sensitivity
    assert [each.constant for each in found] == [
        "addition_energy",
        "multiplication_energy",
        "spike_energy",
    ]
    assert found[0][1:] == (50 + 100 + 1, 200 + 100 + 1)
    assert found[2][1:] == pytest.approx((200.1, 210))


def test_constants_that_price_nothing_are_not_among_them():
    found = account(one(additions=3), FP32)
    assert [each.constant for each in found.sensitivity] == ["addition_energy"]
    assert len(found.citations) == 1
    assert found.citations[0].startswith("Horowitz 2014")


@given(macs=COLUMNS, additions=COLUMNS, spikes=COLUMNS)
def test_a_network_is_exactly_1_of_itself(macs, additions, spikes):
    ledger = Ledger({"a": Counts(macs=macs + 1), "b": Counts(additions=additions, spikes=spikes)})
    assert ratio(ledger, ledger, FP32, draws=50) == (1.0, 1.0, 1.0)


def test_shared_constants_are_drawn_once():
    spiking, other = one(additions=1), one(additions=4)
    wide = own(addition_energy=(1, 0.01, 100))
    assert ratio(spiking, other, wide) == (0.25, 0.25, 0.25)
    renamed = HardwareProfile("other", wide.quantities)
    assert ratio(spiking, other, wide, renamed) == (0.25, 0.25, 0.25)
    differing = own(addition_energy=(1, 0.01, 99))
    apart = ratio(spiking, other, wide, differing)
    assert apart.value == 0.25
    assert apart.low < 0.01
    assert apart.high > 10


def test_a_ratio_to_nothing_is_refused():
    with pytest.raises(UsageError, match="loihi1 prices nothing of what the other network does"):
        ratio(one(synaptic_additions=3), one(macs=3), LOIHI)


def test_measured_beside_simulated_has_to_be_allowed():
    spiking = one(synaptic_additions=3)
    truenorth = load_profile("truenorth")
    with pytest.raises(UsageError, match=r"truenorth \(measured\) and loihi1 \(simulated\)"):
        ratio(spiking, spiking, truenorth, LOIHI)
    found = ratio(spiking, spiking, truenorth, LOIHI, allow_mixed_kinds=True)
    assert found.value == pytest.approx(26 / 23.6)


def test_what_has_no_price_is_listed():
    ledger = Ledger(
        {
            "first": Counts(macs=6, bias_additions=2, comparisons=5),
            "neurons": Counts(neuron_updates=4, decays=4, comparisons=4, additions=4, spikes=1),
            "delay": Counts(delay_pushes=9),
        },
        samples=2,
    )
    chip = account(ledger, LOIHI).excluded
    assert chip[:3] == (
        "macs: 3 a sample without a price",
        "comparisons: 2.5 a sample without a price",
        "delay pushes: 4.5 a sample without a price",
    )
    assert "static power and hops between tiles: no placement was given" in chip
    assert chip[-1] == "input and output of the board, its host"
    plain = account(ledger, FP32).excluded
    assert plain[:2] == (
        "comparisons: 4.5 a sample without a price",
        "delay pushes: 4.5 a sample without a price",
    )
    assert "memory: no reads or writes were counted" in plain
    assert "wires, control, clock and leakage" in plain
    synapses = account(ledger, load_profile("odin")).excluded
    assert "neuron updates: 2 a sample without a price" in synapses
    dense = account(ledger, load_profile("cpu-i7-4960x")).excluded
    assert not any("without a price" in each for each in dense)


def test_figures_of_a_rival_source_stand_beside_a_result():
    notes = account(one(synaptic_additions=1, neuron_updates=1), load_profile("spinnaker1")).notes
    assert "factor of 300" in notes[0]
    assert notes[1].startswith("spinnaker1-seneca has 45 pJ for synaptic operation (Stromatias")
    assert len(notes) == 2  # the other source has nothing on neurons


def test_spread_is_over_batches():
    batches = [one(additions=number, samples=2) for number in (2, 4, 6)]
    found = account(batches[0] + batches[1] + batches[2], FP32, batches=batches)
    assert found.spread == pytest.approx(0.9e-12)
    assert account(batches[0], FP32, batches=batches[:1]).spread is None


def test_json_is_in_picojoules():
    found = account(one(macs=2), FP32).to_json()
    assert found["name"] == "horowitz45-fp32"
    assert found["total_pj"]["value"] == pytest.approx(9.2)
    assert found["total_pj"].keys() == {"value", "low", "high"}
    assert found["layers"][0]["pj"] == found["total_pj"]
    assert [each["name"] for each in found["terms"]] == ["addition", "multiplication"]
    assert found["sensitivity"][0].keys() == {"constant", "low_pj", "high_pj"}
    assert (found["kind"], found["kinds"]) == ("simulated", ["simulated"])
    assert (found["scope"], found["with_memory_pj"]) == ("arithmetic alone", None)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (5.824e-3, "5.8 mJ"),
        (9.96e-4, "1 mJ"),
        (9.94e-4, "990 µJ"),
        (1.2345e-7, "120 nJ"),
        (3.14159, "3.1 J"),
        (36.88e-12, "37 pJ"),
        (2.5e-15, "2.5 fJ"),
        (2.51e-17, "0.025 fJ"),
        (0.0, "0 J"),
    ],
)
def test_energies_have_two_digits(value, shown):
    assert significant(value) == shown


def test_a_profile_of_ones_own_prices(tmp_path):
    path = tmp_path / "own.toml"
    path.write_text(
        'name = "own"\ninherits = "horowitz45-fp32"\n[addition_energy]\nvalue = 2\nunit = "nJ"\n'
        'kind = "measured"\nsource = "a table"\nyear = 2020\n',
        encoding="utf-8",
    )
    found = account(one(macs=1), energy_profile(path))
    assert found.total.value == pytest.approx(2e-9 + 3.7e-12)
    assert found.kinds == ("measured", "simulated")
    assert found.family == "simulated"
