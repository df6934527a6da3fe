"""What backpropagation through time takes: autograd over all steps, layer by layer."""

from collections.abc import Mapping
from math import ceil, prod

from torch import nn

from neuro.energy.signals import Signal
from neuro.energy.training.batch import LOSS, Batch, TrainingCost
from neuro.energy.training.forward import dense_forward
from neuro.energy.training.parts import (
    map_adjoint,
    neuron_backward,
    output_loss,
    surrogate_derivative,
)
from neuro.errors import UsageError
from neuro.layers import INPUT, Add, LinearMap, Spiking, Synapse


class Backpropagation(Batch):
    """``bptt``: autograd over all steps, layer by layer."""

    def of_spikes(self) -> Signal:
        return "binary"

    def cost(self) -> TrainingCost:
        if self.every:
            self.forward = dense_forward(self, self.forward)
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
        self, name: str, module: nn.Module, learning: set[str], used: Mapping[str, float]
    ) -> None:
        if name not in learning:
            return
        path, sources = self.phases["error path"], self.network.sources[name]
        given, sent = self.shapes[sources[0]], self.shapes[name]
        steps = 1 if self.is_constant(name) else self.timesteps
        rounds = self.samples * steps
        readers = sum(name in each for each in self.network.sources.values())
        if readers > 1:  # their errors meet
            path.add(
                name,
                rounds * prod(sent),
                additions=readers - 1,
                activation_reads=readers,
                activation_writes=1,
            )
        if self.is_constant(name) and not all(map(self.is_constant, self._readers(name))):
            # one current for all steps: its error is their sum
            path.add(
                name,
                self.samples * prod(sent),
                additions=self.timesteps - 1,
                activation_reads=self.timesteps,
                activation_writes=1,
            )
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
        """With ``recompute``: one bit a spike, whole numbers for what is no spikes.

        A current that stays the same over time is kept, once.
        """
        network, again = self.network, self.phases["recomputation"]
        bits, dense = 0, prod(network.input_shape) * self._rounds_of(INPUT)
        for name, module in network.nodes.items():
            numbers = prod(self.shapes[name]) * self._rounds_of(name)
            asked, readers = self._asked_for(name), self._readers(name)
            if isinstance(module, Spiking):
                bits += numbers
                again.add(name, activation_reads=numbers, state_writes=ceil(numbers / 32))
                again.add(name, asked, state_reads=ceil(numbers / 32), activation_writes=numbers)
            elif self._is_made_again(name):
                again.add(name, asked, self.forward.layers[name].to_json())
            elif len(readers) > 1 or not all(map(self.is_constant, readers)):
                dense += numbers
        self.stored["spikes"] = ceil(bits / 32)
        self.stored["activities"] = dense

    def _is_made_again(self, name: str) -> bool:
        """Whether ``recompute`` keeps nothing of what a node sends, but makes it from spikes."""
        kind = isinstance(self.network.nodes[name], Synapse | LinearMap | Add)
        return kind and len(self._readers(name)) < 2 and not self.is_constant(name)

    def _asked_for(self, name: str) -> int:
        """How often backward asks for what a node sent.

        A synapse asks for its weight gradient, neurons for their currents, and whatever is made
        again asks for what it is made of.
        """
        times = 0
        for reader in self._readers(name):
            module = self.network.nodes[reader]
            if isinstance(module, Spiking):
                times += 1
            elif isinstance(module, Synapse):
                times += int(module.weight.requires_grad)
            if not isinstance(module, Spiking) and self._is_made_again(reader):
                times += self._asked_for(reader)
        return times
