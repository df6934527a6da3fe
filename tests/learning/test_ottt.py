"""OTTT: the hand-written update against autograd, and against BPTT where they must agree."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from neuro.layers import Add, Flatten, Linear, Network, Node, Scale, Spiking
from neuro.learning import RULES
from neuro.learning.bptt import BPTTOptions
from neuro.learning.ottt import OTTTOptions
from neuro.neurons import IF, LIF, AdaptiveLIF, AlphaLIF, CubaLIF, Neuron

Batch = Callable[..., tuple[list[Tensor], Tensor]]


def assert_gradients_close(
    found: dict[str, Tensor], expected: dict[str, Tensor], relative: float = 1e-9
) -> None:
    assert found.keys() == expected.keys()
    for name, truth in expected.items():
        scale = truth.abs().max().item()
        assert scale > 0, f"{name}: the reference gradient is zero and proves nothing"
        torch.testing.assert_close(
            found[name], truth, rtol=0, atol=relative * scale, msg=lambda m, n=name: f"{n}: {m}"
        )


def test_update_is_that_of_autograd(
    any_network: Network, batch: Batch, learn, autograd_ottt
) -> None:
    """A2: biases and gains too, with weight standardisation and without, in every architecture."""
    inputs, targets = batch(any_network, 4)
    expected = autograd_ottt(any_network, inputs, targets, 0.3)
    learnt = learn(any_network, OTTTOptions(mse_weight=0.3), inputs, targets)
    assert_gradients_close(learnt.gradients, expected)
    assert set(learnt.gradients) == {name for name, _ in any_network.named_parameters()}


def test_constant_input_that_is_kept_and_not_computed_again_changes_nothing(
    any_network: Network, batch: Batch, learn
) -> None:
    """The same tensor each step lets the first layer's current be kept; clones do not."""
    inputs, targets = batch(any_network, 4, constant=True)
    kept = learn(any_network, OTTTOptions(), inputs, targets)
    again = learn(any_network, OTTTOptions(), [x.clone() for x in inputs], targets)
    assert_gradients_close(kept.gradients, again.gradients)
    torch.testing.assert_close(kept.outcome.logits, again.outcome.logits)


def test_an_input_that_stays_for_a_while_is_kept_only_so_long(
    conv_network: Network, batch: Batch, learn
) -> None:
    (a, b, *_), targets = batch(conv_network, 3)
    mixed = [a, a, b, b, a, a]
    kept = learn(conv_network, OTTTOptions(), mixed, targets)
    again = learn(conv_network, OTTTOptions(), [x.clone() for x in mixed], targets)
    assert_gradients_close(kept.gradients, again.gradients)


def test_one_step_is_backpropagation(any_network: Network, batch: Batch, learn) -> None:
    """With T = 1 there is no past, and OTTT equals BPTT."""
    inputs, targets = batch(any_network, 1)
    exact = learn(any_network, BPTTOptions(), inputs, targets)
    ours = learn(any_network, OTTTOptions(), inputs, targets)
    assert_gradients_close(ours.gradients, exact.gradients)
    torch.testing.assert_close(ours.outcome.loss, exact.outcome.loss)
    torch.testing.assert_close(ours.outcome.logits, exact.outcome.logits)


@pytest.mark.parametrize(
    "neuron",
    [
        LIF(input_gain=0.5, threshold=0.2),
        IF(input_gain=1.5, threshold=0.2),
        CubaLIF(input_gain=0.7, threshold=0.2),
        AlphaLIF(threshold=0.2),
        AdaptiveLIF(input_gain=0.4, threshold=0.2),
    ],
    ids=lambda neuron: type(neuron).__name__,
)
def test_one_step_is_backpropagation_for_every_neuron(neuron: Neuron, batch: Batch, learn) -> None:
    torch.manual_seed(0)
    network = Network(
        [
            Node("first", Linear(6, 8)),
            Node("lif1", Spiking(neuron, scale=1.3)),
            Node("second", Linear(8, 7)),
            Node("lif2", Spiking(neuron)),
            Node("readout", Linear(7, 4)),
        ],
        (6,),
    ).double()
    inputs, targets = batch(network, 1)
    exact = learn(network, BPTTOptions(), inputs, targets)
    ours = learn(network, OTTTOptions(), inputs, targets)
    assert_gradients_close(ours.gradients, exact.gradients)


def test_nodes_may_join_inputs_and_spikes_of_one_scale(batch: Batch, learn) -> None:
    torch.manual_seed(0)
    network = Network(
        [
            Node("twice", Scale(2.0)),
            Node("joined", Add(), ("input", "twice")),
            Node("flatten", Flatten()),
            Node("first", Linear(6, 8)),
            Node("lif1", Spiking(LIF(threshold=0.2), scale=1.3)),
            Node("second", Linear(8, 8)),
            Node("lif2", Spiking(LIF(threshold=0.2), scale=1.3)),
            Node("skip", Add(), ("lif1", "lif2")),
            Node("readout", Linear(8, 4)),
        ],
        (2, 3),
    ).double()
    inputs, targets = batch(network, 1)
    exact = learn(network, BPTTOptions(), inputs, targets)
    ours = learn(network, OTTTOptions(), inputs, targets)
    assert_gradients_close(ours.gradients, exact.gradients)
    inputs, targets = batch(network, 3, constant=True)
    constant = learn(network, OTTTOptions(), inputs, targets)
    copies = learn(network, OTTTOptions(), [x.clone() for x in inputs], targets)
    assert_gradients_close(copies.gradients, constant.gradients)


def test_over_several_steps_it_differs_from_backpropagation_through_time(
    batch: Batch, learn, conv_network: Network
) -> None:
    inputs, targets = batch(conv_network, 4)
    exact = learn(conv_network, BPTTOptions(), inputs, targets)
    ours = learn(conv_network, OTTTOptions(), inputs, targets)
    name = next(iter(exact.gradients))
    assert not torch.allclose(ours.gradients[name], exact.gradients[name])
    torch.testing.assert_close(ours.outcome.loss, exact.outcome.loss)
    torch.testing.assert_close(ours.outcome.logits, exact.outcome.logits)


def test_gradients_add_to_those_already_there(batch: Batch, learn, conv_network: Network) -> None:
    inputs, targets = batch(conv_network, 2)
    once = learn(conv_network, OTTTOptions(), inputs, targets)
    once.rule.learn(iter(inputs), 2, targets, generator=torch.Generator())
    for name, parameter in conv_network.named_parameters():
        torch.testing.assert_close(parameter.grad, 2 * once.gradients[name])


def test_registry_names_it() -> None:
    assert RULES["ottt"].Options is OTTTOptions
