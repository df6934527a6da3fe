"""A graph without graphs in it: nested ones are put in place, and loops are cut for stepping."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from neuro.errors import DataError, UsageError

Edge = tuple[str, str]


@dataclass(frozen=True)
class FlatGraph:
    """Nodes that are primitives, by name.

    A nested graph ``outer`` leaves its nodes as ``outer.inner``; edges into it go to its Input, and
    edges out of it leave its Output, which stay as nodes that add up what they hear.
    """

    nodes: dict[str, nir.NIRNode]
    edges: list[Edge]
    input: str
    output: str
    metadata: Mapping[str, Any]

    def sources(self, name: str) -> list[str]:
        """Return the nodes with an edge into this one, in the order of edges."""
        return [source for source, target in self.edges if target == name]

    def readers(self, name: str) -> list[str]:
        """Return the nodes that this one has an edge to."""
        return [target for source, target in self.edges if source == name]


def flatten(graph: nir.NIRGraph) -> FlatGraph:
    """Put nested graphs in place and check that the whole is one graph of one input and output.

    Raises:
        DataError: an edge of a node that is not there, twice the same edge, or a graph without
            exactly one Input and one Output.
    """
    nodes: dict[str, nir.NIRNode] = {}
    edges: list[Edge] = []
    start, end = _inline(graph, "", nodes, edges)
    return FlatGraph(nodes, edges, start, end, graph.metadata)


def _inline(
    graph: nir.NIRGraph, prefix: str, nodes: dict[str, nir.NIRNode], edges: list[Edge]
) -> tuple[str, str]:
    """Add a graph's nodes and edges; return the names of its Input and Output."""
    where = f"graph {prefix[:-1]!r}" if prefix else "the graph"
    ends: dict[str, Edge] = {}
    for name, node in graph.nodes.items():
        full = f"{prefix}{name}"
        if isinstance(node, nir.NIRGraph):
            ends[name] = _inline(node, f"{full}.", nodes, edges)
        else:
            if full in nodes:
                raise DataError(f"two nodes are called {full!r}.")
            nodes[full] = node
            ends[name] = (full, full)
    seen: set[Edge] = set()
    for edge in graph.edges:
        source, target = edge
        for name in edge:
            if name not in ends:
                raise DataError(f"{where} has an edge of {name!r}, a node that is not there.")
        if (source, target) in seen:
            raise DataError(f"{where} has the edge {source!r} -> {target!r} twice.")
        seen.add((source, target))
        edges.append((ends[source][1], ends[target][0]))
    found = []
    for kind in (nir.Input, nir.Output):
        named = [name for name, node in graph.nodes.items() if type(node) is kind]
        if len(named) != 1:
            raise DataError(
                f"{where} has {len(named)} {kind.__name__} nodes"
                + (f" ({', '.join(named)})" if named else "")
                + "; expected one."
            )
        found.append(prefix + named[0])
    return found[0], found[1]


def parameter(node: nir.NIRNode, name: str) -> np.ndarray[Any, Any]:
    """Return a parameter of a node in double precision, whatever kind of array holds it."""
    return np.asarray(getattr(node, name), np.float64)


@dataclass(frozen=True)
class Schedule:
    """In which order one time step visits nodes.

    Attributes:
        order: nodes, each after what it reads, but for late edges.
        late: edges whose source is read as it was after the step before (0 at first).
        early: Delay nodes in loops: their output is known before their input.
    """

    order: tuple[str, ...]
    late: frozenset[Edge]
    early: frozenset[str]


def schedule(graph: FlatGraph, delayed: frozenset[str]) -> Schedule:
    """Order the nodes, cutting each loop once.

    A loop through a Delay of at least one step takes that delay and no more. Any other takes one
    step: an edge back into the node of the loop that signals from the Input reach first carries the
    value of the step before.

    Args:
        graph: what to order.
        delayed: its Delay nodes whose every delay is at least one step.

    Raises:
        UsageError: a node that the Input does not reach, directly or through others.
    """
    loops = _loops(graph)
    early = frozenset(name for name in delayed if name in loops)
    order: list[str] = []
    late: set[Edge] = set()
    state: dict[str, str] = {}
    readers: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        readers[source].append(target)
    # A node is placed once all that reads it is; an edge to one being visited closes a loop. What
    # a Delay in a loop sends begins a walk of its own.
    for root in (graph.input, *sorted(early)):
        if root in state:
            continue
        state[root] = "open"
        stack = [(root, iter(readers[root]))]
        while stack:
            name, rest = stack[-1]
            reader = next(rest, None)
            if reader is None:
                stack.pop()
                state[name] = "placed"
                order.append(name)
            elif reader in early:
                continue
            elif state.get(reader) == "open":
                late.add((name, reader))
            elif reader not in state:
                state[reader] = "open"
                stack.append((reader, iter(readers[reader])))
    missing = [name for name in graph.nodes if name not in state]
    if missing:
        raise UsageError(
            f"node {missing[0]!r} is not reached from the Input {graph.input!r}; what drives "
            "itself has no place here. Take it out of the graph."
        )
    order.reverse()
    # Delays known beforehand come first, for what they feed may stand anywhere.
    order = [name for name in order if name in early] + [n for n in order if n not in early]
    return Schedule(tuple(order), frozenset(late), early)


def _loops(graph: FlatGraph) -> set[str]:
    """Return the nodes that lie on a loop."""
    readers: dict[str, list[str]] = {name: [] for name in graph.nodes}
    for source, target in graph.edges:
        readers[source].append(target)
    found = set()
    for name in graph.nodes:
        reached: set[str] = set()
        waiting = list(readers[name])
        while waiting:
            each = waiting.pop()
            if each not in reached:
                reached.add(each)
                waiting += readers[each]
        if name in reached:
            found.add(name)
    return found
