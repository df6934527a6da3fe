"""A layer of spiking neurons as a module: parameters, emitted signal, eligibility trace."""

from collections.abc import Sequence
from dataclasses import fields, replace
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from neuro.errors import UsageError, nearest
from neuro.neurons import Neuron
from neuro.neurons.base import decay_logit


class Spiking(nn.Module):
    """Neurons of one kind; emits ``scale * s`` for spikes ``s``.

    ``scale`` is the gain that keeps the signal at unit variance in networks with scaled weight
    standardisation (2.74 for spikes of a LIF layer); it multiplies spikes, noise and trace alike.

    Args:
        neuron: parameters and equations of the neuron.
        scale: gain on everything the layer emits.
        learnable: names of neuron parameters to train. A decay ``d`` in (0, 1) is held as
            ``d = sigmoid(w)``, the parametric LIF of Fang et al. (2021, eq. 9); other
            parameters are held as they are.

    Raises:
        UsageError: if a learnable name is not a number of this neuron.
    """

    def __init__(
        self, neuron: Neuron[Any], *, scale: float = 1.0, learnable: Sequence[str] = ()
    ) -> None:
        super().__init__()
        self._neuron = neuron
        self.scale = scale
        self.learnable = tuple(learnable)
        numbers = [f.name for f in fields(neuron) if isinstance(getattr(neuron, f.name), float)]
        for name in self.learnable:
            if name not in numbers:
                raise UsageError(
                    f"{type(neuron).__name__} has no number {name!r} to learn; it has "
                    f"{', '.join(numbers)}.{nearest(name, numbers)}"
                )
            value = getattr(neuron, name)
            raw = decay_logit(value) if name in neuron.decay_fields else torch.tensor(value)
            self.register_parameter(f"raw_{name}", nn.Parameter(raw))

    @property
    def neuron(self) -> Neuron[Any]:
        """The neuron with its learnable numbers filled in from the parameters."""
        if not self.learnable:
            return self._neuron
        values: dict[str, Any] = {}
        for name in self.learnable:
            raw = self.get_parameter(f"raw_{name}")
            values[name] = torch.sigmoid(raw) if name in self._neuron.decay_fields else raw
        return replace(self._neuron, **values)

    def extra_repr(self) -> str:
        return f"{self._neuron}, scale={self.scale:g}"

    def zeros(self, shape: Sequence[int], *, device: Any = None, dtype: Any = None) -> Any:
        """Return the state at rest of neurons of a shape, the batch included."""
        return self.neuron.zeros(shape, device=device, dtype=dtype)

    def forward(self, current: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Advance one time step: ``(current, state) -> (scale * spikes, state)``."""
        spikes, state = self.neuron.step(current, state)
        return (spikes if self.scale == 1.0 else spikes * self.scale), state

    def sequence(self, currents: Tensor, state: Any) -> tuple[Tensor, Any]:
        """Advance T time steps at once: currents ``(T, B, ...)``."""
        spikes, state = self.neuron.sequence(currents, state)
        return (spikes if self.scale == 1.0 else spikes * self.scale), state


class DelayState(NamedTuple):
    """The last ``steps`` inputs, oldest first: ``(steps, B, ...)``."""

    history: Tensor


class Delay(nn.Module):
    """Integer synaptic delay, ``y[t] = x[t - steps]`` (zero before the first input arrives)."""

    def __init__(self, steps: int) -> None:
        super().__init__()
        if steps < 0:
            raise UsageError(f"a synaptic delay is a whole number of steps >= 0, got {steps}.")
        self.steps = steps

    def extra_repr(self) -> str:
        return f"steps={self.steps}"

    def zeros(self, shape: Sequence[int], *, device: Any = None, dtype: Any = None) -> DelayState:
        return DelayState(torch.zeros((self.steps, *shape), device=device, dtype=dtype))

    def forward(self, activity: Tensor, state: DelayState) -> tuple[Tensor, DelayState]:
        if self.steps == 0:
            return activity, state
        history = torch.cat([state.history[1:], activity[None]])
        return state.history[0], DelayState(history)

    def sequence(self, activities: Tensor, state: DelayState) -> tuple[Tensor, DelayState]:
        """Advance T time steps at once: activities ``(T, B, ...)``."""
        line = torch.cat([state.history, activities])
        steps = len(activities)
        return line[:steps], DelayState(line[steps:])
