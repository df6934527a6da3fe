"""What the online rules take, step by step: see :class:`neuro.learning.online.OnlineRule`."""

from collections.abc import Mapping, Sequence
from math import ceil, prod
from typing import Any

import torch
from torch import Tensor, nn

from neuro.energy.signals import Signal
from neuro.energy.training.batch import LOSS, Batch, TrainingCost
from neuro.energy.training.error_path import Credit, ErrorPath
from neuro.energy.training.forward import dense_forward, noisy_forward
from neuro.energy.training.parts import (
    GAUSSIAN,
    Columns,
    add_forward,
    map_forward,
    output_loss,
    standardisation,
    surrogate_derivative,
)
from neuro.layers import Add, Spiking, Synapse
from neuro.learning import rule_class
from neuro.learning.direct import DirectOptions, blocks_of
from neuro.learning.dkp import DKPOptions
from neuro.learning.gradients import GradientSums
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
        rule_class(options.name)(
            self.network, options, generator=torch.Generator()
        )  # refuses what it cannot train
        self.blocks = blocks_of(self.network, options) if isinstance(options, DirectOptions) else {}
        noisy = isinstance(options, PerturbedOptions)
        if noisy and options.noise_at == "post":
            self.forward = noisy_forward(self, self.forward)
        if self.every:
            self.forward = dense_forward(self, self.forward)
        used = self._activity()
        self._trace()
        if noisy:
            self._perturb()
        updates = self._learn(used)
        self._move_feedback()
        self.standardise(self.optimiser_steps)
        if self.online:  # the weights of the step after the last are made too
            for name, synapse in self.network.synapse_nodes.items():
                self.phases["standardisation"].add(name, columns=standardisation(synapse)[0])
        self._store()
        trained = self.parameters()
        if isinstance(options, DKPOptions):
            for name in self.network.neuron_nodes:
                trained[name] = trained.get(name, 0) + self._feedback(name)
        return self.finish(updates, self.optimise(trained))

    def _rows(self, name: str) -> int:
        """Rows of a layer's feedback matrix: positions of a block share one."""
        block = self.blocks[name]
        spatial = self.shapes[name][1:]
        side = min(block, *spatial) if spatial else 1
        return self.neurons(name) // prod(side for _ in spatial)

    def _feedback(self, name: str) -> int:
        """Numbers of a layer's feedback matrix."""
        return self._rows(name) * self.network.classes

    def _activity(self) -> list[dict[str, float]]:
        """Return the products of each synapse's weight gradient, by step."""
        forward = ForwardPass(
            self.network,
            GradientSums(self.network),
            self.steps[0],
            reuse_constant_input=self.constant,
        )
        found = []
        for x in self.steps:
            activities = forward.step(x, None).activities
            found.append({name: self.used(name, each) for name, each in activities.items()})
        return found

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

    def _perturb(self) -> None:
        """Count noise: drawn, scaled by alpha, added."""
        options, tally = self.options, self.phases["noise"]
        fresh = ceil(self.timesteps / 2) if options.antithetic else self.timesteps
        draws = fresh if self.holds_noise else self.timesteps + self._draws_of_credit()
        for name, layer in self.network.neuron_nodes.items():
            numbers = self.samples * self.neurons(name)
            if options.noise != "rademacher":
                tally.add(name, numbers * draws, GAUSSIAN)
            if options.noise == "sphere":
                tally.add(name, numbers * fresh, macs=1)
                tally.add(name, self.samples * fresh, functions=2, multiplications=1)
            added = numbers * self.timesteps
            tally.add(name, added, multiplications=1, additions=1, activation_reads=1)
            if options.noise_at == "post" and layer.scale != 1:
                tally.add(name, added, multiplications=1)  # no longer a selection

    def _draws_of_credit(self) -> int:
        """How often a device that holds no noise draws a layer's again for credit or feedback."""
        options = self.options
        if isinstance(options, ZeroOrderOptions):
            return self.timesteps
        return self._moves() * (2 if options.feedback_rule == "delta" else 1)

    def _learn(self, used: Sequence[Mapping[str, float]]) -> float:
        """Count the error path and weight gradients; return the synaptic updates."""
        path, batch = self.phases["error path"], self.samples
        path.add(LOSS, batch * self.timesteps, output_loss(self.network.classes))
        for name, layer in self.network.neuron_nodes.items():
            derivative = surrogate_derivative(layer, name)
            path.add(name, batch * self.timesteps * self.neurons(name), derivative)
        late = getattr(self.options, "feedback_delay", 0)
        before = ErrorPath(self.network, {}, exact=self._exact, transposed=self.transposed)
        after = self._with_credit()
        updates, held = 0.0, dict.fromkeys(self.network.synapse_nodes, 0)
        for index, products in enumerate(used):
            now = after if index >= late else before
            for name, counts in now.tally.ledger(1, 1).layers.items():
                path.add(name, batch, counts.to_json())
            if now is after:
                self._send_credit()
            for name in now.reached:
                errors = batch * self.neurons(name)
                if self.is_constant(name):
                    if held[name]:  # errors are summed; one product at the end
                        self.phases["weight gradients"].add(name, additions=errors)
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

    @property
    def _exact(self) -> bool:
        return bool(getattr(rule_class(self.options.name), "exact", False))

    def _with_credit(self) -> ErrorPath:
        credit: dict[str, Credit] = {}
        if isinstance(self.options, DirectOptions):
            credit = {n: "factors" if self._plain(n) else "written" for n in self.blocks}
        elif isinstance(self.options, ZeroOrderOptions):
            credit = dict.fromkeys(self.network.neuron_nodes, "written")
        return ErrorPath(self.network, credit, exact=self._exact, transposed=self.transposed)

    def _plain(self, name: str) -> bool:
        """Whether every neuron has a row of feedback of its own."""
        return self._rows(name) == self.neurons(name)

    def _send_credit(self) -> None:
        """Count, for one step, credit that is written out before errors move."""
        path, options, m = self.phases["error path"], self.options, self.network.classes
        if isinstance(options, ZeroOrderOptions):
            path.add(LOSS, self.samples, multiplications=1)
            for name in self.network.neuron_nodes:
                numbers = self.samples * self.neurons(name)
                path.add(name, numbers, multiplications=1, activation_reads=1, activation_writes=1)
                if options.noise == "sphere":
                    path.add(name, numbers, multiplications=1)
            return
        for name in self.blocks:
            if getattr(options, "bias_correction", False):
                path.add(name, self.samples, multiplications=m)
            if not self._plain(name):
                products = self.samples * self._feedback(name)
                path.add(
                    name,
                    macs=products,
                    weight_reads=products,
                    activation_reads=self.samples * m,
                    activation_writes=self.samples * self.neurons(name),
                )

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

    def _moves(self) -> int:
        """How often an OPZO batch moves each feedback matrix."""
        options = self.options
        if options.freeze_feedback_after == 0:
            return 0
        return ceil(self.timesteps / 2) if options.feedback_update == "per_pair" else self.timesteps

    def _move_feedback(self) -> None:
        options = self.options
        if isinstance(options, DKPOptions):
            for name in self.network.neuron_nodes:
                self._correlate(name)
        elif isinstance(options, OPZOOptions) and self._moves():
            self._absorb_outputs()
            for name in self.network.neuron_nodes:
                self._absorb(name)

    def _pooled(self, name: str) -> dict[str, float]:
        """Averages of a sample's numbers that share a row."""
        rows, neurons = self._rows(name), self.neurons(name)
        if rows == neurons:
            return {}
        return {"additions": neurons - rows, "multiplications": rows}

    def _correlate(self, name: str) -> None:
        """DKP: ``dL/dB = mean_b a e^T``."""
        tally, batch, steps = self.phases["feedback updates"], self.samples, self.timesteps
        neurons, m, matrix = self.neurons(name), self.network.classes, self._feedback(name)
        if self.options.centre_activity:
            tally.add(name, steps * neurons, additions=2 * batch, multiplications=1)
        tally.add(name, steps * batch, self._pooled(name))
        tally.add(
            name,
            steps,
            macs=batch * matrix,
            multiplications=batch * m,
            activation_reads=batch * (self._rows(name) + m),
            state_reads=matrix,
            state_writes=matrix,
        )
        if self.network.neuron_nodes[name].scale != 1:
            tally.add(name, steps * matrix, multiplications=1)
        # an online update clears the gradient after each step
        tally.add(name, 0 if self.online else (steps - 1) * matrix, additions=1)

    def _absorb_outputs(self) -> None:
        """OPZO: what is done to outputs before they meet noise."""
        options, tally = self.options, self.phases["feedback updates"]
        batch, m, steps = self.samples, self.network.classes, self.timesteps
        if options.centre_logits:
            tally.add(LOSS, steps, additions=2 * batch * m + m, multiplications=2 * m, decays=m)
        if options.feedback_update == "per_pair":
            tally.add(LOSS, (steps // 2) * batch * m, additions=1, multiplications=1)

    def _absorb(self, name: str) -> None:
        """OPZO: ``M <- lam M + (1 - lam) mean_b z o^T``, or the delta rule."""
        options, tally, moves = self.options, self.phases["feedback updates"], self._moves()
        batch, m, matrix = self.samples, self.network.classes, self._feedback(name)
        rows = self._rows(name)
        passes = 2 if options.feedback_rule == "delta" else 1
        tally.add(name, passes * moves * batch, self._pooled(name))
        if options.noise == "sphere":
            tally.add(name, passes * moves * batch * self.neurons(name), multiplications=1)
        if options.feedback_rule == "delta":
            tally.add(
                name,
                moves * batch,
                macs=matrix,
                weight_reads=matrix,
                additions=m,
                multiplications=m if self._plain(name) else 2 * m,
                activation_reads=rows,
            )
        else:
            tally.add(name, moves * matrix, decays=1)
        tally.add(
            name,
            moves,
            macs=batch * matrix,
            multiplications=matrix,
            activation_reads=batch * (rows + m),
            state_reads=matrix,
            state_writes=matrix,
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
        if self.blocks:
            self.stored["feedback"] = sum(map(self._feedback, self.blocks))
