"""NaN and infinity are traced to the tensor that holds them."""

from math import inf, nan

import pytest
import torch

from neuro.data import load_dataset
from neuro.training.classification import ClassificationSession
from neuro.training.divergence import find_not_finite, total_norm


@pytest.fixture
def rule(tiny):
    config = tiny(model={"hidden": [16, 16]})
    return ClassificationSession(
        config, load_dataset("digits"), torch.device("cpu"), started=0.0
    ).rule


def test_the_norm_is_over_all_numbers():
    assert float(total_norm([torch.tensor([3.0]), torch.tensor([[4.0]])])) == 5
    for bad in (nan, inf, -inf):
        assert not total_norm([torch.ones(3), torch.tensor([1.0, bad])]).isfinite()


def test_a_gradient_is_named_before_the_weights(rule):
    weight = rule.network.nodes["linear2"].weight
    weight.grad = torch.zeros_like(weight)
    weight.grad[0, :3] = nan
    rule.network.nodes["readout"].bias.data[1] = inf
    text = find_not_finite(rule, 0.5)
    assert text.startswith("the gradient of linear2.weight holds nan (3 of 256 numbers)")
    assert "1 other" in text


def test_weights_and_what_the_rule_keeps_are_named(rule):
    rule.network.nodes["readout"].weight.data[0, 0] = -inf
    assert find_not_finite(rule, 0.5).startswith("readout.weight holds -inf (1 of 160 numbers)")
    rule.network.nodes["readout"].weight.data[0, 0] = 0
    buffers = [buffer for _, buffer in rule.named_buffers() if buffer.dim() == 2]
    buffers[-1][0, 0] = nan
    assert find_not_finite(rule, 0.5).startswith("the rule's feedback")


def test_a_loss_that_no_tensor_explains_is_placed_at_the_output(rule):
    assert find_not_finite(rule, nan) == "the loss at the output of readout is nan"


def test_numbers_too_large_for_a_norm_are_named(rule):
    rule.network.nodes["linear2"].weight.data[3, 3] = -1e30
    text = find_not_finite(rule, 0.5)
    assert text == "linear2.weight reaches 1.0e+30, too large to square"
