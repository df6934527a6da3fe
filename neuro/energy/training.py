"""What one optimiser step of a learning rule takes, by phase, from a network and real samples.

Counted is what the code of :mod:`neuro.learning` does for one batch of B samples over T steps:

====================  ============================================================================
phase                 what is in it
====================  ============================================================================
forward               the network, as :func:`count_network` counts it; where noise is added to
                      spikes, what they meet next is fed real numbers, and multiplies
recomputation         what backward computes a second time (``bptt`` with ``recompute``)
traces                eligibility traces, and pooling and sums of them on their way to synapses
noise                 perturbations drawn, scaled and added
error path            loss and its error, surrogate derivatives, and how errors reach each layer:
                      transposed products, feedback matrices, and back through time
weight gradients      products of errors and presynaptic factors, and sums over the batch and time
feedback updates      products that move feedback matrices
standardisation       making standardised weights, and carrying gradients through that
optimiser             the step, and the norms by which gradients and weights are checked before and
                      after it; also of feedback matrices that an optimiser moves
====================  ============================================================================

Two accountings of products. With ``zeros="skipped"`` a factor of 0 costs nothing where a signal is
of events, and a product with a spike is an addition: the accounting of the forward pass. A trace is
a real number once its neuron has fired, so its products are multiply-accumulates. With
``zeros="multiplied"`` every product of a matrix is made, as on a CPU or GPU.

Where the code computes something twice, so do the counts: backward of ``bptt`` repeats the steps of
the neurons; feedback that reaches two synapses is multiplied out for each; a GPU draws noise again
wherever it is used. Not counted: random bits, indexing, copies, the bookkeeping of batches.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from math import ceil, prod
from operator import add
from typing import Any, Literal

import torch
from torch import Tensor

from neuro.energy.counts import Counts, Ledger
from neuro.energy.error_path import Credit, ErrorPath
from neuro.energy.fan_out import synapse_fan_out
from neuro.energy.network import count_network
from neuro.energy.neuron_counts import neuron_cost
from neuro.energy.signals import Signal
from neuro.energy.training_parts import (
    CHECKS,
    GAUSSIAN,
    MOMENTS,
    Columns,
    Optimiser,
    Tally,
    add_forward,
    map_adjoint,
    map_forward,
    neuron_backward,
    optimiser_step,
    output_loss,
    standardisation,
    surrogate_derivative,
)
from neuro.errors import UsageError
from neuro.layers import INPUT, Add, LinearMap, Network, Spiking, Synapse
from neuro.learning import RULES, RuleOptions, rule_class
from neuro.learning.bptt import BPTTOptions
from neuro.learning.direct import DirectOptions, blocks_of
from neuro.learning.dkp import DKPOptions
from neuro.learning.gradients import GradientSums
from neuro.learning.online import OnlineOptions
from neuro.learning.opzo import OPZOOptions
from neuro.learning.pass_through import ForwardPass
from neuro.learning.signals import classify_signals
from neuro.learning.zeroth_order import PerturbedOptions, ZeroOrderOptions

Zeros = Literal["skipped", "multiplied"]
PHASES = (
    "forward",
    "recomputation",
    "traces",
    "noise",
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


@torch.no_grad()
def training_cost(
    network: Network,
    steps: Sequence[Tensor],
    rule: RuleOptions | str,
    *,
    signal: Signal = "real",
    optimiser: Optimiser = "adam",
    zeros: Zeros = "skipped",
) -> TrainingCost:
    """Count what a rule does with one batch.

    Spikes and traces are those of a pass without noise.

    Args:
        network: to train; left as it is.
        steps: T inputs ``(B, *input_shape)``; the same tensor T times is a constant input, whose
            current and weight gradient rules compute once.
        rule: its options, or its name for options as they are by default.
        signal: what the input is declared to be.
        optimiser: that steps; ``sgd`` with momentum.
        zeros: which accounting, see the module.

    Raises:
        UsageError: a network the rule cannot train, an option whose operations are not counted
            (local and intermediate read-outs), or a module, neuron or surrogate that is not known.
    """
    options: RuleOptions = rule_class(rule).Options() if isinstance(rule, str) else rule
    _refuse_uncounted(options)
    if not steps:
        raise UsageError("training is counted over at least one time step, got none.")
    if isinstance(options, BPTTOptions):
        return _Backpropagation(network, steps, options, signal, optimiser, zeros).cost()
    assert isinstance(options, OnlineOptions)
    return _Online(network, steps, options, signal, optimiser, zeros).cost()


def _refuse_uncounted(options: RuleOptions) -> None:
    if options.name not in RULES:
        raise UsageError(f"nothing is known of the operations of the rule {options.name}.")
    for option in ("local_learning", "intermediate_learning"):
        if getattr(options, option, False):
            raise UsageError(f"the operations of rule.{option} are not counted; leave it off.")


class _Batch:
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
            name: synapse_fan_out(synapse, weights[name], *self._ends(name))
            for name, synapse in network.synapse_nodes.items()
        }
        self._reach = {
            name: synapse_fan_out(synapse, torch.ones_like(weights[name]), *self._ends(name))
            for name, synapse in network.synapse_nodes.items()
        }

    def of_spikes(self) -> Signal:
        """What a presynaptic factor is where spikes come in."""
        raise NotImplementedError

    def _ends(self, name: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
        return self.shapes[self.network.sources[name][0]], self.shapes[name]

    def neurons(self, name: str) -> int:
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

    def optimise(self, groups: Mapping[str, int]) -> int:
        """Count the optimiser's steps on numbers by layer and return how many numbers."""
        for name, numbers in groups.items():
            columns = optimiser_step(self.optimiser)
            self.phases["optimiser"].add(name, numbers * self.optimiser_steps, columns)
            self.phases["optimiser"].add(name, numbers * self.optimiser_steps, CHECKS)
        trained = sum(groups.values())
        self.stored["gradients"] = trained
        self.stored["moments"] = trained * MOMENTS[self.optimiser]
        return trained

    @property
    def optimiser_steps(self) -> int:
        return self.timesteps if self.online else 1

    def parameters(self) -> dict[str, int]:
        """Return the numbers that train, by node."""
        found = {
            name: sum(p.numel() for p in module.parameters() if p.requires_grad)
            for name, module in self.network.nodes.items()
        }
        return {name: numbers for name, numbers in found.items() if numbers}

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


class _Backpropagation(_Batch):
    """``bptt``: autograd over all steps, layer by layer."""

    def of_spikes(self) -> Signal:
        return "binary"

    def cost(self) -> TrainingCost:
        if self.every:
            self.forward = _dense_forward(self, self.forward)
        used = self._activity()
        path = self.phases["error path"]
        path.add(LOSS, self.samples * self.timesteps, output_loss(self.network.classes))
        learning = self._need_errors()
        for name, module in self.network.nodes.items():
            self._backward(name, module, learning, used)
        self.standardise(1)
        self._store()
        return self.finish(None, self.optimise(self.parameters()))

    def _activity(self) -> dict[str, float]:
        """Return the products of each synapse's weight gradient, over all steps."""
        network = self.network
        state = network.initial_state(self.samples, self.steps[0].device)
        weights = network.effective_weights()
        used = dict.fromkeys(network.synapse_nodes, 0.0)
        for number, x in enumerate(self.steps):
            values, state = network.advance(x, state, weights)
            for name in used:
                if number == 0 or not self.is_constant(name):
                    values_in = values[network.sources[name][0]]
                    used[name] += self.used(name, values_in)
        return used

    def _need_errors(self) -> set[str]:
        """Nodes whose output depends on something that trains."""
        found: set[str] = set()
        for name, module in self.network.nodes.items():
            own = any(parameter.requires_grad for parameter in module.parameters())
            if own or found.intersection(self.network.sources[name]):
                found.add(name)
        return found

    def _backward(
        self, name: str, module: torch.nn.Module, learning: set[str], used: Mapping[str, float]
    ) -> None:
        if name not in learning:
            return
        path, sources = self.phases["error path"], self.network.sources[name]
        given, sent = self.shapes[sources[0]], self.shapes[name]
        steps = 1 if self.is_constant(name) else self.timesteps
        rounds = self.samples * steps
        readers = sum(name in each for each in self.network.sources.values())
        if readers > 1:  # their errors meet
            path.add(name, rounds, additions=(readers - 1) * prod(sent))
        if self.is_constant(name) and not all(map(self.is_constant, self._readers(name))):
            # one current for all steps: its error is their sum
            path.add(name, self.samples, additions=(self.timesteps - 1) * prod(sent))
        goes_on = sources[0] in learning
        if isinstance(module, Spiking):
            derivative = surrogate_derivative(module, name)
            always, fired = neuron_backward(module, name)
            path.add(name, rounds * prod(sent), derivative)
            path.add(name, rounds * prod(sent), always)
            path.add(name, self.forward.layers[name].spikes, fired)
        elif isinstance(module, Synapse):
            self.add_products(name, used[name], rounds * (prod(given) + prod(sent)))
            self.add_bias(name, rounds * prod(sent))
            if goes_on:
                products = rounds * self.transposed(name)
                path.add(
                    name,
                    macs=products,
                    weight_reads=products,
                    activation_reads=rounds * prod(sent),
                    activation_writes=rounds * prod(given),
                )
        elif isinstance(module, LinearMap) and goes_on:
            path.add(name, rounds, map_adjoint(module, given, sent))
        elif not isinstance(module, LinearMap | Add):
            raise UsageError(
                f"{name}: the operations of a {type(module).__name__} are not known in training."
            )

    def _readers(self, name: str) -> list[str]:
        return [node for node, sources in self.network.sources.items() if name in sources]

    def _store(self) -> None:
        """Count what backward keeps: see :meth:`neuro.layers.Network.advance_sequence`."""
        network, rounds = self.network, self.samples * self.timesteps
        self.stored["states"] = self.neuron_states()
        fed = {network.sources[name][0] for name in network.synapse_nodes}
        if self.options.recompute:
            self._store_bits()
            return
        inputs = {name: prod(self.shapes[name]) for name in fed}
        self.stored["activities"] = sum(
            size * (self.samples if self._once(name) else rounds) for name, size in inputs.items()
        )
        self.stored["currents"] = sum(
            self.neurons(name) * self._rounds_of(network.sources[name][0])
            for name in network.neuron_nodes
        )

    def _rounds_of(self, name: str) -> int:
        return self.samples * (1 if self._once(name) else self.timesteps)

    def _once(self, name: str) -> bool:
        return self.constant if name == INPUT else self.is_constant(name)

    def _store_bits(self) -> None:
        """With ``recompute``: one bit a spike, whole numbers for what is no spikes."""
        network = self.network
        bits = dense = 0.0
        dense += prod(network.input_shape) * self._rounds_of(INPUT)
        again = self.phases["recomputation"]
        for name, module in network.nodes.items():
            numbers = prod(self.shapes[name]) * self._rounds_of(name)
            readers = len(self._readers(name))
            if isinstance(module, Spiking):
                bits += numbers
            elif readers > 1 or not isinstance(module, Synapse | LinearMap | Add):
                dense += numbers
            elif name != network.output:
                counts = self.forward.layers[name].to_json()
                again.add(name, columns=counts)
        self.stored["spikes"] = ceil(bits / 32)
        self.stored["activities"] = dense


class _Online(_Batch):
    """The rules that go step by step: see :class:`neuro.learning.online.OnlineRule`."""

    def of_spikes(self) -> Signal:
        return "graded"

    def cost(self) -> TrainingCost:
        options = self.options
        rule_class(options.name)(
            self.network, options, generator=torch.Generator()
        )  # refuses what it cannot train
        self.blocks = (
            blocks_of(self.network, options) if isinstance(options, DirectOptions) else {}
        )
        noisy = isinstance(options, PerturbedOptions)
        if noisy and options.noise_at == "post":
            self.forward = _noisy_forward(self, self.forward)
        if self.every:
            self.forward = _dense_forward(self, self.forward)
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
        return self.neurons(name) // side ** len(spatial)

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

    def _map(self, name: str, module: torch.nn.Module) -> Columns:
        sources = self.network.sources[name]
        if isinstance(module, Add):
            return add_forward(module, len(sources), self.shapes[name])
        return map_forward(module, self.shapes[sources[0]], self.shapes[name])

    def _perturb(self) -> None:
        """Count noise: drawn, scaled by alpha, added."""
        options, tally = self.options, self.phases["noise"]
        held = self.steps[0].device.type == "cpu"
        fresh = ceil(self.timesteps / 2) if options.antithetic else self.timesteps
        draws = fresh if held else self.timesteps + self._draws_of_credit()
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
                prod(self.shapes[name]) for name in self.fed_by_input if name in self.shapes
            )
        if isinstance(options, PerturbedOptions) and self.steps[0].device.type == "cpu":
            self.stored["noise"] = sum(neurons.values())
        if self.blocks:
            self.stored["feedback"] = sum(map(self._feedback, self.blocks))


def _presynaptic(network: Network, signal: Signal, *, spikes: Signal) -> dict[str, Signal]:
    """Return what each node sends on as the presynaptic factor of a weight gradient."""
    found: dict[str, Signal] = {INPUT: signal}
    for name, module in network.nodes.items():
        given = [found[source] for source in network.sources[name]]
        if isinstance(module, Spiking):
            found[name] = spikes
        elif isinstance(module, Synapse) or "real" in given:
            found[name] = "real"
        elif isinstance(module, LinearMap) and network.shapes[name] != ():
            found[name] = given[0] if _selects(module) else "graded"
        else:
            found[name] = "graded"
    return found


def _selects(module: LinearMap) -> bool:
    """Whether what comes out of a map are the numbers that went in, or multiples of them."""
    return type(module).__name__ in ("Flatten", "Scale")


def _fed_by_input(network: Network) -> set[str]:
    """Return the nodes that no spike reaches: synapses fed by the input and what is before them."""
    found = {INPUT}
    for name, module in network.nodes.items():
        if not isinstance(module, Spiking) and found.issuperset(network.sources[name]):
            found.add(name)
    return found - {INPUT}


def _dense_forward(batch: _Batch, forward: Ledger) -> Ledger:
    """Return a forward pass in which every product is made."""

    def dense(name: str) -> Counts | None:
        synapse = batch.network.nodes[name]
        if not isinstance(synapse, Synapse):
            return None
        return _real_synapse(batch, name, batch.transposed(name), forward.layers[name])

    return _with_changes(forward, dense)


def _noisy_forward(batch: _Batch, forward: Ledger) -> Ledger:
    """Return a forward pass in which neurons send real numbers: spikes and noise."""

    def noisy(name: str) -> Counts | None:
        module, sources = batch.network.nodes[name], batch.network.sources[name]
        if isinstance(module, Spiking) or name in batch.fed_by_input:
            return None
        if isinstance(module, Synapse):
            return _real_synapse(batch, name, batch.transposed(name), forward.layers[name])
        if batch.signals[name] == "real":
            return None  # currents stay what they are
        given, sent = batch.shapes[sources[0]], batch.shapes[name]
        columns = (
            add_forward(module, len(sources), sent)
            if isinstance(module, Add)
            else map_forward(module, given, sent)
        )
        rounds = batch.samples * batch.timesteps
        moved = {"activation_reads": len(sources) * prod(given), "activation_writes": prod(sent)}
        return Counts(**{n: each * rounds for n, each in {**columns, **moved}.items()})

    return _with_changes(forward, noisy)


def _real_synapse(batch: _Batch, name: str, products: float, before: Counts) -> Counts:
    """Return the counts of a synapse whose every input is a number to multiply."""
    steps = 1 if batch.is_constant(name) else batch.timesteps
    rounds = batch.samples * steps
    outputs, inputs = batch._ends(name)[1], batch._ends(name)[0]
    return Counts(
        macs=products * rounds,
        bias_additions=before.bias_additions,
        weight_reads=products * rounds + before.bias_additions,
        activation_reads=prod(inputs) * rounds,
        activation_writes=prod(outputs) * rounds,
    )


def _with_changes(ledger: Ledger, changed: Callable[[str], Counts | None]) -> Ledger:
    layers = {name: changed(name) or counts for name, counts in ledger.layers.items()}
    driven = frozenset(name for name in ledger.driven if layers[name] is ledger.layers[name])
    return replace(ledger, layers=layers, driven=driven, steps=())
