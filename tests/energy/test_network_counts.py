"""Networks counted by hand, against plain loops, and by laws that must hold."""

from dataclasses import asdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neuro.energy import Counts, Ledger
from neuro.energy.counting.network import count_network
from neuro.energy.counting.neuron_counts import NeuronCost, neuron_cost
from neuro.errors import UsageError
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
from neuro.layers.quantised import Grid, Heard, QuantisedSynapse
from neuro.models import MLP, Conv5, ResNet18, build_model
from neuro.neurons import (
    IF,
    LIF,
    NEURONS,
    AdaptiveLIF,
    AlphaLIF,
    CubaLIF,
    LeakyIntegrator,
)
from neuro.neurons.fixed_point import FixedPointLIF


def filled(layer: nn.Linear | nn.Conv2d, value: float) -> nn.Module:
    with torch.no_grad():
        layer.weight.fill_(value)
        if layer.bias is not None:
            layer.bias.zero_()
    return layer


def frames(shape: tuple[int, ...], *places: tuple[int, ...], steps: int = 2) -> list[Tensor]:
    """One sample over time with spikes at ``(t, ...)``."""
    found = torch.zeros(steps, 1, *shape)
    for t, *place in places:
        found[(t, 0, *place)] = 1
    return list(found)


def random_spikes(network: Network, steps: int = 3, batch: int = 4, seed: int = 0) -> list[Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch, *network.input_shape)
    return [(torch.rand(shape, generator=generator) < 0.3).float() for _ in range(steps)]


# --- by hand ------------------------------------------------------------------------------------

HALF = LIF(decay=0.5, input_gain=0.5)
LINEAR_SPIKES = [(0, 0), (0, 2), (1, 3)]


@pytest.mark.parametrize(("weight", "fired"), [(0.1, 0), (5.0, 6)])
def test_a_linear_layer_of_spikes(weight, fired):
    network = Network(
        [Node("linear", filled(Linear(4, 3, bias=False), weight)), Node("lif", Spiking(HALF))], (4,)
    )
    ledger = count_network(network, frames((4,), *LINEAR_SPIKES), signal="binary")
    assert ledger.layers["linear"] == Counts(
        spikes_in=3,
        synaptic_additions=9,
        weight_reads=9,
        state_reads=9,
        state_writes=9,
        activation_reads=3,
    )
    assert ledger.layers["lif"] == Counts(
        spikes=fired,
        additions=6,
        decays=6,
        resets=fired,
        comparisons=6,
        neuron_updates=6,
        active_updates=6,
        state_reads=6,
        state_writes=6,
        activation_reads=6,
        activation_writes=fired,
    )
    assert (ledger.samples, ledger.timesteps, ledger.driven) == (1, 2, {"linear"})
    assert ledger.total.all_additions == 9 + 6 + fired
    assert ledger.total.all_multiplications == 6
    facts = ledger.facts["linear"]
    assert (facts.kind, facts.signal, facts.dense) == ("linear", "binary", 12)
    assert (facts.parameters, facts.weights, facts.inputs, facts.outputs) == (12, 12, 4, 3)
    assert (ledger.facts["lif"].neurons, ledger.facts["lif"].state) == (3, 3)


def test_a_strided_convolution_of_spikes():
    layer = filled(Conv2d(2, 4, 3, stride=2, padding=1, bias=False), 0.3)
    network = Network([Node("conv", layer), Node("if", Spiking(IF()))], (2, 5, 5))
    places = [(0, 0, 0, 0), (1, 1, 2, 3)]
    ledger = count_network(network, frames((2, 5, 5), *places), signal="binary")
    assert ledger.layers["conv"].synaptic_additions == 12
    neurons = ledger.layers["if"]
    assert (neurons.neuron_updates, neurons.decays, neurons.additions) == (72, 0, 72)
    # what a spike reached at one step did not outlast it: 4 and 8 neurons heard something
    assert neurons.active_updates == 12


def test_a_real_input_is_multiplied_even_where_it_is_zero():
    network = Network([Node("linear", filled(Linear(4, 3), 0.1)), Node("lif", Spiking(HALF))], (4,))
    real = [torch.rand(1, 4), torch.zeros(1, 4)]
    ledger = count_network(network, real)
    assert ledger.layers["linear"] == Counts(
        macs=24, bias_additions=6, weight_reads=30, activation_reads=8, activation_writes=6
    )
    assert ledger.layers["lif"].decays == 6
    silent = count_network(network, [torch.zeros(1, 4), torch.zeros(1, 4)])
    assert silent.layers["linear"] == ledger.layers["linear"]
    assert ledger.driven == frozenset()
    assert ledger.layers["lif"].active_updates == 3


def test_a_constant_input_is_counted_once():
    network = Network(
        [
            Node("flatten", Flatten()),
            Node("linear", filled(Linear(4, 3), 0.1)),
            Node("lif", Spiking(HALF)),
            Node("out", filled(Linear(3, 2), 1.0)),
        ],
        (2, 2),
    )
    image = torch.rand(5, 2, 2)
    same = count_network(network, [image] * 4)
    other = count_network(network, [image.clone() for _ in range(4)])
    assert same.layers["linear"].macs == 60
    assert other.layers["linear"].macs == 240
    assert same.layers["linear"].bias_additions == 15
    assert same.layers["out"] == other.layers["out"]
    assert same.layers["lif"] == other.layers["lif"]
    assert [same.facts[name].constant for name in network.nodes] == [True, True, False, False]
    assert not other.facts["linear"].constant


def test_pooled_spikes_reach_the_synapse_one_by_one():
    layer = filled(Conv2d(1, 2, 3, padding=1, bias=False), 1.0)
    network = Network([Node("pool", AvgPool2d(2)), Node("conv", layer)], (1, 5, 4))
    # pooled to 2x2, where every position reaches all four; the last row fills no window
    places = [(0, 0, 0, 0), (0, 0, 0, 1), (1, 0, 3, 3), (1, 0, 4, 0)]
    ledger = count_network(network, frames((1, 5, 4), *places), signal="binary")
    assert ledger.layers["pool"] == Counts()
    assert ledger.layers["conv"].synaptic_additions == 3 * 8
    assert ledger.layers["conv"].macs == 0
    assert (ledger.facts["pool"].folded, ledger.facts["conv"].unit) == (True, 0.25)
    assert ledger.facts["conv"].dense == 16 * 8


def test_pooled_spikes_that_something_else_reads_are_numbers():
    nodes = [
        Node("pool", AvgPool2d(2)),
        Node("conv", filled(Conv2d(1, 2, 3, padding=1, bias=False), 1.0)),
        Node("lif", Spiking(HALF), ("pool",)),
        Node("sum", Add(), ("pool", "lif")),
    ]
    network = Network(nodes, (1, 4, 4))
    places = [(0, 0, 0, 0), (0, 0, 0, 1), (1, 0, 3, 3)]
    ledger = count_network(network, frames((1, 4, 4), *places), signal="binary")
    # two windows hold something, each a number that reaches all 8 outputs
    assert ledger.layers["conv"] == Counts(
        spikes_in=2, macs=16, weight_reads=16, state_reads=16, state_writes=16, activation_reads=2
    )
    # the sum reads the mean itself, so it is divided: once for each window and step
    assert ledger.layers["pool"] == Counts(
        spikes_in=3, additions=3, multiplications=8, activation_reads=3, activation_writes=8
    )
    assert ledger.facts["conv"].signal == "graded"
    assert ledger.layers["sum"].additions == ledger.layers["lif"].spikes


def test_real_numbers_are_pooled_by_additions():
    conv = filled(Conv2d(1, 1, 1, bias=False), 1.0)
    nodes = [Node("conv", conv), Node("pool", AvgPool2d(2)), Node("lif", Spiking(HALF))]
    ledger = count_network(Network(nodes, (1, 4, 4)), [torch.rand(3, 1, 4, 4)])
    assert ledger.layers["pool"] == Counts(additions=36, activation_reads=48, activation_writes=12)
    whole = [Node("conv", conv), Node("pool", GlobalAvgPool2d())]
    ledger = count_network(Network(whole, (1, 4, 2)), [torch.rand(3, 1, 4, 2)])
    assert ledger.layers["pool"].additions == 21
    alone = Network([Node("pool", GlobalAvgPool2d())], (1, 4, 2))
    assert count_network(alone, [torch.rand(3, 1, 4, 2)]).layers["pool"].multiplications == 3


def test_gains_belong_to_weights_and_thresholds():
    linear = filled(Linear(2, 2, bias=False), 1.0)
    nodes = [
        Node("linear", linear),
        Node("after", Scale(0.2)),
        Node("lif", Spiking(LIF(threshold=0.1), scale=2.74)),
        Node("gain", Scale(0.5)),
        Node("out", filled(Linear(2, 2, bias=False), 1.0)),
    ]
    ledger = count_network(Network(nodes, (2,)), frames((2,), (0, 0), (1, 1)), signal="binary")
    assert ledger.layers["after"] == ledger.layers["gain"] == Counts()
    assert ledger.facts["after"].folded
    assert ledger.facts["out"].unit == pytest.approx(1.37)
    assert ledger.layers["out"].synaptic_additions == 2 * ledger.layers["lif"].spikes == 8
    alone = Network([Node("scale", Scale(0.5))], (2,))
    assert count_network(alone, [torch.rand(3, 2)]).layers["scale"].multiplications == 6


def test_delays_move_spikes_and_keep_them_spikes():
    nodes = [
        Node("lif", Spiking(IF(), scale=3.0)),
        Node("gain", Scale(0.1)),
        Node("delay", Delay(1)),
        Node("out", filled(Linear(2, 3, bias=False), 1.0)),
    ]
    steps = [torch.tensor([[1.0, 0.0]]), torch.tensor([[1.0, 1.0]]), torch.zeros(1, 2)]
    ledger = count_network(Network(nodes, (2,)), steps, signal="binary", per_step=True)
    assert ledger.layers["delay"] == Counts(delay_pushes=3, state_writes=3, state_reads=3)
    assert [step.layers["out"].synaptic_additions for step in ledger.steps] == [0, 3, 6]
    assert ledger.facts["delay"].state == 2
    assert ledger.facts["out"].signal == "binary"
    undelayed = Network([Node("delay", Delay(0)), Node("out", Linear(2, 3))], (2,))
    assert count_network(undelayed, steps, signal="binary").layers["delay"] == Counts()


def test_a_residual_stream_adds_numbers():
    nodes = [
        Node("one", filled(Linear(2, 2, bias=False), 1.0)),
        Node("two", filled(Linear(2, 2, bias=False), 1.0), ("input",)),
        Node("sum", Add(), ("one", "two", "one")),
        Node("out", ReadoutIntegrator(LeakyIntegrator(decay=0.9))),
    ]
    ledger = count_network(Network(nodes, (2,)), frames((2,), (0, 0), (1, 1)), signal="binary")
    assert ledger.layers["sum"] == Counts(additions=8, activation_reads=12, activation_writes=4)
    assert ledger.layers["out"] == Counts(
        decays=4,
        additions=4,
        neuron_updates=4,
        active_updates=4,
        state_reads=4,
        state_writes=4,
        activation_reads=4,
        activation_writes=4,
    )
    assert ledger.facts["out"].neurons == 2


# --- neurons ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("neuron", "cost"),
    [
        (IF(), NeuronCost(0, 1, 1, 1, 1)),
        (LIF(), NeuronCost(1, 1, 1, 1, 1)),
        (LIF(decay=0.0), NeuronCost(0, 0, 1, 1, 1)),
        (LIF(decay=torch.tensor(0.5)), NeuronCost(1, 1, 1, 1, 1)),
        (CubaLIF(), NeuronCost(2, 2, 1, 1, 2)),
        (CubaLIF(voltage_decay=1.0), NeuronCost(1, 2, 1, 1, 2)),
        (AlphaLIF(), NeuronCost(2, 2, 1, 1, 2)),
        (AdaptiveLIF(), NeuronCost(2, 2, 1, 2, 2)),
        (LeakyIntegrator(decay=1.0), NeuronCost(0, 1, 0, 0, 1)),
        (
            FixedPointLIF(steps=64.0, current_decay=0.5, voltage_decay=0.5),
            NeuronCost(2, 2, 1, 1, 2),
        ),
        (
            FixedPointLIF(steps=64.0, current_decay=0.0, voltage_decay=0.5),
            NeuronCost(1, 1, 1, 1, 2),
        ),
    ],
)
def test_neurons_by_hand(neuron, cost):
    assert neuron_cost(neuron, "here") == cost


def test_every_neuron_has_a_cost():
    for kind in NEURONS.values():
        assert neuron_cost(kind(), "here").additions >= 1


def test_a_neuron_of_ones_own_has_costs_of_its_own():
    class Own(LIF):
        pass

    network = Network([Node("own", Spiking(Own()))], (2,))
    with pytest.raises(UsageError, match="own: the operations of the neuron Own are not known"):
        count_network(network, [torch.zeros(1, 2)])


# --- what is refused ----------------------------------------------------------------------------


def test_values_that_contradict_their_declaration_are_refused():
    network = Network([Node("linear", Linear(2, 2))], (2,))
    with pytest.raises(UsageError, match=r"the network's input: declared binary.*0 or 1, but 2 of"):
        count_network(network, [torch.tensor([[0.5, 0.25]])], signal="binary")
    with pytest.raises(UsageError, match=r"the network's input: declared real.*finite"):
        count_network(network, [torch.tensor([[float("nan"), 0.25]])])
    with pytest.raises(UsageError, match='unknown signal "spikes"'):
        count_network(network, [torch.zeros(1, 2)], signal="spikes")  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="at least one time step"):
        count_network(network, [])


class Loud(Spiking):
    """Neurons whose spikes are not what they are declared to be."""

    def forward(self, current, state):
        spikes, state = super().forward(current, state)
        return 2 * spikes, state


def test_spikes_that_are_none_are_refused():
    network = Network([Node("lif", Loud(LIF())), Node("linear", Linear(2, 2))], (2,))
    with pytest.raises(UsageError, match="lif: declared binary, so all values are 0 or 1, but 2"):
        count_network(network, [torch.ones(1, 2)])


def test_unknown_modules_are_listed_together():
    nodes = [
        Node("linear", Linear(2, 2)),
        Node("norm", nn.LayerNorm(2)),
        Node("same", nn.Identity()),
        Node("relu", nn.ReLU()),
    ]
    network = Network(nodes, (2,))
    with pytest.raises(UsageError, match=r"norm \(LayerNorm\), relu \(ReLU\)"):
        count_network(network, [torch.zeros(1, 2)])


def test_what_others_count_is_in_the_ledger():
    seen = []

    def others(module, *inputs, signals):
        seen.append((type(module).__name__, tuple(inputs[0].shape), signals))
        return Ledger({"inner": Counts(comparisons=inputs[0].numel())})

    network = Network([Node("linear", Linear(2, 3)), Node("relu", nn.ReLU())], (2,))
    ledger = count_network(network, [torch.rand(4, 2), torch.rand(4, 2)], others=others)
    assert ledger.layers["relu"] == Counts(comparisons=24)
    assert ledger.facts["relu"].kind == "ReLU"
    assert seen == [("ReLU", (4, 3), ["real"])] * 2


def test_dropout_is_nothing_once_training_is_over():
    network = Network([Node("drop", nn.Dropout(0.5)), Node("linear", Linear(2, 2))], (2,))
    with pytest.raises(UsageError, match=r"drop: Dropout is in training mode.*network.eval\(\)"):
        count_network(network, [torch.zeros(1, 2)])
    ledger = count_network(network.eval(), frames((2,), (0, 0)), signal="binary")
    assert ledger.layers["linear"].synaptic_additions == 2


# --- laws ---------------------------------------------------------------------------------------


def small(seed: int) -> Network:
    generator = torch.Generator().manual_seed(seed)
    model = build_model(Conv5(norm="none", width=0.03), (2, 8, 8), 3, generator)
    with torch.no_grad():
        for name, synapse in model.synapse_nodes.items():
            synapse.weight *= 3.0
            if name == "conv2":
                synapse.weight *= torch.rand(synapse.weight.shape, generator=generator) < 0.5
    return model


def counted_slowly(network: Network, steps: list[Tensor]) -> dict[str, float]:
    """SynOps of every synapse that spikes reach, through the matrix of all maps before it."""
    state = network.initial_state(len(steps[0]))
    weights = network.effective_weights()
    found = dict.fromkeys(network.synapse_nodes, 0.0)
    for x in steps:
        values, state = network.advance(x, state, weights)
        for name in found:
            path = [network.nodes[name]]
            source = network.sources[name][0]
            while source != "input" and not isinstance(network.nodes[source], Spiking):
                path.append(network.nodes[source])
                source = network.sources[source][0]
            spikes = values[source] != 0
            unit = torch.eye(spikes[0].numel()).reshape(-1, *spikes.shape[1:])
            for module in path[:0:-1]:
                unit = module(unit)
            matrix = network.nodes[name].transmit(unit, weights[name]) - network.nodes[
                name
            ].transmit(torch.zeros_like(unit[:1]), weights[name])
            # float rounding of a difference with the bias aside, a weight joins two where it acts
            joined = (matrix.abs() > 1e-7).sum(dim=tuple(range(1, matrix.ndim)))
            found[name] += float((spikes.flatten(1) * joined).sum())
    return found


@pytest.mark.parametrize("seed", range(3))
def test_synaptic_operations_equal_those_of_the_whole_matrix(seed):
    network = small(seed)
    steps = random_spikes(network, seed=seed)
    ledger = count_network(network, steps, signal="binary")
    expected = counted_slowly(network, steps)
    assert sum(expected.values()) > 0
    for name, number in expected.items():
        assert ledger.layers[name].synaptic_additions == number, name


@pytest.mark.parametrize(
    ("options", "shape"),
    [
        (MLP(hidden=(12,)), (6,)),
        (Conv5(width=0.03), (2, 8, 8)),
        (ResNet18(width=0.05), (3, 8, 8)),
    ],
)
@pytest.mark.parametrize("same", [False, True])
def test_every_model_is_counted_and_its_steps_add_up(options, shape, same):
    network = build_model(options, shape, 3, torch.Generator().manual_seed(0))
    steps = [torch.rand(2, *shape)] * 3 if same else [torch.rand(2, *shape) for _ in range(3)]
    ledger = count_network(network, steps, per_step=True)
    whole = count_network(network, steps)
    assert whole.layers == ledger.layers
    assert len(ledger.steps) == 3
    for name, counts in ledger.layers.items():
        parts = [step.layers[name] for step in ledger.steps]
        assert sum(parts[1:], parts[0]) == counts
    assert list(ledger.layers) == list(network.nodes)
    assert ledger.parameters == sum(p.numel() for p in network.parameters())
    rates = network.run(steps).firing_rates
    for name, rate in rates.items():
        fired = ledger.layers[name].spikes / ledger.layers[name].neuron_updates
        assert fired == pytest.approx(float(rate), rel=1e-5)
    sums = dict.fromkeys(asdict(Counts()), 0.0)
    for counts in ledger.layers.values():
        for column, number in asdict(counts).items():
            sums[column] += number
    assert asdict(ledger.total) == sums


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 99))
def test_the_order_and_the_grouping_of_samples_change_nothing(seed):
    network = small(seed % 3)
    steps = random_spikes(network, seed=seed)
    order = torch.randperm(4, generator=torch.Generator().manual_seed(seed))
    ledger = count_network(network, steps, signal="binary")
    assert count_network(network, [x[order] for x in steps], signal="binary") == ledger
    parts = [count_network(network, [x[i : i + 1] for x in steps], signal="binary")
             for i in range(4)]  # fmt: skip
    assert sum(parts[1:], parts[0]) == ledger
    assert ledger.per_sample.samples == 1
    assert ledger.per_sample.total == ledger.total.over(4)


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 99))
def test_twice_the_spikes_are_twice_the_operations(seed):
    network = Network([Node("conv", Conv2d(2, 3, 3, padding=1, bias=False))], (2, 5, 5))
    steps = random_spikes(network, seed=seed)
    once = count_network(network, steps, signal="binary")
    twice = count_network(network, [*steps, *steps], signal="binary")
    for name, number in asdict(once.layers["conv"]).items():
        assert getattr(twice.layers["conv"], name) == 2 * number, name


def test_standardised_weights_count_as_they_act():
    torch.manual_seed(0)
    plain = Network([Node("conv", Conv2d(2, 3, 3, padding=1))], (2, 5, 5))
    scaled = Network([Node("conv", ScaledWSConv2d(2, 3, 3, padding=1))], (2, 5, 5))
    steps = random_spikes(plain)
    ledgers = [count_network(each, steps, signal="binary") for each in (plain, scaled)]
    assert ledgers[0].layers == ledgers[1].layers
    assert ledgers[1].facts["conv"].parameters == ledgers[0].facts["conv"].parameters + 3
    row = ScaledWSLinear(3, 2)
    with torch.no_grad():
        row.weight[0] = 1.0  # no spread: it acts as zeros
    ledger = count_network(
        Network([Node("linear", row)], (3,)), [torch.ones(1, 3)], signal="binary"
    )
    assert ledger.layers["linear"].synaptic_additions == 3


def test_a_ternary_input_is_added_and_subtracted():
    network = Network([Node("linear", filled(Linear(3, 2, bias=False), 1.0))], (3,))
    ledger = count_network(network, [torch.tensor([[1.0, -1.0, 0.0]])], signal="ternary")
    assert ledger.layers["linear"].synaptic_additions == 4
    graded = count_network(network, [torch.tensor([[1.0, -0.5, 0.0]])], signal="graded")
    assert (graded.layers["linear"].macs, graded.layers["linear"].synaptic_additions) == (4, 0)


def test_whole_numbers_of_a_chip():
    linear = Linear(3, 2)
    with torch.no_grad():
        linear.weight.copy_(torch.tensor([[1.0, 0.1, 0.0], [-1.0, 0.0, 0.5]]))
    grid = Grid(
        factor=10.0,
        bias_factor=10.0,
        exponent=0,
        step=2,
        largest=254,
        bias_exponent=None,
        unit=1.0,
        silence=None,
        sent=1.0,
    )
    neuron = FixedPointLIF(steps=64.0, current_decay=0.0, voltage_decay=0.5)
    nodes = [
        Node("heard", Heard(torch.tensor(0.5), torch.tensor(0.0), lowest=-8, highest=7)),
        Node("linear", QuantisedSynapse(linear, grid)),
        Node("lif", Spiking(neuron)),
    ]
    ledger = count_network(Network(nodes, (3,)), [torch.tensor([[2.0, 0.0, 0.1]])])
    # messages 4, 0 and 0; 0.1 becomes 1, halfway to a step of 2, and rounds to 0
    assert ledger.layers["heard"] == Counts(
        additions=3, multiplications=3, comparisons=6, activation_reads=3, activation_writes=1
    )
    assert (ledger.layers["linear"].macs, ledger.layers["linear"].bias_additions) == (2, 2)
    facts = ledger.facts["linear"]
    assert (facts.signal, facts.weight_bits, facts.weights) == ("graded", 9, 3)
    assert ledger.layers["lif"].decays == 2


def test_counting_leaves_no_trace_in_autograd():
    network = small(0)
    ledger = count_network(network, random_spikes(network), signal="binary")
    assert isinstance(ledger.total.synaptic_additions, int)
    assert all(p.grad is None for p in network.parameters())
