"""Direct Kolen-Pollack feedback."""

import pytest
import torch

from neuro.layers import Linear, Network, Node, Spiking
from neuro.learning import build_rule
from neuro.learning.dkp import DKPOptions
from neuro.learning.objective import Objective
from neuro.models import MLP, build_model
from neuro.neurons import LIF


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_feedback_of_the_last_layer_follows_the_transposed_readout() -> None:
    """B - B_0 = W^T - W_0^T under SGD with equal rates: both descend on the same product."""
    network = build_model(MLP(hidden=(9, 8)), (5,), 3, seeded()).double()
    options = DKPOptions(centre_activity=False, feedback_decay=0.0)
    rule = build_rule(network, options, generator=seeded()).double()
    optimiser = torch.optim.SGD(rule.parameter_groups(0.1))
    readout = network.nodes["readout"]
    start = readout.weight.detach().clone()
    feedback = rule.feedback["lif2"]
    random = feedback.matrix.detach().clone()
    assert random.abs().max() <= 3**-0.5
    assert random.std() > 0.2
    generator = seeded(1)
    for _ in range(6):
        inputs = 2 * torch.randn(4, 10, 5, generator=generator, dtype=torch.float64)
        targets = torch.randint(3, (10,), generator=generator)
        optimiser.zero_grad()
        rule.learn(iter(inputs), 4, targets, generator=generator)
        optimiser.step()
    moved = (readout.weight - start).detach()
    assert moved.abs().max() > 0.01
    torch.testing.assert_close(feedback.matrix.detach() - random, moved.t())


@pytest.mark.parametrize("centre", [True, False])
def test_gradient_of_the_feedback_is_the_product_of_trace_and_error(centre: bool, spy) -> None:
    """dB = sum_t mean_b a_b e_b^T, with the mean trace of the batch taken out when centring."""
    torch.manual_seed(0)
    network = Network(
        [
            Node("first", Linear(3, 6)),
            Node("lif", Spiking(LIF(threshold=0.3), scale=1.0)),
            Node("readout", spy(6, 2)),
        ],
        (3,),
    ).double()
    rule = build_rule(network, DKPOptions(centre_activity=centre), generator=seeded()).double()
    inputs = torch.randn(4, 7, 3, generator=seeded(1), dtype=torch.float64)
    targets = torch.randint(2, (7,), generator=seeded(2))
    rule.learn(iter(inputs), 4, targets, generator=seeded())
    readout = network.nodes["readout"]
    objective = Objective(0.05, 4)
    expected = torch.zeros(6, 2, dtype=torch.float64)
    for signal, trace in zip(readout.arrived, readout.factors, strict=True):
        error = objective.errors(signal @ readout.weight.detach().t(), targets)
        factor = trace - trace.mean(0) if centre else trace
        expected += factor.t() @ error / 7
    assert expected.abs().sum() > 0
    (parameter,) = rule.parameters()
    torch.testing.assert_close(parameter.grad.t(), expected)


def test_hidden_layers_learn_from_the_first_batch_unless_feedback_starts_at_zero(
    dense_network, batch, learn
) -> None:
    inputs, targets = batch(dense_network, 3)
    at_once = learn(dense_network, DKPOptions(), inputs, targets)
    assert at_once.gradients["nodes.linear1.weight"].any()
    first = learn(dense_network, DKPOptions(feedback_scale=0.0), inputs, targets)
    assert not first.gradients["nodes.linear1.weight"].any()
    torch.optim.SGD(first.rule.parameters(), lr=0.1).step()
    second = learn(first.rule, None, inputs, targets)
    assert second.gradients["nodes.linear1.weight"].any()


def test_feedback_has_a_learning_rate_and_a_decay_of_its_own() -> None:
    network = build_model(MLP(hidden=(6, 5)), (4,), 3)
    options = DKPOptions(feedback_lr_scale=0.5, feedback_decay=0.01, local_learning=True)
    rule = build_rule(network, options, generator=seeded())
    groups = rule.parameter_groups(0.2)
    feedback = {id(parameter) for parameter in rule.feedback.parameters()}
    others = {id(parameter) for parameter in (*network.parameters(), *rule.local.parameters())}
    seen = [id(parameter) for group in groups for parameter in group["params"]]
    assert len(seen) == len(set(seen))
    assert set(seen) == feedback | others
    for group in groups:
        mine = {id(parameter) for parameter in group["params"]} <= feedback
        assert group["lr"] == (0.1 if mine else 0.2)
        assert group.get("weight_decay", 0.0) == (0.01 if mine else 0.0)
    torch.optim.Adam(groups)  # an optimiser takes them as they are


def test_errors_align_with_the_exact_ones_after_training_on_digits(
    digits, train, cosines_of
) -> None:
    trained = train(DKPOptions(), digits, epochs=4)
    x, targets = digits.test[:128], digits.test_targets[:128]
    cosines = cosines_of(trained.rule, [x] * 6, 6, targets)
    assert all(cosine > 0.2 for cosine in cosines.values()), cosines
    assert trained.accuracy > 0.9


def test_errors_align_with_the_exact_ones_after_training_on_sparse_events(cosines_of) -> None:
    """Event frames: two polarities, 3 % of pixels active, each class its own active places.

    Activity is never negative, so an uncentred product of trace and error is dominated by the
    mean error of the batch.
    """
    generator = seeded(0)
    timesteps, classes, side = 10, 5, 10
    busy = torch.rand(classes, 2, side, side, generator=generator) < 0.25
    rates = torch.where(busy, 0.1, 0.005)

    def draw(count: int) -> tuple[torch.Tensor, torch.Tensor]:
        targets = torch.randint(classes, (count,), generator=generator)
        odds = rates[targets].expand(timesteps, count, 2, side, side)
        return torch.bernoulli(odds, generator=generator), targets

    network = build_model(MLP(hidden=(64, 64)), (2, side, side), classes, generator)
    rule = build_rule(network, DKPOptions(mse_weight=0.001), generator=generator)
    optimiser = torch.optim.Adam(rule.parameter_groups(3e-3))
    losses = []
    for _ in range(60):
        frames, targets = draw(64)
        optimiser.zero_grad()
        losses.append(float(rule.learn(iter(frames), timesteps, targets, generator=generator).loss))
        optimiser.step()
    frames, targets = draw(128)
    assert 0.005 < frames.mean().item() < 0.05
    cosines = cosines_of(rule, list(frames), timesteps, targets)
    assert all(cosine > 0.3 for cosine in cosines.values()), cosines
    assert sum(losses[-5:]) < 0.7 * sum(losses[:5])
