"""A batch in training, whatever the rule: its signals, its products, its optimiser."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from math import prod
from operator import add
from typing import Any, Literal

import torch
from torch import Tensor

from neuro.energy.counting.fan_out import synapse_fan_out
from neuro.energy.counting.network import count_network
from neuro.energy.counts import Counts, Ledger
from neuro.energy.signals import Signal
from neuro.energy.training.optimiser import Optimiser, Trained, count_steps
from neuro.energy.training.parts import Tally, standardisation
from neuro.layers import INPUT, Flatten, LinearMap, Network, Scale, Spiking, Synapse

Zeros = Literal["skipped", "multiplied"]
PHASES = (
    "forward",
    "recomputation",
    "traces",
    "noise",
    "read-outs",
    "error path",
    "weight gradients",
    "feedback updates",
    "standardisation",
    "optimiser",
)
LOSS = "loss"


@dataclass(frozen=True)
class TrainingCost:
    """Operations of one batch of one rule.

    Attributes:
        rule: its name.
        phases: ledgers by phase, :data:`PHASES`; phases in which nothing happens are left out.
        stored: numbers that are kept from one step of the network to a later one, or to the end of
            the batch, by what they are. Those of ``bptt`` grow with T.
        synaptic_updates: changes of a synapse by a product of an error and its own presynaptic
            factor, at the step it happened: what a chip that learns in place prices as updates.
            Where products with 0 are made, they count.
            None for ``bptt``, which such a chip cannot do.
        samples: B.
        timesteps: T.
        optimiser_steps: 1, or T of rules that update online.
        trained: numbers the optimiser moves.
    """

    rule: str
    phases: Mapping[str, Ledger]
    stored: Mapping[str, float]
    synaptic_updates: float | None
    samples: int
    timesteps: int
    optimiser_steps: int
    trained: int

    @property
    def total(self) -> Counts:
        """All phases together."""
        return reduce(add, (ledger.total for ledger in self.phases.values()), Counts())

    def to_json(self) -> dict[str, Any]:
        """Return plain values; counts by phase, layers together."""
        return {
            "rule": self.rule,
            "samples": self.samples,
            "timesteps": self.timesteps,
            "optimiser_steps": self.optimiser_steps,
            "trained": self.trained,
            "phases": {name: each.total.to_json() for name, each in self.phases.items()},
            "stored": dict(self.stored),
            "synaptic_updates": self.synaptic_updates,
        }


class Batch(ABC):
    """A network and a batch of samples: what all rules share."""

    def __init__(
        self,
        network: Network,
        steps: Sequence[Tensor],
        options: Any,
        signal: Signal,
        optimiser: Optimiser,
        zeros: Zeros,
    ) -> None:
        self.network, self.options, self.optimiser = network, options, optimiser
        self.online = getattr(options, "update", "accumulate") == "online"
        self.constant = len(steps) > 1 and all(x is steps[0] for x in steps) and not self.online
        # rules that update between steps transmit a constant input anew
        self.steps = list(steps) if self.constant else [x.clone() for x in steps]
        self.samples, self.timesteps = len(steps[0]), len(steps)
        self.every = zeros == "multiplied"
        self.shapes = {INPUT: network.input_shape, **network.shapes}
        self.signals = _presynaptic(network, signal, spikes=self.of_spikes())
        self.fed_by_input = _fed_by_input(network)
        self.forward = count_network(network, self.steps, signal=signal)
        self.phases = {name: Tally() for name in PHASES}
        self.stored: dict[str, float] = {}
        weights = network.effective_weights()
        self._fan_out = {
            name: synapse_fan_out(synapse, weights[name], *self.ends(name))
            for name, synapse in network.synapse_nodes.items()
        }
        self._reach = {
            name: synapse_fan_out(synapse, torch.ones_like(weights[name]), *self.ends(name))
            for name, synapse in network.synapse_nodes.items()
        }

    @abstractmethod
    def of_spikes(self) -> Signal:
        """Return what a presynaptic factor is where spikes come in."""

    def ends(self, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.shapes[self.network.sources[name][0]], self.shapes[name]

    def neurons(self, name: str) -> int:
        """Numbers that a node sends, of a sample and step."""
        return prod(self.shapes[name])

    def is_constant(self, name: str) -> bool:
        """Whether a node computes the same at every step, and is computed once."""
        return self.constant and name in self.fed_by_input

    def transposed(self, name: str) -> float:
        """Products of a synapse and an error, of a sample and step."""
        found = self._reach if self.every else self._fan_out
        return float(found[name].sum())

    def used(self, name: str, activity: Tensor) -> float:
        """Products of a batch's presynaptic factors and errors in a weight gradient."""
        reach = self._reach[name]
        if self.every or self.signals[self.network.sources[name][0]] == "real":
            return float(reach.sum()) * len(activity)
        return float(((activity != 0).sum(0) * reach).sum())

    def add_products(self, name: str, products: float, numbers: int) -> None:
        """Count the products of a weight gradient.

        Args:
            name: of the synapse.
            products: how many.
            numbers: errors and presynaptic factors that are read for them.
        """
        signal = self.signals[self.network.sources[name][0]]
        gathered = self.network.synapse_nodes[name].weight.numel()
        if self.every or signal == "real":
            columns = {"macs": products, "state_reads": gathered, "state_writes": gathered}
        else:
            kind = "macs" if signal == "graded" else "synaptic_additions"
            columns = {kind: products, "state_reads": products, "state_writes": products}
        self.phases["weight gradients"].add(name, columns=columns, activation_reads=numbers)

    def add_bias(self, name: str, errors: int) -> None:
        """Count the sum of a batch's errors that is a bias's gradient."""
        bias = self.network.synapse_nodes[name].bias
        if bias is not None:
            self.phases["weight gradients"].add(
                name, additions=errors, state_reads=bias.numel(), state_writes=bias.numel()
            )

    def standardise(self, times: int) -> None:
        """Count weight standardisation, forward and backward so many times."""
        for name, synapse in self.network.synapse_nodes.items():
            for columns in standardisation(synapse):
                self.phases["standardisation"].add(name, times, columns)

    def optimise(self, trained: Sequence[Trained]) -> int:
        """Count the optimiser's steps and return how many numbers they move."""
        count_steps(self.phases["optimiser"], trained, self.optimiser, self.optimiser_steps)
        numbers = sum(each.numbers for each in trained)
        self.stored["gradients"] = numbers
        self.stored["moments"] = numbers * self.optimiser.moments
        return numbers

    @property
    def optimiser_steps(self) -> int:
        return self.timesteps if self.online else 1

    def parameters(self) -> list[Trained]:
        """Return what trains of the network, by node."""
        found = []
        for name, module in self.network.nodes.items():
            own = [p.numel() for p in module.parameters() if p.requires_grad]
            if own:
                found.append(Trained(name, sum(own), len(own)))
        return found

    def neuron_states(self) -> int:
        """Numbers that neurons keep from step to step."""
        return self.samples * sum(
            self.neurons(name) * len(layer.neuron.state_type._fields)
            for name, layer in self.network.neuron_nodes.items()
        )

    def finish(self, updates: float | None, trained: int) -> TrainingCost:
        ledgers = {"forward": self.forward}
        for name, tally in self.phases.items():
            ledger = tally.ledger(self.samples, self.timesteps)
            if ledger.layers:
                ledgers[name] = ledger
        return TrainingCost(
            self.options.name,
            {name: ledgers[name] for name in PHASES if name in ledgers},
            {name: number for name, number in self.stored.items() if number},
            updates,
            self.samples,
            self.timesteps,
            self.optimiser_steps,
            trained,
        )


def _presynaptic(network: Network, signal: Signal, *, spikes: Signal) -> dict[str, Signal]:
    """Return what each node sends on as the presynaptic factor of a weight gradient."""
    found: dict[str, Signal] = {INPUT: signal}
    for name, module in network.nodes.items():
        given = [found[source] for source in network.sources[name]]
        if isinstance(module, Spiking):
            found[name] = spikes
        elif isinstance(module, Synapse) or "real" in given:
            found[name] = "real"
        elif isinstance(module, LinearMap):
            found[name] = given[0] if _selects(module) else "graded"
        else:
            found[name] = "graded"
    return found


def _selects(module: LinearMap) -> bool:
    """Whether what comes out of a map are the numbers that went in, or multiples of them."""
    return isinstance(module, Flatten | Scale)


def _fed_by_input(network: Network) -> set[str]:
    """Return the nodes that no spike reaches: synapses fed by the input and what is before them."""
    found = {INPUT}
    for name, module in network.nodes.items():
        if not isinstance(module, Spiking) and found.issuperset(network.sources[name]):
            found.add(name)
    return found - {INPUT}
