"""The model of Lemaire et al. on four networks whose energies are known to the last digit."""

from dataclasses import replace

import pytest

from neuro.energy import Counts, Facts, Ledger, account
from neuro.energy.pricing.lemaire import lemaire_lines
from neuro.energy.pricing.prices import prices_of
from neuro.errors import UsageError
from neuro.hardware import load_profile

LEMAIRE = load_profile("lemaire45")
LINEAR = Facts(
    kind="linear", signal="binary", parameters=12, inputs=4, outputs=3, channels=3, dense=12
)
THREE = Facts(kind="neurons", state=3, inputs=3, outputs=3, neurons=3, activation_bits=1)
LIF = Counts(neuron_updates=6, decays=6, comparisons=6, additions=6)
CONVOLUTION = Facts(
    kind="convolution",
    signal="binary",
    parameters=72,
    inputs=50,
    outputs=36,
    channels=4,
    kernel=(3, 3),
    stride=(2, 2),
)
MANY = Facts(kind="neurons", state=36, inputs=36, outputs=36, neurons=36)
IF = Counts(neuron_updates=72, comparisons=72, additions=72)


def network(facts: Facts, counts: Counts, neurons: Facts, updates: Counts, samples=1) -> Ledger:
    return Ledger(
        {"synapse": counts, "shape": Counts(), "neuron": updates},
        facts={"synapse": facts, "shape": Facts(kind="shape"), "neuron": neurons},
        samples=samples,
        timesteps=2,
    )


def picojoules(ledger: Ledger, **options: bool) -> float:
    if options:
        constants = prices_of(LEMAIRE).constants
        lines = lemaire_lines(ledger, prices_of(LEMAIRE), **options)
        amounts = [each for line in lines for each in line.amounts.items()]
        return sum(number * constants[name].value for name, number in amounts) / 1e-12
    return account(ledger, LEMAIRE).total.value / 1e-12


SILENT = network(LINEAR, Counts(spikes_in=3, synaptic_additions=9), THREE, LIF)
FIRING = network(
    LINEAR, Counts(spikes_in=3, synaptic_additions=9), THREE, LIF + Counts(spikes=6, resets=6)
)
CONV = network(CONVOLUTION, Counts(spikes_in=2, synaptic_additions=12), MANY, IF)
BIASED = replace(LINEAR, signal="real", parameters=15, bias=True)
REAL = network(BIASED, Counts(macs=24, bias_additions=6), THREE, LIF)


@pytest.mark.parametrize(
    ("ledger", "pj"),
    [
        (SILENT, 36.87890625),
        (FIRING, 66.77578125),
        (CONV, 108.903125),
        (REAL, 100.685546875),
    ],
    ids=["silent", "firing", "convolution", "real"],
)
def test_published_networks(ledger, pj):
    assert picojoules(ledger) == pytest.approx(pj, rel=1e-12)


def test_terms_of_the_silent_network():
    found = account(SILENT, LEMAIRE)
    terms = {name: each.value / 1e-12 for name, each in found.terms.items()}
    assert terms == pytest.approx(
        {
            "operations": 20.1,
            "addresses": 0.9,
            "accesses: input": 14.6484375,
            "accesses: parameters": 0.52734375,
            "accesses: potentials": 0.703125,
            "accesses: output": 0,
        }
    )
    assert found.scope == "arithmetic, addresses and memory on the chip"
    assert found.with_memory is None
    assert found.excluded == ("memory off the chip", "wires, control, clock and leakage")
    assert found.kinds == ("secondary", "simulated")


def test_a_linear_layer_that_keeps_one_step():
    # 72 bytes of the synapses in 12 bytes rather than 24
    less = 72 * 2.5 * 12 / 8192
    assert picojoules(SILENT, linear_keeps_steps=False) == pytest.approx(36.87890625 - less)
    assert picojoules(CONV, linear_keeps_steps=False) == pytest.approx(108.903125)


def test_samples_are_averaged():
    twice = network(
        LINEAR,
        Counts(spikes_in=6, synaptic_additions=18),
        THREE,
        Counts(neuron_updates=12, decays=12),
        samples=2,
    )
    assert picojoules(twice) == pytest.approx(36.87890625)


def test_a_constant_input_makes_its_current_once():
    once = network(replace(BIASED, constant=True), Counts(macs=12), THREE, LIF)
    ops, addresses = 12 * 3.2 + 3 * 0.1 + 6 * 3.2, 7 * 0.1
    memory = 16 * 16 + (48 + 12) * 60 + 48 * 12
    assert picojoules(once) == pytest.approx(ops + addresses + memory * 2.5 / 8192)


def test_without_neurons_numbers_are_written():
    alone = Ledger({"synapse": Counts(macs=24)}, facts={"synapse": BIASED}, timesteps=2)
    memory = 32 * 32 + 120 * 60 + 24 * 24
    expected = 24 * 3.2 + 6 * 0.1 + 14 * 0.1 + memory * 2.5 / 8192
    assert picojoules(alone) == pytest.approx(expected)


def test_a_real_convolution():
    facts = replace(CONVOLUTION, signal="real")
    ledger = network(facts, Counts(macs=1), MANY, IF)
    uses = 72 * 18
    ops = uses * 3.2
    addresses = (100 + 72 + 36) * 0.1
    memory = 4 * uses * 400 + 4 * uses * 288 + 2 * 4 * 72 * 144
    assert picojoules(ledger) == pytest.approx(ops + addresses + memory * 2.5 / 8192)


def test_memories_beyond_the_largest_cost_no_more():
    facts = replace(LINEAR, parameters=10**9)
    ledger = network(facts, Counts(spikes_in=3), THREE, LIF)
    assert picojoules(ledger) == pytest.approx(36.87890625 - 0.52734375 + 36 * 25)


def test_the_band_holds_the_doubt_about_a_byte():
    found = account(FIRING, LEMAIRE).total
    assert found.low < found.value
    assert found.low > 66.77578125e-12 / 2


def test_other_layers_are_listed():
    ledger = Ledger(
        {
            "pool": Counts(),
            "norm": Counts(macs=3),
            "cuba": Counts(neuron_updates=4, decays=8),
            "graded": Counts(macs=3),
            "bare": Counts(),
        },
        facts={
            "pool": Facts(kind="pooling", folded=True),
            "norm": Facts(kind="normalisation"),
            "cuba": Facts(kind="neurons", neurons=2, state=4),
            "graded": replace(LINEAR, signal="graded"),
        },
    )
    with pytest.raises(UsageError, match="it has none for") as refused:
        account(ledger, LEMAIRE)
    told = str(refused.value).split("none for ")[1]
    assert told == (
        "pool (pooling), norm (normalisation), cuba (neurons other than IF and LIF), "
        "graded (linear of graded input), bare (nothing is known of it)."
    )
