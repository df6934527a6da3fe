"""The container: named nodes in order, each reading earlier ones, state passed in and out."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any, NamedTuple, TypeGuard

import torch
from torch import Tensor, nn

from neuro.errors import UsageError, nearest
from neuro.layers.linear_maps import Add, LinearMap
from neuro.layers.signals import Computed, Dense, Packed, Signal, restoring
from neuro.layers.spiking import Delay, Spiking
from neuro.layers.stepping import Advance, NetworkState, Stepping
from neuro.layers.synapse import Synapse
from neuro.neurons import LeakyIntegrator

INPUT = "input"

Weights = dict[str, Tensor]
Observe = Callable[[str, Tensor], None]


class Node(NamedTuple):
    """One step of the network: ``module`` applied to the outputs of ``sources``.

    ``sources`` left out means the node before (the network's input for the first one).
    """

    name: str
    module: nn.Module
    sources: tuple[str, ...] = ()


class NodeSummary(NamedTuple):
    """One row of :meth:`Network.describe`; shapes leave the batch out."""

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    neurons: int


class ReadoutIntegrator(nn.Module):
    """A leaky integrator at the end of a network: its membrane potential is the output."""

    def __init__(self, neuron: LeakyIntegrator) -> None:
        super().__init__()
        self.neuron = neuron

    def extra_repr(self) -> str:
        return str(self.neuron)

    def zeros(self, shape: Sequence[int], *, device: Any = None, dtype: Any = None) -> Any:
        """Return the state at rest of neurons of a shape, the batch included."""
        return self.neuron.zeros(shape, device=device, dtype=dtype)

    def forward(self, current: Tensor, state: Any) -> tuple[Tensor, Any]:
        return self.neuron.step(current, state)

    def sequence(self, currents: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Advance T time steps at once: currents ``(T, B, ...)``."""
        return self.neuron.sequence(currents, state)


STATEFUL = (Spiking, Delay, ReadoutIntegrator)


class Network(Stepping[Spiking]):
    """A feed-forward spiking network as a sequence of named nodes with explicit state.

    At each time step every node runs once, in order, on outputs of the same step (as in the
    OTTT and OPZO literature: a spike crosses all layers within a step)::

        value[node] = module(value[source], ...)       logits = value[last node]

    Args:
        nodes: the nodes in order. A node may read the network's input as ``"input"``.
        input_shape: shape of one sample at one step, e.g. ``(784,)`` or ``(3, 32, 32)``.

    Raises:
        UsageError: for a repeated name, a source that does not come earlier, an input shape that
            the nodes cannot take, or no node at all.
    """

    stateful = STATEFUL

    def __init__(self, nodes: Sequence[Node], input_shape: Sequence[int]) -> None:
        super().__init__()
        if not nodes:
            raise UsageError("a network has at least one node, got none.")
        self.input_shape = tuple(input_shape)
        self.nodes = nn.ModuleDict()
        self.sources: dict[str, tuple[str, ...]] = {}
        previous = INPUT
        for node in nodes:
            sources = node.sources or (previous,)
            known = [INPUT, *self.sources]
            if node.name in known:
                raise UsageError(f"two nodes are called {node.name!r}; names must be unique.")
            for source in sources:
                if source not in known:
                    raise UsageError(
                        f"node {node.name!r} reads {source!r}, which is no earlier node."
                        f"{nearest(source, known)}"
                    )
            try:
                self.nodes[node.name] = node.module
            except KeyError as error:
                raise UsageError(
                    f"a node cannot be called {node.name!r}: {error.args[0]}. Take another name."
                ) from error
            self.sources[node.name] = sources
            previous = node.name
        self.output = previous
        self._readers = Counter(each for sources in self.sources.values() for each in sources)
        self.shapes = self._trace_shapes()

    def in_order(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the nodes by name, in order."""
        yield from self.nodes.items()

    def spikes(self, module: nn.Module) -> TypeGuard[Spiking]:
        """Tell whether a module is a spiking layer."""
        return isinstance(module, Spiking)

    @property
    def synapse_nodes(self) -> dict[str, Synapse]:
        """The synapses by name, in order."""
        return {name: m for name, m in self.nodes.items() if isinstance(m, Synapse)}

    def effective_weights(self) -> Weights:
        """Return what every synapse's weight acts as; compute it once for a run of many steps."""
        return {name: synapse.effective_weight() for name, synapse in self.synapse_nodes.items()}

    def stepper(self) -> Advance:
        """Return :meth:`advance` with the weights as they are."""
        return partial(self.advance, weights=self.effective_weights())

    def sequence(
        self, inputs: Tensor, state: NetworkState | None = None
    ) -> tuple[Tensor, NetworkState]:
        """Run T steps: inputs ``(T, B, *input_shape)`` -> logits ``(T, B, m)`` and the state.

        The same as T calls of :meth:`step` up to rounding, layer by layer: see
        :meth:`advance_sequence`.
        """
        if state is None:
            state = self.initial_state(inputs.shape[1], inputs.device)
        return self.advance_sequence(inputs, state, self.effective_weights())

    def describe(self) -> list[NodeSummary]:
        """List the nodes with output shapes, parameter counts and neuron counts."""
        rows = []
        for name, module in self.nodes.items():
            shape = self.shapes[name]
            neurons = _size(shape) if isinstance(module, Spiking | ReadoutIntegrator) else 0
            parameters = sum(p.numel() for p in module.parameters())
            rows.append(NodeSummary(name, _kind(module), shape, parameters, neurons))
        return rows

    def advance(
        self, x: Tensor, state: Mapping[str, Any], weights: Weights
    ) -> tuple[dict[str, Tensor], NetworkState]:
        """Advance one time step and return what every node sent on, besides the new state.

        Args:
            x: ``(B, *input_shape)``.
            state: as for :meth:`step`.
            weights: from :meth:`effective_weights`.
        """
        self._check_input(x.shape, "B")
        values = {INPUT: x}
        after: NetworkState = {}
        for name, module in self.nodes.items():
            inputs = [values[source] for source in self.sources[name]]
            if isinstance(module, STATEFUL):
                values[name], after[name] = module(*inputs, state[name])
            elif isinstance(module, Synapse):
                values[name] = module.transmit(inputs[0], weights[name])
            else:
                values[name] = module(*inputs)
        return values, after

    def advance_sequence(
        self,
        inputs: Tensor,
        state: Mapping[str, Any],
        weights: Weights,
        *,
        recompute: bool = False,
        observe: Observe | None = None,
    ) -> tuple[Tensor, NetworkState]:
        """Advance T time steps, layer by layer; return the logits ``(T, B, m)`` and the state.

        A spike crosses all layers within its step and nothing runs back, so a layer may run all
        its steps before the next one starts: its neurons in one kernel, its synapse as one product
        over T * B samples. What does not change over time (an input expanded from ``(B, ...)``, as
        constant current is) is transmitted once. Memory grows with T; :meth:`advance` is flat.

        With ``recompute`` backward keeps one bit per spike of a layer, and computes currents
        again: one more product of each synapse for, in 32-bit floats, less than a tenth of the
        memory. What several nodes read and is no spikes (a residual stream), what a delay or an
        integrator gives, and the input stay dense. Gradients are the same.

        Args:
            inputs: ``(T, B, *input_shape)``.
            state: as for :meth:`step`.
            weights: from :meth:`effective_weights`.
            recompute: see above; changes nothing where autograd records nothing.
            observe: called with each node's name and what it sent on, ``(T, B, ...)``, which is
                then dropped as soon as no further node reads it.

        Raises:
            UsageError: for inputs of another shape, or, with ``recompute``, a layer that emits
                something other than spikes.
        """
        self._check_input(inputs.shape, "T", "B")
        recompute = recompute and torch.is_grad_enabled()
        values = {INPUT: inputs}
        signals: dict[str, Signal] = {INPUT: Dense(inputs)} if recompute else {}
        unread = self._readers.copy()
        after: NetworkState = {}
        for name, module in self.nodes.items():
            names = self.sources[name]
            sources = [values[source] for source in names]
            given = [signals[source] for source in names] if recompute else []
            with restoring(sources, given) if recompute else nullcontext():
                if isinstance(module, STATEFUL):
                    values[name], after[name] = module.sequence(sources[0], state[name])
                else:
                    values[name] = self._transmit(name, weights, sources)
            if recompute:
                signals[name] = self._signal(name, weights, values[name], given)
            if observe is not None:
                observe(name, values[name])
            unread.subtract(names)
            for source in {each for each in names if not unread[each]}:
                values.pop(source)
                signals.pop(source, None)
        return values[self.output], after

    def _transmit(self, name: str, weights: Weights, sources: list[Tensor]) -> Tensor:
        """Apply a node without memory to all steps."""
        module = self.nodes[name]
        if isinstance(module, Synapse):
            return _each_step(module.transmit, sources, weights[name])
        return _each_step(module, sources)

    def _signal(
        self, name: str, weights: Weights, value: Tensor, sources: Sequence[Signal]
    ) -> Signal:
        """Return how backward gets ``value`` again, which the node made of ``sources``."""
        module = self.nodes[name]
        if isinstance(module, Spiking) and value.is_contiguous():
            try:
                return Packed(value, module.scale)
            except ValueError as error:
                raise UsageError(
                    f"{name}: {error}. Leave recompute off for this network."
                ) from error
        # What several nodes read would be computed once for each, and again by what is made of it.
        several = self._readers[name] > 1
        if several or not isinstance(module, Synapse | LinearMap | Add):
            return Dense(value)
        used = [weights[name]] if isinstance(module, Synapse) else []
        if isinstance(module, Synapse) and module.bias is not None:
            used.append(module.bias)
        return Computed(partial(self._transmit, name, weights), sources, used)

    def _check_input(self, shape: Sequence[int], *lead: str) -> None:
        if tuple(shape[len(lead) :]) != self.input_shape:
            expected = ", ".join((*lead, *map(str, self.input_shape)))
            raise UsageError(f"the network takes inputs of shape ({expected}), got {tuple(shape)}.")

    @torch.no_grad()
    def _trace_shapes(self) -> dict[str, tuple[int, ...]]:
        """Find each node's output shape by sending one silent sample through, statelessly."""
        parameter = next(self.parameters(), torch.empty(0))
        values = {INPUT: parameter.new_zeros((1, *self.input_shape))}
        for name, module in self.nodes.items():
            inputs = [values[source] for source in self.sources[name]]
            try:
                values[name] = inputs[0] if isinstance(module, STATEFUL) else module(*inputs)
            except RuntimeError as error:
                raise UsageError(
                    f"node {name!r} ({_kind(module)}) cannot take its input of shape "
                    f"{tuple(inputs[0].shape[1:])}: {error}"
                ) from error
            if values[name].numel() == 0:
                raise UsageError(
                    f"node {name!r} ({_kind(module)}) makes nothing of its input of shape "
                    f"{tuple(inputs[0].shape[1:])}; give the network larger inputs."
                )
        return {name: tuple(value.shape[1:]) for name, value in values.items()}


def _each_step(apply: Callable[..., Tensor], sources: Sequence[Tensor], *more: Tensor) -> Tensor:
    """Apply what has no memory to all steps at once: ``(T, B, ...)`` in and out."""
    steps, batch = sources[0].shape[:2]
    if all(map(_constant, sources)):
        constant = apply(*(source[0] for source in sources), *more)
        return constant.expand(steps, *constant.shape)
    folded = apply(*(source.flatten(0, 1) for source in sources), *more)
    return folded.reshape(steps, batch, *folded.shape[1:])


def _constant(sequence: Tensor) -> bool:
    """Whether it is one step expanded over several."""
    return len(sequence) > 1 and sequence.stride(0) == 0


def _kind(module: nn.Module) -> str:
    if isinstance(module, Spiking | ReadoutIntegrator):
        return type(module.neuron).__name__
    return type(module).__name__


def _size(shape: Sequence[int]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
