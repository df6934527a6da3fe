"""What the online rules take, step by step: see :class:`neuro.learning.online.OnlineRule`."""

from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

import torch
from torch import Tensor, nn

from neuro.energy.signals import Signal
from neuro.energy.training.batch import LOSS, Batch, TrainingCost
from neuro.energy.training.error_path import Credit, ErrorPath
from neuro.energy.training.feedback import FeedbackMatrices
from neuro.energy.training.forward import dense_forward, noisy_forward
from neuro.energy.training.noise import count_noise
from neuro.energy.training.optimiser import Trained
from neuro.energy.training.parts import (
    Columns,
    add_forward,
    map_forward,
    output_loss,
    standardisation,
    surrogate_derivative,
)
from neuro.energy.training.readouts import Readouts
from neuro.layers import Add, Spiking, Synapse
from neuro.learning import rule_class
from neuro.learning.direct import DirectOptions
from neuro.learning.dkp import DKPOptions
from neuro.learning.gradients import GradientSums
from neuro.learning.online import OnlineRule
from neuro.learning.opzo import OPZOOptions
from neuro.learning.pass_through import ForwardPass
from neuro.learning.signals import classify_signals
from neuro.learning.zeroth_order import PerturbedOptions, ZeroOrderOptions


class Online(Batch):
    """The rules that go step by step: see :class:`neuro.learning.online.OnlineRule`.

    Args:
        holds_noise: whether the device keeps noise from one use to the next, as a CPU does.
    """

    def __init__(self, *arguments: Any, holds_noise: bool = True) -> None:
        super().__init__(*arguments)
        self.holds_noise = holds_noise

    def of_spikes(self) -> Signal:
        return "graded"

    def cost(self) -> TrainingCost:
        options = self.options
        rule = rule_class(options.name)(
            self.network, options, generator=torch.Generator()
        )  # refuses what it cannot train
        assert isinstance(rule, OnlineRule)
        self.readouts = Readouts(self, rule)
        self.feedback = (
            FeedbackMatrices(self, self.readouts.below, holds_noise=self.holds_noise)
            if isinstance(options, DirectOptions)
            else None
        )
        noisy = isinstance(options, PerturbedOptions)
        if noisy and options.noise_at == "post":
            self.forward = noisy_forward(self, self.forward)
        if self.every:
            self.forward = dense_forward(self, self.forward)
        used, updates = self._activity()
        self._trace()
        if noisy:
            count_noise(self, self._uses_of_noise(), holds=self.holds_noise)
        updates += self._learn(used)
        if self.feedback is not None:
            self.feedback.update()
        self.standardise(self.optimiser_steps)
        if self.online:  # the weights of the step after the last are made too
            for name, synapse in self.network.synapse_nodes.items():
                self.phases["standardisation"].add(name, columns=standardisation(synapse)[0])
        self._store()
        trained = [*self.parameters(), *self.readouts.trained]
        if isinstance(options, DKPOptions) and self.feedback is not None:
            trained += [
                Trained(name, self.feedback.size(name), 1, options.feedback_decay)
                for name in self.feedback.all
            ]
        return self.finish(updates, self.optimise(trained))

    def _activity(self) -> tuple[list[dict[str, float]], float]:
        """Return the products of each synapse's weight gradient, by step.

        Read-outs are counted on the way, and their synaptic updates returned, too.
        """
        forward = ForwardPass(
            self.network,
            GradientSums(self.network),
            self.steps[0],
            reuse_constant_input=self.constant,
            keep_spikes=True,
        )
        moves = self.feedback is not None and self.feedback.moves > 0
        found, updates = [], 0.0
        for index, x in enumerate(self.steps):
            record = forward.step(x, None)
            found.append({name: self.used(name, each) for name, each in record.activities.items()})
            first = index == 0 or self.online
            updates += self.readouts.step(record, first=first, answers_again=moves)
        return found, updates

    def _trace(self) -> None:
        rounds, tally = self.samples * self.timesteps, self.phases["traces"]
        for name, layer in self.network.neuron_nodes.items():
            filters = layer.neuron.filters
            neurons = self.neurons(name) * rounds
            decays = sum(isinstance(f.decay, Tensor) or f.decay not in (0, 1) for f in filters)
            spikes = neurons if self.every else self.forward.layers[name].spikes
            tally.add(
                name,
                decays=decays * neurons,
                additions=spikes + (len(filters) - 1) * neurons,
                state_reads=len(filters) * neurons,
                state_writes=len(filters) * neurons,
            )
        for name, module in self.network.nodes.items():
            if isinstance(module, Spiking | Synapse) or name in self.fed_by_input:
                continue
            if classify_signals(self.network)[name].kind != "spikes":
                continue
            tally.add(name, rounds, self._map(name, module))

    def _map(self, name: str, module: nn.Module) -> Columns:
        sources = self.network.sources[name]
        if isinstance(module, Add):
            return add_forward(module, len(sources), self.shapes[name])
        return map_forward(module, self.shapes[sources[0]], self.shapes[name])

    def _uses_of_noise(self) -> dict[str, int]:
        """Return how often credit or feedback uses each layer's noise."""
        if self.feedback is None:
            return dict.fromkeys(self.network.neuron_nodes, self.timesteps)
        matrices, each = self.feedback.all, self.feedback.uses_of_noise
        return {name: each * matrices.count(name) for name in self.network.neuron_nodes}

    def _learn(self, used: Sequence[Mapping[str, float]]) -> float:
        """Count the error path and weight gradients; return the synaptic updates."""
        path, batch = self.phases["error path"], self.samples
        path.add(LOSS, batch * self.timesteps, output_loss(self.network.classes))
        for name, layer in self.network.neuron_nodes.items():
            derivative = surrogate_derivative(layer, name)
            path.add(name, batch * self.timesteps * self.neurons(name), derivative)
        late = getattr(self.options, "feedback_delay", 0)
        before, after = self._credit(arrived=False), self._credit(arrived=True)
        ways = [self._way(before), self._way(after)]
        updates, held = 0.0, dict.fromkeys(self.network.synapse_nodes, 0)
        for index, products in enumerate(used):
            arrived = index >= late
            now = ways[arrived]
            for name, counts in now.tally.ledger(1, 1).layers.items():
                path.add(name, batch, counts.to_json())
            if arrived:
                self._send_credit()
            self._keep_error(late, arrived=arrived)
            self._join(after if arrived else before)
            for name in now.reached:
                errors = batch * self.neurons(name)
                if self.is_constant(name):
                    if held[name]:  # errors are summed; one product at the end
                        self.phases["weight gradients"].add(
                            name, errors, additions=1, state_reads=1, state_writes=1
                        )
                    held[name] = 1
                    updates += products[name]
                    continue
                self._gather(name, products[name], errors)
                updates += products[name]
        for name, any_error in held.items():
            if any_error:
                self._gather(name, used[0][name], batch * self.neurons(name))
        self._deposit()
        return updates

    def _way(self, credit: Mapping[str, Sequence[Credit]]) -> ErrorPath:
        """Return the way of errors within a step; credit of several parts is their sum."""
        joined: dict[str, Credit] = {
            name: parts[0] if len(parts) == 1 else "written" for name, parts in credit.items()
        }
        exact = bool(getattr(rule_class(self.options.name), "exact", False))
        return ErrorPath(self.network, joined, exact=exact, transposed=self.transposed)

    def _credit(self, *, arrived: bool) -> dict[str, list[Credit]]:
        """Return the parts of each layer's credit.

        Args:
            arrived: whether errors that are sent straight to layers have come.
        """
        found: dict[str, list[Credit]] = {name: [] for name in self.network.neuron_nodes}
        if isinstance(self.options, ZeroOrderOptions):
            for parts in found.values():
                parts.append("written")
        if self.feedback is not None and arrived:
            for name in self.feedback.all:
                found[name].append("factors" if self.feedback.is_plain(name) else "written")
        for each in self.readouts:
            found[each.layer].append("written")
        return {name: parts for name, parts in found.items() if parts}

    def _join(self, credit: Mapping[str, Sequence[Credit]]) -> None:
        """Count, for one step, sums of several parts of credit."""
        for name, parts in credit.items():
            if len(parts) == 1:
                continue
            numbers = self.samples * self.neurons(name)
            for part in parts:
                if part == "factors":
                    assert self.feedback is not None
                    self.feedback.write_out(name)
            self.phases["error path"].add(
                name,
                numbers * (len(parts) - 1),
                additions=1,
                activation_reads=2,
                activation_writes=1,
            )

    def _send_credit(self) -> None:
        """Count, for one step, credit that is made before errors move."""
        if self.feedback is not None:
            self.feedback.send()
        elif isinstance(self.options, ZeroOrderOptions):
            path = self.phases["error path"]
            path.add(LOSS, self.samples, multiplications=1)
            for name in self.network.neuron_nodes:
                numbers = self.samples * self.neurons(name)
                path.add(name, numbers, multiplications=1, activation_reads=1, activation_writes=1)
                if self.options.noise == "sphere":
                    path.add(name, numbers, multiplications=1)

    def _keep_error(self, late: int, *, arrived: bool) -> None:
        """Count, for one step, errors that wait, those of the middle layer too."""
        if late:
            numbers = self.samples * self.network.classes * (2 if self.readouts.below else 1)
            self.phases["error path"].add(LOSS, numbers, state_writes=1, state_reads=int(arrived))

    def _gather(self, name: str, products: float, errors: int) -> None:
        synapse = self.network.synapse_nodes[name]
        given = self.samples * prod(self.shapes[self.network.sources[name][0]])
        self.add_products(name, products, errors + given)
        self.add_bias(name, errors)
        if synapse.weight.ndim > 2:  # a convolution's gradient is made, then added to the sum
            weights = synapse.weight.numel()
            self.phases["weight gradients"].add(
                name, weights, additions=1, state_reads=1, state_writes=1
            )

    def _deposit(self) -> None:
        """Count the gain of spikes, by which each sum is multiplied once."""
        signals = classify_signals(self.network)
        for name, synapse in self.network.synapse_nodes.items():
            if signals[self.network.sources[name][0]].scale != 1:
                numbers = synapse.weight.numel() * self.optimiser_steps
                self.phases["weight gradients"].add(
                    name, numbers, multiplications=1, state_reads=1, state_writes=1
                )

    def _store(self) -> None:
        network, batch, options = self.network, self.samples, self.options
        neurons = {name: batch * self.neurons(name) for name in network.neuron_nodes}
        self.stored["states"] = self.neuron_states()
        self.stored["traces"] = sum(
            number * len(network.neuron_nodes[name].neuron.filters)
            for name, number in neurons.items()
        )
        if self.constant:
            self.stored["currents"] = batch * sum(
                self.neurons(name) for name in network.synapse_nodes if self.is_constant(name)
            )
        if isinstance(options, PerturbedOptions) and self.holds_noise:
            self.stored["noise"] = sum(neurons.values())
        self.stored["read-outs"] = sum(each.numbers for each in self.readouts.trained)
        if self.feedback is not None:
            self.stored["feedback"] = self.feedback.numbers
            answers = batch * network.classes * (2 if self.readouts.below else 1)
            self.stored["errors"] = answers * min(options.feedback_delay, self.timesteps)
            if isinstance(options, OPZOOptions) and self.feedback.moves:
                pairs = options.feedback_update == "per_pair" and self.timesteps > 1
                self.stored["outputs"] = answers if pairs else 0
                self.stored["mean outputs"] = network.classes if options.centre_logits else 0
