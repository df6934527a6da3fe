"""Which networks online rules can train, and what their nodes send on."""

import pytest

from neuro.errors import UsageError
from neuro.layers import (
    Add,
    Conv2d,
    Delay,
    Linear,
    Network,
    Node,
    ReadoutIntegrator,
    Scale,
    Spiking,
)
from neuro.learning.signals import classify_signals
from neuro.models import MLP, ResNet18, build_model
from neuro.neurons import LIF, LeakyIntegrator


def dense(*nodes: Node) -> Network:
    return Network(nodes, (4,))


def lif(scale: float = 1.0) -> Spiking:
    return Spiking(LIF(), scale=scale)


def test_input_spikes_and_currents_are_told_apart() -> None:
    network = build_model(ResNet18(width=1 / 32), (2, 8, 8), 3)
    signals = classify_signals(network)
    assert signals["input"].kind == "input"
    assert signals["stem"].kind == signals["block1_scale"].kind == "current"
    assert signals["block3_pool"] == signals["block3_lif1"] == ("spikes", 2.74)
    assert signals["block1_add"].kind == "current"
    assert signals["readout"].kind == "current"


UNSUPPORTED: dict[str, tuple[Network, str]] = {
    "a learnable decay": (
        build_model(MLP(hidden=(5,), learn_decay=True), (4,), 3),
        r"'lif1' learns its decay: only the rule bptt",
    ),
    "a synapse fed by a current": (
        dense(Node("a", Linear(4, 4)), Node("b", Linear(4, 3))),
        "'b' is fed by a current.*Put a spiking layer",
    ),
    "a delay": (
        dense(
            Node("a", Linear(4, 4)), Node("s", lif()), Node("d", Delay(1)), Node("r", Linear(4, 3))
        ),
        "'d' is a Delay.*Use bptt",
    ),
    "an integrating read-out": (
        dense(
            Node("a", Linear(4, 4)),
            Node("s", lif()),
            Node("r", Linear(4, 3)),
            Node("i", ReadoutIntegrator(LeakyIntegrator())),
        ),
        "'i' is a ReadoutIntegrator.*Use bptt",
    ),
    "a sum of spikes and currents": (
        dense(
            Node("a", Linear(4, 4)),
            Node("s", lif()),
            Node("j", Add(), ("a", "s")),
            Node("s2", lif()),
            Node("r", Linear(4, 3)),
        ),
        "'j' adds current.* and spikes",
    ),
    "a sum of spikes of different scales": (
        dense(
            Node("a", Linear(4, 4)),
            Node("s", lif(1.0)),
            Node("s2", lif(2.0)),
            Node("j", Add(), ("s", "s2")),
            Node("r", Linear(4, 3)),
        ),
        r"'j' adds spikes \(scale 1\) and spikes \(scale 2\)",
    ),
    "spikes at the output": (
        dense(Node("a", Linear(4, 3)), Node("s", lif())),
        "a synapse as the last node, got 's'",
    ),
    "a scaled output": (
        dense(Node("a", Linear(4, 3)), Node("k", Scale(2.0))),
        "a synapse as the last node, got 'k'",
    ),
}


@pytest.mark.parametrize("case", UNSUPPORTED)
def test_a_network_that_online_rules_cannot_train_is_refused(case: str) -> None:
    network, message = UNSUPPORTED[case]
    with pytest.raises(UsageError, match=message):
        classify_signals(network)


def test_a_convolution_on_the_input_of_a_convolution_needs_neurons_between() -> None:
    network = Network([Node("a", Conv2d(1, 2, 3)), Node("b", Conv2d(2, 3, 1))], (1, 5, 5))
    with pytest.raises(UsageError, match="'b' is fed by a current"):
        classify_signals(network)
