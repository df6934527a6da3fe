"""Graphs that are a chain of layers, as netx takes them."""

from dataclasses import dataclass

import numpy as np

from neuro.errors import UsageError
from neuro.hardware.integer_graph import (
    Connection,
    Dense,
    IntegerGraph,
    Integers,
    Population,
    Sparse,
)
from neuro.hardware.lava.validate import divisible


@dataclass(frozen=True, eq=False, kw_only=True)
class Layer:
    """A population, what drives it, and what it sends to itself."""

    population: Population
    forward: Connection
    recurrent: Connection | None


def layers(graph: IntegerGraph) -> list[Layer]:
    """Return the layers of a graph from source to output.

    Raises:
        UsageError: it is no chain, and netx reads nothing else.
    """
    if len(graph.sources) != 1:
        raise UsageError(f"netx reads one source; the graph has {sorted(graph.sources)}.")
    (name,) = graph.sources
    found: list[Layer] = []
    while True:
        onward = [each for each in graph.connections if name == each.source != each.target]
        if not onward:
            break
        forward = onward[0]
        name = forward.target
        arriving = graph.inputs_of(name)
        recurrent = [each for each in arriving if each.source == name]
        if len(onward) > 1 or len(arriving) - len(recurrent) > 1 or len(recurrent) > 1:
            raise UsageError(
                f"netx reads a chain of layers, but {forward.source!r} and {name!r} are joined "
                "with more than each other. Run the graph in Lava itself, or use its own file."
            )
        population = graph.populations[name]
        found.append(
            Layer(
                population=population,
                forward=forward,
                recurrent=recurrent[0] if recurrent else None,
            )
        )
    if len(found) != len(graph.populations) or name != graph.output:
        raise UsageError(
            "netx reads a chain of layers that ends in the output; this one goes over "
            f"{len(found)} of {len(graph.populations)} populations to {name!r}."
        )
    return found


def network_options(graph: IntegerGraph, steps: int) -> dict[str, int]:
    """Return what ``lava.lib.dl.netx.hdf5.Network`` must be told beside the file.

    A file knows no resets and no graded input: ``reset_interval`` and ``reset_offset`` zero each
    layer where its ``start`` says, ``input_message_bits`` is that of the source.
    """
    (source,) = graph.sources.values()
    options = {"input_message_bits": source.message_bits} if source.message_bits else {}
    chain = layers(graph)
    first = chain[0].population.cuba
    if first.start is not None:
        beyond = steps + first.start + len(chain) + 1
        options["reset_interval"] = first.interval or beyond
        options["reset_offset"] = first.start
    return options


def folded(connection: Connection) -> Connection | None:
    """Return the connection with exponent 0 and the same effect; None if there is none."""
    exponent = connection.weight_exponent
    if not divisible(connection):
        return None
    synapses = connection.synapses
    weight = synapses.weight.astype(np.int32)
    weight = weight << exponent if exponent > 0 else weight >> -exponent
    fields = {**vars(synapses), "weight": weight}
    return Connection(
        source=connection.source,
        target=connection.target,
        synapses=type(synapses)(**fields),
        delay=connection.delay,
    )


def matrix(connection: Connection, graph: IntegerGraph) -> tuple[Integers, Integers]:
    """Return weights and delays ``[targets, sources]`` of dense or sparse synapses.

    Raises:
        UsageError: more than one synapse joins two neurons.
    """
    whole = folded(connection)
    synapses = (whole or connection).synapses
    delay = connection.delay
    if isinstance(synapses, Dense):
        return synapses.weight, np.broadcast_to(delay, synapses.weight.shape)
    assert isinstance(synapses, Sparse)
    shape = (len(synapses.starts) - 1, int(np.prod(graph.shape(connection.source))))
    targets = np.repeat(np.arange(shape[0]), np.diff(synapses.starts))
    flat = targets * shape[1] + synapses.sources
    if len(np.unique(flat)) < len(flat):
        raise UsageError("more than one synapse joins two neurons, and a matrix has but one place.")
    weight, delays = np.zeros((2, *shape), np.int32)
    weight[targets, synapses.sources] = synapses.weight
    delays[targets, synapses.sources] = delay
    return weight, delays
