"""Counts of training against loops over events, and what backpropagation really keeps."""

import math

import pytest
import torch
from torch import Tensor
from torch.autograd.graph import saved_tensors_hooks

from neuro.energy.counting.network import count_network
from neuro.energy.training.cost import PHASES, training_cost
from neuro.energy.training.online import Online
from neuro.energy.training.optimiser import Optimiser
from neuro.errors import UsageError
from neuro.layers import Add, Conv2d, Flatten, Linear, Network, Node, ScaledWSLinear, Spiking
from neuro.learning import RULES
from neuro.models import MODELS, build_model
from neuro.neurons import IF, LIF, AdaptiveLIF, CubaLIF
from tests.energy.networks_in_training import (
    CLASSES,
    NETWORKS,
    B,
    T,
    convolutional,
    dense,
    inputs_of,
    number_by_number,
    spikes_and_traces,
)


@pytest.mark.parametrize("constant", [True, False], ids=["image", "frames"])
@pytest.mark.parametrize("name", NETWORKS)
def test_backpropagation_keeps_what_is_said(name, constant):
    network = NETWORKS[name]()
    steps = inputs_of(network, constant=constant)
    kept: dict[int, int] = {}
    own = {p.data_ptr() for p in network.parameters()}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        # neither weights, nor the eight numbers that neurons have
        if storage.data_ptr() not in own and tensor.numel() > 8:
            kept[storage.data_ptr()] = storage.nbytes() // 4
            alive.append(tensor)
        return tensor

    alive: list[Tensor] = []
    x = torch.stack(steps) if not constant else steps[0].expand(T, *steps[0].shape)
    with saved_tensors_hooks(note, lambda tensor: tensor):
        state = network.initial_state(B)
        resting = {each.data_ptr() for kinds in state.values() for each in kinds}
        logits, _ = network.advance_sequence(x, state, network.effective_weights())
    assert logits.requires_grad
    found = sum(n for pointer, n in kept.items() if pointer not in resting)
    cost = training_cost(network, steps, "bptt")
    assert found == cost.stored["activities"] + cost.stored["currents"]


def test_memory_grows_with_time_for_backpropagation_alone():
    network = dense()
    for rule in RULES:
        short = training_cost(network, inputs_of(network, constant=True)[:2], rule).stored
        long = training_cost(network, inputs_of(network, constant=True), rule).stored
        if rule == "bptt":
            assert long["currents"] == B * 9 + 2 * (short["currents"] - B * 9)
        else:
            assert long == short


def test_weight_gradients_by_events_equal_loops():
    network = dense(neuron=LIF(decay=0.5))
    steps = inputs_of(network, constant=True)
    found = spikes_and_traces(network, steps, 0.5)
    bptt = training_cost(network, steps, "bptt").phases["weight gradients"].layers
    ottt = training_cost(network, steps, "ottt").phases["weight gradients"].layers
    for synapse, layer, outputs in (("two", "lif1", 7), ("out", "lif2", CLASSES)):
        spikes = number_by_number(found, f"{layer} spikes", outputs)
        traces = number_by_number(found, f"{layer} trace", outputs)
        assert 0 < spikes < traces < T * B * 9 * outputs
        assert bptt[synapse].synaptic_additions == spikes
        assert bptt[synapse].macs == 0
        assert ottt[synapse].macs == traces
        assert ottt[synapse].synaptic_additions == 0
        assert ottt[synapse].additions == T * B * outputs  # the bias
    for cost in (bptt, ottt):
        assert cost["one"].macs == B * 6 * 9  # one product: the image stays
    assert ottt["one"].additions == (T - 1) * B * 9 + B * 9
    updates = training_cost(network, steps, "ottt").synaptic_updates
    assert updates == T * B * 6 * 9 + ottt["two"].macs + ottt["out"].macs
    assert training_cost(network, steps, "bptt").synaptic_updates is None


def test_a_padded_strided_convolution_is_counted_position_by_position():
    torch.manual_seed(0)
    nodes = [
        Node("one", Conv2d(1, 2, 3, padding=1)),
        Node("lif", Spiking(LIF(decay=0.5))),
        Node("two", Conv2d(2, 4, 3, stride=2, padding=1, groups=2)),
        Node("lif2", Spiking(LIF(decay=0.5))),
        Node("flatten", Flatten()),
        Node("out", Linear(4 * 9, 3)),
    ]
    network = Network(nodes, (1, 5, 5))
    steps = inputs_of(network, constant=False)
    state, trace, macs, transposed = network.initial_state(B), None, 0, 0
    for x in steps:
        values, state = network.advance(x, state, network.effective_weights())
        spikes = values["lif"].detach()
        trace = spikes.clone() if trace is None else 0.5 * trace + spikes
        for b in range(B):
            for channel in range(2):
                for row in range(5):
                    for column in range(5):
                        reached = 0
                        for out_row in range(3):
                            for out_column in range(3):
                                near = abs(2 * out_row - row) <= 1
                                if near and abs(2 * out_column - column) <= 1:
                                    reached += 2  # channels of the group
                        transposed += reached
                        if trace[b, channel, row, column] != 0:
                            macs += reached
    cost = training_cost(network, steps, "ottt")
    assert cost.phases["weight gradients"].layers["two"].macs == macs
    assert cost.phases["error path"].layers["two"].macs == transposed


def test_forward_is_the_ledger_of_the_network():
    network = dense()
    steps = inputs_of(network, constant=True)
    for rule in ("bptt", "ottt", "dfa", "dkp"):
        assert training_cost(network, steps, rule).phases["forward"] == count_network(
            network, steps
        )


def test_noise_on_spikes_makes_products_of_additions():
    network = dense(scale=2.0)
    steps = inputs_of(network, constant=True)
    plain = training_cost(network, steps, "ottt").phases["forward"].layers
    noisy = training_cost(network, steps, "opzo").phases
    forward = noisy["forward"].layers
    assert plain["two"].synaptic_additions > 0
    assert plain["two"].macs == 0
    assert forward["two"].synaptic_additions == 0
    assert forward["two"].macs == T * B * 9 * 7
    assert forward["one"] == plain["one"]
    drawn = T // 2 * B * 9
    assert noisy["noise"].layers["lif1"].functions == 2 * drawn
    assert noisy["noise"].layers["lif1"].additions == T * B * 9
    inside = RULES["opzo"].Options(noise_at="pre", noise="rademacher", antithetic=False)
    kept = training_cost(network, steps, inside).phases
    assert kept["forward"].layers["two"] == plain["two"]
    assert kept["noise"].total.functions == 0


@pytest.mark.parametrize(
    ("rule", "settings", "draws"),
    [
        ("zo", {}, T),
        ("opzo", {}, T),
        ("opzo", {"feedback_rule": "delta"}, 2 * T),
        ("opzo", {"feedback_update": "per_pair"}, T // 2),
    ],
)
def test_who_holds_no_noise_draws_it_for_credit_and_feedback(rule, settings, draws):
    network = dense()
    steps = inputs_of(network, constant=True)
    options = RULES[rule].Options(**settings)
    held = training_cost(network, steps, options)
    assert held.stored["noise"] == B * (9 + 7)
    with torch.no_grad():
        asked = (network, steps, options, "real", Optimiser(), "skipped")
        drawing = Online(*asked, holds_noise=False).cost()
    assert drawing.phases["noise"].layers["lif1"].functions == 2 * (T + draws) * B * 9
    assert "noise" not in drawing.stored


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("rule", RULES)
def test_every_model_is_counted_for_every_rule(name, rule):
    options = {"mlp": {"hidden": (8,)}}.get(name, {"width": 1 / 32})
    network = build_model(
        MODELS[name].options(**options), (3, 16, 16), 5, torch.Generator().manual_seed(0)
    )
    x = torch.randn(2, 3, 16, 16)
    cost = training_cost(network, [x] * 3, rule)
    synapses = network.synapse_nodes.keys()
    assert synapses <= cost.phases["weight gradients"].layers.keys()
    assert network.neuron_nodes.keys() <= cost.phases["error path"].layers.keys()


def test_with_recompute_currents_are_made_twice_and_spikes_kept_as_bits():
    network = dense()
    steps = inputs_of(network, constant=False)
    plain = training_cost(network, steps, "bptt")
    again = training_cost(network, steps, RULES["bptt"].Options(recompute=True))
    forward = plain.phases["forward"].layers
    assert again.phases["recomputation"].layers["two"] == forward["two"]
    assert "out" not in again.phases["recomputation"].layers  # nobody asks for logits
    assert again.stored["spikes"] == math.ceil(T * B * (9 + 7) / 32)
    assert again.stored["activities"] == T * B * 6
    assert "currents" not in again.stored
    assert sum(again.stored.values()) < sum(plain.stored.values())


def test_feedback_matrices_by_hand():
    network = dense()
    steps = inputs_of(network, constant=True)
    opzo = training_cost(network, steps, "opzo").phases
    assert opzo["feedback updates"].layers["lif1"].macs == T * B * 9 * CLASSES
    assert opzo["feedback updates"].layers["lif1"].decays == T * 9 * CLASSES
    assert opzo["error path"].layers["lif1"].macs == T * B * 9 * CLASSES
    assert "two" not in opzo["error path"].layers
    pairs = RULES["opzo"].Options(feedback_update="per_pair")
    halved = training_cost(network, steps, pairs).phases["feedback updates"].layers["lif1"]
    assert halved.macs == T // 2 * B * 9 * CLASSES
    frozen = RULES["opzo"].Options(freeze_feedback_after=0)
    assert "feedback updates" not in training_cost(network, steps, frozen).phases
    assert "feedback updates" not in training_cost(network, steps, "dfa").phases
    ottt = training_cost(network, steps, "ottt").phases["error path"].layers
    assert ottt["two"].macs == T * B * 9 * 7
    assert "one" not in ottt


def test_feedback_that_two_synapses_read_is_multiplied_out_twice():
    torch.manual_seed(0)
    nodes = [
        Node("a", Linear(4, 4)),
        Node("b", Linear(4, 4), ("input",)),
        Node("sum", Add(), ("a", "b")),
        Node("lif", Spiking(LIF())),
        Node("out", Linear(4, CLASSES)),
    ]
    network = Network(nodes, (4,))
    path = training_cost(network, inputs_of(network, constant=False), "dfa").phases["error path"]
    assert path.layers["lif"].macs == 2 * T * B * 4 * CLASSES


def test_the_optimiser_moves_every_number_that_trains():
    network = dense()
    steps = inputs_of(network, constant=True)
    numbers = sum(p.numel() for p in network.parameters())
    for rule in RULES:
        cost = training_cost(network, steps, rule)
        extra = CLASSES * (9 + 7) if rule == "dkp" else 0
        assert cost.trained == numbers + extra
        total = cost.phases["optimiser"].total
        assert total.weight_reads == 2 * cost.trained  # a step, and the check of weights
        assert total.state_writes == 3 * cost.trained
        assert cost.stored["moments"] == 2 * cost.trained
    sgd = training_cost(network, steps, "ottt", optimiser="sgd")
    assert sgd.phases["optimiser"].total.state_writes == 2 * numbers
    often = training_cost(network, steps, RULES["ottt"].Options(update="online"))
    assert often.optimiser_steps == T
    assert often.phases["optimiser"].total.weight_reads == 2 * T * numbers


@pytest.mark.parametrize("neuron", [IF(), CubaLIF(), AdaptiveLIF(), LIF(reset_mode="hard")])
def test_other_neurons_have_costs_too(neuron):
    network = dense(neuron=neuron)
    steps = inputs_of(network, constant=True)
    plain = training_cost(dense(), steps, "bptt").phases["error path"].layers["lif1"]
    found = training_cost(network, steps, "bptt").phases["error path"].layers["lif1"]
    assert found.functions == plain.functions
    if isinstance(neuron, IF):
        assert found.decays == 0
    elif isinstance(neuron, CubaLIF | AdaptiveLIF):
        assert found.decays == 2 * plain.decays
    traces = training_cost(network, steps, "ottt").phases["traces"].layers["lif1"]
    stages = 2 if isinstance(neuron, CubaLIF) else 1
    assert traces.state_writes == stages * T * B * 9


def test_standardised_weights_are_made_once_a_batch_or_at_every_step():
    torch.manual_seed(0)
    nodes = [
        Node("one", ScaledWSLinear(6, 9)),
        Node("lif", Spiking(LIF())),
        Node("out", Linear(9, 5)),
    ]
    network = Network(nodes, (6,))
    steps = inputs_of(network, constant=True)
    once = training_cost(network, steps, "ottt").phases["standardisation"]
    assert list(once.layers) == ["one"]
    assert once.total.macs == 3 * 54
    often = training_cost(network, steps, RULES["ottt"].Options(update="online"))
    assert often.phases["standardisation"].total.macs == 3 * T * 54 + 54
    assert "standardisation" not in training_cost(dense(), steps, "ottt").phases


def test_event_frames_are_added_not_multiplied():
    network = dense()
    steps = [(x > 2).float() for x in inputs_of(network, constant=False)]
    events = sum(int(x.count_nonzero()) for x in steps)
    found = training_cost(network, steps, "ottt", signal="binary").phases["weight gradients"]
    assert found.layers["one"].synaptic_additions == events * 9
    assert found.layers["one"].macs == 0


def test_phases_add_up_and_tell_themselves():
    network = convolutional()
    cost = training_cost(network, inputs_of(network, constant=True), "opzo")
    assert list(cost.phases) == [name for name in PHASES if name in cost.phases]
    assert cost.total.macs == sum(each.total.macs for each in cost.phases.values())
    told = cost.to_json()
    assert told["phases"]["noise"]["functions"] == cost.phases["noise"].total.functions
    assert told["samples"] == B
    assert cost.phases["error path"].per_sample.total.macs * B == pytest.approx(
        cost.phases["error path"].total.macs
    )


def test_a_network_that_is_counted_stays_as_it_was():
    network = dense()
    before = {name: each.clone() for name, each in network.state_dict().items()}
    for rule in RULES:
        training_cost(network, inputs_of(network, constant=True), rule)
    assert all(torch.equal(each, before[name]) for name, each in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())


def test_what_is_not_counted_is_refused():
    network = dense()
    steps = inputs_of(network, constant=True)
    with pytest.raises(UsageError, match='optimiser "adagrad" are not known'):
        training_cost(network, steps, "ottt", optimiser="adagrad")
    with pytest.raises(UsageError, match=r"unknown learning rule 'optt'.*ottt"):
        training_cost(network, steps, "optt")
    with pytest.raises(UsageError, match="at least one time step"):
        training_cost(network, [], "ottt")
    learnt = Network(
        [
            Node("one", Linear(6, 5)),
            Node("lif", Spiking(LIF(), learnable=["decay"])),
            Node("out", Linear(5, 5)),
        ],
        (6,),
    )
    with pytest.raises(UsageError, match="only the rule bptt"):
        training_cost(learnt, steps, "ottt")
    assert training_cost(learnt, steps, "bptt").trained == 6 * 5 + 5 + 1 + 30
