"""How far spikes travel between the cores of a placed network.

A neuron sends one message for each of its output axons when it spikes; a message crosses
``|x - x'| + |y - y'|`` tile borders. Spikes from outside are not counted: where they enter is not
known.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuro.errors import UsageError
from neuro.hardware.axons import afferents
from neuro.hardware.blocks import Block
from neuro.hardware.cores import ChipLayout
from neuro.hardware.integer_graph import IntegerGraph
from neuro.hardware.synapse_memory import Indices


@dataclass(frozen=True)
class Messages:
    """What spikes made of a connection.

    Args:
        sent: messages.
        hops_east_west: tile borders they crossed to the side.
        hops_north_south: and up or down.
        within_tile: messages that crossed none.
        across_chips: messages that left their chip.
    """

    sent: float
    hops_east_west: float
    hops_north_south: float
    within_tile: float
    across_chips: float


@dataclass(frozen=True)
class Route:
    """The output axons of a connection between populations.

    Args:
        source: population they leave.
        target: population they reach.
        axons: how many there are.
        mean_hops: tile borders an axon crosses.
        most_hops: of any of them.
        across_chips: axons that leave their chip.
        messages: what the spikes that were given made of them; None if none were.
    """

    source: str
    target: str
    axons: int
    mean_hops: float
    most_hops: int
    across_chips: int
    messages: Messages | None

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return asdict(self)


def routes(
    graph: IntegerGraph,
    blocks: Sequence[tuple[int, Block]],
    layout: ChipLayout,
    core_of: Mapping[str, Indices],
    spikes: Mapping[str, NDArray[Any]] | None = None,
) -> tuple[Route, ...]:
    """Return the route of every connection between populations.

    Args:
        graph: the network.
        blocks: core and block, of all.
        layout: of the chip.
        core_of: by population, the core of each neuron in C order.
        spikes: by population, how often each neuron spiked.

    Raises:
        UsageError: spikes of what is no population, or of another shape.
    """
    counts = None if spikes is None else _flat(graph, spikes)
    found = []
    for connection in graph.connections:
        if connection.source in graph.sources:
            continue
        synapses = afferents(graph, connection, keeps_kernels=False)
        reached = (
            (core, synapses.reached_by(block.start, block.stop))
            for core, block in blocks
            if block.population == connection.target
        )
        rate = None if counts is None else counts[connection.source]
        legs = _legs(reached, core_of[connection.source], rate)
        found.append(_route(connection.source, connection.target, legs, layout, rate is not None))
    return tuple(found)


def _flat(
    graph: IntegerGraph, spikes: Mapping[str, NDArray[Any]]
) -> dict[str, NDArray[np.float64]]:
    for name in spikes:
        if name not in graph.populations:
            raise UsageError(f"spikes of {name!r}, which is no population.")
    senders = {each.source for each in graph.connections} & graph.populations.keys()
    counts = {}
    for name in senders:
        if name not in spikes:
            raise UsageError(f"spikes of {name!r} are missing; give them for every population.")
        given = np.asarray(spikes[name], np.float64)
        if given.shape != graph.shape(name):
            raise UsageError(
                f"spikes of {name!r} are of shape {given.shape}, expected {graph.shape(name)}."
            )
        counts[name] = given.reshape(-1)
    return counts


def _legs(
    reached: Iterator[tuple[int, Indices]],
    core_of: Indices,
    rate: NDArray[np.float64] | None,
) -> NDArray[np.float64]:
    """Return rows of (core from, core to, axons, messages)."""
    rows = []
    for target, neurons in reached:
        cores = core_of[neurons]
        axons = np.bincount(cores)
        sent = axons if rate is None else np.bincount(cores, weights=rate[neurons])
        origins = np.flatnonzero(axons)
        rows.append(
            np.stack(
                [origins, np.full(len(origins), target), axons[origins], sent[origins]], axis=1
            ).astype(np.float64)
        )
    return np.concatenate(rows) if rows else np.zeros((0, 4))


def _route(
    source: str, target: str, legs: NDArray[np.float64], layout: ChipLayout, spiking: bool
) -> Route:
    ends = legs[:, :2].astype(np.int64)
    known, place = np.unique(ends, return_inverse=True)
    tiles = np.array([layout.tile(core) for core in known], np.int64).reshape(-1, 2)
    chips = np.array([layout.chip(core) for core in known], np.int64)
    place = place.reshape(-1, 2)
    east_west, north_south = np.abs(tiles[place[:, 0]] - tiles[place[:, 1]]).T
    crosses = chips[place[:, 0]] != chips[place[:, 1]]
    hops, (axons, sent) = east_west + north_south, legs[:, 2:].T
    total = axons.sum()
    return Route(
        source=source,
        target=target,
        axons=int(total),
        mean_hops=float(axons @ hops / total) if total else 0.0,
        most_hops=int(hops.max(initial=0)),
        across_chips=int(axons @ crosses),
        messages=Messages(
            sent=float(sent.sum()),
            hops_east_west=float(sent @ east_west),
            hops_north_south=float(sent @ north_south),
            within_tile=float(sent @ (hops == 0)),
            across_chips=float(sent @ crosses),
        )
        if spiking
        else None,
    )
