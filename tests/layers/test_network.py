"""The container of named nodes: stepping, shapes, evaluation, descriptions, errors."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuro.errors import UsageError
from neuro.layers import (
    Add,
    AvgPool2d,
    Conv2d,
    Delay,
    Flatten,
    Linear,
    Network,
    NetworkState,
    Node,
    ReadoutIntegrator,
    ScaledWSConv2d,
    ScaledWSLinear,
    Spiking,
)
from neuro.neurons import LIF, AdaptiveLIF, CubaLIF, LeakyIntegrator


def branching() -> Network:
    """Every kind of state at once: two neurons, a delay, a branch with a sum, an integrator."""
    torch.manual_seed(7)
    return Network(
        [
            Node("conv", Conv2d(2, 3, 3, padding=1)),
            Node("lif", Spiking(LIF(threshold=0.4), scale=1.7)),
            Node("delay", Delay(2)),
            Node("branch", Conv2d(3, 3, 1), ("lif",)),
            Node("late", Conv2d(3, 3, 1), ("delay",)),
            Node("sum", Add(), ("branch", "late")),
            Node("cuba", Spiking(CubaLIF(threshold=0.5))),
            Node("pool", AvgPool2d(2)),
            Node("flatten", Flatten()),
            Node("readout", Linear(12, 4)),
            Node("integrator", ReadoutIntegrator(LeakyIntegrator(decay=0.7))),
        ],
        (2, 5, 4),
    )


def small() -> Network:
    torch.manual_seed(3)
    return Network(
        [
            Node("dense", Linear(3, 6)),
            Node("lif", Spiking(LIF(threshold=0.3), scale=2.0)),
            Node("readout", Linear(6, 2)),
        ],
        (3,),
    )


def assert_states_equal(found: NetworkState, expected: NetworkState) -> None:
    assert found.keys() == expected.keys()
    for name in expected:
        for ours, theirs in zip(found[name], expected[name], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)


def test_one_step_by_hand() -> None:
    network = Network(
        [
            Node("dense", Linear(1, 1, bias=False)),
            Node("lif", Spiking(LIF(), scale=3.0)),
            Node("readout", Linear(1, 1)),
        ],
        (1,),
    )
    with torch.no_grad():
        network.nodes["dense"].weight.fill_(0.5)
        network.nodes["readout"].weight.fill_(2.0)
        network.nodes["readout"].bias.fill_(0.25)
    state = network.initial_state(1)
    seen = []
    for x in (1.0, 2.0, 1.5, 1.0):  # u: 0.5, 1.25 (spike, 0.25 stays), 0.875, 0.9375
        logits, state = network.step(torch.full((1, 1), x), state)
        seen.append(logits.item())
    assert seen == [0.25, 6.25, 0.25, 0.25]
    assert state["lif"].membrane_potential.item() == 0.9375


def test_sequence_is_step_after_step() -> None:
    network = branching()
    inputs = 2 * torch.randn(6, 3, 2, 5, 4)
    state = network.initial_state(3)
    stepped = []
    for x in inputs:
        logits, state = network.step(x, state)
        stepped.append(logits)
    logits, final = network.sequence(inputs)
    torch.testing.assert_close(logits, torch.stack(stepped), rtol=0, atol=1e-6)
    assert_states_equal(final, state)


@settings(deadline=None, max_examples=40)
@given(split=st.integers(0, 7))
def test_splitting_a_sequence_in_two_changes_nothing(split: int) -> None:
    network = branching()
    torch.manual_seed(split)
    inputs = 2 * torch.randn(7, 2, 2, 5, 4)
    whole, whole_state = network.sequence(inputs)
    first, state = network.sequence(inputs[:split])
    second, state = network.sequence(inputs[split:], state)
    torch.testing.assert_close(torch.cat([first, second]), whole, rtol=0, atol=1e-6)
    assert_states_equal(state, whole_state)


def test_a_sequence_of_no_steps_returns_no_logits() -> None:
    network = branching()
    logits, state = network.sequence(torch.zeros(0, 3, 2, 5, 4))
    assert logits.shape == (0, 3, 4)
    assert_states_equal(state, network.initial_state(3))


def test_calling_a_network_is_stepping_it() -> None:
    network = small()
    x = torch.randn(4, 3)
    called, _ = network(x, network.initial_state(4))
    stepped, _ = network.step(x, network.initial_state(4))
    assert torch.equal(called, stepped)


def test_step_leaves_the_state_given_alone() -> None:
    network = branching()
    _, state = network.sequence(2 * torch.randn(3, 2, 2, 5, 4))
    kept = {name: tuple(part.clone() for part in parts) for name, parts in state.items()}
    network.step(torch.randn(2, 2, 5, 4), state)
    assert_states_equal(state, kept)


def test_state_follows_the_dtype_asked_for_or_that_of_the_parameters() -> None:
    assert small().initial_state(2)["lif"].membrane_potential.dtype == torch.float32
    assert small().double().initial_state(2)["lif"].membrane_potential.dtype == torch.float64
    asked = small().initial_state(2, dtype=torch.float64)
    assert asked["lif"].membrane_potential.dtype == torch.float64
    assert asked["lif"].membrane_potential.shape == (2, 6)


def test_samples_of_a_batch_do_not_touch_each_other() -> None:
    network = branching()
    inputs = 2 * torch.randn(5, 4, 2, 5, 4)
    together, _ = network.sequence(inputs)
    alone, _ = network.sequence(inputs[:, 2:3])
    torch.testing.assert_close(alone[:, 0], together[:, 2])


def test_integrating_readout_sums_the_logits_with_a_leak() -> None:
    nodes = [Node("readout", Linear(2, 3))]
    plain = Network(nodes, (2,))
    integrating = Network(
        [*nodes, Node("integrator", ReadoutIntegrator(LeakyIntegrator(decay=0.6)))], (2,)
    )
    inputs = torch.randn(4, 5, 2)
    currents, _ = plain.sequence(inputs)
    found, state = integrating.sequence(inputs)
    total = torch.zeros(5, 3)
    for current, potential in zip(currents, found, strict=True):
        total = 0.6 * total + current
        torch.testing.assert_close(potential, total)
    torch.testing.assert_close(state["integrator"].membrane_potential, total)


def test_a_network_needs_no_parameters() -> None:
    network = Network([Node("delay", Delay(1)), Node("lif", Spiking(LIF()))], (2,))
    logits, _ = network.sequence(torch.tensor([[[1.0, 0.0]], [[0.0, 0.0]]]))
    assert logits.tolist() == [[[0.0, 0.0]], [[1.0, 0.0]]]


def test_run_gives_mean_logits_and_spikes_per_neuron_and_step() -> None:
    network = branching()
    inputs = 2 * torch.randn(5, 3, 2, 5, 4)
    readout = network.run(iter(inputs))
    logits, _ = network.sequence(inputs)
    torch.testing.assert_close(readout.logits, logits.mean(0))
    lif = network.nodes["lif"]
    state = lif.neuron.zeros((3, 3, 5, 4))
    emitted = []
    for x in inputs:
        spikes, state = lif(network.nodes["conv"](x), state)
        emitted.append(spikes)
    torch.testing.assert_close(readout.firing_rates["lif"], torch.stack(emitted).mean() / 1.7)
    assert set(readout.firing_rates) == {"lif", "cuba"}
    assert 0 < float(readout.firing_rates["lif"]) < 1


def test_run_keeps_no_graph() -> None:
    readout = small().run([torch.randn(2, 3)] * 3)
    assert not readout.logits.requires_grad
    assert not any(rate.requires_grad for rate in readout.firing_rates.values())


def test_run_reads_its_inputs_one_by_one() -> None:
    network = small()
    seen: list[int] = []

    def inputs() -> Iterator[Tensor]:
        for index in range(4):
            seen.append(index)
            yield torch.randn(2, 3)

    network.run(inputs())
    assert seen == [0, 1, 2, 3]


def test_running_no_steps_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one time step"):
        small().run([])


def test_names_lead_to_neurons_synapses_and_shapes() -> None:
    network = branching()
    assert list(network.neuron_nodes) == ["lif", "cuba"]
    assert list(network.synapse_nodes) == ["conv", "branch", "late", "readout"]
    assert network.shapes["lif"] == (3, 5, 4)
    assert network.shapes["pool"] == (3, 2, 2)
    assert network.classes == 4


def test_describe_lists_kinds_shapes_parameters_and_neurons() -> None:
    network = Network(
        [
            Node("conv", ScaledWSConv2d(2, 3, 3, padding=1)),
            Node("alif", Spiking(AdaptiveLIF(), learnable=("decay",))),
            Node("flatten", Flatten()),
            Node("dense", ScaledWSLinear(60, 7, bias=False)),
            Node("lif", Spiking(LIF())),
            Node("readout", Linear(7, 4)),
            Node("integrator", ReadoutIntegrator(LeakyIntegrator())),
        ],
        (2, 5, 4),
    )
    assert [tuple(row) for row in network.describe()] == [
        ("conv", "ScaledWSConv2d", (3, 5, 4), 3 * 2 * 9 + 3 + 3, 0),
        ("alif", "AdaptiveLIF", (3, 5, 4), 1, 60),
        ("flatten", "Flatten", (60,), 0, 0),
        ("dense", "ScaledWSLinear", (7,), 60 * 7 + 7, 0),
        ("lif", "LIF", (7,), 0, 7),
        ("readout", "Linear", (4,), 7 * 4 + 4, 0),
        ("integrator", "LeakyIntegrator", (4,), 0, 4),
    ]


def test_backpropagation_reaches_every_parameter() -> None:
    network = branching()
    logits, _ = network.sequence(2 * torch.randn(4, 3, 2, 5, 4))
    logits.square().sum().backward()
    for name, parameter in network.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.abs().sum() > 0, name


def test_two_nodes_of_one_name_are_refused() -> None:
    with pytest.raises(UsageError, match="two nodes are called 'a'"):
        Network([Node("a", Flatten()), Node("a", Linear(2, 2))], (2,))


def test_input_is_no_name_for_a_node() -> None:
    with pytest.raises(UsageError, match="'input'"):
        Network([Node("input", Linear(2, 2))], (2,))


@pytest.mark.parametrize("name", ["double", "items", "a.b", ""])
def test_a_name_that_torch_cannot_hold_is_refused(name: str) -> None:
    with pytest.raises(UsageError, match=f"cannot be called '{name}'"):
        Network([Node(name, Linear(2, 2))], (2,))


def test_an_unknown_source_says_which_is_nearest() -> None:
    nodes = [Node("hidden", Linear(2, 2)), Node("readout", Linear(2, 2), ("hiden",))]
    with pytest.raises(UsageError, match=r"reads 'hiden'.*Did you mean \"hidden\""):
        Network(nodes, (2,))


def test_a_node_cannot_read_a_later_one() -> None:
    nodes = [Node("first", Linear(2, 2), ("second",)), Node("second", Linear(2, 2))]
    with pytest.raises(UsageError, match="no earlier node"):
        Network(nodes, (2,))


def test_a_shape_that_a_node_cannot_take_names_the_node() -> None:
    with pytest.raises(UsageError, match=r"node 'second' \(Linear\).*\(3,\)"):
        Network([Node("first", Linear(2, 3)), Node("second", Linear(4, 2))], (2,))


def test_a_map_smaller_than_its_pooling_window_is_refused() -> None:
    with pytest.raises(UsageError, match=r"node 'pool' \(AvgPool2d\)"):
        Network([Node("conv", Conv2d(1, 1, 1)), Node("pool", AvgPool2d(4))], (1, 3, 5))


def test_a_network_of_no_nodes_is_refused() -> None:
    with pytest.raises(UsageError, match="at least one node"):
        Network([], (2,))


def test_an_input_of_another_shape_is_refused() -> None:
    network = small()
    with pytest.raises(UsageError, match=r"\(B, 3\), got \(2, 4\)"):
        network.step(torch.zeros(2, 4), network.initial_state(2))


def test_what_does_not_change_over_time_is_transmitted_once(monkeypatch) -> None:
    network = branching()
    x = torch.randn(3, 2, 5, 4)
    expected, _ = network.sequence(torch.stack([x] * 5))
    shapes = []
    first = next(iter(network.synapse_nodes.values()))
    transmit = first.transmit

    def watched(activity: Tensor, weight: Tensor) -> Tensor:
        shapes.append(activity.shape)
        return transmit(activity, weight)

    monkeypatch.setattr(first, "transmit", watched)
    logits, _ = network.sequence(x.expand(5, *x.shape))
    torch.testing.assert_close(logits, expected, rtol=0, atol=1e-6)
    assert shapes == [x.shape]
