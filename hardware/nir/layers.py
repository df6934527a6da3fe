"""Layers that NIR knows and this package has no use for elsewhere.

Those with a state have ``zeros(shape)``, ``forward(x, state)`` and ``sequence(xs, state)``, as
``neuro.layers.Spiking`` and ``Delay`` do; the others are called with a tensor ``(B, ...)``.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from neuro.layers import Delay, ReadoutIntegrator, Spiking
from neuro.layers.spiking import DelayState
from neuro.neurons import LIF, CurrentState, Dynamics, Filter, Neuron
from neuro.neurons.base import Scalar, leak


@dataclass(frozen=True, kw_only=True)
class CubaLI(Dynamics[CurrentState]):
    """Leaky integrator behind a synaptic current; its output is its potential::

    i[t] = current_decay * i[t-1] + input_gain * I[t]
    v[t] = voltage_decay * v[t-1] + i[t]
    """

    state_type = CurrentState
    decay_fields = ("current_decay", "voltage_decay")

    current_decay: Scalar = 0.5
    voltage_decay: Scalar = 0.5
    input_gain: Scalar = 1.0

    def charge(self, current: Tensor, state: CurrentState) -> CurrentState:
        synaptic = leak(state.synaptic_current, current, self.current_decay, self.input_gain)
        return CurrentState(synaptic, leak(state.membrane_potential, synaptic, self.voltage_decay))

    def step(self, current: Tensor, state: CurrentState) -> tuple[Tensor, CurrentState]:
        charged = self.charge(current, state)
        return charged.membrane_potential, charged

    @property
    def filters(self) -> tuple[Filter, ...]:
        return (Filter(self.current_decay, self.input_gain), Filter(self.voltage_decay, 1.0))


class Population(nn.Module):
    """Neurons whose numbers differ, or that leak towards another potential than 0.

    Potentials are kept relative to ``v_leak``, so that the leak is towards 0; they start at 0,
    which is ``-v_leak`` from there.
    """

    def __init__(
        self, neuron: Dynamics[Any], numbers: Mapping[str, Tensor], v_leak: Tensor
    ) -> None:
        super().__init__()
        self._neuron = neuron
        self.names = tuple(numbers)
        for name, value in numbers.items():
            self.register_buffer(name, value)
        self.register_buffer("v_leak", v_leak)

    @property
    def neuron(self) -> Dynamics[Any]:
        """The neurons, their potentials relative to ``v_leak``."""
        return replace(self._neuron, **{name: self.get_buffer(name) for name in self.names})

    def zeros(self, shape: Sequence[int], *, device: Any = None, dtype: Any = None) -> Any:
        state = self.neuron.zeros(shape, device=device, dtype=dtype)
        return state._replace(
            membrane_potential=state.membrane_potential - self.get_buffer("v_leak")
        )

    def forward(self, current: Tensor, state: Any) -> tuple[Tensor, Any]:
        output, state = self.neuron.step(current, state)
        return self._sent(output), state

    def sequence(self, currents: Tensor, state: Any) -> tuple[Tensor, Any]:
        output, state = self.neuron.sequence(currents, state)
        return self._sent(output), state

    def _sent(self, output: Tensor) -> Tensor:
        return output if isinstance(self._neuron, Neuron) else output + self.get_buffer("v_leak")


class DelayLine(nn.Module):
    """A delay of its own for each element, ``y_i[t] = x_i[t - steps_i]``."""

    def __init__(self, steps: Tensor) -> None:
        super().__init__()
        self.longest = int(steps.max())
        self.register_buffer("steps", steps)

    def zeros(self, shape: Sequence[int], *, device: Any = None, dtype: Any = None) -> DelayState:
        return DelayState(torch.zeros((self.longest, *shape), device=device, dtype=dtype))

    def read(self, state: DelayState) -> Tensor:
        """Return the output of the coming step, where every delay is at least one."""
        return self._delayed(state.history)

    def write(self, activity: Tensor, state: DelayState) -> DelayState:
        """Return the state after a step that brought ``activity``."""
        return DelayState(torch.cat([state.history, activity[None]])[1:])

    def forward(self, activity: Tensor, state: DelayState) -> tuple[Tensor, DelayState]:
        line = torch.cat([state.history, activity[None]])
        return self._delayed(line), DelayState(line[1:])

    def sequence(self, activities: Tensor, state: DelayState) -> tuple[Tensor, DelayState]:
        outputs = []
        for activity in activities:
            output, state = self(activity, state)
            outputs.append(output)
        return torch.stack(outputs), state

    def _delayed(self, line: Tensor) -> Tensor:
        places = (self.longest - self.get_buffer("steps")).expand(line.shape[1:])
        return line.gather(0, places[None])[0]


class Pool2d(nn.Module):
    """Average, or sum, over windows with any stride and zeros around, ``(B, C, H, W)``."""

    def __init__(
        self, kernel: Sequence[int], stride: Sequence[int], padding: Sequence[int], total: bool
    ) -> None:
        super().__init__()
        self.kernel, self.stride, self.padding = tuple(kernel), tuple(stride), tuple(padding)
        self.divisor = 1 if total else None

    def forward(self, activity: Tensor) -> Tensor:
        return functional.avg_pool2d(
            activity, self.kernel, self.stride, self.padding, divisor_override=self.divisor
        )


class Merge(nn.Module):
    """Merge the axes ``first`` to ``last`` of a sample, counted without the batch."""

    def __init__(self, first: int, last: int) -> None:
        super().__init__()
        self.first = first if first < 0 else first + 1
        self.last = last if last < 0 else last + 1

    def forward(self, activity: Tensor) -> Tensor:
        return activity.flatten(self.first, self.last)


class Rescale(nn.Module):
    """Multiply each element by a number of its own."""

    def __init__(self, scale: Tensor) -> None:
        super().__init__()
        self.scale = nn.Parameter(scale)

    def forward(self, activity: Tensor) -> Tensor:
        return activity * self.scale


class StackedLinear(nn.Module):
    """A matrix for each vector of a stack: ``y[..., o] = sum_i W[..., o, i] x[..., i] + b``."""

    def __init__(self, weight: Tensor, bias: Tensor | None) -> None:
        super().__init__()
        self.weight = nn.Parameter(weight)
        self.bias = None if bias is None else nn.Parameter(bias)

    def forward(self, activity: Tensor) -> Tensor:
        product = (self.weight @ activity[..., None])[..., 0]
        return product if self.bias is None else product + self.bias


class Step(nn.Module):
    """Threshold without memory: 1 where ``x > threshold``, with a surrogate derivative."""

    def __init__(self, threshold: Tensor) -> None:
        super().__init__()
        self.register_buffer("threshold", threshold)
        self.surrogate = LIF().surrogate

    def forward(self, activity: Tensor) -> Tensor:
        return self.surrogate.spike(activity - self.get_buffer("threshold"), inclusive=False)


STATEFUL = (Spiking, Delay, ReadoutIntegrator, Population, DelayLine)
