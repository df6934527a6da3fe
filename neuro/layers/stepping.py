"""What all models that step through time have in common: state at rest, a step, an evaluation."""

from abc import abstractmethod
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, NamedTuple, TypeAlias, TypeGuard, TypeVar

import torch
from torch import Tensor, nn

from neuro.errors import UsageError

NetworkState = dict[str, Any]
Layer = TypeVar("Layer", bound=nn.Module)
Advance: TypeAlias = Callable[[Tensor, NetworkState], tuple[dict[str, Tensor], NetworkState]]


class Readout(NamedTuple):
    """What a network says about a batch.

    ``logits``: ``(B, m)``, mean over time steps. ``firing_rates``: spikes per neuron and step, by
    layer.
    """

    logits: Tensor
    firing_rates: dict[str, Tensor]


class Stepping(nn.Module, Generic[Layer]):
    """Named modules that step through time; those with a state are handed it and hand it on.

    Attributes:
        output: node whose value answers.
        shapes: of what each node sends on, without the batch.
        stateful: kinds of modules with a state, which have ``zeros(shape, device=, dtype=)``.
    """

    output: str
    shapes: dict[str, tuple[int, ...]]
    stateful: tuple[type[nn.Module], ...]

    @abstractmethod
    def in_order(self) -> Iterator[tuple[str, nn.Module]]:
        """Yield the nodes that compute something, by name, in the order in which they run."""

    @abstractmethod
    def spikes(self, module: nn.Module) -> TypeGuard[Layer]:
        """Tell whether a module is a layer of spiking neurons."""

    @abstractmethod
    def stepper(self) -> Advance:
        """Return what advances by a time step while no parameter changes: from an input
        ``(B, *input_shape)`` and a state, to what every node sent on and the new state."""

    @property
    def neuron_nodes(self) -> dict[str, Layer]:
        """The spiking layers by name, in order."""
        return {name: module for name, module in self.in_order() if self.spikes(module)}

    @property
    def classes(self) -> int:
        """Width of the output."""
        return self.shapes[self.output][-1]

    def initial_state(
        self,
        batch_size: int,
        device: torch.device | None = None,
        dtype: torch.dtype | None = None,
    ) -> NetworkState:
        """Return the state at rest: one entry for every node that keeps one."""
        device, dtype = self._kind(device, dtype)
        state: NetworkState = {}
        for name, module in self.in_order():
            if isinstance(module, self.stateful):
                shape = (batch_size, *self.shapes[name])
                zeros: Any = module.zeros
                state[name] = zeros(shape, device=device, dtype=dtype)
        return state

    def step(self, x: Tensor, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """Advance one time step.

        Args:
            x: ``(B, *input_shape)``.
            state: as returned by :meth:`initial_state` or the step before.

        Returns:
            The output, of a classifier logits ``(B, m)``, and the new state; the state given is
            left as it was.
        """
        values, state = self.stepper()(x, state)
        return values[self.output], state

    def forward(self, x: Tensor, state: NetworkState) -> tuple[Tensor, NetworkState]:
        """Same as :meth:`step`."""
        return self.step(x, state)

    @torch.no_grad()
    def run(self, inputs: Iterable[Tensor]) -> Readout:
        """Evaluate: feed ``x[t]`` one by one, without gradients, memory flat in time.

        Raises:
            UsageError: if ``inputs`` is empty.
        """
        state: NetworkState | None = None
        total: Tensor | None = None
        rates: dict[str, Tensor] = {}
        steps = 0
        advance = self.stepper()
        layers = self.neuron_nodes
        for x in inputs:
            if state is None:
                state = self.initial_state(x.shape[0], x.device)
            values, state = advance(x, state)
            output = values[self.output]
            total = output if total is None else total + output
            for name, layer in layers.items():
                rate = values[name].mean() / getattr(layer, "scale", 1.0)
                rates[name] = rates[name] + rate if name in rates else rate
            steps += 1
        if total is None:
            raise UsageError("a network runs for at least one time step, got none.")
        return Readout(total / steps, {name: rate / steps for name, rate in rates.items()})

    def _kind(
        self, device: torch.device | None, dtype: torch.dtype | None
    ) -> tuple[torch.device, torch.dtype]:
        """Return device and dtype of a state, those of the parameters where none are given."""
        parameter = next(self.parameters(), torch.empty(0))
        return device or parameter.device, dtype or parameter.dtype
