"""Networks as canonical graphs: what stands in them, what is refused, and that nothing is lost."""

from itertools import pairwise

import nir
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import neuro
from neuro.errors import UsageError
from neuro.hardware.nir import (
    ExportWarning,
    from_nir,
    interpret,
    read_nir,
    to_network,
    to_nir,
    write_nir,
)
from neuro.layers import (
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
    ScaledWSConv2d,
    ScaledWSLinear,
    Spiking,
)
from neuro.models import MLP, Conv5, Conv9, ResNet18, build_model
from neuro.neurons import IF, LIF, AdaptiveLIF, AlphaLIF, CubaLIF, LeakyIntegrator
from neuro.surrogate import ATan


def hard(kind=LIF, **numbers):
    return kind(reset_mode="hard", **numbers)


def dense(first, second=None, scale=1.0, seed=0):
    torch.manual_seed(seed)
    network = Network(
        [
            Node("in", Linear(8, 6)),
            Node("one", Spiking(first, scale=scale)),
            Node("between", Linear(6, 4, bias=False)),
            Node("two", Spiking(second or first)),
        ],
        (8,),
    )
    return lively(network)


def lively(network, gain=3.0):
    """Scale weights up so that spikes reach the end."""
    with torch.no_grad():
        for synapse in network.synapse_nodes.values():
            synapse.weight.mul_(gain)
    return network


def maps(seed=0):
    torch.manual_seed(seed)
    network = Network(
        [
            Node("conv", ScaledWSConv2d(2, 3, 3, padding=1)),
            Node("lif1", Spiking(hard(decay=0.8, threshold=0.7), scale=2.74)),
            Node("pool", AvgPool2d(2)),
            Node("late", Delay(2)),
            Node("conv2", Conv2d(3, 3, 3, padding=1)),
            Node("gain", Scale(0.5)),
            Node("short", Conv2d(3, 3, 1), ("pool",)),
            Node("add", Add(), ("gain", "short")),
            Node("lif2", Spiking(hard(CubaLIF, current_decay=0.3, voltage_decay=0.75))),
            Node("weaker", Scale(0.7), ("add",)),
            Node("lif3", Spiking(hard(IF))),
            Node("both", Add(), ("lif2", "lif3")),
            Node("flatten", Flatten()),
            Node("read", ScaledWSLinear(48, 5)),
            Node("out", ReadoutIntegrator(LeakyIntegrator(decay=0.9))),
        ],
        (2, 8, 8),
    )
    return lively(network)


def inputs(network, steps=40, batch=3, rate=0.4, seed=1):
    random = torch.Generator().manual_seed(seed)
    return (torch.rand((steps, batch, *network.input_shape), generator=random) < rate).float()


def agree(network, model, x=None):
    """The model does what the network does: spikes exactly, other outputs up to rounding."""
    x = inputs(network) if x is None else x
    with torch.no_grad():
        expected, _ = network.sequence(x)
        got, _ = model.sequence(x)
    assert expected.abs().sum() > 0, "a silent network shows nothing"
    torch.testing.assert_close(got, expected, rtol=1e-4, atol=1e-4)
    if ((expected == 0) | (expected == 1)).all():
        assert torch.equal(got, expected)


NETWORKS = {
    "LIF": lambda: dense(hard(decay=0.9), hard(decay=0.8, input_gain=0.4, threshold=0.6)),
    "LIF, scaled spikes": lambda: dense(hard(decay=0.9), hard(decay=0.83), scale=2.74),
    "LIF without memory": lambda: dense(hard(decay=0.0)),
    "LIF without leak": lambda: dense(hard(decay=1.0)),
    "LIF, reset to a potential": lambda: dense(hard(decay=0.9, reset_value=-0.3)),
    "LIF, strict": lambda: dense(hard(decay=0.5, inclusive=False)),
    "LIF, each its own": lambda: dense(
        hard(decay=torch.linspace(0.5, 0.95, 6), threshold=torch.linspace(0.5, 1.5, 6)),
        hard(decay=0.9),
    ),
    "IF": lambda: dense(hard(IF), hard(IF, input_gain=0.3)),
    "CubaLIF": lambda: dense(
        hard(CubaLIF, current_decay=0.7, voltage_decay=0.85, input_gain=0.3), hard(CubaLIF)
    ),
    "AlphaLIF": lambda: dense(AlphaLIF(threshold=1.0), AlphaLIF()),
    "every layer": maps,
}


@pytest.mark.parametrize("name", NETWORKS)
def test_what_is_written_and_read_does_what_the_network_does(name, tmp_path):
    network = NETWORKS[name]()
    write_nir(to_nir(network), tmp_path / "a.nir")
    agree(network, from_nir(tmp_path / "a.nir"))
    agree(network, interpret(tmp_path / "a.nir"))


@pytest.mark.parametrize("name", NETWORKS)
def test_parameters_alone_say_the_same(name):
    network = NETWORKS[name]()
    agree(network, from_nir(to_nir(network), use_metadata=False))


@pytest.mark.parametrize("name", ["LIF", "LIF without leak", "CubaLIF", "every layer"])
def test_seconds_do_not_matter(name):
    network = NETWORKS[name]()
    graph = to_nir(network, dt=1e-3)
    assert graph.metadata["dt"] == 1e-3
    agree(network, from_nir(graph))


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        (MLP(hidden=(20, 10)), (1, 6, 6)),
        (Conv5(width=0.03), (2, 8, 8)),
        (Conv9(width=0.05), (2, 8, 8)),
        (ResNet18(width=0.05), (2, 8, 8)),
    ],
)
def test_every_model_can_be_exchanged(options, shape):
    options = type(options)(**{**vars(options), "reset": "hard", "threshold": 0.3})
    network = build_model(options, shape, 5, torch.Generator().manual_seed(0))
    graph = to_nir(network)
    model = from_nir(graph)
    assert isinstance(model, Network)
    agree(network, model)
    readout = model.run(inputs(network, steps=5))
    assert readout.logits.shape == (3, 5)
    assert all(0 <= rate <= 1 for rate in readout.firing_rates.values())


@given(
    st.integers(0, 2**16),
    st.sampled_from([0.0, 0.5, 0.75, 0.875, 1.0]),
    st.sampled_from(["lif", "if", "cuba"]),
    st.booleans(),
    st.sampled_from([0, 1, 3]),
    st.booleans(),
)
@settings(max_examples=30, deadline=None)
def test_a_random_small_network_comes_back_with_the_same_spikes(
    seed, decay, kind, inclusive, delay, skip
):
    """Weights of few bits, factors that are powers of 2: no rounding, thresholds met exactly."""
    random = torch.Generator().manual_seed(seed)
    settings_ = {"inclusive": inclusive, "reset_mode": "hard"}
    neuron = {
        "lif": lambda: LIF(decay=decay, **settings_),
        "if": lambda: IF(**settings_),
        "cuba": lambda: CubaLIF(
            current_decay=min(decay, 0.75), voltage_decay=min(decay, 0.5), **settings_
        ),
    }[kind]()
    nodes = [
        Node("a", Linear(5, 4)),
        Node("s", Spiking(neuron)),
        Node("d", Delay(delay)),
        Node("b", Linear(4, 4)),
        *([Node("add", Add(), ("b", "a"))] if skip else []),
        Node("t", Spiking(neuron)),
    ]
    network = Network(nodes, (5,))
    with torch.no_grad():
        for parameter in network.parameters():
            whole = torch.randint(-4, 9, parameter.shape, generator=random)
            parameter.copy_(whole / 8)
    x = torch.randint(0, 2, (12, 2, 5), generator=random).float()
    expected, _ = network.sequence(x)
    graph = to_nir(network)
    assert torch.equal(from_nir(graph).sequence(x)[0], expected)
    stepped = interpret(graph)
    state = stepped.initial_state(2)
    for now, then in zip(x, expected, strict=True):
        got, state = stepped.step(now, state)
        assert torch.equal(got, then)


def test_the_canonical_graph_is_as_specified():
    network = dense(hard(decay=0.9), hard(decay=0.75), scale=2.0)
    graph = to_nir(network, seed=11)
    assert list(graph.nodes) == [
        "0_input",
        "1_affine",
        "2_lif",
        "3_linear",
        "4_lif",
        "5_output",
    ]
    names = list(graph.nodes)
    assert graph.edges == list(pairwise(names))
    lif = graph.nodes["2_lif"]
    assert lif.tau.shape == (6,)
    assert {getattr(lif, name).dtype for name in ("tau", "r", "v_threshold")} == {
        np.dtype("float32")
    }
    np.testing.assert_allclose(lif.tau, 1e-3, rtol=1e-6)
    np.testing.assert_array_equal(lif.r, 1)
    np.testing.assert_array_equal(lif.v_reset, 0)
    np.testing.assert_array_equal(lif.v_leak, 0)
    np.testing.assert_array_equal(lif.v_threshold, np.nextafter(np.float32(1), np.float32(0)))
    weight = network.synapse_nodes["in"].weight.detach().numpy()
    bias = network.synapse_nodes["in"].bias.detach().numpy()
    np.testing.assert_allclose(graph.nodes["1_affine"].weight, weight / 0.1, rtol=1e-6)
    np.testing.assert_allclose(graph.nodes["1_affine"].bias, bias / 0.1, rtol=1e-6)
    inner = network.synapse_nodes["between"].weight.detach().numpy()
    np.testing.assert_allclose(graph.nodes["3_linear"].weight, 2 * inner / 0.25, rtol=1e-6)
    assert graph.metadata == {
        "dt": 1e-4,
        "format": 1,
        "source": "neuro",
        "source_version": neuro.__version__,
        "target": "generic",
        "reset": "hard",
        "seed": 11,
    }
    assert lif.metadata["decay"] == 0.9
    assert lif.metadata["name"] == "one"


def test_other_neurons_have_the_resistances_specified():
    cuba = to_nir(dense(hard(CubaLIF, current_decay=0.7, voltage_decay=0.8))).nodes["2_cubalif"]
    np.testing.assert_allclose(cuba.tau_syn, 1e-4 / 0.3, rtol=1e-6)
    np.testing.assert_allclose(cuba.tau_mem, 1e-4 / 0.2, rtol=1e-6)
    np.testing.assert_allclose(cuba.r, cuba.tau_mem / 1e-4, rtol=1e-6)
    np.testing.assert_allclose(cuba.w_in, cuba.tau_syn / 1e-4, rtol=1e-6)
    np.testing.assert_allclose(to_nir(dense(hard(IF))).nodes["2_if"].r, 1e4)
    delay = to_nir(maps(), dt=1e-3).nodes["04_delay"].delay
    np.testing.assert_allclose(delay, 2e-3)


def test_a_synapse_of_two_readers_keeps_its_weights():
    """One synapse drives two layers: their potentials are measured in other units instead."""
    torch.manual_seed(3)
    network = lively(
        Network(
            [
                Node("shared", Linear(8, 5)),
                Node("fast", Spiking(hard(decay=0.5, reset_value=-0.2)), ("shared",)),
                Node("slow", Spiking(hard(decay=0.9)), ("shared",)),
                Node("add", Add(), ("fast", "slow")),
                Node("out", Linear(5, 3)),
            ],
            (8,),
        )
    )
    graph = to_nir(network)
    weight = network.synapse_nodes["shared"].weight.detach().numpy()
    np.testing.assert_array_equal(graph.nodes["1_affine"].weight, weight)
    np.testing.assert_allclose(graph.nodes["2_lif"].v_threshold, 0.5, rtol=1e-6)
    np.testing.assert_allclose(graph.nodes["2_lif"].v_reset, -0.1, rtol=1e-6)
    np.testing.assert_allclose(graph.nodes["3_lif"].v_threshold, 0.1, rtol=1e-6)
    agree(network, from_nir(graph))


@pytest.mark.parametrize(
    "end",
    [
        [Node("spikes", Spiking(LIF(reset_mode="hard"), scale=2.74))],
        [Node("minus", Scale(-1.0)), Node("spikes", Spiking(LIF(reset_mode="hard")), ("minus",))],
        [
            Node("weaker", Scale(0.5)),
            Node("add", Add(), ("weaker", "in")),
            Node("twice", Add(), ("add", "add")),
            Node("spikes", Spiking(LIF(reset_mode="hard"))),
        ],
        [Node("pool", Scale(3.0)), Node("i", ReadoutIntegrator(LeakyIntegrator(decay=1.0)))],
        [Node("i", ReadoutIntegrator(LeakyIntegrator(decay=0.5, input_gain=0.5)))],
        [Node("late", Delay(0)), Node("spikes", Spiking(LIF(reset_mode="hard")))],
    ],
)
def test_gains_go_where_they_can(end):
    torch.manual_seed(5)
    network = lively(Network([Node("in", Linear(8, 5)), *end], (8,)))
    agree(network, from_nir(to_nir(network)))


def test_groups_become_kernels_of_all_channels():
    torch.manual_seed(2)
    conv = Conv2d(4, 6, 3, stride=2, padding=1, dilation=1, groups=2)
    network = lively(
        Network([Node("conv", conv), Node("lif", Spiking(hard(decay=0.8)))], (4, 7, 7))
    )
    graph = to_nir(network)
    assert graph.nodes["1_conv2d"].weight.shape == (6, 4, 3, 3)
    agree(network, from_nir(graph))


def test_pooling_over_all_positions_comes_back():
    torch.manual_seed(2)
    network = Network(
        [
            Node("conv", Conv2d(2, 4, 3, padding=1)),
            Node("lif", Spiking(hard(threshold=0.3))),
            Node("pool", GlobalAvgPool2d()),
            Node("out", Linear(4, 3)),
        ],
        (2, 6, 5),
    )
    model = to_network(to_nir(network))
    assert type(model.nodes["pool"]) is GlobalAvgPool2d
    agree(network, model)


def test_nodes_that_nobody_reads_are_left_out():
    network = lively(
        Network(
            [
                Node("in", Linear(8, 5)),
                Node("lost", Linear(5, 2)),
                Node("out", Spiking(hard()), ("in",)),
            ],
            (8,),
        )
    )
    graph = to_nir(network)
    assert [type(node).__name__ for node in graph.nodes.values()] == [
        "Input",
        "Affine",
        "LIF",
        "Output",
    ]


def test_a_network_trains_on_as_it_was():
    """Names, weights, decays, gains and surrogates are those of the network that was written."""
    network = dense(hard(decay=0.9, surrogate=ATan(alpha=1.5), detach_reset=False))
    back = to_network(to_nir(network))
    assert list(back.nodes) == list(network.nodes)
    assert back.nodes["one"].neuron == network.nodes["one"].neuron
    for name, synapse in network.synapse_nodes.items():
        torch.testing.assert_close(back.nodes[name].weight, synapse.weight, rtol=3e-7, atol=0)
    x = inputs(network)
    gradients = []
    for each in (network, back, interpret(to_nir(network))):
        each.sequence(x)[0].sum().backward()
        gradients.append(sum(p.grad.abs().sum() for p in each.parameters()))
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-3, atol=0)
    assert gradients[2] > 0


def test_learnt_decays_are_written_as_learnt():
    layer = Spiking(hard(decay=0.9), learnable=("decay",))
    with torch.no_grad():
        layer.raw_decay.fill_(0.3)
    network = lively(Network([Node("in", Linear(8, 5)), Node("lif", layer)], (8,)))
    graph = to_nir(network)
    decay = float(torch.sigmoid(torch.tensor(0.3)))
    assert graph.nodes["2_lif"].metadata["decay"] == pytest.approx(decay, abs=0)
    agree(network, from_nir(graph))


def test_a_soft_reset_is_refused_or_noted_with_a_warning():
    network = dense(LIF(decay=0.9))
    with pytest.raises(UsageError, match="layer 'one' subtracts its threshold"):
        to_nir(network)
    with pytest.warns(ExportWarning, match="2 layers subtract"):
        graph = to_nir(network, soft_reset="note")
    assert graph.metadata["reset"] == "soft"
    assert graph.nodes["2_lif"].metadata["reset_mode"] == "soft"
    agree(network, from_nir(graph))
    x = inputs(network)
    other = from_nir(graph, reset="hard").sequence(x)[0]
    assert not torch.equal(other, network.sequence(x)[0])


class Odd(nn.Module):
    def forward(self, x):
        return x


@pytest.mark.parametrize(
    ("nodes", "shape", "said"),
    [
        (
            [Node("a", Spiking(AdaptiveLIF(reset_mode="hard")))],
            (3,),
            "layer 'a': AdaptiveLIF has no NIR form. The nearest neuron that has is LIF",
        ),
        ([Node("a", Odd())], (3,), "node 'a': Odd has no NIR form"),
        ([Node("a", Conv2d(1, 1, (1, 3)))], (1, 4, 4), "node 'a' has kernels of 1x3"),
        ([Node("a", Linear(3, 2))], (4, 3), "node 'a' .Linear. reads .4, 3."),
        (
            [Node("a", Spiking(hard(CubaLIF, voltage_decay=1.0)))],
            (3,),
            "layer 'a': a decay of 1 has no finite time constant",
        ),
        ([Node("a", Spiking(hard(input_gain=-1.0)))], (3,), "layer 'a': input_gain is -1"),
    ],
)
def test_what_has_no_form_is_refused_by_name(nodes, shape, said):
    with pytest.raises(UsageError, match=said):
        to_nir(Network(nodes, shape))


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"dt": 0.0}, "dt is a positive number"),
        ({"target": "nors"}, 'no NIR dialect .*Did you mean "norse"'),
        ({"soft_reset": "keep"}, "soft_reset is"),
    ],
)
def test_wrong_arguments_are_refused(arguments, said):
    with pytest.raises(UsageError, match=said):
        to_nir(dense(hard()), **arguments)


def test_types_pass_the_check_of_nir_itself(tmp_path):
    write_nir(to_nir(maps()), tmp_path / "a.nir")
    assert isinstance(nir.read(tmp_path / "a.nir", type_check=True), nir.NIRGraph)
    assert read_nir(tmp_path / "a.nir").metadata["source"] == "neuro"
