"""Counts times prices, and the firing rate at which a saving would be what is claimed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.energy import Counts, Ledger, Price, Prices, compare, estimate, load_prices

PRICES = load_prices()


def test_every_kind_has_its_price():
    assert estimate(Counts(macs=1), PRICES).joules == pytest.approx(4.6e-12)
    assert estimate(Counts(synaptic_additions=1), PRICES).joules == pytest.approx(0.9e-12)
    assert estimate(Counts(additions=1), PRICES).joules == pytest.approx(0.9e-12)
    assert estimate(Counts(multiplications=1), PRICES).joules == pytest.approx(3.7e-12)
    for name in ("bias_additions", "resets"):
        assert estimate(Counts(**{name: 1}), PRICES).joules == pytest.approx(0.9e-12)
    assert estimate(Counts(decays=1), PRICES).joules == pytest.approx(3.7e-12)
    for name in ("spikes", "comparisons", "functions", "neuron_updates"):
        assert estimate(Counts(**{name: 7}), PRICES).joules == 0


def test_bounds_of_prices_are_bounds_of_the_estimate():
    price = {"unit": "J", "kind": "assumed", "source": "a test", "year": 2020}
    prices = Prices(
        profile="own",
        addition=Price(value=2, low=1, high=3, **price),
        multiplication=Price(value=10, high=20, **price),
    )
    assert estimate(Counts(macs=1, additions=2), prices) == (16, 13, 29)
    assert prices.kinds == "assumed"


def pair(driven: int, fixed: int, other: int) -> tuple[Ledger, Ledger]:
    spiking = {"driven": Counts(synaptic_additions=driven), "fixed": Counts(macs=fixed)}
    return Ledger(spiking, frozenset({"driven"})), Ledger({"all": Counts(macs=other)})


@given(
    driven=st.integers(1, 10**6),
    fixed=st.integers(0, 10**4),
    other=st.integers(1, 10**7),
    rate=st.floats(1e-4, 1),
    factor=st.floats(0.5, 50),
)
def test_at_the_rate_found_the_ratio_is_the_factor(driven, fixed, other, rate, factor):
    spiking, without = pair(driven, fixed, other)
    found = compare(spiking, without, PRICES, firing_rate=rate, factor=factor)
    if found.rate_for_factor is None:
        assert other <= fixed * factor * (1 + 1e-9)
        return
    at_rate, _ = pair(1, fixed, other)
    scaled = driven * found.rate_for_factor / rate
    layers = {**at_rate.layers, "driven": Counts(synaptic_additions=scaled)}
    again = compare(Ledger(layers, at_rate.driven), without, PRICES, firing_rate=1.0, factor=factor)
    assert again.ratio == pytest.approx(factor, rel=1e-6)


def test_a_network_beside_itself_is_as_dear():
    spiking, _ = pair(10, 3, 1)
    assert compare(spiking, spiking, PRICES, firing_rate=0.1, factor=1).ratio == 1.0


def test_what_cannot_be_told_is_none():
    silent, other = pair(0, 0, 5)
    found = compare(silent, other, PRICES, firing_rate=0.0, factor=20)
    assert (found.ratio, found.rate_for_factor) == (None, None)
    dear, other = pair(5, 10, 100)
    assert compare(dear, other, PRICES, firing_rate=0.1, factor=20).rate_for_factor is None
    with pytest.raises(ValueError, match="factor must be above 0"):
        compare(dear, other, PRICES, firing_rate=0.1, factor=0)
