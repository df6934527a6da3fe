"""Two networks side by side, and the firing rate at which a saving would be what is claimed."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro.energy import Counts, Ledger, compare, energy_profile

PROFILE = energy_profile()


def pair(driven: float, fixed: int, other: int) -> tuple[Ledger, Ledger]:
    spiking = {"driven": Counts(synaptic_additions=driven), "fixed": Counts(macs=fixed)}
    return Ledger(spiking, frozenset({"driven"})), Ledger({"all": Counts(macs=other)})


@settings(max_examples=30)
@given(
    driven=st.integers(1, 10**6),
    fixed=st.integers(0, 10**4),
    other=st.integers(1, 10**7),
    rate=st.floats(1e-4, 1),
    factor=st.floats(0.5, 50),
)
def test_at_the_rate_found_the_ratio_is_the_factor(driven, fixed, other, rate, factor):
    spiking, without = pair(driven, fixed, other)
    found = compare(spiking, without, PROFILE, firing_rate=rate, factor=factor)
    if found.rate_for_factor is None:
        assert other <= fixed * factor * (1 + 1e-9)
        return
    at_rate, _ = pair(driven * found.rate_for_factor / rate, fixed, other)
    again = compare(at_rate, without, PROFILE, firing_rate=1.0, factor=factor)
    assert again.ratio == pytest.approx(factor, rel=1e-6)


def test_a_network_beside_itself_is_as_dear():
    spiking, _ = pair(10, 3, 1)
    assert compare(spiking, spiking, PROFILE, firing_rate=0.1, factor=1).ratio == 1.0


def test_what_cannot_be_told_is_none():
    silent, other = pair(0, 0, 5)
    found = compare(silent, other, PROFILE, firing_rate=0.0, factor=20)
    assert (found.ratio, found.rate_for_factor) == (None, None)
    dear, other = pair(5, 10, 100)
    assert compare(dear, other, PROFILE, firing_rate=0.1, factor=20).rate_for_factor is None
    with pytest.raises(ValueError, match="factor must be above 0"):
        compare(dear, other, PROFILE, firing_rate=0.1, factor=0)
