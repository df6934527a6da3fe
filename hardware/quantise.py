"""A float graph and samples become an integer graph, with an account of what that lost.

Every synapse takes a step: a population whose longest path from a source has n synapses does at
step t + n what it did at t, and shorter paths get delays that make up for it.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuro.errors import UsageError
from neuro.hardware.calibration import Calibration, Chosen, choose
from neuro.hardware.fixed_point import Extremes, worst_case_inputs
from neuro.hardware.float_graph import FloatGraph
from neuro.hardware.integer_graph import (
    DECAY_BITS,
    STATE_SHIFT,
    WIDTH,
    Connection,
    IntegerGraph,
    Population,
    Source,
)
from neuro.hardware.messages import Messages
from neuro.hardware.microcode import with_registers
from neuro.hardware.registers import check_expressible
from neuro.hardware.targets import Target

LARGEST_DELAY = 62


@dataclass(frozen=True, kw_only=True)
class LayerReport:
    """What quantising a population lost, and how full its registers are.

    Args:
        name: of the population.
        scale: units of weights per unit of the float potential.
        disagreement: with the float network on the samples, see
            :class:`neuro.hardware.calibration.Chosen`.
        clipped_weights: share of its weights that were cut to eight bits.
        weight_error: root mean square of what its weights differ by, over that of the weights.
        largest_input: most that arrived in a step on the samples, in units of weights.
        worst_input: most that could ever arrive.
        largest_u, largest_v: largest current and potential on the samples, of 2^23.
        worst_u: largest current that could ever be.
        may_overflow: whether the worst case would overflow a register; the samples did not.
        tried: scales that were run.
    """

    name: str
    scale: float
    disagreement: float
    clipped_weights: float
    weight_error: float
    largest_input: int
    worst_input: int
    largest_u: int
    worst_u: int
    largest_v: int
    may_overflow: bool
    tried: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Quantised:
    """An integer graph, and what it lost by layer."""

    graph: IntegerGraph
    layers: tuple[LayerReport, ...]


def quantise(
    graph: FloatGraph,
    target: Target,
    calibration: Calibration,
    *,
    timesteps: int,
    metadata: Mapping[str, Any] | None = None,
) -> Quantised:
    """Quantise a network for a chip.

    Args:
        graph: the network.
        target: the chip.
        calibration: samples, a few hundred of the training set.
        timesteps: for which an input lasts; the steps it takes to the output are added.
        metadata: to be kept with the integer graph, JSON.

    Raises:
        UsageError: something that the chip's neurons, synapses or registers cannot hold.
    """
    check_expressible(graph, target)
    _check_samples(graph, calibration)
    speech: dict[str, Messages] = {}
    sent: dict[str, NDArray[np.int8]] = {}
    chosen: dict[str, Chosen] = {}
    for name in graph.populations:
        chosen[name] = choose(graph, name, target, calibration, sent, speech)
        speech |= chosen[name].speech
        sent[name] = chosen[name].spikes
    depth = depths(graph)
    made = IntegerGraph(
        sources={
            name: Source(name=name, shape=source.shape, message_bits=speech[name].bits)
            for name, source in graph.sources.items()
        },
        populations={
            name: _started(each.layer.population, depth[name]) for name, each in chosen.items()
        },
        connections=tuple(
            _balanced(connection, depth)
            for each in chosen.values()
            for connection in each.layer.connections
        ),
        output=graph.output,
        decoding=graph.decoding,
        steps=timesteps + depth[graph.output],
        metadata={
            **(metadata or {}),
            "target": target.name,
            "weight_bits": target.weight_bits,
            "timesteps": timesteps,
            "depths": {name: depth[name] for name in chosen},
            "messages": {name: each.to_json() for name, each in speech.items()},
            "scales": {name: each.layer.scale for name, each in chosen.items()},
        },
    )
    layers = report(
        made,
        target,
        {name: each.extremes for name, each in chosen.items()},
        {
            name: {
                "disagreement": each.disagreement,
                "clipped_weights": each.layer.clipped_weights,
                "weight_error": each.layer.weight_error,
                "tried": each.tried,
            }
            for name, each in chosen.items()
        },
    )
    return Quantised(
        graph=replace(
            made,
            metadata={**made.metadata, "quantisation": [asdict(layer) for layer in layers]},
        ),
        layers=layers,
    )


def depths(graph: FloatGraph) -> dict[str, int]:
    """Return the number of synapses on the longest path from a source to each population."""
    found = dict.fromkeys(graph.sources, 0)
    for name in graph.populations:
        found[name] = 1 + max((found[each.source] for each in graph.inputs_of(name)), default=0)
    return found


def _check_samples(graph: FloatGraph, calibration: Calibration) -> None:
    for name, source in graph.sources.items():
        if name not in calibration.inputs:
            raise UsageError(f"calibration has no samples for {name!r}.")
        if calibration.inputs[name].shape[2:] != source.shape:
            raise UsageError(
                f"calibration has samples of shape {calibration.inputs[name].shape} for {name!r}; "
                f"expected [T, B, *{source.shape}]."
            )
    missing = graph.populations.keys() - calibration.answers.keys()
    if missing:
        raise UsageError(f"calibration does not say what {sorted(missing)[0]!r} answers.")


def _started(population: Population, depth: int) -> Population:
    """Return neurons that begin with their first input, for which only a bias would not wait."""
    neuron = population.neuron
    registers = replace(neuron.registers, start=depth if neuron.registers.bias.any() else None)
    return replace(population, neuron=with_registers(neuron, registers))


def _balanced(connection: Connection, depth: Mapping[str, int]) -> Connection:
    """Return a connection with the delay that makes up for a path with fewer synapses."""
    late = depth[connection.target] - depth[connection.source] - 1
    delay = int(connection.delay) + late
    if delay > LARGEST_DELAY:
        raise UsageError(
            f"from {connection.source} to {connection.target}: a delay of {delay} steps, {late} of "
            f"which make up for a path with more synapses; a chip holds {LARGEST_DELAY}."
        )
    return replace(connection, delay=np.asarray(delay, np.int32))


def report(
    graph: IntegerGraph,
    target: Target,
    extremes: Mapping[str, Extremes],
    losses: Mapping[str, Mapping[str, Any]],
) -> tuple[LayerReport, ...]:
    """Return how full registers are, beside what is known of each population already.

    Args:
        graph: quantised, with its scales.
        target: the chip.
        extremes: what registers had to hold on samples.
        losses: the fields of the report that tell what quantising lost.
    """
    worst = worst_case_inputs(graph)
    bits = target.accumulator_bits
    rows = []
    for name, found in extremes.items():
        slowest = int(graph.populations[name].neuron.registers.du.min()) + 1
        worst_u = (worst[name] << STATE_SHIFT) * (1 << DECAY_BITS) // slowest
        rows.append(
            LayerReport(
                name=name,
                scale=graph.metadata["scales"][name],
                largest_input=found.largest_input,
                worst_input=worst[name],
                largest_u=found.largest_u,
                worst_u=worst_u,
                largest_v=found.largest_v,
                may_overflow=worst_u >= 1 << (WIDTH - 1)
                or (bits is not None and worst[name] >= 1 << bits),
                **losses[name],
            )
        )
    return tuple(rows)
