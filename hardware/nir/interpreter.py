"""Runs any NIR graph: every primitive, nested graphs, loops, delays of any length."""

from collections.abc import Iterator, Mapping
from typing import Any, TypeGuard

import nir
import numpy as np
import torch
from torch import Tensor, nn

from neuro.errors import DataError, UsageError
from neuro.hardware.nir.flat import FlatGraph, Schedule, parameter, schedule
from neuro.hardware.nir.formulas import WHOLE_STEPS
from neuro.hardware.nir.layers import STATEFUL, DelayLine, Population
from neuro.hardware.nir.modules import module_for
from neuro.hardware.nir.reading import Reading, Shape
from neuro.layers import Delay, NetworkState, Spiking, Stepping
from neuro.layers.stepping import Advance
from neuro.neurons import Neuron


class Interpreter(Stepping[Spiking | Population]):
    """A NIR graph that steps through time, with the methods of ``neuro.layers.Network``.

    At each step every node runs once. What several edges bring into a node is added up. A loop
    takes one step, or as long as its Delay nodes say: see :func:`neuro.hardware.nir.flat.schedule`.
    Weights are parameters, spikes have surrogate gradients.

    Args:
        graph: nodes and edges.
        reading: how to read them.

    Raises:
        DataError: nodes that do not fit each other.
        UsageError: what steps of this length cannot hold, or a node outside all paths.
    """

    stateful = STATEFUL

    def __init__(self, graph: FlatGraph, reading: Reading) -> None:
        super().__init__()
        self.graph = graph
        self.dt = reading.dt
        self.metadata: Mapping[str, Any] = graph.metadata
        self.plan: Schedule = schedule(graph, _delayed(graph, reading.dt))
        self.nodes = nn.ModuleDict()
        self.output = graph.output
        self.shapes: dict[str, Shape] = {}
        self.sources = {
            name: tuple(s for s in graph.sources(name) if (s, name) not in self.plan.late)
            for name in self.plan.order
        }
        self.late = {
            name: tuple(s for s in graph.sources(name) if (s, name) in self.plan.late)
            for name in self.plan.order
        }
        for name in self.plan.order:
            self._build(name, graph.nodes[name], reading)
        self._check_shapes()
        self.input_shape = self.shapes[graph.input]

    def module(self, name: str) -> nn.Module | None:
        """Return what computes a node; None for ends of graphs, which only add up."""
        key = _key(name)
        return self.nodes[key] if key in self.nodes else None  # noqa: SIM401 (no dict)

    def in_order(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the nodes that compute something, by name, in the order of a step."""
        for name in self.plan.order:
            module = self.module(name)
            if module is not None:
                yield name, module

    def spikes(self, module: nn.Module) -> TypeGuard[Spiking | Population]:
        """Tell whether a module is a layer of spiking neurons."""
        return isinstance(module, Spiking) or (
            isinstance(module, Population) and isinstance(module.neuron, Neuron)
        )

    def stepper(self) -> Advance:
        """Return :meth:`advance`."""
        return self.advance

    def initial_state(
        self,
        batch_size: int,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> NetworkState:
        """Return the state at rest: of nodes by name, and of the sources of late edges."""
        device, dtype = self._kind(device, dtype)
        state = super().initial_state(batch_size, device, dtype)
        for source, _ in sorted(self.plan.late):
            shape = (batch_size, *self.shapes[source])
            state[_last(source)] = torch.zeros(shape, device=device, dtype=dtype)
        return state

    def advance(
        self, x: Tensor, state: Mapping[str, Any]
    ) -> tuple[dict[str, Tensor], NetworkState]:
        """Advance one time step and return what every node sent on, besides the new state."""
        self._check_input(x.shape, 1)
        values: dict[str, Tensor] = {}
        after: NetworkState = {}
        for name in self.plan.order:
            module = self.module(name)
            if name in self.plan.early:
                assert isinstance(module, DelayLine)
                values[name] = module.read(state[name])
                continue
            arriving = [x] if name == self.graph.input else []
            arriving += [values[source] for source in self.sources[name]]
            arriving += [state[_last(source)] for source in self.late[name]]
            total = _total(arriving)
            if module is None:
                values[name] = total
            elif isinstance(module, STATEFUL):
                values[name], after[name] = module(total, state[name])
            else:
                values[name] = module(total)
        for name in self.plan.early:
            module = self.module(name)
            assert isinstance(module, DelayLine)
            arriving = [values[source] for source in self.sources[name]]
            after[name] = module.write(_total(arriving), state[name])
        for source, _ in self.plan.late:
            after[_last(source)] = values[source]
        return values, after

    def sequence(
        self, inputs: Tensor, state: NetworkState | None = None
    ) -> tuple[Tensor, NetworkState]:
        """Run T steps: ``(T, B, *input_shape)`` -> outputs ``(T, B, ...)`` and the state.

        Without loops every node runs all its steps before the next one starts.
        """
        self._check_input(inputs.shape, 2)
        if state is None:
            state = self.initial_state(inputs.shape[1], inputs.device)
        if self.plan.late or self.plan.early:
            outputs = []
            for x in inputs:
                output, state = self.step(x, state)
                outputs.append(output)
            empty = inputs.new_zeros((0, inputs.shape[1], *self.shapes[self.output]))
            return (torch.stack(outputs) if outputs else empty), state
        values: dict[str, Tensor] = {}
        after: NetworkState = {}
        for name in self.plan.order:
            module = self.module(name)
            total = _total(
                [inputs]
                if name == self.graph.input
                else [values[source] for source in self.sources[name]]
            )
            if module is None:
                values[name] = total
            elif isinstance(module, STATEFUL):
                values[name], after[name] = module.sequence(total, state[name])
            else:
                folded = module(total.flatten(0, 1))
                values[name] = folded.reshape(*total.shape[:2], *folded.shape[1:])
        return values[self.output], after

    def _build(self, name: str, node: nir.NIRNode, reading: Reading) -> None:
        """Make a node's module and find its shape."""
        if name == self.graph.input:
            shape = _declared(name, node)
        elif name in self.plan.early:
            # what it reads comes later: a loop is as wide as its delays say
            shape = tuple(parameter(node, "delay").shape)
        else:
            shape = self._arriving(name)
        if isinstance(node, nir.Input | nir.Output):
            self.shapes[name] = shape
            return
        module = module_for(name, node, shape, reading)
        if name in self.plan.early and isinstance(module, Delay):
            module = DelayLine(torch.full(shape, module.steps))
        self.nodes[_key(name)] = module
        self.shapes[name] = shape
        if not isinstance(module, STATEFUL):
            weight = next(module.parameters(), torch.empty(0))
            try:
                with torch.no_grad():
                    made = module(torch.zeros((1, *shape), dtype=weight.dtype))
            except RuntimeError as error:
                raise DataError(f"node {name!r} cannot take inputs of {shape}: {error}") from error
            self.shapes[name] = tuple(made.shape[1:])

    def _arriving(self, name: str) -> Shape:
        """Return the one shape of what a node reads."""
        shapes = {source: self.shapes[source] for source in self.sources[name]}
        if len(set(shapes.values())) > 1:
            raise DataError(f"node {name!r} adds up outputs of different shapes: {shapes}.")
        return next(iter(shapes.values()))

    def _check_shapes(self) -> None:
        """Check the edges that shapes were not found along, and what the Output says."""
        for name in self.plan.order:
            late = self.late[name] if name not in self.plan.early else self.sources[name]
            for source in late:
                module = self.module(name)
                reads = self.shapes[self.sources[name][0]] if name not in self.plan.early else None
                expected = reads if module is not None and reads else self.shapes[name]
                if self.shapes[source] != expected:
                    raise DataError(
                        f"the loop from {source!r} brings {self.shapes[source]} into node "
                        f"{name!r}, which reads {expected}."
                    )
        said = _declared(self.output, self.graph.nodes[self.output], "output_type", "output")
        if said and said != self.shapes[self.output]:
            raise DataError(
                f"the Output {self.output!r} is declared as {said}, its inputs are of "
                f"{self.shapes[self.output]}."
            )

    def _check_input(self, shape: torch.Size, lead: int) -> None:
        if tuple(shape[lead:]) != self.input_shape:
            axes = ", ".join([*("T", "B")[2 - lead :], *map(str, self.input_shape)])
            raise UsageError(f"the graph takes inputs of shape ({axes}), got {tuple(shape)}.")


def _declared(name: str, node: Any, kind: str = "input_type", key: str = "input") -> Shape:
    """Return the shape that an end of a graph states."""
    stated = getattr(node, kind).get(key)
    if stated is None:
        if key == "output":
            return ()
        raise DataError(f"the Input {name!r} states no shape; the graph cannot be built.")
    return tuple(int(side) for side in np.asarray(stated).ravel())


def _delayed(graph: FlatGraph, dt: float) -> frozenset[str]:
    """Return the Delay nodes whose every delay is at least one step."""
    return frozenset(
        name
        for name, node in graph.nodes.items()
        if isinstance(node, nir.Delay)
        and np.all(parameter(node, "delay") >= dt * (1 - WHOLE_STEPS))
    )


def _total(values: list[Tensor]) -> Tensor:
    total = values[0]
    for value in values[1:]:
        total = total + value
    return total


def _key(name: str) -> str:
    """Return a name that torch takes for a module; NIR's may have dots."""
    return "node " + name.replace(".", "/")


def _last(source: str) -> str:
    return f"{source} last"
