"""The model of Lemaire et al. from networks that ran: shapes and counts are taken from them."""

import pytest
import torch

from neuro.energy import account
from neuro.energy.counting.network import count_network
from neuro.errors import UsageError
from neuro.hardware import load_profile
from neuro.layers import AvgPool2d, Conv2d, Flatten, Linear, Network, Node, Spiking
from neuro.neurons import IF, LIF, CubaLIF

LEMAIRE = load_profile("lemaire45")


def spikes(shape, *places):
    steps = [torch.zeros(1, *shape), torch.zeros(1, *shape)]
    for step, *place in places:
        steps[step][(0, *place)] = 1
    return steps


def linear(weight, neuron=None, *, bias=False):
    synapse = Linear(4, 3, bias=bias)
    torch.nn.init.constant_(synapse.weight, weight)
    if bias:
        torch.nn.init.zeros_(synapse.bias)
    neuron = neuron or LIF(decay=0.5, input_gain=0.5)
    return Network([Node("synapse", synapse), Node("neuron", Spiking(neuron))], (4,))


def picojoules(network, steps, signal):
    return account(count_network(network, steps, signal=signal), LEMAIRE).total.value / 1e-12


@pytest.mark.parametrize(("weight", "pj"), [(0.1, 36.87890625), (5.0, 66.77578125)])
def test_a_linear_layer_of_spikes(weight, pj):
    steps = spikes((4,), (0, 0), (0, 2), (1, 3))
    assert picojoules(linear(weight), steps, "binary") == pytest.approx(pj, rel=1e-12)


def test_a_convolution_of_spikes():
    synapse = Conv2d(2, 4, 3, stride=2, padding=1, bias=False)
    torch.nn.init.zeros_(synapse.weight)
    network = Network([Node("synapse", synapse), Node("neuron", Spiking(IF()))], (2, 5, 5))
    steps = spikes((2, 5, 5), (0, 0, 0, 0), (1, 1, 2, 3))
    assert picojoules(network, steps, "binary") == pytest.approx(108.903125, rel=1e-12)


def test_a_linear_layer_of_real_numbers():
    steps = list(torch.rand(2, 1, 4))
    assert picojoules(linear(0.0, bias=True), steps, "real") == pytest.approx(100.685546875)


def test_other_layers_are_listed():
    nodes = [
        Node("pool", AvgPool2d(2)),
        Node("flat", Flatten()),
        Node("synapse", Linear(4, 3)),
        Node("neuron", Spiking(CubaLIF())),
    ]
    steps = spikes((1, 4, 4), (0, 0, 0, 0))
    with pytest.raises(UsageError, match=r"none for pool \(pooling\), .*neuron \(neurons other"):
        picojoules(Network(nodes, (1, 4, 4)), steps, "binary")
