"""Conversions between time constants, resistances, registers and factors per step: both ways."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.errors import UsageError
from neuro.hardware.nir import formulas

decays = st.floats(0, 0.999)
steps = st.floats(1e-6, 1.0)
gains = st.floats(1e-3, 1e3)


@given(decays, steps)
def test_a_decay_becomes_a_time_constant_and_back(decay, dt):
    tau = formulas.tau_from_decay(decay, dt)
    assert tau == pytest.approx(dt / (1 - decay), rel=1e-12)
    assert formulas.decay_from_tau(tau, dt) == pytest.approx(decay, rel=1e-6, abs=1e-12)


@given(decays, steps, gains)
def test_a_gain_becomes_a_resistance_and_back(decay, dt, gain):
    tau = formulas.tau_from_decay(decay, dt)
    r = formulas.resistance_from_gain(gain, tau, dt)
    assert r == pytest.approx(gain / (1 - decay), rel=1e-6)
    assert formulas.gain_from_resistance(r, tau, dt) == pytest.approx(gain, rel=1e-6)


@given(decays, gains)
def test_weights_scaled_for_a_resistance_of_one_have_the_gain_they_had(decay, gain):
    factor = formulas.weight_factor(decay, gain)
    assert factor * formulas.gain_from_resistance(1, formulas.tau_from_decay(decay, 1), 1) == (
        pytest.approx(gain, rel=1e-6)
    )


@given(st.floats(0.01, 0.999))
def test_an_exponential_reader_keeps_the_same_decay(decay):
    assert formulas.decay_from_steps(formulas.tau_in_steps(decay)) == pytest.approx(decay, rel=1e-6)


@given(st.integers(0, 4095), st.integers(1, 4096), steps)
def test_loihi_registers_become_time_constants_and_back(du, dv, dt):
    tau_syn, tau_mem = formulas.taus_from_loihi(du, dv, dt)
    assert 1 - formulas.decay_from_tau(tau_syn, dt) == pytest.approx((du + 1) / 4096, rel=1e-6)
    assert 1 - formulas.decay_from_tau(tau_mem, dt) == pytest.approx(dv / 4096, rel=1e-6)
    back = formulas.loihi_from_taus(tau_syn, tau_mem, dt)
    assert back == (pytest.approx(du, rel=1e-6, abs=1e-6), pytest.approx(dv, rel=1e-6))


def test_the_numbers_of_a_worked_example():
    assert formulas.tau_from_decay(0.9, 1e-4) == pytest.approx(1e-3)
    assert formulas.weight_factor(0.9) == pytest.approx(10)
    assert formulas.taus_from_loihi(4095, 4096, 1.0) == (1.0, 1.0)
    assert formulas.delay_steps([2e-4, 0, 3.00009e-4], 1e-4).tolist() == [2, 0, 3]


def test_what_has_no_time_constant_is_refused():
    with pytest.raises(UsageError, match="decay of 1 has no finite time constant"):
        formulas.tau_from_decay([0.5, 1.0], 1.0)
    with pytest.raises(UsageError, match="dv = 0"):
        formulas.taus_from_loihi(0, [1, 0], 1.0)


@pytest.mark.parametrize(("delay", "said"), [(2.5e-4, "2.5 steps"), (-1e-4, "in the future")])
def test_a_delay_is_a_whole_number_of_steps(delay, said):
    with pytest.raises(UsageError, match=said):
        formulas.delay_steps(np.array([1e-4, delay]), 1e-4)
