"""Numbers that a rule keeps for later: written once, and read where they are used."""

from collections import Counter
from math import ceil

import pytest
import torch

from neuro.energy.training.cost import training_cost
from neuro.energy.training.online import Online
from neuro.energy.training.optimiser import Optimiser
from neuro.layers import Network, signals
from neuro.learning import RULES
from tests.energy.networks_in_training import (
    CLASSES,
    NETWORKS,
    B,
    T,
    deep,
    dense,
    inputs_of,
    learn,
)

FOUR = {**NETWORKS, "deep": deep}


def cost_of(network, rule, *, constant=True, **settings):
    options = RULES[rule].Options(**settings)
    return training_cost(network, inputs_of(network, constant=constant), options)


@pytest.mark.parametrize("constant", [True, False], ids=["image", "frames"])
@pytest.mark.parametrize("name", FOUR)
def test_spikes_are_packed_once_and_unpacked_as_often_as_backward_asks(name, constant, monkeypatch):
    network = FOUR[name]()
    steps = inputs_of(network, constant=constant)
    done = {"packed": 0, "kept": 0, "unpacked": 0, "read": 0}
    pack, unpack = signals.pack_spikes, signals.unpack_spikes

    def counted_pack(spikes, **options):
        done["packed"] += spikes.numel()
        done["kept"] += ceil(spikes.numel() / 32)
        return pack(spikes, **options)

    def counted_unpack(bits, shape, **options):
        done["unpacked"] += shape.numel()
        done["read"] += ceil(shape.numel() / 32)
        return unpack(bits, shape, **options)

    monkeypatch.setattr(signals, "pack_spikes", counted_pack)
    monkeypatch.setattr(signals, "unpack_spikes", counted_unpack)
    options = RULES["bptt"].Options(recompute=True)
    learn(network, steps, options)
    again = training_cost(network, steps, options).phases["recomputation"].layers
    neurons = [again[layer] for layer in network.neuron_nodes]
    assert done["unpacked"] >= done["packed"] > 0
    assert sum(each.activation_reads for each in neurons) == done["packed"]
    assert sum(each.state_writes for each in neurons) == done["kept"]
    assert sum(each.activation_writes for each in neurons) == done["unpacked"]
    assert sum(each.state_reads for each in neurons) == done["read"]


@pytest.mark.parametrize("name", FOUR)
def test_currents_are_made_again_as_often_as_backward_asks(name, monkeypatch):
    network = FOUR[name]()
    steps = inputs_of(network, constant=False)
    made: Counter[str] = Counter()
    transmit = Network._transmit

    def counted(self, node, weights, sources):
        made[node] += 1
        return transmit(self, node, weights, sources)

    monkeypatch.setattr(Network, "_transmit", counted)
    options = RULES["bptt"].Options(recompute=True)
    learn(network, steps, options)
    cost = training_cost(network, steps, options)
    again, forward = cost.phases["recomputation"].layers, cost.phases["forward"].layers
    for synapse in network.synapse_nodes:
        before = forward[synapse].all_additions
        after = again[synapse].all_additions if synapse in again else 0
        assert after == (made[synapse] - 1) * before
    assert made[network.output] == 1
    assert max(made.values()) > 1


@pytest.mark.parametrize("noise", ["gaussian", "rademacher", "sphere"])
def test_noise_that_is_held_is_written_once_a_pair(noise):
    network = dense()
    cost = cost_of(network, "zo", noise=noise)
    found = cost.phases["noise"].layers["lif1"]
    assert found.state_writes == T // 2 * B * 9
    assert found.state_reads == (T // 2 * B * 9 if noise == "sphere" else 0)  # its length
    assert found.activation_reads == T * B * 9
    options = RULES["zo"].Options(noise=noise)
    asked = (network, inputs_of(network, constant=True), options, "real", Optimiser(), "skipped")
    with torch.no_grad():
        drawn = Online(*asked, holds_noise=False).cost().phases["noise"].layers["lif1"]
    assert drawn.state_writes == drawn.state_reads == 0
    # at each step, for credit, and on a sphere for its length
    draws = {"gaussian": 2 * T, "rademacher": 0, "sphere": 2 * T + T // 2}[noise] * B * 9
    lengths = 2 * (T // 2) * B if noise == "sphere" else 0
    assert drawn.functions == 2 * draws + lengths


@pytest.mark.parametrize("intermediate", [False, True])
def test_errors_on_their_way_are_written_and_read(intermediate):
    network = dense()
    options = {"intermediate_learning": intermediate}
    late = cost_of(network, "opzo", feedback_delay=3, **options)
    answers = B * CLASSES * (2 if intermediate else 1)
    loss = late.phases["error path"].layers["loss"]
    assert loss.state_writes == T * answers
    assert loss.state_reads == answers  # the others never arrive
    assert late.stored["errors"] == 3 * answers
    at_once = cost_of(network, "opzo", **options)
    assert at_once.phases["error path"].layers["loss"].state_writes == 0
    assert "errors" not in at_once.stored


def test_outputs_of_a_pair_and_their_mean_are_kept():
    network = dense()
    cost = cost_of(network, "opzo", feedback_update="per_pair", centre_logits=True)
    loss = cost.phases["feedback updates"].layers["loss"]
    assert loss.state_writes == T // 2 * B * CLASSES + T * CLASSES
    assert loss.state_reads == T // 2 * B * CLASSES + 2 * T * CLASSES
    assert cost.stored["outputs"] == B * CLASSES
    assert cost.stored["mean outputs"] == CLASSES
    plain = cost_of(network, "opzo")
    assert not {"outputs", "mean outputs"} & plain.stored.keys()


def test_sums_that_gradients_join_are_read_and_written():
    network = dense()
    image = cost_of(network, "dfa").phases["weight gradients"].layers["one"]
    # three errors join the first; then one product, and the bias
    assert image.state_writes == image.state_reads == (T - 1) * B * 9 + 6 * 9 + 9
    matrix = 9 * CLASSES
    feedback = cost_of(network, "dkp").phases["feedback updates"].layers["lif1"]
    assert feedback.state_writes == feedback.state_reads == T * matrix + (T - 1) * matrix
    online = cost_of(network, "dkp", update="online").phases["feedback updates"].layers["lif1"]
    assert online.state_writes == T * matrix


def test_spikes_that_readouts_read_are_written_beside_what_is_sent():
    network = dense()
    cost = cost_of(network, "opzo", local_learning=True)
    assert cost.phases["read-outs"].layers["lif1 local read-out"].activation_writes == (
        T * B * 9 + T * B * CLASSES  # and errors
    )


def test_errors_that_meet_are_read_where_they_meet():
    network = NETWORKS["residual"]()
    for rule in ("bptt", "ottt"):
        path = cost_of(network, rule, constant=False).phases["error path"].layers["stem"]
        assert path.additions == T * B * 64
        assert path.activation_reads >= 2 * T * B * 64
