"""Integrate-and-fire: voltages by hand, and no charge is lost."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro.neurons import IF


def test_soft_reset_by_hand() -> None:
    # u: 0.75, 1.5, 1.25, 0.0, 1.0 with threshold 1 (fires at >=).
    currents = torch.tensor([0.75, 0.75, 0.75, -0.25, 1.0])
    spikes, state = IF().sequence(currents)
    assert spikes.tolist() == [0, 1, 1, 0, 1]
    assert state.membrane_potential.item() == 0.0


def test_hard_reset_by_hand() -> None:
    # v: 0.75, -0.5, 0.25, 0.0, -0.5
    neuron = IF(reset_mode="hard", reset_value=-0.5)
    spikes, state = neuron.sequence(torch.tensor([0.75, 0.75, 0.75, -0.25, 1.5]))
    assert spikes.tolist() == [0, 1, 0, 0, 1]
    assert state.membrane_potential.item() == -0.5


@pytest.mark.parametrize(("inclusive", "expected"), [(True, [1.0]), (False, [0.0])])
def test_threshold_is_inclusive_or_not(inclusive: bool, expected: list[float]) -> None:
    spikes, _ = IF(inclusive=inclusive).sequence(torch.tensor([1.0]))
    assert spikes.tolist() == expected


def test_input_gain_scales_the_input() -> None:
    spikes, state = IF(input_gain=0.25).sequence(torch.tensor([1.0, 1.0, 1.0]))
    assert spikes.tolist() == [0, 0, 0]
    assert state.membrane_potential.item() == 0.75


@given(st.lists(st.integers(-64, 64), max_size=40))
def test_soft_reset_loses_no_charge(sixteenths: list[int]) -> None:
    currents = torch.tensor(sixteenths, dtype=torch.float64) / 16
    spikes, state = IF(threshold=1.25).sequence(currents.reshape(-1, 1))
    assert state.membrane_potential.item() == (currents.sum() - 1.25 * spikes.sum()).item()


def test_gradient_through_a_silent_integrator_is_one_for_every_step() -> None:
    currents = torch.full((5, 3), 0.125, requires_grad=True)
    spikes, state = IF().sequence(currents)
    assert spikes.sum() == 0
    (gradient,) = torch.autograd.grad(state.membrane_potential.sum(), currents)
    assert torch.equal(gradient, torch.ones(5, 3))
