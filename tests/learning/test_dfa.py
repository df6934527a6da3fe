"""Direct feedback alignment."""

import pytest
import torch

from neuro.learning import build_rule
from neuro.learning.bptt import BPTTOptions
from neuro.learning.dfa import DFAOptions
from neuro.learning.ottt import OTTTOptions
from neuro.models import MLP, build_model


def shallow():
    torch.manual_seed(0)
    network = build_model(MLP(hidden=(15,)), (7,), 4).double()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.3 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize(("timesteps", "reference"), [(1, BPTTOptions()), (4, OTTTOptions())])
def test_with_the_exact_transpose_it_is_backpropagation(
    timesteps: int, reference, batch, learn
) -> None:
    """g = scale W^T e is what backpropagation gives the last hidden layer."""
    network = shallow()
    inputs, targets = batch(network, timesteps)
    exact = learn(network, reference, inputs, targets)
    rule = build_rule(network, DFAOptions(), generator=torch.Generator()).double()
    with torch.no_grad():
        transposed = network.nodes["readout"].weight.t() * network.nodes["lif1"].scale
        rule.feedback["lif1"].matrix.copy_(transposed)
    ours = learn(rule, None, inputs, targets)
    assert ours.gradients.keys() == exact.gradients.keys()
    for name, truth in exact.gradients.items():
        assert truth.abs().sum() > 0
        torch.testing.assert_close(ours.gradients[name], truth)


def test_feedback_is_uniform_within_one_over_root_m() -> None:
    network = build_model(MLP(hidden=(300, 200)), (5,), 16)
    rule = build_rule(
        network, DFAOptions(feedback_scale=2.0), generator=torch.Generator().manual_seed(0)
    )
    values = torch.cat([feedback.matrix.flatten() for feedback in rule.feedback.values()])
    bound = 2.0 / 4.0
    assert values.abs().max().item() <= bound
    assert values.abs().max().item() > 0.99 * bound
    assert values.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)
    assert abs(values.mean().item()) < 0.02


def test_feedback_comes_from_the_generator_and_never_changes(dense_network, batch, learn) -> None:
    def matrices(seed: int):
        generator = torch.Generator().manual_seed(seed)
        rule = build_rule(dense_network, DFAOptions(), generator=generator).double()
        return rule, [feedback.matrix.clone() for feedback in rule.feedback.values()]

    rule, first = matrices(4)
    _, again = matrices(4)
    _, other = matrices(5)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not any(torch.equal(a, b) for a, b in zip(first, other, strict=True))
    inputs, targets = batch(dense_network, 3)
    learn(rule, None, inputs, targets)
    kept = [feedback.matrix for feedback in rule.feedback.values()]
    assert all(torch.equal(a, b) for a, b in zip(first, kept, strict=True))
    assert not list(rule.parameters())


def test_readout_learns_as_in_backpropagation(dense_network, batch, learn) -> None:
    inputs, targets = batch(dense_network, 3)
    ours = learn(dense_network, DFAOptions(), inputs, targets).gradients
    exact = learn(dense_network, OTTTOptions(), inputs, targets).gradients
    for name in ("nodes.readout.weight", "nodes.readout.bias"):
        torch.testing.assert_close(ours[name], exact[name])
    assert not torch.allclose(ours["nodes.linear1.weight"], exact["nodes.linear1.weight"])
