"""Fully connected networks: layers, counts and options."""

import pytest
import torch

from neuro.errors import UsageError
from neuro.models import MLP, build_model


def test_default_network_on_mnist() -> None:
    network = build_model(MLP(), (1, 28, 28), 10)
    assert [tuple(row) for row in network.describe()] == [
        ("flatten", "Flatten", (784,), 0, 0),
        ("linear1", "ScaledWSLinear", (800,), 784 * 800 + 800 + 800, 0),
        ("lif1", "LIF", (800,), 0, 800),
        ("linear2", "ScaledWSLinear", (800,), 800 * 800 + 800 + 800, 0),
        ("lif2", "LIF", (800,), 0, 800),
        ("readout", "Linear", (10,), 800 * 10 + 10, 0),
    ]


def test_without_standardisation_there_are_no_gains() -> None:
    network = build_model(MLP(hidden=(7,), norm="none"), (5,), 3)
    assert [tuple(row) for row in network.describe()] == [
        ("linear1", "Linear", (7,), 5 * 7 + 7, 0),
        ("lif1", "LIF", (7,), 0, 7),
        ("readout", "Linear", (3,), 7 * 3 + 3, 0),
    ]


def test_no_hidden_layer_is_a_linear_classifier() -> None:
    network = build_model(MLP(hidden=()), (2, 3), 4)
    x = torch.randn(5, 2, 3)
    logits, _ = network.step(x, network.initial_state(5))
    readout = network.nodes["readout"]
    torch.testing.assert_close(logits, x.flatten(1) @ readout.weight.t() + readout.bias)


def test_a_width_below_one_is_refused() -> None:
    with pytest.raises(UsageError, match=r"widths >= 1, got \[4, 0\]"):
        build_model(MLP(hidden=(4, 0)), (3,), 2)
