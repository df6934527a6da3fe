"""What each kind of node does in a step, from the events that reach it."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import asdict, replace
from math import prod
from typing import Protocol

import torch
from torch import Tensor, nn

from neuro.energy.counting.fan_out import before_map, synapse_fan_out, whole
from neuro.energy.counting.neuron_counts import neuron_cost
from neuro.energy.counting.sent import Amount, Columns, Sent
from neuro.energy.counting.streams import POOLING, Stream, Surroundings, window, without_arithmetic
from neuro.energy.counts import Facts, Ledger
from neuro.energy.signals import Signal
from neuro.layers import Add, Delay, ReadoutIntegrator, Scale, Spiking, Synapse
from neuro.layers.quantised import Heard, QuantisedSynapse


class CountModule(Protocol):
    """Counts a module that keeps no state and is no part of this package."""

    def __call__(self, module: nn.Module, *inputs: Tensor, signals: Sequence[Signal]) -> Ledger:
        """Return what it does with a batch; ``signals`` of its inputs."""


class NodeCounter(ABC):
    """Counts one node.

    Args:
        around: the network.
        name: of the node.
    """

    driven = False
    """Whether everything happens because an event came."""

    def __init__(self, around: Surroundings, name: str) -> None:
        self.around = around
        self.name = name
        self.module = around.network.nodes[name]
        self.sources = around.network.sources[name]
        self.given = [around.streams[source] for source in self.sources]
        self.inputs = prod(around.shape(self.sources[0]))
        self.outputs = prod(around.shape(name))

    @abstractmethod
    def count(self, sent: Sent) -> Columns:
        """Return the columns that are not 0."""

    @abstractmethod
    def facts(self) -> Facts:
        """Return what the node is."""

    @property
    def stream(self) -> Stream:
        """What comes in, of several the first."""
        return self.given[0]

    def common(self, kind: str) -> Facts:
        """Return the facts that every node has."""
        real = not all(stream.events for stream in self.given)
        return Facts(
            kind=kind,
            signal="real" if real else self.stream.signal,
            parameters=sum(each.numel() for each in self.module.parameters()),
            inputs=self.inputs * len(self.sources),
            outputs=self.outputs,
            unit=1.0 if real else self.stream.unit,
            constant=self.around.streams[self.name].constant,
        )

    def fan_out(self, here: Tensor) -> Tensor:
        """Return the fan-out of the events that come in, given that of the node's input.

        Flat, or one number where all have the same.
        """
        for module, shape in reversed(self.stream.maps):
            here = before_map(here, module, shape)
        flat = here.reshape(-1)
        return flat[0] if bool((flat == flat[0]).all()) else flat


class SynapseCounter(NodeCounter):
    """Additions or multiply-accumulates through weights that are not 0, and biases.

    A spike reads and writes the accumulators it adds to; sums of real products are kept until they
    are whole, and written once.
    """

    def __init__(self, around: Surroundings, name: str, weight: Tensor) -> None:
        super().__init__(around, name)
        assert isinstance(self.module, Synapse)
        self.synapse = self.module
        self.weight = weight
        shape = around.shape(self.sources[0])
        here = synapse_fan_out(self.synapse, weight, shape, around.shape(name))
        self.reached = self.fan_out(here)
        origins = prod(around.shape(self.stream.origin))
        self.dense = int(self.reached.sum() if self.reached.ndim else self.reached * origins)
        silence = self.synapse.silence if isinstance(self.synapse, QuantisedSynapse) else None
        self.biased = self.synapse.bias is not None or silence is not None
        self.weights = weight.numel() if whole(weight) else int(torch.count_nonzero(weight))
        self.driven = self.stream.events and not (self.biased or self.stream.constant)

    def count(self, sent: Sent) -> Columns:
        biases = sent.batch * self.outputs if self.biased else 0
        if not self.stream.events:
            uses = sent.batch * self.dense
            return {
                "macs": uses,
                "bias_additions": biases,
                "weight_reads": uses + biases,
                "activation_reads": sent.batch * self.inputs,
                "activation_writes": sent.batch * self.outputs,
            }
        events = sent.number(self.stream.origin)
        reached = sent.reached(self.stream.origin, self.reached)
        operations = "macs" if self.stream.signal == "graded" else "synaptic_additions"
        return {
            "spikes_in": events,
            operations: reached,
            "bias_additions": biases,
            "weight_reads": reached + biases,
            "state_reads": reached + biases,
            "state_writes": reached + biases,
            "activation_reads": events,
        }

    def facts(self) -> Facts:
        synapse, shape = self.synapse, self.weight.shape
        convolution = synapse.original if isinstance(synapse, QuantisedSynapse) else synapse
        windows = isinstance(convolution, nn.Conv2d)
        bits = 32
        if isinstance(synapse, QuantisedSynapse):
            bits = max(grid.largest for grid in synapse.grids).bit_length() + 1
        return replace(
            self.common("convolution" if windows else "linear"),
            weights=self.weights,
            kernel=tuple(shape[2:]),
            stride=tuple(convolution.stride) if isinstance(convolution, nn.Conv2d) else (),
            groups=convolution.groups if isinstance(convolution, nn.Conv2d) else 1,
            channels=shape[0],
            bias=self.biased,
            dense=self.dense,
            weight_bits=bits,
        )


class NeuronCounter(NodeCounter):
    """Steps of neurons, by the table of :mod:`neuro.energy.counting.neuron_counts`."""

    def __init__(self, around: Surroundings, name: str) -> None:
        super().__init__(around, name)
        assert isinstance(self.module, Spiking | ReadoutIntegrator)
        self.spiking = isinstance(self.module, Spiking)
        self.cost = neuron_cost(self.module.neuron, name)

    def count(self, sent: Sent) -> Columns:
        updates = sent.batch * self.outputs
        current = self.sources[0]
        moved = {
            "neuron_updates": updates,
            "additions": updates * self.cost.additions,
            "decays": updates * self.cost.decays,
            "state_reads": updates * self.cost.state,
            "state_writes": updates * self.cost.state,
            "activation_reads": updates,
        }
        if not self.spiking:
            return {
                **moved,
                "active_updates": sent.active(current, None),
                "activation_writes": updates,
            }
        fired = sent.number(self.name)
        return {
            **moved,
            "spikes": fired,
            "active_updates": sent.active(current, self.name),
            "comparisons": updates * self.cost.comparisons,
            "resets": fired * self.cost.resets,
            "activation_writes": fired,
        }

    def facts(self) -> Facts:
        return replace(
            self.common("neurons" if self.spiking else "integrators"),
            state=self.outputs * self.cost.state,
            neurons=self.outputs,
            activation_bits=1 if self.spiking else 32,
        )


class DelayCounter(NodeCounter):
    """What enters lines of delay, and what leaves them."""

    def count(self, sent: Sent) -> Columns:
        assert isinstance(self.module, Delay)
        if self.module.steps == 0:
            return {}
        entered: Amount = sent.batch * self.outputs
        left = entered
        if self.stream.events:
            entered, left = sent.number(self.stream.origin), sent.number(self.name)
        return {"delay_pushes": entered, "state_writes": entered, "state_reads": left}

    def facts(self) -> Facts:
        assert isinstance(self.module, Delay)
        bits = 1 if self.stream.signal == "binary" else 32
        return replace(
            self.common("delay"),
            state=self.outputs * self.module.steps,
            activation_bits=bits,
        )


class PoolCounter(NodeCounter):
    """Sums over windows, of events where there are any, and a division unless it is folded."""

    def __init__(self, around: Surroundings, name: str) -> None:
        super().__init__(around, name)
        shape = around.shape(self.sources[0])
        self.folded = self.stream.events and name in around.folding.pools
        self.kernel = window(self.module, shape)
        self.size = prod(self.kernel)
        covered = torch.ones(around.shape(name), dtype=torch.float64)
        device = next(around.network.parameters(), covered).device
        self.covered = self.fan_out(before_map(covered.to(device), self.module, shape))

    def count(self, sent: Sent) -> Columns:
        if self.folded:
            return {}
        means = sent.batch * self.outputs
        free = self.name in self.around.folding.factors
        if self.stream.events:
            summed: Amount = sent.reached(self.stream.origin, self.covered)
            events = {"spikes_in": sent.number(self.stream.origin)}
        else:
            summed, events = means * (self.size - 1), {}
        return {
            **events,
            "additions": summed,
            "multiplications": 0 if free else means,
            "activation_reads": summed if events else means * self.size,
            "activation_writes": means,
        }

    def facts(self) -> Facts:
        return replace(
            self.common("pooling"),
            folded=self.folded,
            kernel=self.kernel,
            stride=self.kernel,
        )


class ScaleCounter(NodeCounter):
    """A product for each number, unless weights, thresholds or spikes carry the factor."""

    def __init__(self, around: Surroundings, name: str) -> None:
        super().__init__(around, name)
        spikes = self.stream.signal in ("binary", "ternary")
        self.folded = spikes or name in around.folding.factors

    def count(self, sent: Sent) -> Columns:
        if self.folded:
            return {}
        numbers: Amount = sent.batch * self.outputs
        if self.stream.events:
            numbers = sent.number(self.stream.origin)
        return {
            "multiplications": numbers,
            "activation_reads": numbers,
            "activation_writes": numbers,
        }

    def facts(self) -> Facts:
        return replace(self.common("scale"), folded=self.folded)


class AddCounter(NodeCounter):
    """Sums of several nodes' numbers; of events, an addition for each beyond the first node's."""

    def count(self, sent: Sent) -> Columns:
        if any(not stream.events for stream in self.given):
            each = sent.batch * self.outputs
            return {
                "additions": (len(self.given) - 1) * each,
                "activation_reads": len(self.given) * each,
                "activation_writes": each,
            }
        numbers = [sent.number(stream.origin) for stream in self.given]
        total = torch.stack(numbers).sum()
        return {
            "spikes_in": total,
            "additions": total - numbers[0],
            "activation_reads": total,
            "activation_writes": sent.number(self.name),
        }

    def facts(self) -> Facts:
        return self.common("addition")


class HeardCounter(NodeCounter):
    """Real numbers to messages: less an offset, over a unit, cut at both ends."""

    def count(self, sent: Sent) -> Columns:
        numbers = sent.batch * self.outputs
        return {
            "additions": numbers,
            "multiplications": numbers,
            "comparisons": 2 * numbers,
            "activation_reads": numbers,
            "activation_writes": sent.number(self.name),
        }

    def facts(self) -> Facts:
        assert isinstance(self.module, Heard)
        bits = max(self.module.highest, -self.module.lowest).bit_length() + 1
        return replace(self.common("encoding"), activation_bits=bits)


class PassingCounter(NodeCounter):
    """Nothing: the same numbers in another shape."""

    def count(self, sent: Sent) -> Columns:
        return {}

    def facts(self) -> Facts:
        return self.common("shape")


class OtherCounter(NodeCounter):
    """A module that somebody else counts."""

    def __init__(self, around: Surroundings, name: str, others: CountModule) -> None:
        super().__init__(around, name)
        self.others = others

    def count(self, sent: Sent) -> Columns:
        inputs = [sent.values[source] for source in self.sources]
        signals = [stream.signal for stream in self.given]
        return {**asdict(self.others(self.module, *inputs, signals=signals).total)}

    def facts(self) -> Facts:
        return self.common(type(self.module).__name__)


def counter_of(
    around: Surroundings, name: str, weight: Tensor | None, others: CountModule | None
) -> NodeCounter:
    """Return what counts a node.

    Args:
        around: the network.
        name: of the node.
        weight: what its weight acts as, of a synapse.
        others: for what is of no kind known here.
    """
    module = around.network.nodes[name]
    if isinstance(module, Synapse):
        assert weight is not None
        return SynapseCounter(around, name, weight)
    if without_arithmetic(name, module):
        return PassingCounter(around, name)
    kinds: dict[type[NodeCounter], tuple[type[nn.Module], ...]] = {
        NeuronCounter: (Spiking, ReadoutIntegrator),
        DelayCounter: (Delay,),
        PoolCounter: POOLING,
        ScaleCounter: (Scale,),
        AddCounter: (Add,),
        HeardCounter: (Heard,),
    }
    for counter, served in kinds.items():
        if isinstance(module, served):
            return counter(around, name)
    assert others is not None
    return OtherCounter(around, name, others)
