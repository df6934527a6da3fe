"""BPTT: autograd on the whole unrolled network."""

import pytest
import torch
from torch.nn import functional

from neuro.errors import UsageError
from neuro.layers import Delay, Linear, Network, Node, ReadoutIntegrator, Spiking
from neuro.learning import build_rule
from neuro.learning.bptt import BPTTOptions
from neuro.models import MLP, build_model
from neuro.neurons import LIF, LeakyIntegrator


def test_gradient_is_that_of_the_mean_loss_of_the_sequence(any_network, batch, learn) -> None:
    inputs, targets = batch(any_network, 4)
    learnt = learn(any_network, BPTTOptions(mse_weight=0.2), inputs, targets)
    any_network.zero_grad()
    logits, _ = any_network.sequence(torch.stack(inputs))
    wanted = functional.one_hot(targets, logits.shape[2]).to(logits)
    steps = [
        0.8 * functional.cross_entropy(o, targets) + 0.2 * functional.mse_loss(o, wanted)
        for o in logits
    ]
    loss = torch.stack(steps).mean()
    loss.backward()
    torch.testing.assert_close(learnt.outcome.loss, loss.detach())
    torch.testing.assert_close(learnt.outcome.logits, logits.detach().mean(0))
    for name, parameter in any_network.named_parameters():
        torch.testing.assert_close(learnt.gradients[name], parameter.grad)


@pytest.mark.parametrize("timesteps", [1, 4])
def test_recomputing_changes_nothing(any_network, batch, learn, timesteps: int) -> None:
    inputs, targets = batch(any_network, timesteps)
    kept, computed = (
        learn(any_network, BPTTOptions(recompute=way), inputs, targets) for way in (False, True)
    )
    assert torch.equal(kept.outcome.loss, computed.outcome.loss)
    assert torch.equal(kept.outcome.logits, computed.outcome.logits)
    assert kept.outcome.firing_rates == computed.outcome.firing_rates
    assert kept.gradients.keys() == computed.gradients.keys()
    for name, gradient in kept.gradients.items():
        assert torch.equal(gradient, computed.gradients[name]), name


@pytest.mark.parametrize("recompute", [False, True])
def test_it_trains_decays_delays_and_integrating_readouts(batch, learn, recompute: bool) -> None:
    """What the online rules refuse."""
    torch.manual_seed(0)
    network = Network(
        [
            Node("first", Linear(5, 12)),
            Node("lif", Spiking(LIF(), learnable=("decay",))),
            Node("delay", Delay(1)),
            Node("readout", Linear(12, 3)),
            Node("integrator", ReadoutIntegrator(LeakyIntegrator())),
        ],
        (5,),
    ).double()
    inputs, targets = batch(network, 5)
    learnt = learn(network, BPTTOptions(recompute=recompute), inputs, targets)
    assert set(learnt.gradients) == {name for name, _ in network.named_parameters()}
    assert all(gradient.abs().sum() > 0 for gradient in learnt.gradients.values())


def test_learnt_decays_move() -> None:
    generator = torch.Generator().manual_seed(0)
    network = build_model(MLP(hidden=(16,), learn_decay=True), (6,), 3, generator)
    rule = build_rule(network, BPTTOptions(), generator=generator)
    optimiser = torch.optim.SGD(rule.parameter_groups(1.0))
    x = torch.randn(8, 6, generator=generator)
    rule.learn([x] * 4, 4, torch.arange(8) % 3, generator=generator)
    before = network.nodes["lif1"].neuron.decay.item()
    optimiser.step()
    assert network.nodes["lif1"].neuron.decay.item() != before


def test_firing_rates_are_spikes_per_neuron_and_step(batch, learn, conv_network) -> None:
    inputs, targets = batch(conv_network, 3)
    learnt = learn(conv_network, BPTTOptions(), inputs, targets)
    expected = conv_network.run(inputs).firing_rates
    assert learnt.outcome.firing_rates.keys() == expected.keys()
    for name, rate in expected.items():
        torch.testing.assert_close(learnt.outcome.firing_rates[name], rate)


@pytest.mark.parametrize("announced", [2, 4])
def test_another_number_of_steps_than_announced_is_refused(
    batch, learn, conv_network, announced: int
) -> None:
    inputs, targets = batch(conv_network, 3)
    with pytest.raises(UsageError, match=f"expected {announced} time steps of input, got"):
        learn(conv_network, BPTTOptions(), inputs, targets, timesteps=announced)


def test_no_time_step_is_refused(batch, learn, conv_network) -> None:
    with pytest.raises(UsageError, match="at least one time step of input, got none"):
        learn(conv_network, BPTTOptions(), [], batch(conv_network, 1)[1])
