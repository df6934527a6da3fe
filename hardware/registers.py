"""Real numbers to registers: one population of a float graph and its inputs, at a given scale.

For a population with threshold ``theta``, decays ``a_u`` and ``a_v`` and a scale ``S``, in units of
weights per unit of potential::

    w_int = 2 round(w S / 2^(e+1))           even, -254..254: eight bits and a sign for the matrix;
                                             of fewer bits, multiples of 4, 8, ... in their range
    du    = round(4096 (1 - a_u)) - 1        dv = round(4096 (1 - a_v))
    vth   = theta S                          bias_mant 2^bias_exp = 64 b S

A chip fires above its threshold. Where neurons have one threshold, S is such that ``theta S`` is
``vth`` for neurons that fire above it, and ``vth + 1/64``, the least step of a potential, for those
that fire at it; where potentials are so coarse that they meet it often, ``vth + 1``. S is chosen by
calibration, see :mod:`neuro.hardware.calibration`.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from neuro.errors import UsageError
from neuro.hardware.float_graph import (
    FloatConnection,
    FloatConvolution,
    FloatGraph,
    FloatNeuron,
    FloatSynapses,
    Reals,
)
from neuro.hardware.integer_graph import (
    STATE_SHIFT,
    Connection,
    Convolution,
    Cuba,
    Dense,
    Integers,
    Population,
    SoftReset,
    Synapses,
)
from neuro.hardware.messages import Messages
from neuro.hardware.targets import Target

LARGEST_THRESHOLD = (1 << 17) - 1
LARGEST_MANTISSA = (1 << 12) - 1
LARGEST_BIAS_EXPONENT = 7
LARGEST_WEIGHT_EXPONENT = 7
UNITY = 4096


def weight_steps(bits: int) -> tuple[int, int]:
    """Return the step between two weights of so many bits, their sign included, and the largest."""
    step = 1 << 9 - bits
    return step, (1 << 8) - step


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """A population and what drives it, as integers, and what that lost.

    Args:
        population: in registers.
        connections: its inputs.
        scale: S.
        clipped_weights: share of the weights that were too large.
        weight_error: root mean square of ``w_int / S - w``, over that of w.
    """

    population: Population
    connections: tuple[Connection, ...]
    scale: float
    clipped_weights: float
    weight_error: float


def check_expressible(graph: FloatGraph, target: Target) -> None:
    """Refuse by name what the target's neurons cannot do.

    Raises:
        UsageError: it names the population, and what to train with instead.
    """
    for name, population in graph.populations.items():
        neuron = population.neuron
        if neuron.soft_reset and neuron.threshold is not None and not target.microcode:
            raise UsageError(
                f"{name}: a spike subtracts the threshold, and {target.name} sets the potential "
                'to zero. Train with model.reset = "hard", or export for loihi2-microcode.'
            )
        if np.any(neuron.current_decay) and np.any(population.bias):
            raise UsageError(
                f"{name}: a bias that passes through a synaptic current has no register; a chip "
                "adds it to the potential. Train these neurons without bias, or with lif."
            )
        for label, decay in (("current", neuron.current_decay), ("voltage", neuron.voltage_decay)):
            if np.any(decay < 0) or np.any(decay > 1):
                raise UsageError(f"{name}: a {label} decay is not between 0 and 1.")
        if np.any(np.rint(UNITY * (1 - neuron.voltage_decay)) >= UNITY):
            raise UsageError(
                f"{name}: a potential that keeps nothing from one step to the next needs a decay "
                "of 4096; a register of 12 bits holds 4095. Train with a larger tau."
            )
        if np.any(np.rint(UNITY * (1 - neuron.current_decay)) < 1):
            raise UsageError(
                f"{name}: a current that never decays does not fit: each step loses 1/4096 of it "
                "at least. Train with a finite time constant of the current."
            )


def exponent_range(graph: FloatGraph, name: str, speech: Mapping[str, Messages]) -> int:
    """Return how many more powers of two the weights of one input need than those of another."""
    peaks = [peak for each in graph.inputs_of(name) if (peak := _peak(graph, each, speech)) > 0]
    if not peaks:
        raise UsageError(f"{name}: all its weights are zero; nothing drives it.")
    return min(int(np.log2(max(peaks) / min(peaks))), LARGEST_WEIGHT_EXPONENT)


def exact_fullness(
    graph: FloatGraph, name: str, speech: Mapping[str, Messages], weight_bits: int = 8
) -> float | None:
    """Return the fullness at which no weight is rounded, if all are multiples of the least one."""
    weights = [np.abs(_per_message(graph, each, speech).weight) for each in graph.inputs_of(name)]
    least = min(float(each[each > 0].min(initial=np.inf)) for each in weights)
    multiples = [each / least for each in weights]
    most = max(float(each.max(initial=0)) for each in multiples)
    fractions = max(float(np.abs(each - np.rint(each)).max(initial=0)) for each in multiples)
    step, largest = weight_steps(weight_bits)
    if fractions > 1e-6 or most > largest // step:
        return None
    return int(largest / step / most) * step * most / largest


def quantise_layer(
    graph: FloatGraph,
    name: str,
    *,
    speech: Mapping[str, Messages],
    fullness: float,
    bias_exponent: int | None = None,
    exponents: int = 0,
    ties: bool = False,
    weight_bits: int = 8,
) -> Layer | None:
    """Return a population and its inputs in registers, one synapse away from what drives it.

    Args:
        graph: where the population is.
        name: its name.
        speech: how the sources speak.
        fullness: how far the largest weight fills its bits; above 1, large ones are clipped
            so that small ones keep more of theirs. S is moved to the nearest at which the
            threshold is a whole number.
        ties: whether potentials that should just reach the threshold do so from below, as sums of
            rounded weights; for neurons that fire at it.
        bias_exponent: of the bias; the smallest that fits if left out.
        exponents: by how many powers of two the weights of the weaker inputs may be finer.
        weight_bits: of a weight, its sign included.

    Returns:
        None where a threshold or a bias does not fit its register at that scale.
    """
    population, connections = graph.populations[name], graph.inputs_of(name)
    neuron = population.neuron
    peaks = [_peak(graph, each, speech) for each in connections]
    finest = weight_steps(weight_bits)[1] / max(peaks) * fullness * 2**exponents
    scale, threshold = _threshold(neuron, finest, ties)
    bias = _bias(_whole_bias(graph, name, speech) * scale * (1 << STATE_SHIFT), bias_exponent)
    if bias is None or threshold.max() > LARGEST_THRESHOLD:
        return None
    drawn = []
    for each, peak in zip(connections, peaks, strict=True):
        finer = int(np.log2(max(peaks) / peak)) if peak > 0 else exponents
        exponent = max(exponents - finer, 0)
        drawn.append(_connection(graph, each, speech, scale, exponent, weight_bits))
    registers = Cuba(
        du=np.asarray(np.rint(UNITY * (1 - neuron.current_decay)) - 1, np.int32),
        dv=np.asarray(np.rint(UNITY * (1 - neuron.voltage_decay)), np.int32),
        vth=threshold,
        bias_mant=bias[0],
        bias_exp=np.asarray(bias[1], np.int32),
        start=1,
    )
    soft = neuron.soft_reset and neuron.threshold is not None
    lost = np.array([each.lost for each in drawn]).sum(0)
    return Layer(
        population=Population(
            name=name,
            shape=population.shape,
            neuron=SoftReset(registers) if soft else registers,
        ),
        connections=tuple(each.connection for each in drawn),
        scale=scale,
        clipped_weights=float(lost[0] / lost[1]),
        weight_error=float(np.sqrt(lost[2] / lost[3])),
    )


def _threshold(neuron: FloatNeuron, scale: float, ties: bool) -> tuple[float, Integers]:
    """Return the scale and the threshold in its units."""
    if neuron.threshold is None:
        return scale, np.asarray(LARGEST_THRESHOLD, np.int32)
    least = (1.0 if ties else 1 / (1 << STATE_SHIFT)) if neuron.inclusive else 0.0
    if neuron.threshold.ndim == 0:
        whole = max(1, round(float(neuron.threshold) * scale - least))
        return (whole + least) / float(neuron.threshold), np.asarray(whole, np.int32)
    # compared before the cast: a threshold beyond 32 bits must not come back as a small one
    rounded = np.clip(np.rint(neuron.threshold * scale - least), 1, LARGEST_THRESHOLD + 1)
    return scale, rounded.astype(np.int32)


def _bias(states: Reals, exponent: int | None) -> tuple[Integers, int] | None:
    """Return mantissa and exponent of a bias in units of the state, if it fits."""
    largest = float(np.abs(states).max())
    if exponent is None:
        needed = largest / (LARGEST_MANTISSA + 0.5)
        exponent = max(0, math.ceil(math.log2(needed))) if needed > 1 else 0
    if exponent > LARGEST_BIAS_EXPONENT or np.rint(largest / 2**exponent) > LARGEST_MANTISSA:
        return None
    return np.asarray(np.rint(states / (1 << exponent)), np.int32), exponent


def _whole_bias(graph: FloatGraph, name: str, speech: Mapping[str, Messages]) -> Reals:
    """Return the bias, with what the silence of the sources stands for."""
    population = graph.populations[name]
    total: Reals = population.bias
    for each in graph.inputs_of(name):
        if each.source in speech and np.any(speech[each.source].offset):
            silence = np.broadcast_to(speech[each.source].offset, graph.shape(each.source))
            total = total + each.synapses.apply(silence).reshape(population.shape)
    return total


def _per_message(
    graph: FloatGraph, connection: FloatConnection, speech: Mapping[str, Messages]
) -> FloatSynapses:
    """Return the synapses for messages in place of what they stand for."""
    if connection.source not in speech:
        return connection.synapses
    unit = np.broadcast_to(speech[connection.source].unit, graph.shape(connection.source))
    return connection.synapses.scaled(unit)


def _peak(graph: FloatGraph, connection: FloatConnection, speech: Mapping[str, Messages]) -> float:
    return float(np.abs(_per_message(graph, connection, speech).weight).max(initial=0))


class _Drawn(NamedTuple):
    """A connection in registers, and what that lost: clipped weights, all weights, and the sums of
    squares of errors and of weights."""

    connection: Connection
    lost: tuple[int, int, float, float]


def _connection(
    graph: FloatGraph,
    connection: FloatConnection,
    speech: Mapping[str, Messages],
    scale: float,
    exponent: int,
    weight_bits: int,
) -> _Drawn:
    step, largest = weight_steps(weight_bits)
    synapses = _per_message(graph, connection, speech)
    wanted = synapses.weight * (scale / 2**exponent)
    nearest = step * np.rint(wanted / step)
    weight = np.clip(nearest, -largest, largest)
    made = Connection(
        source=connection.source,
        target=connection.target,
        synapses=_with_weight(synapses, weight.astype(np.int32)),
        delay=np.asarray(connection.delay, np.int32),
        weight_exponent=exponent,
    )
    unit = 2**exponent / scale
    errors, squares = ((weight - wanted) * unit) ** 2, (wanted * unit) ** 2
    clipped = int(np.count_nonzero(weight != nearest))
    return _Drawn(made, (clipped, weight.size, float(errors.sum()), float(squares.sum())))


def _with_weight(synapses: FloatSynapses, weight: Integers) -> Synapses:
    if isinstance(synapses, FloatConvolution):
        return Convolution(
            weight=weight,
            stride=synapses.stride,
            padding=synapses.padding,
            dilation=synapses.dilation,
            groups=synapses.groups,
        )
    return Dense(weight=weight)
