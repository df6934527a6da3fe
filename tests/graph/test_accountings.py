"""Closed forms of energy on FB15k-237's sizes, by hand."""

import pytest

from neuro.energy import Counts, Ledger, compare, energy_profile, joules
from neuro.graph.accountings import (
    CLAIM,
    Sizes,
    counted_accountings,
    dense_synapses,
    layered_formula,
    published_accountings,
    spiking_formula,
)

PROFILE = energy_profile()
FREEBASE = Sizes(nodes=14_541, edges=544_230, hidden=32, timesteps=10, layers=6)


def test_closed_forms_by_hand():
    sizes = Sizes(nodes=3, edges=4, hidden=2, timesteps=5, layers=6)
    assert dense_synapses(sizes) == 16
    assert spiking_formula(sizes, 0.5).total == Counts(synaptic_additions=0.5 * 5 * 16)
    leaky = spiking_formula(sizes, 0.5, leaks=True)
    assert leaky.total == Counts(synaptic_additions=40, neuron_updates=30, macs=60)
    assert leaky.driven_total == Counts(synaptic_additions=40)
    assert layered_formula(sizes, pna=False).total == Counts(macs=6 * (4 * 2 + 3 * 2 * 4))
    assert layered_formula(sizes, pna=True, additions=True).total == Counts(
        macs=6 * (4 * 2 + 3 * 13 * 4), additions=6 * 4 * 2
    )


def test_nbfnet_with_pna_on_freebase():
    found = layered_formula(FREEBASE, pna=True)
    assert found.total.macs == pytest.approx(1.27e9, rel=5e-3)
    assert joules(found, PROFILE) == pytest.approx(5.8e-3, rel=5e-3)


@pytest.mark.parametrize(
    ("place", "name", "rate"),
    [
        (0, "same synapses", 0.0256),
        (1, "same synapses, 6 layers", 0.153),
        (2, "S beside NBFNet with PNA", 0.058),
    ],
)
def test_the_firing_rate_that_the_claim_needs(place, name, rate):
    accounting = published_accountings(FREEBASE, 0.1)[place]
    assert accounting.name == name
    found = compare(accounting.spiking, accounting.other, PROFILE, firing_rate=0.1, factor=CLAIM)
    assert found.rate_for_factor == pytest.approx(rate, rel=5e-3)
    assert found.ratio == pytest.approx(CLAIM * found.rate_for_factor / 0.1)


def test_leaks_and_additions_move_the_rate():
    plain, leaky = (published_accountings(FREEBASE, 0.1)[place] for place in (2, 4))
    needed = [
        compare(each.spiking, each.other, PROFILE, firing_rate=0.1, factor=CLAIM).rate_for_factor
        for each in (plain, leaky)
    ]
    # by hand: 4.6 pJ 2 N d T = 42.8 uJ; 0.9 pJ L E d = 94 uJ, a twentieth of it 4.7 uJ
    moved = (94.05e-6 / 20 - 42.81e-6) / (0.9e-12 * 10 * 544_230 * 1024)
    assert needed[1] - needed[0] == pytest.approx(moved, rel=1e-3)


def test_counted_ones_share_the_other_network():
    released, skipping = Ledger({"linear": Counts(macs=9)}), Ledger({"linear": Counts(macs=4)})
    other = Ledger({"all": Counts(macs=90)})
    first, second = counted_accountings(released, skipping, other)
    assert (first.spiking, first.other) == (released, other)
    assert (second.spiking, second.other) == (skipping, other)
    assert "as released" in first.name
