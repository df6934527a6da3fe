"""Spiking layers and synaptic delays."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro.errors import UsageError
from neuro.layers import Delay, Spiking
from neuro.neurons import IF, LIF, AdaptiveLIF, CubaLIF, Neuron
from neuro.surrogate import Sigmoid


@pytest.mark.parametrize("neuron", [LIF(), IF(), CubaLIF(), AdaptiveLIF()])
@pytest.mark.parametrize("scale", [1.0, 2.74])
def test_a_layer_emits_scaled_spikes_and_keeps_the_state_of_its_neuron(
    neuron: Neuron, scale: float
) -> None:
    torch.manual_seed(0)
    layer = Spiking(neuron, scale=scale)
    state = neuron.zeros((3, 5))
    ours = state
    for _ in range(4):
        current = torch.randn(3, 5) + 0.8
        spikes, state = neuron.step(current, state)
        emitted, ours = layer(current, ours)
        torch.testing.assert_close(emitted, scale * spikes, rtol=0, atol=0)
        for mine, theirs in zip(ours, state, strict=True):
            torch.testing.assert_close(mine, theirs, rtol=0, atol=0)


def test_a_layer_without_learnable_numbers_has_no_parameters() -> None:
    assert not list(Spiking(LIF()).parameters())


def test_learnable_decay_starts_at_the_decay_given() -> None:
    layer = Spiking(LIF(decay=0.8), learnable=("decay",))
    assert layer.neuron.decay.item() == pytest.approx(0.8, rel=1e-6)
    assert sum(parameter.numel() for parameter in layer.parameters()) == 1


def test_gradient_of_a_learnable_decay_by_hand() -> None:
    decay, slope = 0.8, 4.0
    layer = Spiking(LIF(decay=decay, surrogate=Sigmoid(slope)), learnable=("decay",)).double()
    state = layer.neuron.zeros((1, 1), dtype=torch.float64)
    first = torch.full((1, 1), 0.5, dtype=torch.float64)
    second = torch.full((1, 1), 0.3, dtype=torch.float64)
    _, state = layer(first, state)
    emitted, _ = layer(second, state)
    emitted.sum().backward()
    # No spike at 0.5, so u = 0.8 * 0.5 + 0.3; du/dw = 0.5 * d sigmoid(w)/dw = 0.5 * 0.8 * 0.2.
    step = torch.sigmoid(torch.tensor(slope * (0.7 - 1.0), dtype=torch.float64))
    psi = slope * step * (1 - step)
    (raw,) = layer.parameters()
    torch.testing.assert_close(raw.grad, psi * 0.5 * decay * (1 - decay), rtol=1e-6, atol=0)


def test_learnable_decay_stays_between_zero_and_one() -> None:
    layer = Spiking(LIF(decay=0.9), learnable=("decay",))
    (raw,) = layer.parameters()
    with torch.no_grad():
        raw.fill_(9.0)
    assert 0.99 < layer.neuron.decay.item() < 1
    with torch.no_grad():
        raw.fill_(-9.0)
    assert 0 < layer.neuron.decay.item() < 0.01


def test_learnable_threshold_is_held_as_it_is() -> None:
    layer = Spiking(LIF(threshold=1.5), learnable=("threshold",))
    (raw,) = layer.parameters()
    assert raw.item() == 1.5
    emitted, _ = layer(torch.tensor([[1.4, 1.6]]), layer.neuron.zeros((1, 2)))
    assert emitted.tolist() == [[0.0, 1.0]]
    emitted.sum().backward()
    assert float(raw.grad) < 0  # a higher threshold, fewer spikes


def test_a_misspelt_learnable_name_says_which_is_nearest() -> None:
    with pytest.raises(UsageError, match=r"LIF has no number 'decey'.*Did you mean \"decay\""):
        Spiking(LIF(), learnable=("decey",))


def test_a_decay_without_leak_cannot_be_learnt() -> None:
    with pytest.raises(UsageError, match="strictly between 0 and 1"):
        Spiking(LIF(decay=1.0), learnable=("decay",))


@settings(deadline=None, max_examples=40)
@given(steps=st.integers(0, 5), length=st.integers(1, 9))
def test_delay_returns_the_input_of_some_steps_ago(steps: int, length: int) -> None:
    torch.manual_seed(length)
    inputs = torch.randn(length, 2, 3)
    delay = Delay(steps)
    state = delay.zeros((2, 3))
    for index, x in enumerate(inputs):
        out, state = delay(x, state)
        expected = inputs[index - steps] if index >= steps else torch.zeros(2, 3)
        assert torch.equal(out, expected)


def test_delay_leaves_the_state_given_alone() -> None:
    delay = Delay(2)
    start = delay.zeros((1, 1))
    delay(torch.ones(1, 1), start)
    assert not start.history.any()


def test_the_gradient_of_a_delay_arrives_that_much_earlier() -> None:
    inputs = torch.randn(5, 1, 2, requires_grad=True)
    delay = Delay(2)
    state = delay.zeros((1, 2))
    outputs = []
    for x in inputs:
        out, state = delay(x, state)
        outputs.append(out)
    error = torch.randn(5, 1, 2)
    (found,) = torch.autograd.grad(torch.stack(outputs), inputs, error)
    assert torch.equal(found, torch.cat([error[2:], torch.zeros(2, 1, 2)]))


def test_a_negative_delay_is_refused() -> None:
    with pytest.raises(UsageError, match="got -1"):
        Delay(-1)
