"""A network as populations joined by linear synapses: everything a chip has no word for is folded.

Weight standardisation, input gains, the scale of spikes, pooling, flattening and residual sums
become weights, biases and several connections into one population.
"""

import copy
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from neuro.errors import UsageError
from neuro.export.folding import Link, fold
from neuro.hardware.float_graph import (
    FloatConnection,
    FloatGraph,
    FloatNeuron,
    FloatPopulation,
    FloatSource,
    Reals,
)
from neuro.layers import (
    INPUT,
    Add,
    Delay,
    LinearMap,
    Network,
    ReadoutIntegrator,
    Spiking,
    Synapse,
)
from neuro.neurons import IF, LIF, AlphaLIF, CubaLIF, Dynamics, LeakyIntegrator, Neuron, Scalar


class Flow(NamedTuple):
    """What reaches a node from a source or a spiking layer."""

    origin: str
    chain: tuple[Link, ...]
    gain: float
    delay: int


class Value(NamedTuple):
    """A node's output: a sum of flows and a constant, ``[1, *shape]`` or None."""

    flows: tuple[Flow, ...]
    constant: Tensor | None


@torch.no_grad()
def float_graph(
    network: Network, *, grain: Reals | None = None, offset: Reals | None = None
) -> FloatGraph:
    """Return a network with one linear map between any two layers.

    Args:
        network: left as it is.
        grain: inputs are ``offset`` plus whole numbers of these, where that is known.
        offset: what an input of 0 spikes stands for.

    Raises:
        UsageError: a layer that Loihi's neurons and synapses do not have; the message names it and
            what to train with instead.
    """
    network = copy.deepcopy(network).cpu().double()
    values: dict[str, Value] = {INPUT: Value((Flow(INPUT, (), 1.0, 0),), None)}
    populations: dict[str, FloatPopulation] = {}
    connections: list[FloatConnection] = []
    shapes = {INPUT: network.input_shape, **network.shapes}

    def settle(name: str, value: Value, neuron: FloatNeuron, gain: Reals) -> None:
        """Make a population of what ends in its neurons."""
        bias = np.zeros(()) if value.constant is None else value.constant[0].numpy()
        shape = shapes[name]
        populations[name] = FloatPopulation(
            name=name, shape=shape, neuron=neuron, bias=compact(bias * gain)
        )
        for flow in value.flows:
            synapses = fold(flow.chain, flow.gain, shapes[flow.origin])
            connections.append(
                FloatConnection(
                    source=flow.origin,
                    target=name,
                    synapses=synapses.times(gain, shape),
                    delay=flow.delay,
                )
            )

    for name, module in network.nodes.items():
        sources = network.sources[name]
        inputs = [values[source] for source in sources]
        match module:
            case Spiking() as spiking:
                settle(name, inputs[0], *chip_neuron(name, spiking.neuron))
                values[name] = Value((Flow(name, (), spiking.scale, 0),), None)
            case ReadoutIntegrator() as readout if name == network.output:
                settle(name, inputs[0], *_integrator(readout.neuron))
            case Delay() as delay:
                values[name] = _delayed(name, delay.steps, inputs[0])
            case Add():
                values[name] = _added(inputs)
            case LinearMap() | Synapse():
                link = Link(name, module, shapes[sources[0]], shapes[name])
                values[name] = _mapped(link, inputs[0])
            case _:
                raise UsageError(
                    f"{name}: a chip has nothing for {type(module).__name__}; use synapses, "
                    "pooling, delays and spiking layers."
                )
    spikes = isinstance(network.nodes[network.output], Spiking)
    if network.output not in populations:
        summing = FloatNeuron(current_decay=np.zeros(()), voltage_decay=np.ones(()), threshold=None)
        settle(network.output, values[network.output], summing, np.ones(()))
    source = FloatSource(name=INPUT, shape=network.input_shape, grain=grain, offset=offset)
    return FloatGraph(
        sources={INPUT: source},
        populations=populations,
        connections=tuple(connections),
        output=network.output,
        decoding="spikes" if spikes else "potential",
    )


def _mapped(link: Link, value: Value) -> Value:
    flows = tuple(flow._replace(chain=(*flow.chain, link)) for flow in value.flows)
    biased = isinstance(link.module, Synapse) and link.module.bias is not None
    if value.constant is None and not biased:
        return Value(flows, None)
    before = value.constant
    if before is None:
        before = torch.zeros((1, *link.source), dtype=torch.float64)
    return Value(flows, link.module(before))


def _added(values: list[Value]) -> Value:
    flows = tuple(flow for value in values for flow in value.flows)
    constants = [value.constant for value in values if value.constant is not None]
    return Value(flows, sum(constants[1:], constants[0]) if constants else None)


def _delayed(name: str, steps: int, value: Value) -> Value:
    if steps and value.constant is not None and bool(value.constant.any()):
        raise UsageError(
            f"{name}: a delay after a bias delays the bias, too; put the delay before the synapse."
        )
    flows = tuple(flow._replace(delay=flow.delay + steps) for flow in value.flows)
    return Value(flows, value.constant)


def chip_neuron(name: str, neuron: Neuron[Any]) -> tuple[FloatNeuron, Reals]:
    """Return a neuron as a chip has it, and the gain of its input.

    Raises:
        UsageError: a chip has none like it.
    """
    if not _is_zero(neuron.reset_value):
        raise UsageError(
            f"{name}: neurons are reset to {neuron.reset_value}; a chip resets to 0. Train with "
            "reset_value = 0."
        )
    current: Scalar
    voltage: Scalar
    gain: Scalar
    # a subclass may have equations of its own
    if type(neuron) is LIF:
        current, voltage, gain = 0.0, neuron.decay, neuron.input_gain
    elif type(neuron) is IF:
        current, voltage, gain = 0.0, 1.0, neuron.input_gain
    elif type(neuron) is CubaLIF:
        current, voltage, gain = neuron.current_decay, neuron.voltage_decay, neuron.input_gain
    elif type(neuron) is AlphaLIF:
        current, voltage, gain = neuron.decay, neuron.decay, neuron.gain
    else:
        raise UsageError(
            f"{name}: {type(neuron).__name__} is no neuron of Loihi's: that holds a current, a "
            "potential and a fixed threshold. Train with lif or cuba_lif."
        )
    found = FloatNeuron(
        current_decay=_number(current),
        voltage_decay=_number(voltage),
        threshold=_number(neuron.threshold),
        soft_reset=neuron.reset_mode == "soft",
        inclusive=neuron.inclusive,
    )
    return found, _number(gain)


def _integrator(neuron: Dynamics[Any]) -> tuple[FloatNeuron, Reals]:
    """Return a read-out whose potential at the end is the sum of its own over the steps.

    The leak is that of the current; the potential adds the current up.
    """
    if not isinstance(neuron, LeakyIntegrator):
        raise UsageError(f"the read-out {type(neuron).__name__} is no leaky integrator.")
    summing = FloatNeuron(
        current_decay=_number(neuron.decay), voltage_decay=np.ones(()), threshold=None
    )
    return summing, _number(neuron.input_gain)


def _number(value: Scalar) -> Reals:
    return np.asarray(value.detach() if isinstance(value, Tensor) else value, np.float64)


def _is_zero(value: Scalar) -> bool:
    return not np.any(_number(value))


def compact(bias: Reals) -> Reals:
    """Return a bias as one number a channel, or one for all, where it is that."""
    if bias.ndim == 3 and np.array_equal(bias, np.broadcast_to(bias[:, :1, :1], bias.shape)):
        bias = bias[:, :1, :1]
    first = bias.reshape(-1)[0]
    return first.reshape(()) if np.all(bias == first) else bias
