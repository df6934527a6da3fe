"""Leaky integrator: the output is the membrane potential, nothing fires."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro.neurons import LeakyIntegrator, Neuron


def test_potentials_by_hand() -> None:
    outputs, state = LeakyIntegrator(decay=0.5).sequence(torch.tensor([4.0, 2.0, 0.0, -1.0]))
    assert outputs.tolist() == [4, 4, 2, 0]
    assert state.membrane_potential.item() == 0


def test_output_is_the_potential_kept() -> None:
    neuron = LeakyIntegrator()
    output, state = neuron.step(torch.tensor([3.0]), neuron.zeros((1,)))
    assert output is state.membrane_potential
    assert not isinstance(neuron, Neuron)


@given(st.lists(st.integers(-1000, 1000), min_size=1, max_size=30))
def test_without_leak_it_sums(values: list[int]) -> None:
    currents = torch.tensor(values, dtype=torch.float64)
    outputs, _ = LeakyIntegrator(decay=1.0).sequence(currents)
    assert torch.equal(outputs, currents.cumsum(0))


def test_with_complementary_gain_it_is_a_running_mean() -> None:
    outputs, _ = LeakyIntegrator(decay=0.75, input_gain=0.25).sequence(torch.full((3,), 8.0))
    assert outputs.tolist() == [2.0, 3.5, 4.625]


def test_gradient_is_the_decay_to_the_age_of_the_input() -> None:
    currents = torch.zeros(4, requires_grad=True)
    outputs, _ = LeakyIntegrator(decay=0.5).sequence(currents)
    (gradient,) = torch.autograd.grad(outputs[-1], currents)
    assert gradient.tolist() == [0.125, 0.25, 0.5, 1.0]
