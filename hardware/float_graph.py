"""A trained network as a chip could hold it, still in real numbers: what is quantised.

Sources and populations joined by linear synapses; all linear maps between two layers are one. At
each time step populations run in order, each on outputs of the same step::

    I[t] = sum over connections of W s[t - delay] + bias
    i[t] = current_decay * i[t-1] + I[t]
    v'[t] = voltage_decay * v[t-1] + i[t]
    s[t] = v'[t] > threshold   (>= where inclusive),   v[t] = v' (1 - s)  or  v' - threshold * s
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuro.errors import UsageError
from neuro.hardware.integer_graph import Decoding

Reals: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False, kw_only=True)
class FloatNeuron:
    """Decays, threshold and reset; each number one for all neurons or one for each.

    Args:
        current_decay: of the synaptic current, in [0, 1]; 0 for a plain LIF neuron.
        voltage_decay: of the membrane potential, in [0, 1].
        threshold: None for an integrator, which never fires and answers with its potential.
        soft_reset: whether a spike subtracts the threshold rather than set the potential to 0.
        inclusive: fire at ``v' >= threshold`` rather than ``v' > threshold``.
    """

    current_decay: Reals
    voltage_decay: Reals
    threshold: Reals | None
    soft_reset: bool = False
    inclusive: bool = True


@dataclass(frozen=True, eq=False, kw_only=True)
class FloatSource:
    """What comes from outside.

    Args:
        name: unique in a graph.
        shape: of one step.
        grain: every input is ``offset`` plus a whole number of these, if that is known; a number,
            or one for each neuron (broadcasts to ``shape``).
        offset: see ``grain``; the number a silent input stands for.
    """

    name: str
    shape: tuple[int, ...]
    grain: Reals | None = None
    offset: Reals | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class FloatPopulation:
    """Neurons of one kind with the constant part of their input, broadcast to ``shape``."""

    name: str
    shape: tuple[int, ...]
    neuron: FloatNeuron
    bias: Reals


@dataclass(frozen=True, eq=False, kw_only=True)
class FloatDense:
    """``weight[target, source]``, both ends flattened in C order."""

    weight: Reals

    def apply(self, constant: Reals) -> Reals:
        """Return what a constant input ``[*source]`` makes, ``[targets]``."""
        return self.weight @ constant.reshape(-1)

    def scaled(self, factors: Reals) -> "FloatDense":
        """Return the synapses with each source's weights multiplied, ``[*source]``."""
        return FloatDense(weight=self.weight * factors.reshape(-1))

    def times(self, gain: Reals, target: tuple[int, ...]) -> "FloatDense":
        """Return the synapses with each target's weights multiplied; ``gain`` broadcasts."""
        gains = np.broadcast_to(gain, target).reshape(-1, 1)
        return FloatDense(weight=self.weight * gains)


@dataclass(frozen=True, eq=False, kw_only=True)
class FloatConvolution:
    """A cross-correlation with weights ``[O, C / groups, kH, kW]``, as in torch."""

    weight: Reals
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def apply(self, constant: Reals) -> Reals:
        """Return what a constant input ``[C, H, W]`` makes, ``[O, H', W']``."""
        (rows, columns), (down, right) = self.stride, self.padding
        padded = np.pad(constant, ((0, 0), (down, down), (right, right)))
        extents = [
            (size - 1) * spread + 1
            for size, spread in zip(self.weight.shape[2:], self.dilation, strict=True)
        ]
        windows = np.lib.stride_tricks.sliding_window_view(padded, extents, axis=(1, 2))
        seen = windows[:, ::rows, ::columns, :: self.dilation[0], :: self.dilation[1]]
        grouped = seen.reshape(self.groups, -1, *seen.shape[1:])
        weight = self.weight.reshape(self.groups, -1, *self.weight.shape[1:])
        made: Reals = np.einsum("gcyxij,gocij->goyx", grouped, weight, optimize=True)
        return made.reshape(-1, *made.shape[2:])

    def scaled(self, factors: Reals) -> "FloatConvolution":
        """Return the synapses with each source channel's weights multiplied, ``[C, H, W]``.

        Raises:
            UsageError: the factors differ within a channel.
        """
        per_channel = factors[:, 0, 0]
        if not np.array_equal(factors, np.broadcast_to(per_channel[:, None, None], factors.shape)):
            raise UsageError("inputs of a convolution are scaled by channel, not by position.")
        outputs = len(self.weight) // self.groups
        by_output = np.repeat(per_channel.reshape(self.groups, -1), outputs, axis=0)
        return replace(self, weight=self.weight * by_output[:, :, None, None])

    def times(self, gain: Reals, target: tuple[int, ...]) -> "FloatConvolution":
        """Return the synapses with each target channel's weights multiplied.

        Raises:
            UsageError: the gain differs within a channel.
        """
        gains = np.broadcast_to(gain, target)
        if not np.array_equal(gains, np.broadcast_to(gains[:, :1, :1], gains.shape)):
            raise UsageError("neurons of a convolution have one input gain a channel.")
        return replace(self, weight=self.weight * gains[:, :1, :1, None])


FloatSynapses: TypeAlias = FloatDense | FloatConvolution


@dataclass(frozen=True, eq=False, kw_only=True)
class FloatConnection:
    """Synapses from a source or population to a population further on, ``delay`` steps late."""

    source: str
    target: str
    synapses: FloatSynapses
    delay: int = 0


@dataclass(frozen=True, eq=False, kw_only=True)
class FloatGraph:
    """Sources, populations in the order in which they run, and connections.

    ``decoding``: the answer is the neuron of ``output`` with most spikes, or with the largest
    potential after the last step.
    """

    sources: Mapping[str, FloatSource]
    populations: Mapping[str, FloatPopulation]
    connections: tuple[FloatConnection, ...]
    output: str
    decoding: Decoding

    def inputs_of(self, population: str) -> list[FloatConnection]:
        """Return the connections that end in a population."""
        return [each for each in self.connections if each.target == population]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a source or population."""
        ends: dict[str, FloatSource | FloatPopulation] = {**self.sources, **self.populations}
        return ends[name].shape
