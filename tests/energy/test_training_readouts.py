"""Read-outs of hidden layers in training, counted against loops over their spikes."""

import pytest
import torch

from neuro.energy.training.cost import training_cost
from neuro.energy.training.online import Online
from neuro.energy.training.optimiser import Optimiser
from neuro.learning import RULES
from neuro.neurons import LIF
from tests.energy.networks_in_training import (
    CLASSES,
    B,
    T,
    convolutional,
    deep,
    dense,
    inputs_of,
    number_by_number,
    spikes_and_traces,
)

HIDDEN = {"lif1": 9, "lif2": 7}


def cost_of(network, rule, *, constant=True, zeros="skipped", **settings):
    options = RULES[rule].Options(**settings)
    return training_cost(network, inputs_of(network, constant=constant), options, zeros=zeros)


def gained(whole, plain, phase, layer, column):
    """What a layer does more of."""
    counts = [
        getattr(each.phases[phase].layers[layer], column)
        if layer in each.phases[phase].layers
        else 0
        for each in (whole, plain)
    ]
    return counts[0] - counts[1]


def test_local_readouts_by_events_equal_loops():
    network = dense(neuron=LIF(decay=0.5))
    found = spikes_and_traces(network, inputs_of(network, constant=True), 0.5)
    plain = cost_of(network, "ottt")
    whole = cost_of(network, "ottt", local_learning=True)
    learnt = 0
    for layer, neurons in HIDDEN.items():
        name = f"{layer} local read-out"
        answers = whole.phases["read-outs"].layers[name]
        spikes = number_by_number(found, f"{layer} spikes", CLASSES)
        traces = number_by_number(found, f"{layer} trace", CLASSES)
        assert 0 < spikes < traces < T * B * neurons * CLASSES
        assert answers.synaptic_additions == spikes
        assert answers.spikes_in == spikes // CLASSES
        assert answers.bias_additions == T * B * CLASSES
        assert answers.macs == 0
        assert answers.functions == T * B * (CLASSES + 1)  # a softmax each
        gradients = whole.phases["weight gradients"].layers[name]
        numbers = neurons * CLASSES + CLASSES
        assert gradients.macs == traces
        assert gradients.multiplications == 0  # no gain of spikes
        assert gradients.additions == T * B * CLASSES + (T - 1) * numbers
        assert whole.phases["error path"].layers[name].macs == T * B * neurons * CLASSES
        assert whole.phases["error path"].layers[name].multiplications == 0
        step = whole.phases["optimiser"].layers[name]
        assert step.weight_reads == 2 * numbers
        # the exact error meets that of the read-out
        assert gained(whole, plain, "error path", layer, "additions") == T * B * neurons
        learnt += traces
    assert whole.synaptic_updates == plain.synaptic_updates + learnt
    assert whole.stored["read-outs"] == sum((n + 1) * CLASSES for n in HIDDEN.values())
    assert whole.trained == plain.trained + whole.stored["read-outs"]
    assert whole.phases["forward"] == plain.phases["forward"]
    assert "read-outs" not in plain.phases


@pytest.mark.parametrize("zeros", ["skipped", "multiplied"])
def test_maps_are_pooled_position_by_position(zeros):
    network = convolutional()
    steps = inputs_of(network, constant=False)
    state, entered, used, pooled_traces = network.initial_state(B), 0, 0, 0
    trace = torch.zeros(B, 4, 6, 6)
    for x in steps:
        values, state = network.advance(x, state, network.effective_weights())
        spikes = values["lif1"].detach() / 2
        trace = network.nodes["lif1"].neuron.filters[0].decay * trace + spikes
        for b in range(B):
            for channel in range(4):
                for row in range(3):
                    for column in range(3):
                        window = (b, channel, slice(2 * row, 2 * row + 2))
                        places = slice(2 * column, 2 * column + 2)
                        inside = int((spikes[window][:, places] != 0).sum())
                        entered += inside
                        used += inside > 0
                        pooled_traces += bool((trace[window][:, places] != 0).any())
    features = T * B * 4 * 9
    assert 0 < used < pooled_traces < features
    cost = cost_of(network, "ottt", constant=False, zeros=zeros, local_learning=True)
    name = "lif1 local read-out"
    answers = cost.phases["read-outs"].layers[name]
    errors = 5 * CLASSES * T * B
    learnt, credit = (
        cost.phases[phase].layers[name] for phase in ("weight gradients", "error path")
    )
    if zeros == "skipped":
        assert answers.synaptic_additions == entered
        assert answers.macs == used * CLASSES
        assert answers.multiplications == 2 * used + errors  # the mean, and the gain of spikes
        assert learnt.macs == pooled_traces * CLASSES
    else:
        assert answers.synaptic_additions == 0
        assert answers.additions == 3 * features + (5 * CLASSES - 1) * T * B
        assert answers.macs == features * CLASSES
        assert answers.multiplications == 2 * features + errors
        assert learnt.macs == features * CLASSES
    assert learnt.multiplications == T * 4 * 9 * CLASSES
    assert cost.phases["traces"].layers[name].additions == 3 * features
    assert credit.macs == features * CLASSES
    assert credit.multiplications == features + T * B * 4 * 36
    # the second layer's maps of 2 x 2 stay as they are
    assert cost.phases["read-outs"].layers["lif2 local read-out"].multiplications == errors


def test_a_weight_of_local_credit_is_a_product_with_each_error():
    network = dense()
    one = cost_of(network, "dfa", local_learning=True)
    half = cost_of(network, "dfa", local_learning=True, local_weight=0.5)
    for layer in HIDDEN:
        name = f"{layer} local read-out"
        assert gained(half, one, "error path", name, "multiplications") == T * B * CLASSES


@pytest.mark.parametrize("rule", ["dfa", "dkp", "zo", "opzo"])
def test_credit_of_feedback_is_written_out_and_added_to_that_of_readouts(rule):
    network = dense()
    plain, whole = cost_of(network, rule), cost_of(network, rule, local_learning=True)
    for layer, neurons in HIDDEN.items():
        numbers = T * B * neurons
        assert gained(whole, plain, "error path", layer, "additions") == numbers
        assert gained(whole, plain, "error path", layer, "macs") == 0  # once, as before


def test_credit_that_comes_late_meets_that_of_readouts_when_it_comes():
    network = dense()
    late = cost_of(network, "dfa", local_learning=True, feedback_delay=3)
    at_once = cost_of(network, "dfa", local_learning=True)
    path = late.phases["error path"].layers["lif1"]
    assert path.macs == B * 9 * CLASSES
    assert gained(at_once, late, "error path", "lif1", "additions") == 3 * B * 9
    # errors of read-outs reach the synapses all the time
    assert late.phases["weight gradients"] == at_once.phases["weight gradients"]


def test_gradients_of_readouts_add_up_over_a_batch_alone():
    network = dense()
    whole = cost_of(network, "ottt", local_learning=True, update="online")
    name, numbers = "lif1 local read-out", 9 * CLASSES + CLASSES
    assert whole.phases["weight gradients"].layers[name].additions == T * B * CLASSES
    assert whole.phases["optimiser"].layers[name].weight_reads == 2 * T * numbers


@pytest.mark.parametrize(("frozen", "answers"), [(None, 2), (0, 1)])
def test_an_intermediate_classifier_answers_again_for_its_feedback(frozen, answers):
    network = dense(neuron=LIF(decay=0.5))
    found = spikes_and_traces(network, inputs_of(network, constant=True), 0.5)
    settings = {"noise_at": "pre", "freeze_feedback_after": frozen}
    plain = cost_of(network, "opzo", **settings)
    whole = cost_of(network, "opzo", intermediate_learning=True, **settings)
    name = "lif2 intermediate read-out"
    assert list(whole.phases["read-outs"].layers) == [name]
    spikes = number_by_number(found, "lif2 spikes", CLASSES)
    total = whole.phases["read-outs"].layers[name]
    assert total.synaptic_additions == answers * spikes
    assert total.bias_additions == answers * T * B * CLASSES
    assert total.functions == T * B * (CLASSES + 1)  # but errs once
    noisy = cost_of(network, "opzo", intermediate_learning=True, freeze_feedback_after=frozen)
    total = noisy.phases["read-outs"].layers[name]
    assert total.synaptic_additions == 0
    assert total.macs == answers * T * B * 7 * CLASSES
    # two matrices at the first layer; at the second feedback and the classifier's transpose
    matrix = T * B * 9 * CLASSES
    assert whole.phases["error path"].layers["lif1"].macs == 2 * matrix
    for layer, neurons in HIDDEN.items():
        assert gained(whole, plain, "error path", layer, "additions") == T * B * neurons
    assert gained(whole, plain, "error path", "lif2", "macs") == 0
    if frozen is None:
        assert gained(whole, plain, "feedback updates", "lif1", "macs") == matrix
        assert gained(whole, plain, "feedback updates", "lif2", "macs") == 0
    assert whole.stored["feedback"] == plain.stored["feedback"] + 9 * CLASSES
    assert whole.stored["read-outs"] == whole.trained - plain.trained == 8 * CLASSES


def test_layers_above_the_middle_one_get_no_credit_of_it():
    network = deep()
    plain = cost_of(network, "opzo", constant=False)
    whole = cost_of(network, "opzo", constant=False, intermediate_learning=True)
    assert list(whole.phases["read-outs"].layers) == ["lif2 intermediate read-out"]
    for layer in ("lif1", "lif2"):
        assert gained(whole, plain, "error path", layer, "additions") > 0
    assert whole.phases["error path"].layers["lif3"] == plain.phases["error path"].layers["lif3"]
    assert gained(whole, plain, "feedback updates", "lif3", "macs") == 0


def test_pairs_of_answers_are_halved_at_both_ends():
    network = dense()
    pairs = {"feedback_update": "per_pair"}
    plain = cost_of(network, "opzo", **pairs)
    whole = cost_of(network, "opzo", intermediate_learning=True, **pairs)
    assert plain.phases["feedback updates"].layers["loss"].additions == T // 2 * B * CLASSES
    assert whole.phases["feedback updates"].layers["loss"].additions == T * B * CLASSES
    assert whole.stored["outputs"] == 2 * plain.stored["outputs"] == 2 * B * CLASSES


@pytest.mark.parametrize("rule", ["average", "delta"])
def test_a_second_matrix_draws_noise_again_where_none_is_held(rule):
    network = dense()
    steps = inputs_of(network, constant=True)
    settings = {"feedback_rule": rule}
    uses = 2 if rule == "delta" else 1
    with torch.no_grad():
        drawn = [
            Online(network, steps, options, "real", Optimiser(), "skipped", holds_noise=False)
            .cost()
            .phases["noise"]
            .layers
            for options in (
                RULES["opzo"].Options(**settings),
                RULES["opzo"].Options(intermediate_learning=True, **settings),
            )
        ]
    plain, whole = drawn
    assert whole["lif1"].functions - plain["lif1"].functions == 2 * uses * T * B * 9
    assert whole["lif2"] == plain["lif2"]
