"""Small networks, and the products that torch makes when a rule trains them."""

from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from neuro.energy.training.cost import TrainingCost
from neuro.layers import (
    Add,
    AvgPool2d,
    Conv2d,
    Flatten,
    Linear,
    Network,
    Node,
    Scale,
    Spiking,
)
from neuro.learning import build_rule
from neuro.neurons import LIF

B, T, CLASSES = 3, 4, 5


def dense(scale: float = 1.0, neuron: Any = None) -> Network:
    torch.manual_seed(0)
    neuron = neuron or LIF()
    nodes = [
        Node("one", Linear(6, 9)),
        Node("lif1", Spiking(neuron, scale=scale)),
        Node("two", Linear(9, 7)),
        Node("lif2", Spiking(neuron, scale=scale)),
        Node("out", Linear(7, CLASSES)),
    ]
    network = Network(nodes, (6,))
    network.nodes["two"].weight.data.mul_(5)  # so that all layers fire
    return network


def convolutional() -> Network:
    torch.manual_seed(0)
    nodes = [
        Node("one", Conv2d(2, 4, 3)),
        Node("lif1", Spiking(LIF(), scale=2.0)),
        Node("pool", AvgPool2d(2)),
        Node("two", Conv2d(4, 6, 2)),
        Node("lif2", Spiking(LIF(), scale=2.0)),
        Node("flatten", Flatten()),
        Node("out", Linear(24, CLASSES)),
    ]
    return Network(nodes, (2, 8, 8))


def residual() -> Network:
    torch.manual_seed(0)
    nodes = [
        Node("stem", Conv2d(2, 4, 1)),
        Node("scale", Scale(0.5)),
        Node("lif1", Spiking(LIF())),
        Node("branch", Conv2d(4, 4, 1)),
        Node("gain", Scale(0.2)),
        Node("sum", Add(), ("stem", "gain")),
        Node("lif2", Spiking(LIF())),
        Node("flatten", Flatten()),
        Node("out", Linear(64, CLASSES)),
    ]
    return Network(nodes, (2, 4, 4))


def deep() -> Network:
    """Three layers of neurons: one below the middle one, and one above."""
    torch.manual_seed(0)
    nodes = [
        Node("one", Conv2d(2, 3, 3)),
        Node("lif1", Spiking(LIF(), scale=2.0)),
        Node("pool", AvgPool2d(2)),
        Node("two", Conv2d(3, 4, 1)),
        Node("lif2", Spiking(LIF(), scale=2.0)),
        Node("flatten", Flatten()),
        Node("three", Linear(100, 8)),
        Node("lif3", Spiking(LIF(), scale=2.0)),
        Node("out", Linear(8, CLASSES)),
    ]
    network = Network(nodes, (2, 12, 12))
    network.nodes["two"].weight.data.mul_(3)  # so that all layers fire
    network.nodes["three"].weight.data.mul_(3)
    return network


NETWORKS = {"dense": dense, "convolutional": convolutional, "residual": residual}


def inputs_of(network: Network, *, constant: bool) -> list[Tensor]:
    generator = torch.Generator().manual_seed(1)
    x = [4 * torch.rand(B, *network.input_shape, generator=generator) for _ in range(T)]
    return [x[0]] * T if constant else x


def learn(network: Network, steps: list[Tensor], options: Any, after: Any = None) -> None:
    generator = torch.Generator().manual_seed(0)
    rule = build_rule(network, options, generator=generator)
    targets = torch.arange(B) % CLASSES
    rule.learn(steps, len(steps), targets, generator=generator, after_step=after)


def matrix_macs(cost: TrainingCost) -> float:
    """MACs of products of matrices: not of norms, losses and standardised weights."""
    chosen = (
        "forward",
        "recomputation",
        "read-outs",
        "error path",
        "weight gradients",
        "feedback updates",
    )
    return sum(
        counts.macs
        for phase in chosen
        if phase in cost.phases
        for name, counts in cost.phases[phase].layers.items()
        if name != "loss"
    )


def added(total: Any, one: Any, other: Any, **_: Any) -> int:
    return 2 * one[0] * one[1] * other[1]


def macs_of_torch(network: Network, steps: list[Tensor], options: Any, after: Any = None) -> float:
    # torch knows the products that make a tensor, not those added to one that is there
    with FlopCounterMode(display=False, custom_mapping={torch.ops.aten.addmm_: added}) as counter:
        learn(network, steps, options, after)
    return counter.get_total_flops() / 2


def spikes_and_traces(network: Network, steps: list[Tensor], decay: float) -> dict[str, Any]:
    """Run the dense network by hand; return spikes and traces of its layers, ``[T][B][n]``."""
    found: dict[str, Any] = {}
    potential: dict[str, Any] = dict.fromkeys(network.neuron_nodes)
    weights = {n: (s.weight.detach(), s.bias.detach()) for n, s in network.synapse_nodes.items()}
    trace: dict[str, Tensor] = {}
    for x in steps:
        sent = x
        for synapse, layer in (("one", "lif1"), ("two", "lif2")):
            weight, bias = weights[synapse]
            current = sent @ weight.t() + bias
            before = potential[layer]
            charged = current if before is None else decay * before + current
            spikes = (charged >= 1).float()
            potential[layer] = charged - spikes
            trace[layer] = spikes if layer not in trace else decay * trace[layer] + spikes
            found.setdefault(f"{layer} spikes", []).append(spikes.tolist())
            found.setdefault(f"{layer} trace", []).append(trace[layer].tolist())
            sent = spikes
    return found


def number_by_number(found: dict[str, Any], what: str, outputs: int) -> int:
    """Count products of numbers that are not 0 with ``outputs`` errors, one by one."""
    products = 0
    for step in found[what]:
        for sample in step:
            for number in sample:
                if number != 0:
                    for _ in range(outputs):
                        products += 1
    return products
