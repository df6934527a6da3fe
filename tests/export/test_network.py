"""A folded network does at every step what the network does."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from neuro.errors import UsageError
from neuro.export import float_graph
from neuro.hardware.float_graph import FloatConvolution, FloatDense
from neuro.layers import (
    INPUT,
    Add,
    AvgPool2d,
    Conv2d,
    Delay,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    Network,
    Node,
    ReadoutIntegrator,
    Scale,
    ScaledWSLinear,
    Spiking,
)
from neuro.models import MLP, Conv5, Conv9, ResNet18, build_model
from neuro.neurons import IF, LIF, AdaptiveLIF, AlphaLIF, CubaLIF, LeakyIntegrator
from tests.hardware.float_run import run_float


def torch_run(network: Network, inputs: Tensor) -> dict[str, np.ndarray]:
    """Return spikes ``[T, *shape]`` of every spiking node and sums of the output so far."""
    network = network.double()
    state = network.initial_state(1)
    weights = network.effective_weights()
    found: dict[str, list[np.ndarray]] = {}
    total = 0.0
    with torch.no_grad():
        for x in inputs:
            values, state = network.advance(x[None], state, weights)
            for name, layer in network.neuron_nodes.items():
                found.setdefault(name, []).append((values[name][0] / layer.scale).numpy())
            total = total + values[network.output][0].numpy()
            if network.output not in network.neuron_nodes:
                found.setdefault(network.output, []).append(total)
    return {name: np.array(steps) for name, steps in found.items()}


def assert_same(network: Network, seed: int = 0, steps: int = 5) -> None:
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        if parameter.ndim == 1:  # biases
            parameter.data.uniform_(-0.3, 0.7, generator=generator)
    shape = (steps, *network.input_shape)
    inputs = 2 * torch.randn(shape, generator=generator, dtype=torch.float64)
    graph = float_graph(network)
    ours = run_float(graph, {INPUT: inputs.numpy()})
    theirs = torch_run(network, inputs)
    assert ours.keys() == theirs.keys()
    for name in ours:
        np.testing.assert_allclose(ours[name], theirs[name], atol=1e-9)
    assert all(np.ptp(answers) > 0 for answers in theirs.values())


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(3)


@pytest.mark.parametrize("reset", ["soft", "hard"])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        (MLP(hidden=(20, 15)), (1, 5, 5)),
        (MLP(hidden=(20,), norm="none"), (30,)),
        (Conv5(width=0.04), (2, 16, 16)),
        (Conv9(width=0.05), (3, 16, 16)),
        (ResNet18(width=0.05), (3, 8, 8)),
    ],
)
def test_models_do_the_same_when_folded(options, shape, reset):
    options = type(options)(**{**vars(options), "reset": reset})
    assert_same(build_model(options, shape, 4, generator()))


@pytest.mark.parametrize(
    "neuron",
    [
        LIF(decay=0.7, input_gain=0.5, threshold=0.3, inclusive=False),
        IF(threshold=0.3, input_gain=0.8),
        CubaLIF(current_decay=0.3, voltage_decay=0.8, input_gain=0.6, reset_mode="hard"),
        AlphaLIF(threshold=1.0),
        LIF(decay=torch.tensor([0.2, 0.5, 0.7, 0.9]), threshold=torch.tensor(0.4)),
    ],
)
def test_neurons_do_the_same_when_folded(neuron):
    nodes = [
        Node("linear", ScaledWSLinear(6, 4)),
        Node("spiking", Spiking(neuron, scale=1.7)),
        Node("late", Delay(2)),
        Node("readout", Linear(4, 3)),
    ]
    torch.manual_seed(0)
    assert_same(Network(nodes, (6,)), steps=12)


def test_learnt_decays_are_folded():
    torch.manual_seed(0)
    layer = Spiking(LIF(decay=0.6), learnable=("decay",))
    layer.get_parameter("raw_decay").data.fill_(1.5)
    network = Network([Node("linear", Linear(6, 4)), Node("spiking", layer)], (6,))
    assert_same(network)
    decay = float_graph(network).populations["spiking"].neuron.voltage_decay
    assert decay == pytest.approx(1 / (1 + np.exp(-1.5)))


def test_a_network_that_ends_in_spikes_or_in_an_integrator():
    torch.manual_seed(0)
    spikes = Network(
        [Node("linear", Linear(6, 4)), Node("spiking", Spiking(LIF(threshold=0.2)))], (6,)
    )
    assert_same(spikes)
    assert float_graph(spikes).decoding == "spikes"
    leaky = ReadoutIntegrator(LeakyIntegrator(decay=0.8, input_gain=0.2))
    network = Network([Node("linear", Linear(6, 4)), Node("out", leaky)], (6,))
    assert_same(network)
    assert float_graph(network).decoding == "potential"


@pytest.mark.parametrize(
    ("nodes", "kind"),
    [
        ([Node("pool", AvgPool2d(2)), Node("conv", Conv2d(2, 3, 3, padding=1))], FloatConvolution),
        ([Node("pool", AvgPool2d(3)), Node("conv", Conv2d(2, 3, 2))], FloatConvolution),
        ([Node("conv", Conv2d(2, 3, 3, stride=2)), Node("pool", AvgPool2d(2))], FloatConvolution),
        ([Node("conv", Conv2d(2, 4, 3, groups=2, dilation=2, padding=1))], FloatConvolution),
        ([Node("scale", Scale(0.5)), Node("pool", AvgPool2d(2)), Node("again", AvgPool2d(2))],
         FloatConvolution),
        ([Node("a", Conv2d(2, 3, 3, padding=1)), Node("b", Conv2d(3, 2, 3, padding=1))],
         FloatDense),
        ([Node("pool", AvgPool2d(5)), Node("conv", Conv2d(2, 3, 3, padding=1))], FloatDense),
        ([Node("pool", AvgPool2d(2)), Node("flat", Flatten()), Node("out", Linear(72, 5))],
         FloatDense),
        ([Node("pool", GlobalAvgPool2d()), Node("out", Linear(2, 5))], FloatDense),
    ],
)  # fmt: skip
def test_linear_maps_become_one(nodes, kind):
    torch.manual_seed(0)
    network = Network([*nodes, Node("spiking", Spiking(LIF(threshold=0.1)))], (2, 12, 12))
    (connection,) = float_graph(network).connections
    assert isinstance(connection.synapses, kind)
    assert_same(network)


def test_a_residual_sum_is_several_connections():
    torch.manual_seed(0)
    nodes = [
        Node("one", Linear(6, 4)),
        Node("two", Linear(6, 4), (INPUT,)),
        Node("sum", Add(), ("one", "two")),
        Node("first", Spiking(LIF())),
        Node("through", Add(), ("sum", "first")),
        Node("second", Spiking(LIF())),
    ]
    network = Network(nodes, (6,))
    assert len(float_graph(network).connections) == 5
    assert_same(network)


class Squared(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x * x


class Refractory(LIF):
    pass


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([Node("lif", Spiking(AdaptiveLIF()))], "lif: AdaptiveLIF is no neuron.*cuba_lif"),
        ([Node("lif", Spiking(Refractory()))], "lif: Refractory is no neuron"),
        ([Node("lif", Spiking(LIF(reset_mode="hard", reset_value=0.2)))], "reset_value = 0"),
        ([Node("square", Squared())], "square: a chip has nothing for Squared"),
        ([Node("linear", Linear(6, 6)), Node("late", Delay(2)), Node("lif", Spiking(LIF()))],
         "before the synapse"),
    ],
)  # fmt: skip
def test_what_a_chip_does_not_have_is_refused_by_name(nodes, said):
    network = Network(nodes, (6,))
    for parameter in network.parameters():
        parameter.data.fill_(0.5)
    with pytest.raises(UsageError, match=said):
        float_graph(network)


def test_a_matrix_too_large_to_write_out_is_refused(monkeypatch):
    monkeypatch.setattr("neuro.export.folding.LARGEST_MATRIX", 10)
    with pytest.raises(UsageError, match="linear"):
        float_graph(Network([Node("linear", Linear(6, 4))], (6,)))
