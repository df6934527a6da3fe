"""Local read-outs and their losses."""

import pytest
import torch

from neuro.learning import CreditProbe, build_rule
from neuro.learning.dfa import DFAOptions
from neuro.learning.local import LocalReadout
from neuro.learning.objective import Objective
from neuro.learning.ottt import OTTTOptions
from neuro.models import MLP, build_model


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("shape", "features"),
    [
        ((7,), 7),
        ((3, 4, 4), 3 * 16),
        ((3, 2, 3), 3 * 6),
        ((3, 8, 8), 3 * 16),
        ((3, 32, 32), 3 * 16),
        ((3, 6, 6), 3 * 9),
        ((3, 7, 7), 3 * 9),
        ((2, 4, 8), 2 * 32),
    ],
)
def test_maps_are_averaged_until_the_shorter_side_is_at_most_four(
    shape: tuple[int, ...], features: int
) -> None:
    readout = LocalReadout(shape, 5, 1.0, seeded())
    assert readout.weight.shape == (5, features)
    assert readout.features(torch.zeros(2, *shape)).shape == (2, features)


@pytest.mark.parametrize("shape", [(7,), (3, 9, 8), (2, 5, 5)])
def test_credit_is_the_gradient_of_the_local_loss(shape: tuple[int, ...]) -> None:
    readout = LocalReadout(shape, 4, 2.74, seeded()).double()
    objective = Objective(0.3, 2)
    spikes = (torch.rand(6, *shape, generator=seeded(1)) < 0.4).double().requires_grad_()
    targets = torch.randint(4, (6,), generator=seeded(2))
    logits = readout.logits(readout.features(2.74 * spikes))
    loss = objective.losses(logits, targets).mean()
    (expected,) = torch.autograd.grad(loss, spikes)
    error = objective.errors(logits.detach(), targets) / 6
    found = readout.credit(error, spikes.shape).detach()
    torch.testing.assert_close(found, expected)
    assert expected.abs().sum() > 0


def local_losses(network, rule, x, targets, objective):
    """Loss at the output plus that of every local read-out, by autograd, for one step."""
    signal, total = x, 0.0
    for name, module in network.nodes.items():
        if name.startswith("lif"):
            neuron = module.neuron
            fired = neuron.surrogate.spike(signal - neuron.threshold)
            signal = module.scale * fired
            local = rule.local[name]
            total = total + objective.losses(local.logits(local.features(signal)), targets).mean()
        else:
            signal = module(signal)
    return total + objective.losses(signal, targets).mean()


def test_backpropagation_with_local_learning_descends_on_the_sum_of_all_losses(
    conv_network, batch, learn
) -> None:
    """T = 1: what each layer gets is the gradient of output loss plus all local losses."""
    inputs, targets = batch(conv_network, 1)
    options = OTTTOptions(local_learning=True)
    learnt = learn(conv_network, options, inputs, targets)
    loss = local_losses(
        conv_network, learnt.rule, inputs[0], targets, Objective(options.mse_weight, 1)
    )
    for module, found in (
        (conv_network, learnt.gradients),
        (learnt.rule, learnt.own_gradients),
    ):
        parameters = dict(module.named_parameters())
        expected = torch.autograd.grad(loss, list(parameters.values()), retain_graph=True)
        assert found.keys() == parameters.keys()
        for name, truth in zip(parameters, expected, strict=True):
            assert truth.abs().sum() > 0
            torch.testing.assert_close(found[name], truth)


def test_local_readouts_learn_from_the_trace(dense_network, batch, learn) -> None:
    """dV = sum_t e[t] (c a[t])^T with the local error of each step."""
    inputs, targets = batch(dense_network, 3)
    learnt = learn(dense_network, OTTTOptions(local_learning=True), inputs, targets)
    readout = learnt.rule.local["lif1"]
    layer = dense_network.nodes["lif1"]
    objective = Objective(0.05, 3)
    potential = trace = torch.zeros(4, 13, dtype=torch.float64)
    weight, bias = torch.zeros_like(readout.weight), torch.zeros_like(readout.bias)
    with torch.no_grad():
        for x in inputs:
            u = 0.5 * potential + dense_network.nodes["linear1"](x)
            spikes = (u >= 1).double()
            potential, trace = u - spikes, 0.5 * trace + spikes
            signal = layer.scale * spikes
            error = objective.errors(signal @ readout.weight.t() + readout.bias, targets) / 4
            weight += error.t() @ (layer.scale * trace)
            bias += error.sum(0)
    torch.testing.assert_close(readout.weight.grad, weight)
    torch.testing.assert_close(readout.bias.grad, bias)


def test_local_weight_scales_the_credit_and_not_the_learning_of_the_readouts(
    dense_network, batch
) -> None:
    inputs, targets = batch(dense_network, 2)

    def run(**options):
        rule = build_rule(dense_network, DFAOptions(**options), generator=seeded()).double()
        rule.probe = CreditProbe.empty()
        rule.learn(iter(inputs), 2, targets, generator=seeded())
        own = [p.grad.clone() for p in rule.parameters()]
        return rule.probe.assigned, own

    without, _ = run(local_learning=True, local_weight=0.0)
    one, own = run(local_learning=True)
    three, own_three = run(local_learning=True, local_weight=3.0)
    for step in range(2):
        for name in dense_network.neuron_nodes:
            local = one[step][name] - without[step][name]
            assert local.abs().sum() > 0
            torch.testing.assert_close(three[step][name] - without[step][name], 3 * local)
    for ours, theirs in zip(own_three, own, strict=True):
        assert torch.equal(ours, theirs)


def test_each_spiking_layer_has_a_readout_drawn_from_the_generator(conv_network) -> None:
    first, second = (
        build_rule(conv_network, OTTTOptions(local_learning=True), generator=seeded(3))
        for _ in range(2)
    )
    assert list(first.local) == list(conv_network.neuron_nodes)
    for ours, theirs in zip(first.parameters(), second.parameters(), strict=True):
        assert torch.equal(ours, theirs)
    weight = first.local["lif3"].weight
    assert weight.std().item() == pytest.approx(0.01, rel=0.3)
    assert not first.local["lif3"].bias.any()


def test_without_local_learning_there_is_nothing_to_train_but_the_network() -> None:
    network = build_model(MLP(hidden=(6,)), (4,), 3)
    assert not list(build_rule(network, OTTTOptions(), generator=seeded()).parameters())
