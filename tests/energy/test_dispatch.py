"""Whole modules: who did what, with which signals, and nothing left out."""

import gc

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from neuro.energy import Counts, Ledger, ModuleCounter, count_module, count_network
from neuro.energy.operators.operator_call import Rule
from neuro.errors import UsageError
from neuro.graph.nbfnet import NBFNet
from neuro.graph.operations import count_nbfnet
from neuro.kernels import RelationalGraph, lif
from neuro.layers import Conv2d, Flatten, Linear, Network, Node, Spiking
from neuro.neurons import LIF

MOVED = ("weight_reads", "state_reads", "state_writes", "activation_reads", "activation_writes")


def still(counts: Counts) -> dict[str, float]:
    """Return the counts that are not movement."""
    return {name: each for name, each in counts.to_json().items() if name not in MOVED}


class Residual(nn.Module):
    """A block with a functional rectifier and a short cut."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.norm = nn.BatchNorm2d(channels)
        self.second = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x):
        return functional.relu(x + self.second(functional.relu(self.norm(self.first(x)))))


class Neurons(nn.Module):
    """Leaky neurons as other libraries write them: plain torch, state inside."""

    def __init__(self) -> None:
        super().__init__()
        self.potential = None

    def forward(self, current):
        if self.potential is None:
            self.potential = torch.zeros_like(current)
        self.potential = 0.5 * self.potential + current
        spikes = (self.potential >= 1.0).float()
        self.potential = self.potential - spikes
        return spikes


class SpikingNetwork(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8, bias=False)
        self.neurons = Neurons()
        self.second = nn.Linear(8, 3, bias=False)

    def forward(self, x):
        return sum(self.second(self.neurons(self.first(step))) for step in x)


def test_every_submodule_has_its_row():
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), Residual(4), nn.Flatten(), nn.Linear(64, 10))
    found = count_module(net.eval(), torch.randn(2, 1, 6, 6))
    inside = 4 * 4 * 10 * 10  # 4 rows meet 10 of 3 kernel rows each: the padding is nothing
    assert {name: still(each) for name, each in found.layers.items()} == {
        "0": {"macs": 2 * 16 * 4 * 9, "bias_additions": 128},
        "1": {"comparisons": 128},
        "2": {"comparisons": 256, "additions": 128},
        "2.first": {"macs": 2 * inside},
        "2.norm": {"multiplications": 128, "additions": 128},
        "2.second": {"macs": 2 * inside, "bias_additions": 128},
        "4": {"macs": 1280, "bias_additions": 20},
    }
    facts = found.facts
    assert {name: each.kind for name, each in facts.items()} == {
        "0": "convolution",
        "1": "activation",
        "2": "activation",
        "2.first": "convolution",
        "2.norm": "normalisation",
        "2.second": "convolution",
        "4": "linear",
    }
    assert found.parameters == sum(each.numel() for each in net.parameters())
    first = facts["0"]
    assert (first.kernel, first.stride, first.channels, first.bias) == ((3, 3), (1, 1), 4, True)
    assert (first.inputs, first.outputs, first.weights, first.dense) == (36, 64, 36, 576)
    assert found.samples == 2


def flops(module, *inputs):
    """Return torch's count; its fused attention on CPUs is none of those it knows."""
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        module(*inputs)
    return counter.get_total_flops()


class Heads(nn.Module):
    """Attention written with functions."""

    def __init__(self) -> None:
        super().__init__()
        self.all = nn.Linear(8, 24)

    def forward(self, x):
        query, key, value = (
            each.unflatten(-1, (2, 4)).transpose(1, 2) for each in self.all(x).chunk(3, dim=-1)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value)
        return torch.einsum("bhtd,hde->bte", mixed, self.all.weight.view(2, 3, 4, 8)[:, 0])


FLOPS = [
    (nn.Sequential(nn.Linear(6, 5), nn.Tanh(), nn.Linear(5, 2)), (3, 6)),
    (
        nn.Sequential(nn.Conv2d(2, 4, 3), nn.MaxPool2d(2), nn.Conv2d(4, 4, 1, groups=2)),
        (2, 2, 8, 8),
    ),
    (nn.ConvTranspose2d(2, 3, 2, stride=2), (2, 2, 3, 3)),
    (Heads(), (2, 5, 8)),
    (nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), (2, 5, 8)),
]


@pytest.mark.parametrize(("module", "shape"), FLOPS, ids=lambda each: type(each).__name__)
def test_products_are_half_of_torchs_floating_point_operations(module, shape):
    torch.manual_seed(0)
    x = torch.randn(shape)
    macs_of_norms = 0
    if isinstance(module, nn.TransformerEncoderLayer):  # squares, gains and shifts of two
        macs_of_norms = 2 * 2 * x.numel()
    found = count_module(module.eval(), x)
    assert 2 * (found.total.macs - macs_of_norms) == flops(module, x)


def test_padding_is_nothing():
    """Torch counts products with padded zeros too: 10 x 10 of 4 x 3 x 4 x 3 are of an input."""
    module = nn.Conv2d(1, 1, 3, padding=1, bias=False).eval()
    x = torch.randn(1, 1, 4, 4)
    assert flops(module, x) == 2 * 144
    assert count_module(module, x).total.macs == 100


def test_attention_stands_apart():
    module = nn.MultiheadAttention(8, 2, batch_first=True).eval()
    x = torch.randn(2, 5, 8)
    for weights in (True, False):
        found = count_module(
            Calling(module, lambda m, x, weights=weights: m(x, x, x, need_weights=weights)), x
        )
        products = found.layers["module, attention"]
        assert products.macs == 2 * 2 * 5 * 5 * 4 * 2
        assert found.layers["module"].macs == 2 * 5 * 8 * 32
        assert products.functions == 2 * 2 * 5 * 6
        assert found.facts["module, attention"].kind == "attention"
        assert found.facts["module"].kind == "linear"
        assert found.parameters == sum(each.numel() for each in module.parameters())


class Calling(nn.Module):
    """Calls a module in a way of its own."""

    def __init__(self, module, call):
        super().__init__()
        self.module, self.call = module, call
        self.eval()

    def forward(self, *inputs):
        return self.call(self.module, *inputs)


def test_spikes_are_what_is_declared():
    torch.manual_seed(0)
    x = 2 * torch.rand(4, 5, 6)
    net = SpikingNetwork().eval()
    found = count_module(net, x, signals={"neurons": "binary"}, samples=5, timesteps=4)
    spikes = found.layers["neurons"].spikes
    assert 0 < spikes < 4 * 5 * 8
    assert still(found.layers["first"]) == {"macs": 4 * 5 * 48}
    assert still(found.layers["neurons"]) == {
        "spikes": spikes,
        "multiplications": 160,
        "additions": 320,
        "comparisons": 160,
    }
    assert still(found.layers["second"]) == {"spikes_in": spikes, "synaptic_additions": 3 * spikes}
    assert found.driven == {"second"}
    assert (found.facts["neurons"].kind, found.facts["neurons"].neurons) == ("neurons", 8)
    assert found.facts["second"].dense == 24
    net.neurons.potential = None
    plain = count_module(net, x, samples=5, timesteps=4)
    assert plain.layers["second"].macs == 4 * 5 * 24
    assert plain.total.synaptic_additions == 0
    net.neurons.potential = None
    chosen = count_module(
        net,
        x,
        signals=lambda path, module: "binary" if isinstance(module, Neurons) else None,
        samples=5,
        timesteps=4,
    )
    assert chosen == found


def test_silence_is_not_taken_for_spikes():
    zeros = torch.zeros(3, 4)
    linear = nn.Linear(4, 2, bias=False).eval()
    assert count_module(linear, zeros).total.macs == 24
    assert count_module(linear, zeros, signals={"input": "real"}).total.macs == 24
    assert still(count_module(linear, zeros, signals={"input": "binary"}).total) == {}


class Pair(nn.Module):
    def forward(self, x):
        both = torch.stack([(x > 0).float(), x])
        return both[0], both[1]


def test_an_element_of_a_tuple_is_declared_by_its_place():
    net = nn.ModuleDict({"pair": Pair(), "reader": nn.Linear(4, 2, bias=False)}).eval()
    x = torch.randn(3, 4)
    net.forward = lambda x: [net["reader"](each) for each in net["pair"](x)]
    found = count_module(net, x, signals={"pair": ("binary", None)})
    spikes = int((x > 0).sum())
    assert still(found.layers["reader"]) == {
        "spikes_in": spikes,
        "synaptic_additions": 2 * spikes,
        "macs": 24,
    }
    with pytest.raises(
        UsageError, match=r"pair: declared binary, but it is a tuple of 2, 2 tensors"
    ):
        count_module(net, x, signals={"pair": "binary"})
    with pytest.raises(UsageError, match=r"pair: 3 signals are declared for a tuple of 2"):
        count_module(net, x, signals={"pair": ("binary", None, None)})
    with pytest.raises(UsageError, match=r"pair\[1\]: declared binary"):
        count_module(net, x, signals={"pair": ("binary", "binary")})


def test_what_is_declared_wrongly_is_refused():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    x = torch.rand(2, 4)
    with pytest.raises(UsageError, match="input input: declared binary, so"):
        count_module(net, x, signals={"input": "binary"})
    with pytest.raises(UsageError, match=r'unknown signal "binari".*Did you mean "binary"'):
        count_module(net, x, signals={"input": "binari"})
    with pytest.raises(UsageError, match=r"signals name 'inputs', which is no submodule.*input"):
        count_module(net, x, signals={"inputs": "binary"})
    with pytest.raises(UsageError, match="2 signals for 1 inputs"):
        count_module(net, x, signals=["binary", "real"])
    with pytest.raises(UsageError, match="Sequential is in training mode"):
        count_module(net.train(), x)
    named = nn.ModuleDict({"x": nn.ReLU()}).eval()
    named.forward = lambda x: named["x"](x)
    with pytest.raises(UsageError, match="'x' is a submodule and an input"):
        count_module(named, x, signals={"x": "binary"})


class Unknown(nn.Module):
    def forward(self, x):
        return torch.linalg.inv(x) + torch.fft.fft(x[0]).real + torch.linalg.inv(x)


def test_operators_without_a_rule_are_all_listed():
    net = nn.Sequential(nn.Linear(3, 3), Unknown()).eval()
    x = torch.randn(2, 3, 3)
    with pytest.raises(UsageError, match="no rule to count") as caught:
        count_module(net, x)
    message = str(caught.value)
    assert "aten::linalg_inv_ex in 1 (2 times)" in message
    assert "aten::_fft_r2c in 1" in message
    assert "linear" not in message
    rules = {
        "aten::linalg_inv_ex": Rule("inverse", lambda call: {"macs": call.out.numel() * 3}),
        "aten::_fft_r2c": Rule("fourier", lambda call: {"macs": 5}),
    }
    with pytest.raises(UsageError, match="aten::_fft_r2c in 1"):  # complex numbers are not known
        count_module(net, x, rules=rules)
    real = nn.Sequential(nn.Linear(3, 3), Calling(nn.Identity(), lambda _, x: torch.linalg.inv(x)))
    found = count_module(real.eval(), x, rules=rules)
    assert found.layers["1"].macs == 54


def test_what_is_done_to_weights_alone_needs_no_rule():
    class Orthogonal(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.raw = nn.Parameter(torch.randn(3, 3))

        def forward(self, x):
            return x @ torch.linalg.qr(self.raw)[0]

    found = count_module(Orthogonal().eval(), torch.randn(2, 3))
    assert still(found.total) == {"macs": 18}
    assert found.parameters == 9


def test_operations_past_the_dispatcher_are_seen():
    """Kernels called without torch's dispatcher would be left out in silence."""

    class Sequence(nn.Module):
        def forward(self, x):
            return lif(x, torch.zeros_like(x[0]), decay=0.5).spikes

    with pytest.raises(UsageError, match="neuro::lif in Sequence"):
        count_module(Sequence().eval(), torch.randn(3, 2, 4))


def test_compiled_modules_are_seen_through():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU()).eval()
    x = torch.randn(2, 4)
    compiled = torch.compile(net, backend="eager")
    compiled(x)
    found = count_module(compiled, x)
    assert found.total == count_module(net, x).total


def test_a_shared_module_has_one_row():
    shared = nn.Linear(4, 4)
    net = nn.Sequential(shared, nn.Tanh(), shared).eval()
    found = count_module(net, torch.randn(3, 4))
    assert still(found.layers["0"]) == {"macs": 2 * 3 * 16, "bias_additions": 24}
    assert "2" not in found.layers
    assert found.parameters == 20
    assert (found.facts["0"].weights, found.facts["0"].dense) == (16, 32)


def test_parameters_nobody_reads_are_there():
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU())
    net.register_module("spare", nn.Linear(2, 2))
    net.forward = lambda x: net[1](net[0](x))
    found = count_module(net.eval(), torch.randn(1, 4))
    assert found.layers["spare"] == Counts()
    assert (found.facts["spare"].kind, found.facts["spare"].parameters) == ("unused", 6)
    assert found.parameters == 21


def folding(*after: nn.Module) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(1, 2, 3, bias=False), *after).eval()


def test_normalisation_goes_into_the_weights_before_it():
    x = torch.randn(2, 1, 5, 5)
    net = folding(nn.BatchNorm2d(2), nn.ReLU())
    plain = count_module(net, x)
    assert still(plain.layers["1"]) == {"multiplications": 36, "additions": 36}
    assert not plain.facts["1"].folded
    found = count_module(net, x, fold_normalisation=True)
    assert found.layers["1"] == Counts()
    assert (found.facts["1"].folded, found.facts["1"].parameters) == (True, 4)
    # the shift becomes a bias, which the convolution has not
    assert still(found.layers["0"]) == {"macs": 2 * 2 * 9 * 9, "bias_additions": 36}
    assert found.facts["0"].bias
    biased = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)).eval()
    folded = count_module(biased, torch.randn(2, 3), fold_normalisation=True)
    assert still(folded.total) == {"macs": 24, "bias_additions": 8}


@pytest.mark.parametrize(
    "net",
    [
        folding(nn.ReLU(), nn.BatchNorm2d(2)),
        folding(Calling(nn.BatchNorm2d(2), lambda norm, x: norm(x) + x)),
        folding(Calling(nn.BatchNorm2d(2), lambda norm, x: x.sigmoid() + norm(x))),
        folding(Calling(nn.BatchNorm2d(2), lambda norm, x: [norm(x), torch.cat([x, x]) * 2])),
        folding(nn.InstanceNorm2d(2)),
    ],
)
def test_normalisation_of_what_something_else_reads_is_counted(net):
    x = torch.randn(2, 1, 5, 5)
    found, plain = count_module(net, x, fold_normalisation=True), count_module(net, x)
    assert found.total == plain.total
    assert not any(facts.folded for facts in found.facts.values())


def test_buffers_that_change_are_state():
    class Holding(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.register_buffer("potential", torch.zeros(2, 3))
            self.register_buffer("table", torch.ones(3))

        def forward(self, x):
            self.potential = 0.5 * self.potential + x * self.table
            return self.potential

    found = count_module(nn.Sequential(Holding()).eval(), torch.randn(2, 3))
    assert found.facts["0"].state == 3
    assert still(found.total) == {"multiplications": 12, "additions": 6}


def relational(nodes: int = 6) -> RelationalGraph:
    generator = torch.Generator().manual_seed(0)
    ends = torch.randint(nodes, (2, 14), generator=generator)
    kinds = torch.randint(2, (14,), generator=generator)
    return RelationalGraph.of(ends[0], kinds, ends[1], nodes=nodes)


def counted_nbfnet(model: NBFNet, graph: RelationalGraph) -> tuple[Ledger, Ledger]:
    heads, relations = torch.tensor([0, 3, 5]), torch.tensor([1, 0, 1])
    candidates = torch.arange(graph.nodes).expand(3, -1)

    def answer(module, heads, relations):
        return module.score(module(graph, heads, relations), heads, relations, candidates)

    found = count_module(Calling(model, answer), heads, relations, constants=graph)
    return found, count_nbfnet(model, graph, queries=3, candidates=graph.nodes)


@pytest.mark.parametrize("aggregate", ["sum", "mean", "max"])
@pytest.mark.parametrize("message", ["mul", "add"])
@pytest.mark.parametrize("dependent", [True, False])
def test_nbfnet_does_what_its_closed_form_says(aggregate, message, dependent):
    """But for biases, which the closed form leaves to the sums they begin."""
    torch.manual_seed(0)
    model = NBFNet(2, hidden=4, layers=2, aggregate=aggregate, message=message, dependent=dependent)
    graph = relational()
    found, expected = counted_nbfnet(model, graph)
    rows = 3 * graph.nodes
    of_layer = rows * 4 + (3 * 2 * 4 if dependent else 0)
    biases = 2 * of_layer + rows * (8 + 1)
    assert still(found.total) == {**still(expected.total), "bias_additions": biases}
    assert found.parameters == sum(each.numel() for each in model.parameters())


def test_nbfnet_with_all_statistics_merges_its_scales_into_the_weights():
    """The closed form scales what comes out of W, 13 d d and 2 d products a node; the module scales
    W by a node's degree, 5 d d. It squares the whole boundary, of which a query's head alone is
    not 0, and makes variances by a product, a product that is added, and a bound."""
    torch.manual_seed(0)
    model, nodes = NBFNet(2, hidden=4, layers=2), torch.arange(64)
    after = torch.cat([nodes + 1, nodes + 5]) % 64  # as many messages into every node
    graph = RelationalGraph.of(after, after % 2, nodes.repeat(2), nodes=64)
    found, expected = counted_nbfnet(model, graph)
    rows, width = 3 * graph.nodes, 4
    numbers = rows * width
    by_scale = 2 * (13 - 5) * rows * width**2 + 2 * 2 * numbers
    assert found.total.macs == expected.total.macs - by_scale
    closed = 2 * 3 * width  # squares of the heads' boundaries
    assert found.total.multiplications - expected.total.multiplications == 2 * numbers - closed
    for name in ("comparisons", "functions", "additions"):
        assert getattr(found.total, name) == getattr(expected.total, name), name


@settings(max_examples=20, deadline=None)
@given(
    seed=st.integers(0, 1000),
    batch=st.integers(1, 5),
    rate=st.sampled_from([0.0, 0.2, 1.0]),
)
def test_a_batch_counts_as_its_samples_do_in_any_order(seed, batch, rate):
    generator = torch.Generator().manual_seed(seed)
    net = nn.Sequential(
        nn.Conv2d(2, 3, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(12, 2)
    ).eval()
    x = (torch.rand(batch, 2, 4, 4, generator=generator) < rate).float()
    whole = count_module(net, x, signals=["binary"])
    parts = [count_module(net, x[place : place + 1], signals=["binary"]) for place in range(batch)]
    assert sum(parts[1:], parts[0]) == whole
    order = torch.randperm(batch, generator=generator)
    assert count_module(net, x[order], signals=["binary"]) == whole
    total = Counts()
    for counts in whole.layers.values():
        total += counts
    assert whole.total == total


@pytest.mark.parametrize("signal", ["binary", "real"])
def test_nodes_count_as_their_network_does(signal):
    """Alone by its operators, or by its kind in a network: columns and facts are the same."""
    torch.manual_seed(0)
    neurons = LIF(decay=0.5, threshold=0.2)
    network = Network(
        [
            Node("conv", Conv2d(2, 3, 3, stride=2, padding=1)),
            Node("lif", Spiking(neurons)),
            Node("flatten", Flatten()),
            Node("norm", nn.LayerNorm(27)),
            Node("hidden", Linear(27, 9, bias=False)),
            Node("readout", Linear(27, 4), ("flatten",)),
        ],
        (2, 5, 5),
    ).eval()
    with torch.no_grad():
        network.nodes["conv"].weight[torch.rand(3, 2, 3, 3) < 0.3] = 0
    x = torch.rand(4, 2, 5, 5)
    x = (x < 0.3).float() if signal == "binary" else x
    whole = count_network(network, [x], signal=signal, others=count_module)
    values, _ = network.advance(x, network.initial_state(4), network.effective_weights())
    assert 0 < values["lif"].mean() < 1
    sources = {"conv": (x, signal), "readout": (values["flatten"], "binary")}
    sources |= {"norm": (values["flatten"], "binary"), "hidden": (values["norm"], "real")}
    for name, (source, carried) in sources.items():
        alone = count_module(network.nodes[name], source, signals=[carried])
        assert alone.total == whole.layers[name], name
        if name == "norm":
            continue
        ours, theirs = next(iter(alone.facts.values())), whole.facts[name]
        assert ours == theirs, name


def test_batches_of_a_counter_are_counted_alone():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(12, 4)).eval()
    with torch.no_grad():
        net[0].weight[0] = 0
    counter = ModuleCounter(net, signals={"input": "binary"})
    for batch in (3, 1, 5):
        x = (torch.rand(batch, 2, 4, 4) < 0.3).float()
        assert counter.count(x) == count_module(net, x, signals={"input": "binary"})


def test_nodes_of_a_network_are_counted_alone():
    spikes = (torch.rand(2, 3, 5, 5) < 0.3).float()
    conv = Conv2d(3, 4, 3, padding=1, bias=False).eval()
    found = count_module(conv, spikes, signals=["binary"])
    reached = functional.conv2d(spikes, torch.ones_like(conv.weight), padding=1)
    assert found.total.synaptic_additions == int(reached.sum())
    for event_driven in (False, True):
        linear = Linear(5, 7)
        linear.event_driven = conv.event_driven = event_driven
        seen = count_module(linear.eval(), spikes[0, 0], signals=["binary"]).total
        assert seen.synaptic_additions == 7 * int(spikes[0, 0].sum())
        assert seen.bias_additions == 35
        assert count_module(conv, spikes, signals=["binary"]).total == found.total
    layer = Spiking(LIF(decay=0.5)).eval()
    state = layer.neuron.zeros((2, 5))
    neurons = count_module(layer, torch.rand(2, 5), state, signals=lambda path, module: None)
    # one product with the decay and one addition; less the threshold, to compare and to reset
    assert neurons.total.multiplications >= 10
    assert neurons.total.comparisons >= 10


def test_counting_changes_nothing_and_keeps_nothing():
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.TransformerEncoderLayer(3, 1, 4)).eval()
    x = torch.randn(2, 4)
    expected = net(x)
    fast = torch.backends.mha.get_fastpath_enabled()
    count_module(net, x)
    assert torch.backends.mha.get_fastpath_enabled() == fast
    assert torch.equal(net(x), expected)
    assert not any(each._forward_hooks or each._forward_pre_hooks for each in net.modules())
    gc.collect()
    before = sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())
    count_module(net, x)
    gc.collect()
    assert sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects()) == before
