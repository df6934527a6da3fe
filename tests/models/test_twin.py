"""The twin of a spiking network: its architecture without time, in floats or in few bits."""

import math

import pytest
import torch
from torch import nn

from neuro.errors import UsageError
from neuro.layers import (
    INPUT,
    Conv2d,
    Delay,
    Linear,
    Network,
    Node,
    Quantiser,
    ReadoutIntegrator,
    Rectifier,
    ScaledWSLinear,
    Spiking,
)
from neuro.layers.synapse import Synapse
from neuro.models import MODELS, build_model
from neuro.models.twin import (
    RECTIFIER_GAIN,
    ann_twin,
    baseline_bits,
    baseline_name,
    baseline_network,
    fit_steps,
)
from neuro.neurons import LIF, LeakyIntegrator

SMALL = {
    "mlp": {"hidden": (12, 10)},
    "conv5": {"width": 1 / 32},
    "conv9": {"width": 1 / 32},
    "resnet18": {"width": 1 / 16},
}
SHAPE = (3, 16, 16)


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def model(name: str, **options: object) -> Network:
    chosen = MODELS[name].options(**{**SMALL[name], **options})
    return build_model(chosen, SHAPE, 5, seeded())


def plain(bits: int | None = None) -> Network:
    torch.manual_seed(1)
    nodes = [
        Node("first", Linear(6, 7)),
        Node("lif", Spiking(LIF())),
        Node("out", Linear(7, 3)),
    ]
    return Network(nodes, (6,))


@pytest.mark.parametrize("norm", ["none", "weight-standardised"])
@pytest.mark.parametrize("name", MODELS)
def test_a_twin_has_the_nodes_shapes_and_weights_of_its_network(name, norm):
    network = model(name, norm=norm)
    twin = ann_twin(network)
    assert list(twin.nodes) == list(network.nodes)
    assert twin.sources == network.sources
    assert twin.shapes == network.shapes
    assert not twin.neuron_nodes
    for node in network.neuron_nodes:
        assert isinstance(twin.nodes[node], Rectifier)
    mine, theirs = twin.state_dict(), network.state_dict()
    assert mine.keys() == theirs.keys()
    for key, tensor in mine.items():
        assert torch.equal(tensor, theirs[key])
        assert tensor.data_ptr() != theirs[key].data_ptr()
    assert not twin.initial_state(2)


def test_a_twin_is_a_chain_of_rectifiers():
    network = plain()
    x = torch.randn(4, 6)
    first, out = network.nodes["first"], network.nodes["out"]
    expected = torch.relu(x @ first.weight.t() + first.bias) @ out.weight.t() + out.bias
    assert torch.allclose(ann_twin(network).run([x]).logits, expected)


def test_rectifiers_keep_unit_variance_where_weights_are_standardised():
    twin = ann_twin(model("mlp"))
    assert twin.nodes["lif1"].gain == RECTIFIER_GAIN
    assert ann_twin(model("mlp", norm="none")).nodes["lif1"].gain == 1
    sent = twin.nodes["lif1"](torch.randn(1_000_000, generator=seeded()))
    assert float(sent.var()) == pytest.approx(1, abs=0.01)


def test_what_only_time_needs_is_left_out():
    nodes = [
        Node("late", Delay(2)),
        Node("one", Linear(4, 5)),
        Node("lif", Spiking(LIF())),
        Node("later", Delay(1)),
        Node("two", Linear(5, 3)),
        Node("readout", ReadoutIntegrator(LeakyIntegrator())),
    ]
    twin = ann_twin(Network(nodes, (4,)))
    assert list(twin.nodes) == ["one", "lif", "two"]
    assert twin.sources == {"one": (INPUT,), "lif": ("one",), "two": ("lif",)}


@pytest.mark.parametrize(("timesteps", "bits"), [(1, 1), (2, 2), (3, 2), (4, 3), (7, 3), (8, 4)])
def test_matched_bits_hold_the_counts_of_spikes(timesteps, bits):
    assert bits == math.ceil(math.log2(timesteps + 1))
    assert baseline_bits("qnn", timesteps) == (max(2, bits), bits)
    assert baseline_name("qnn", timesteps) == f"qnn-{bits}bit"
    assert baseline_bits(f"qnn-{bits}bit", timesteps) == baseline_bits("qnn", timesteps)


def test_other_baselines_have_names_and_bits():
    assert baseline_bits("ann-fp32", 4) == (None, None)
    assert baseline_bits("ann-int8", 4) == (8, 8)
    assert baseline_name("ann-int8", 4) == "ann-int8"
    with pytest.raises(UsageError, match=r'no baseline "ann-int7".*Did you mean "ann-int8"'):
        baseline_bits("ann-int7", 4)
    with pytest.raises(UsageError, match="at least one time step"):
        baseline_bits("qnn", 0)
    with pytest.raises(UsageError, match="no baseline"):
        baseline_bits("qnn-4bit", 4)


@pytest.mark.parametrize("norm", ["none", "weight-standardised"])
@pytest.mark.parametrize("name", MODELS)
def test_a_baseline_of_few_bits_has_whole_weights_and_activations(name, norm):
    twin = baseline_network(model(name, norm=norm), "qnn", 4)
    x = torch.randn(3, *SHAPE, generator=seeded())
    fit_steps(twin, x)
    weights = twin.effective_weights()
    for node, synapse in twin.synapse_nodes.items():
        exact = type(synapse).__mro__[2].effective_weight(synapse)
        steps = weights[node] / synapse.quantiser.step(exact)
        assert torch.allclose(steps, steps.round(), atol=1e-4)
        assert steps.abs().max() < 3.001
    values, _ = twin.advance(x, {}, weights)
    rounded = values["rounded_input"] / twin.nodes["rounded_input"].step(x)
    assert torch.allclose(rounded, rounded.round(), atol=1e-3)
    assert rounded.abs().max() <= 127.001
    for node, module in twin.nodes.items():
        if isinstance(module, Rectifier):
            whole = values[node] / module.gain / module.quantiser.step(x)
            assert torch.allclose(whole, whole.round(), atol=1e-4)
            assert whole.min() >= 0
            assert whole.max() < 7.001


def test_biases_stay_floats():
    network = plain()
    twin = ann_twin(network, weight_bits=2, activation_bits=2)
    assert torch.equal(twin.nodes["first"].bias, network.nodes["first"].bias)


def test_eight_bits_hardly_change_what_a_network_says():
    network = model("conv5")
    x = torch.randn(8, *SHAPE, generator=seeded())
    floats = ann_twin(network).run([x]).logits
    rounded = baseline_network(network, "ann-int8", 4)
    fit_steps(rounded, x)
    error = (rounded.run([x]).logits - floats).norm() / floats.norm()
    assert error < 0.03
    few = baseline_network(network, "qnn", 3)
    fit_steps(few, x)
    assert (few.run([x]).logits - floats).norm() / floats.norm() > 3 * error


def test_steps_are_fitted_with_the_least_squared_error():
    x = torch.randn(2000, generator=seeded())
    quantiser = Quantiser(3, signed=False)
    quantiser.fit(x)
    positive = x.clamp(min=0)

    def error(step: float) -> float:
        return float(((positive / step).round().clamp(0, 7) * step - positive).square().sum())

    tried = [float(x.max()) / 7 * k / 100 for k in range(1, 101)]
    assert quantiser.step(x).item() == pytest.approx(min(tried, key=error))


def test_each_output_channel_has_its_own_step():
    weight = torch.randn(4, 3, 3, 3, generator=seeded()) * torch.tensor([1, 10, 100, 0.0]).view(
        4, 1, 1, 1
    )
    quantiser = Quantiser(8, signed=True, rows=4)
    quantiser.fit(weight)
    error = (quantiser(weight) - weight).flatten(1).norm(dim=1)
    assert torch.all(error <= 0.01 * weight.flatten(1).norm(dim=1))
    assert torch.equal(quantiser(weight)[3], weight[3])  # of nothing but zeros
    alone = Quantiser(8, signed=True, rows=1)
    alone.fit(weight[1:2])
    assert torch.equal(alone.step(weight[1:2])[0], quantiser.step(weight)[1])


def test_steps_of_weights_grow_with_them():
    weight = torch.randn(4, 9, generator=seeded())
    quantiser = Quantiser(3, signed=True, rows=4)
    quantiser.fit(weight)
    assert torch.allclose(quantiser(100 * weight), 100 * quantiser(weight), rtol=1e-5)


def test_gradients_are_those_of_a_learned_step():
    quantiser = Quantiser(2, signed=False)
    quantiser.start.fill_(0.5)
    x = torch.tensor([[-0.3, 0.2, 0.6, 1.0, 1.4, 9.0]], requires_grad=True)
    arriving = torch.tensor([[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]])
    quantiser(x).backward(arriving)
    ratio = x.detach() / 0.5
    inside = (ratio >= 0) & (ratio <= 3)
    assert torch.equal(x.grad, arriving * inside)
    by_step = torch.where(inside, ratio.round() - ratio, ratio.clamp(0, 3).round())
    expected = (arriving * by_step).sum() * 0.5 / math.sqrt(6 * 3)
    assert float(quantiser.log_step.grad) == pytest.approx(float(expected), rel=1e-5)


def test_few_bits_learn():
    torch.manual_seed(0)
    x = torch.randn(200, *SHAPE)
    targets = x.mean((2, 3)).argmax(1)
    twin = baseline_network(model("mlp"), "qnn", 3)
    fit_steps(twin, x)
    optimiser = torch.optim.Adam(twin.parameters(), 3e-3)
    losses = []
    for _ in range(30):
        logits, _ = twin.step(x, {})
        loss = nn.functional.cross_entropy(logits, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < 0.6 * losses[0]
    assert any(q.log_step.abs().sum() > 0 for q in twin.modules() if isinstance(q, Quantiser))


def test_a_low_bit_synapse_is_still_what_it_was():
    twin = ann_twin(model("conv5"), weight_bits=4)
    assert isinstance(twin.nodes["conv1"], Conv2d)
    assert twin.nodes["conv1"].quantiser.bits == 4
    assert isinstance(ann_twin(model("mlp"), weight_bits=4).nodes["linear1"], ScaledWSLinear)
    assert "rounded_input" not in twin.nodes


def test_too_few_bits_and_unknown_synapses_are_refused():
    with pytest.raises(UsageError, match="first: signed numbers need at least 2 bits, got 1"):
        ann_twin(plain(), weight_bits=1)
    with pytest.raises(UsageError, match="unsigned numbers need at least 1 bits, got 0"):
        ann_twin(plain(), activation_bits=0)

    class Own(Linear, Synapse):
        pass

    network = Network([Node("own", Own(3, 2))], (3,))
    with pytest.raises(UsageError, match="own: Own has no form of few bits"):
        ann_twin(network, weight_bits=4)


def test_the_name_of_the_rounded_input_does_not_clash():
    network = Network([Node("rounded_input", Linear(3, 2))], (3,))
    assert list(ann_twin(network, activation_bits=4).nodes) == ["rounded_input_", "rounded_input"]


def test_the_network_is_left_as_it_was():
    network = plain()
    before = {name: each.clone() for name, each in network.state_dict().items()}
    fit_steps(baseline_network(network, "ann-int8", 4), torch.randn(4, 6))
    assert type(network.nodes["first"]) is Linear
    assert all(torch.equal(each, before[name]) for name, each in network.state_dict().items())
