"""For ``norse.torch.from_nir(graph, dt=...)``; its default dt is 1e-3, so pass the file's.

norse takes ``r`` of LIF for 1 and that of IF for ``1/dt``, resets to 0, and leaves out what it does
not know (average pools, delays, integrators) without a word. It flattens the batch along with the
rest: run one sample at a time. Nodes run in the order in which a walk along the edges first meets
them, so that of two branches that join again, the join would run before the second one.
"""

from itertools import pairwise

import nir
import numpy as np

from neuro.hardware.nir.dialects.base import (
    Dialect,
    full_gain,
    hard_reset,
    longer_than_step,
    no_groups,
    no_leak_potential,
    no_reset_potential,
    refuse,
    unit_gain,
    unpadded_sums,
)
from neuro.hardware.nir.flat import flatten, parameter, schedule

PASSING = (nir.Flatten, nir.SumPool2d)
WEIGHTED = (nir.Linear, nir.Affine, nir.Conv1d, nir.Conv2d)


def sums_for_averages(graph: nir.NIRGraph, dt: float) -> None:
    """Turn averages into sums, their ``1/k`` into the weights after them.

    Where it cannot go there (other readers, other inputs), the average becomes a convolution of
    each channel with itself.
    """
    for name, node in list(graph.nodes.items()):
        if not isinstance(node, nir.AvgPool2d):
            continue
        area = int(np.prod(np.broadcast_to(node.kernel_size, 2)))
        target = _weights_after(graph, name)
        if target is None or np.any(np.asarray(node.padding)):
            graph.nodes[name] = _convolution(node)
            continue
        weights = graph.nodes[target]
        weights.weight = (parameter(weights, "weight") / area).astype(weights.weight.dtype)
        weights.metadata.pop("factor", None)
        pair = {key: np.broadcast_to(getattr(node, key), 2).copy() for key in _POOL}
        total = nir.SumPool2d(**pair, metadata=node.metadata)
        total.input_type, total.output_type = node.input_type, node.output_type
        graph.nodes[name] = total


_POOL = ("kernel_size", "stride", "padding")


def _weights_after(graph: nir.NIRGraph, name: str) -> str | None:
    """Return the synapse that alone hears a node, past what only moves or adds numbers."""
    path = [name]
    while True:
        readers = [target for source, target in graph.edges if source == path[-1]]
        if len(readers) != 1:
            return None
        path.append(readers[0])
        if sum(target == path[-1] for _, target in graph.edges) != 1:
            return None
        if isinstance(graph.nodes[path[-1]], WEIGHTED):
            return path[-1]
        if not isinstance(graph.nodes[path[-1]], PASSING):
            return None
        assert all(a != b for a, b in pairwise(path))


def _convolution(pool: nir.AvgPool2d) -> nir.Conv2d:
    """Return the average as a convolution; only equal channels are connected."""
    channels, *sides = (int(each) for each in pool.input_type["input"])
    height, width = (int(each) for each in np.broadcast_to(pool.kernel_size, 2))
    weight = np.zeros((channels, channels, height, width), np.float32)
    weight[range(channels), range(channels)] = 1 / (height * width)
    return nir.Conv2d(
        input_shape=tuple(sides),
        weight=weight,
        stride=tuple(int(each) for each in np.broadcast_to(pool.stride, 2)),
        padding=tuple(int(each) for each in np.broadcast_to(pool.padding, 2)),
        dilation=(1, 1),
        groups=1,
        bias=np.zeros(channels, np.float32),
        metadata=pool.metadata,
    )


def order_edges(graph: nir.NIRGraph, dt: float) -> None:
    """Sort the edges so that a walk along them, depth first, meets the Output last."""
    flat = flatten(graph)
    order = [name for name in schedule(flat, frozenset()).order if name != flat.output]
    place = {name: number for number, name in enumerate([*order, flat.output])}
    graph.edges = sorted(graph.edges, key=lambda edge: (place[edge[0]], place[edge[1]]))


def runs_in_order(graph: nir.NIRGraph) -> str | None:
    """Refuse graphs in which the reader would run a node before what it reads."""
    flat = flatten(graph)
    late = schedule(flat, frozenset()).late
    met: dict[str, int] = {}
    waiting = [flat.input]
    while waiting:
        name = waiting.pop()
        if name not in met:
            met[name] = len(met)
            waiting += reversed(flat.readers(name))
    for source, target in flat.edges:
        if (met[source] < met[target]) == ((source, target) in late):
            return (
                f"node {target!r} joins branches, and the reader would run it before {source!r}, "
                "on what that sent a step earlier"
            )
    if met[flat.output] != len(met) - 1:
        return f"the reader would take the Output to be {max(met, key=lambda each: met[each])!r}"
    return None


NORSE = Dialect(
    name="norse",
    description="norse 1.1: resets to 0, leaks to 0, no delays; pass dt to its from_nir",
    rewrites=(unit_gain, sums_for_averages, order_edges),
    checks=(
        no_leak_potential,
        no_reset_potential,
        hard_reset,
        full_gain,
        longer_than_step,
        no_groups,
        unpadded_sums,
        refuse((nir.Delay,), "the reader ignores delays"),
        refuse((nir.LI, nir.I, nir.CubaLI), "the reader computes integrators otherwise, or not"),
        refuse((nir.Scale, nir.Threshold, nir.Conv1d), "the reader leaves it out"),
    ),
    graph_checks=(runs_in_order,),
)
