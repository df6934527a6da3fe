"""Current-based LIF: voltages by hand, and its limits are the neurons they should be."""

import torch

from neuro.neurons import LIF, CubaLIF


def random_currents() -> torch.Tensor:
    return 2 * torch.rand(20, 3, 5, generator=torch.Generator().manual_seed(2)).double()


def test_voltages_by_hand() -> None:
    # i: 0.5, 0.25, 1.125, 0.5625 ; u: 0.5, 0.625, 1.59375, 0.59375*0.75 + 0.5625 = 1.0078125
    neuron = CubaLIF(current_decay=0.5, voltage_decay=0.75)
    spikes, state = neuron.sequence(torch.tensor([0.5, 0.0, 1.0, 0.0]))
    assert spikes.tolist() == [0, 0, 1, 1]
    assert state.synaptic_current.item() == 0.5625
    assert state.membrane_potential.item() == 0.0078125


def test_membrane_takes_the_current_of_the_same_step() -> None:
    spikes, _ = CubaLIF().sequence(torch.tensor([1.0, 0.0]))
    assert spikes.tolist() == [1, 0]


def test_a_spike_leaves_the_synaptic_current_alone() -> None:
    neuron = CubaLIF(current_decay=1.0, voltage_decay=0.5, reset_mode="hard")
    spikes, state = neuron.sequence(torch.tensor([2.0, 0.0, 0.0]))
    assert spikes.tolist() == [1, 1, 1]
    assert state.synaptic_current.item() == 2.0
    assert state.membrane_potential.item() == 0.0


def test_without_memory_of_the_current_it_is_a_lif() -> None:
    currents = random_currents()
    spikes, state = CubaLIF(current_decay=0.0, voltage_decay=0.8).sequence(currents)
    expected, expected_state = LIF(decay=0.8).sequence(currents)
    assert torch.equal(spikes, expected)
    assert torch.equal(state.membrane_potential, expected_state.membrane_potential)


def test_gradient_of_a_silent_neuron_is_the_two_filters_in_cascade() -> None:
    """u[T] = sum_k I[T-k] sum_{j<=k} voltage_decay^j current_decay^(k-j)."""
    neuron = CubaLIF(current_decay=0.5, voltage_decay=0.75, threshold=100.0)
    currents = torch.ones(4, requires_grad=True)
    _, state = neuron.sequence(currents)
    (gradient,) = torch.autograd.grad(state.membrane_potential, currents)
    kernel = [sum(0.75**j * 0.5 ** (k - j) for j in range(k + 1)) for k in range(4)]
    assert gradient.tolist() == kernel[::-1]
