"""Signals that backward gets again: equal gradients, from almost nothing kept."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef

from neuro.errors import UsageError
from neuro.layers import (
    Add,
    AvgPool2d,
    Conv2d,
    Delay,
    Flatten,
    Linear,
    Network,
    Node,
    ReadoutIntegrator,
    ScaledWSLinear,
    Spiking,
)
from neuro.layers.signals import Computed, Dense, Packed, restoring
from neuro.models import MLP, Conv5, Conv9, ResNet18, build_model
from neuro.neurons import IF, LIF, AdaptiveLIF, AlphaLIF, CubaLIF, LeakyIntegrator

MODELS = {
    "mlp": (MLP(hidden=(13, 11)), (3, 4)),
    "mlp, learnt decay": (MLP(hidden=(13, 11), learn_decay=True, norm="none"), (9,)),
    "conv5": (Conv5(width=1 / 32), (2, 9, 8)),
    "conv9": (Conv9(width=1 / 32, norm="none"), (2, 8, 8)),
    "resnet18": (ResNet18(width=1 / 32), (2, 8, 8)),
}


class Leaking(LIF):
    """An equation of its own, so that it runs step by step."""

    def charge(self, current: Tensor, state: Any) -> Any:
        return super().charge(0.9 * current, state)


NEURONS = {
    "if": (IF(), ("threshold",)),
    "lif": (LIF(input_gain=0.9), ("decay", "threshold", "input_gain")),
    "hard, attached": (LIF(reset_mode="hard", detach_reset=False), ("reset_value",)),
    "cuba_lif": (CubaLIF(), ("current_decay", "voltage_decay")),
    "alpha_lif": (AlphaLIF(), ()),
    "adaptive_lif": (AdaptiveLIF(), ("adaptation_decay", "beta")),
    "own equation": (Leaking(), ("decay", "input_gain")),
}


def build(name: str) -> Network:
    options, shape = MODELS[name]
    network = build_model(options, shape, 5, torch.Generator().manual_seed(11))
    with torch.no_grad():
        for parameter_name, parameter in network.named_parameters():
            if parameter_name.endswith("bias"):
                parameter += 0.5  # lifts the deep layers to their thresholds
    return network


def branching() -> Network:
    """Delay, branch, sum, pool and integrator, and a node that nobody reads."""
    torch.manual_seed(7)
    return Network(
        [
            Node("conv", Conv2d(2, 3, 3, padding=1)),
            Node("lif", Spiking(LIF(threshold=0.4), scale=1.7)),
            Node("delay", Delay(2)),
            Node("branch", Conv2d(3, 3, 1), ("lif",)),
            Node("late", Conv2d(3, 3, 1, bias=False), ("delay",)),
            Node("sum", Add(), ("branch", "late")),
            Node("probe", Flatten(), ("sum",)),
            Node("cuba", Spiking(CubaLIF(threshold=0.5)), ("sum",)),
            Node("pool", AvgPool2d(2)),
            Node("twice", Add(), ("pool", "pool")),
            Node("flatten", Flatten()),
            Node("readout", ScaledWSLinear(12, 4)),
            Node("integrator", ReadoutIntegrator(LeakyIntegrator(decay=0.7))),
        ],
        (2, 5, 4),
    )


def draw(network: Network, steps: int, *, constant: bool = False) -> Tensor:
    generator = torch.Generator().manual_seed(3)
    inputs = 2 * torch.randn(steps, 4, *network.input_shape, generator=generator)
    return inputs[:1].expand_as(inputs) if constant else inputs


def gradients(network: Network, inputs: Tensor, *, recompute: bool) -> dict[str, Tensor]:
    """Outputs, final states, and gradients of input, initial state and parameters."""
    network.zero_grad()
    inputs = inputs.detach().requires_grad_()
    state = network.initial_state(inputs.shape[1])
    generator = torch.Generator().manual_seed(5)
    states = [each for parts in state.values() for each in parts]
    for each in states:
        each.copy_(torch.rand(each.shape, generator=generator)).requires_grad_()
    weights = network.effective_weights()
    logits, after = network.advance_sequence(inputs, state, weights, recompute=recompute)
    outputs = [logits, *(each for parts in after.values() for each in parts)]
    sum((each * torch.randn(each.shape, generator=generator)).sum() for each in outputs).backward()
    named = {f"output {k}": each.detach() for k, each in enumerate(outputs)}
    named |= {f"state {k}": each.grad for k, each in enumerate(states)}
    named |= {name: each.grad for name, each in network.named_parameters()}
    return {"input": inputs.grad, **named}


def assert_same_gradients(network: Network, inputs: Tensor) -> None:
    kept, computed = (gradients(network, inputs, recompute=way) for way in (False, True))
    for name, gradient in kept.items():
        assert gradient is not None, name
        assert torch.equal(gradient, computed[name]), name


@pytest.mark.parametrize("constant", [False, True])
@pytest.mark.parametrize("steps", [1, 5])
@pytest.mark.parametrize("name", MODELS)
def test_gradients_of_every_model_are_equal(name: str, steps: int, constant: bool) -> None:
    assert_same_gradients(build(name), draw(build(name), steps, constant=constant))


@pytest.mark.parametrize("steps", [1, 6])
def test_gradients_through_delays_branches_and_integrators_are_equal(steps: int) -> None:
    assert_same_gradients(branching(), draw(branching(), steps))


@pytest.mark.parametrize("name", NEURONS)
def test_gradients_of_every_neuron_are_equal(name: str) -> None:
    neuron, learnable = NEURONS[name]
    torch.manual_seed(2)
    network = Network(
        [
            Node("first", Linear(6, 9)),
            Node("one", Spiking(neuron, scale=2.74, learnable=learnable)),
            Node("second", ScaledWSLinear(9, 8)),
            Node("two", Spiking(neuron, learnable=learnable)),
            Node("readout", Linear(8, 3)),
        ],
        (6,),
    )
    assert_same_gradients(network, draw(network, 7))


def alive(network: Network, inputs: Tensor) -> tuple[Tensor, set[str]]:
    """Run, and tell whose output is still in memory afterwards."""
    sent: dict[str, StorageWeakRef] = {}

    def note(name: str, value: Tensor) -> None:
        sent[name] = StorageWeakRef(value.untyped_storage())

    state, weights = network.initial_state(4), network.effective_weights()
    logits, _ = network.advance_sequence(inputs, state, weights, recompute=True, observe=note)
    return logits, {name for name, storage in sent.items() if not storage.expired()}


@pytest.mark.parametrize(
    ("name", "dense"),
    [
        ("mlp", {"flatten"}),  # the input itself
        ("mlp, learnt decay", set()),
        ("conv5", set()),
        ("conv9", set()),
        # what a block both reads and adds to
        ("resnet18", {"stem", *(f"block{k}_add" for k in (1, 3, 5, 7))}),
    ],
)
def test_only_what_several_nodes_read_stays_dense(name: str, dense: set[str]) -> None:
    network = build(name)
    _, found = alive(network, draw(network, 5))
    assert found == {*dense, network.output}


def test_all_is_dropped_once_backward_has_run() -> None:
    network = build("conv5")
    inputs = draw(network, 5)
    logits, _ = alive(network, inputs)
    kept = StorageWeakRef(inputs.untyped_storage())
    del inputs
    assert not kept.expired()
    logits.sum().backward()
    assert kept.expired()


def test_backward_may_run_twice() -> None:
    network = build("conv5")
    logits, _ = alive(network, draw(network, 3))
    found = []
    for _ in range(2):
        network.zero_grad()
        logits.sum().backward(retain_graph=True)
        found.append([each.grad.clone() for each in network.parameters()])
    assert all(map(torch.equal, *found))


@pytest.mark.parametrize("name", ["linear2.bias", "linear2.weight", "lif1.raw_decay"])
def test_a_weight_changed_before_backward_is_refused(name: str) -> None:
    network = build("mlp, learnt decay")
    logits, _ = alive(network, draw(network, 3))
    with torch.no_grad():
        network.get_parameter(f"nodes.{name}").add_(1)
    if name == "lif1.raw_decay":  # what acts is its sigmoid, which is a tensor of its own
        logits.sum().backward()
        return
    with pytest.raises(UsageError, match="before the optimiser steps"):
        logits.sum().backward()


def test_a_layer_that_emits_other_than_spikes_is_named() -> None:
    class Graded(LIF):
        def fire(self, charged: Any) -> Tensor:
            return charged.membrane_potential.relu()

    network = Network([Node("dense", Linear(3, 4)), Node("graded", Spiking(Graded()))], (3,))
    inputs, state = draw(network, 2), network.initial_state(4)
    weights = network.effective_weights()
    with pytest.raises(UsageError, match=r"graded: .* neither 0 nor 1.*recompute off"):
        network.advance_sequence(inputs, state, weights, recompute=True)
    with torch.no_grad():
        network.advance_sequence(inputs, state, weights, recompute=True)


def test_signals_give_back_what_they_stand_for() -> None:
    spikes = (torch.rand(3, 5) < 0.5) * 2.74
    packed = Packed(spikes, 2.74)
    weight = torch.tensor(2.0)
    product = Computed(
        lambda given: given[0] * weight + given[1], [packed, Dense(spikes)], [weight]
    )
    assert torch.equal(packed.restore(), spikes)
    assert torch.equal(product.restore(), spikes * weight + spikes)
    weight += 1
    with pytest.raises(UsageError, match="changed in place"):
        product.restore()


@pytest.mark.parametrize(
    ("view", "replaced"),
    [
        (lambda x: x, True),
        (lambda x: x.flatten(0, 1), True),
        (lambda x: x[:2], False),
        (lambda x: x.transpose(0, 1), False),
        (lambda x: x.clone(), False),
    ],
)
def test_only_a_whole_tensor_in_its_order_is_replaced(
    view: Callable[[Tensor], Tensor], replaced: bool
) -> None:
    class Elsewhere(Dense):
        restored = 0

        def restore(self) -> Tensor:
            Elsewhere.restored += 1
            return super().restore().clone()

    tensor = torch.rand(3, 4, 2)
    factor = torch.ones(()).requires_grad_()
    with restoring([tensor], [Elsewhere(tensor)]):
        product = view(tensor) * factor
    product.sum().backward()
    torch.testing.assert_close(factor.grad, view(tensor).sum())
    assert Elsewhere.restored == replaced


def test_a_sequence_of_no_steps_returns_no_logits() -> None:
    network = branching()
    inputs, state = draw(network, 0), network.initial_state(4)
    weights = network.effective_weights()
    logits, _ = network.advance_sequence(inputs, state, weights, recompute=True)
    assert logits.shape == (0, 4, 4)
