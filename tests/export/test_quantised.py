"""A network in whole numbers does, spike for spike, what the integer graph made of it does."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor

from neuro.errors import UsageError
from neuro.export import float_graph
from neuro.export.quantised import QuantisedNetwork
from neuro.export.run import calibrate
from neuro.hardware.fixed_point import run
from neuro.hardware.messages import encode_inputs
from neuro.hardware.quantise import Quantised, quantise
from neuro.hardware.targets import TARGETS, Target
from neuro.layers import (
    INPUT,
    Add,
    Conv2d,
    Delay,
    Flatten,
    Linear,
    Network,
    Node,
    ReadoutIntegrator,
    Scale,
    Spiking,
)
from neuro.models import MLP, Conv5, Conv9, ModelOptions, ResNet18, build_model
from neuro.neurons import CubaLIF, LeakyIntegrator

MICROCODE = TARGETS["loihi2-microcode"]
STEPS, BATCH = 5, 12


def inputs_of(network: Network, kind: str) -> tuple[list[Tensor], dict[str, np.ndarray]]:
    """Return inputs of each step, and the grid they lie on."""
    generator = torch.Generator().manual_seed(5)
    shape = (BATCH, *network.input_shape)
    if kind == "spikes":
        return [(torch.rand(shape, generator=generator) < 0.4).float() for _ in range(STEPS)], {}
    levels = torch.randint(0, 17, shape, generator=generator)
    if kind == "grey":
        return [levels / 16] * STEPS, {"grain": np.asarray(1 / 16), "offset": np.zeros(())}
    # standardised by channel: silence stands for a number
    each = (-1, *[1] * (len(network.input_shape) - 1))
    mean = torch.linspace(0.3, 0.5, network.input_shape[0]).view(each)
    std = torch.linspace(0.2, 0.35, network.input_shape[0]).view(each)
    grid = {
        "grain": (1 / 16 / std.double()).numpy(),
        "offset": (-mean.double() / std.double()).numpy(),
    }
    return [(levels / 16 - mean) / std] * STEPS, grid


def quantised(
    network: Network, steps: list[Tensor], grid: dict[str, np.ndarray], target: Target
) -> Quantised:
    with torch.no_grad():
        return quantise(
            float_graph(network, **grid),
            target,
            calibrate(network, steps),
            timesteps=len(steps),
        )


def assert_law(network: Network, kind: str, target: Target = MICROCODE) -> QuantisedNetwork:
    """Check every step of every layer, at other weights than were calibrated."""
    steps, grid = inputs_of(network, kind)
    made = QuantisedNetwork(network, quantised(network, steps, grid, target).graph, target)
    assert made.state_dict().keys() == network.state_dict().keys()
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in made.parameters():
            spread = float(parameter.std()) if parameter.numel() > 1 else 0.1
            drawn = torch.randn(parameter.shape, generator=generator)
            parameter.add_(drawn, alpha=0.1 * (spread or 1.0))
    graph = made.integers()
    mine = calibrate(made, steps)
    recording = run(graph, encode_inputs(graph, mine.inputs), record=list(graph.populations))
    for name, answers in mine.answers.items():
        depth = graph.metadata["depths"][name]
        if answers.ndim == recording.spikes[name].ndim:
            late = recording.spikes[name][depth : depth + STEPS]
            np.testing.assert_array_equal(late, answers, err_msg=name)
            assert 0.005 < answers.mean() < 0.9, name
        else:
            states = answers * 64 * graph.metadata["scales"][name]
            np.testing.assert_allclose(states, recording.final_v[name], atol=0.4, err_msg=name)
            assert answers.std(0).min() > 0.01
        assert recording.extremes[name].wrapped_u == recording.extremes[name].clipped_v == 0
    return made


def build(options: ModelOptions, shape: tuple[int, ...]) -> Network:
    generator = torch.Generator().manual_seed(3)
    network = build_model(options, shape, 5, generator)
    for name, parameter in network.named_parameters():
        if name.endswith("bias"):
            parameter.data.uniform_(-0.2, 0.7, generator=generator)
    return network


@pytest.mark.parametrize("kind", ["spikes", "grey", "standardised"])
@pytest.mark.parametrize(
    ("options", "shape"),
    [
        (MLP(hidden=(20, 15)), (2, 4, 4)),
        (MLP(hidden=(20,), norm="none", reset="hard", tau=3.3), (30,)),
        (Conv5(width=0.04), (2, 8, 8)),
        (Conv9(width=0.05, reset="hard"), (2, 8, 8)),
        (ResNet18(width=0.05), (2, 8, 8)),
    ],
)
def test_every_spike_is_the_chips(options, shape, kind):
    assert_law(build(options, shape), kind)


@pytest.mark.parametrize("bits", [2, 3, 5])
def test_with_fewer_bits_a_weight(bits):
    target = replace(MICROCODE, weight_bits=bits)
    made = assert_law(build(MLP(hidden=(20,)), (30,)), "grey", target)
    levels = 2 ** (bits - 1) - 1
    for connection in made.integers().connections:
        weights = set((connection.synapses.weight // 2 ** (9 - bits)).reshape(-1).tolist())
        assert weights <= set(range(-levels, levels + 1))
        assert len(weights) > 2
    assert all(0 < lost.weight_error < 1 for lost in made.losses().values())


def test_biases_for_netx_have_its_exponent():
    target = replace(MICROCODE, bias_exponent=6)
    graph = assert_law(build(MLP(hidden=(20,)), (30,)), "spikes", target).integers()
    assert all(each.neuron.registers.bias_exp == 6 for each in graph.populations.values())


def test_currents_delays_and_branches():
    cuba = CubaLIF(current_decay=0.6, voltage_decay=0.8, reset_mode="hard")
    network = Network(
        [
            Node("first", Linear(20, 16, bias=False)),
            Node("lif1", Spiking(cuba, scale=1.7)),
            Node("near", Linear(16, 12, bias=False), ("lif1",)),
            Node("late", Delay(2), ("lif1",)),
            Node("far", Linear(16, 12, bias=False), ("late",)),
            Node("weaker", Scale(0.25)),
            Node("sum", Add(), ("near", "weaker")),
            Node("lif2", Spiking(cuba)),
            Node("readout", Linear(12, 5)),
        ],
        (20,),
    )
    generator = torch.Generator().manual_seed(1)
    for synapse in network.synapse_nodes.values():
        synapse.weight.data.normal_(0.1, 0.4, generator=generator)
    assert_law(network, "spikes")


def test_groups_strides_and_learnt_decays():
    options = MLP(learn_decay=True, reset="hard")
    network = Network(
        [
            Node("conv1", Conv2d(2, 6, 3, padding=1, stride=2, groups=2)),
            Node("lif1", options.spiking_layer()),
            Node("conv2", Conv2d(6, 4, 2, dilation=2)),
            Node("lif2", options.spiking_layer()),
            Node("flatten", Flatten()),
            Node("readout", Linear(4 * 2 * 2, 5)),
        ],
        (2, 8, 8),
    )
    generator = torch.Generator().manual_seed(2)
    for synapse in network.synapse_nodes.values():
        synapse.weight.data.normal_(0.0, 0.5, generator=generator)
        synapse.bias.data.fill_(0.1)
    made = assert_law(network, "standardised")
    assert "nodes.lif1.raw_decay" in made.state_dict()


def refused(network: Network) -> None:
    steps, grid = inputs_of(network, "grey")
    QuantisedNetwork(network, quantised(network, steps, grid, MICROCODE).graph, MICROCODE)


def test_a_synapse_of_a_stream_is_rounded_for_each_population():
    network = build(ResNet18(width=0.05, reset="hard"), (2, 8, 8))
    made = assert_law(network, "standardised")
    graph = made.integers()
    first, second = (
        next(each for each in graph.inputs_of(name) if each.source == INPUT)
        for name in ("block1_lif1", "block2_lif1")
    )
    assert not np.array_equal(first.synapses.weight, second.synapses.weight)
    exponents = (first.weight_exponent, second.weight_exponent)
    factors = [
        np.ldexp(each.synapses.weight, exponent) / graph.metadata["scales"][each.target]
        for each, exponent in zip((first, second), exponents, strict=True)
    ]
    # the stream's variance has grown by block_gain^2 when the second block reads it
    ratio = factors[0].std() / factors[1].std()
    assert ratio == pytest.approx(np.sqrt(1.04), rel=0.05)


def test_recomputing_currents_gives_the_same_gradients():
    steps, grid = inputs_of(network := build(ResNet18(width=0.05), (2, 8, 8)), "standardised")
    graph = quantised(network, steps, grid, MICROCODE).graph
    found = []
    for recompute in (False, True):
        made = QuantisedNetwork(network, graph, MICROCODE)
        assert len(made.nodes["stem"].grids) == 3
        state, weights = made.initial_state(BATCH), made.effective_weights()
        logits, _ = made.advance_sequence(torch.stack(steps), state, weights, recompute=recompute)
        logits.square().sum().backward()
        found.append({name: each.grad for name, each in made.named_parameters()})
    for name, gradient in found[0].items():
        assert gradient.abs().sum() > 0, name
        torch.testing.assert_close(gradient, found[1][name], msg=name)


def stream(*nodes: Node) -> Network:
    """Return a network of two layers, and a read-out, with what leads into the second."""
    options = MLP(reset="hard")
    network = Network(
        [
            Node("first", Linear(9, 8)),
            Node("lif1", options.spiking_layer()),
            *nodes,
            Node("lif2", options.spiking_layer()),
            Node("readout", Linear(8, 3)),
        ],
        (9,),
    )
    generator = torch.Generator().manual_seed(4)
    for synapse in network.synapse_nodes.values():
        synapse.weight.data.normal_(0.1, 0.5, generator=generator)
        if synapse.bias is not None:
            synapse.bias.data.uniform_(0.1, 0.4, generator=generator)
    return network


def test_biases_of_two_synapses_share_a_register():
    network = stream(
        Node("near", Linear(8, 8)), Node("past", Linear(9, 8), (INPUT,)),
        Node("sum", Add(), ("near", "past")),
    )  # fmt: skip
    for kind in ("spikes", "grey"):
        assert_law(network, kind)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([Node("sum", Add(), ("first", "lif1"))], "lif2: lif1 reaches it past all synapses"),
        ([Node("second", Linear(8, 8)), Node("free", Linear(9, 8, bias=False), (INPUT,)),
          Node("late", Delay(1)), Node("sum", Add(), ("second", "free", "late"))],
         "late: a delay behind free"),
    ],
)  # fmt: skip
def test_streams_that_are_not_known_are_refused_by_name(nodes, said):
    network = stream(*nodes)
    with pytest.raises(UsageError, match=said):
        refused(network)


def test_groups_of_channels_on_a_stream_are_refused_by_name():
    options = MLP(reset="hard")
    nodes = [
        Node("stem", Conv2d(2, 4, 1, groups=2)),
        Node("lif1", options.spiking_layer()),
        Node("conv", Conv2d(4, 4, 1)),
        Node("sum", Add(), ("stem", "conv")),
        Node("lif2", options.spiking_layer()),
        Node("flatten", Flatten()),
        Node("readout", Linear(16, 3)),
    ]
    with pytest.raises(UsageError, match="stem: it drives several populations in groups"):
        refused(Network(nodes, (2, 2, 2)))


def test_a_read_out_of_two_biases_is_refused_by_name():
    nodes = [
        Node("one", Linear(9, 8)),
        Node("lif", MLP().spiking_layer()),
        Node("near", Linear(8, 3)),
        Node("past", Linear(9, 3), (INPUT,)),
        Node("sum", Add(), ("near", "past")),
    ]
    with pytest.raises(UsageError, match="sum: a read-out whose synapses"):
        refused(Network(nodes, (9,)))


def test_two_synapses_in_a_row_are_refused_by_name():
    options = MLP()
    nodes = [
        Node("one", Linear(9, 8)),
        Node("two", Linear(8, 7)),
        Node("lif", options.spiking_layer()),
        Node("readout", Linear(7, 3)),
    ]
    with pytest.raises(UsageError, match="two: fine-tuning wants one"):
        refused(Network(nodes, (9,)))


def test_integrating_readouts_are_refused_by_name():
    nodes = [
        Node("one", Linear(9, 8)),
        Node("lif", MLP().spiking_layer()),
        Node("two", Linear(8, 3, bias=False)),
        Node("out", ReadoutIntegrator(LeakyIntegrator())),
    ]
    with pytest.raises(UsageError, match="out: ReadoutIntegrator"):
        refused(Network(nodes, (9,)))


def test_the_given_network_is_left_alone():
    network = build(MLP(hidden=(20,)), (30,))
    before = {name: tensor.clone() for name, tensor in network.state_dict().items()}
    assert_law(network, "grey")
    assert all(torch.equal(network.state_dict()[name], before[name]) for name in before)
    assert next(iter(network.nodes)) == "linear1"
    assert INPUT in network.sources["linear1"]
