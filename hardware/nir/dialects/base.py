"""A dialect: rewrites and checks over a graph, and those that several dialects share."""

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import nir
import numpy as np

from neuro.errors import UsageError
from neuro.hardware.nir.flat import flatten, parameter

Check = Callable[[nir.NIRNode, float], str | None]
"""Says what is wrong with a node at a time step, or None."""
GraphCheck = Callable[[nir.NIRGraph], str | None]
"""Says what is wrong with a graph, or None."""
Rewrite = Callable[[nir.NIRGraph, float], None]
"""Changes a graph, which is a copy, for a time step."""

SPIKING = (nir.LIF, nir.IF, nir.CubaLIF)
NEURONS = (*SPIKING, nir.LI, nir.I, nir.CubaLI)
SHOWN = 8
"""How many refusals a message lists."""


@dataclass(frozen=True, kw_only=True)
class Dialect:
    """What a reader needs.

    Attributes:
        name: as users give it.
        description: one line.
        dt: the one time step the reader knows, s; None where it takes any.
        nested: whether nested graphs stay; else their nodes are put in place.
        rewrites: in this order, before the checks.
        checks: of every node.
        graph_checks: of the whole.
        soft_reset: whether the reader subtracts thresholds at spikes.
        experimental: whether no run of its reader has been exact yet.
    """

    name: str
    description: str
    dt: float | None = None
    nested: bool = False
    rewrites: tuple[Rewrite, ...] = ()
    checks: tuple[Check, ...] = ()
    graph_checks: tuple[GraphCheck, ...] = ()
    soft_reset: bool = False
    experimental: bool = False

    def convert(self, graph: nir.NIRGraph, dt: float | None = None) -> nir.NIRGraph:
        """Return a copy of a graph in this dialect.

        Raises:
            UsageError: no ``dt``; or what the reader would get wrong, node by node.
        """
        noted = graph.metadata.get("dt")
        if dt is None and noted is None and (self.rewrites or self.checks):
            raise UsageError("the graph does not say how long a time step is; pass dt, in seconds.")
        step = float(dt if dt is not None else noted if noted is not None else 0.0)
        made = copy.deepcopy(graph) if self.nested else _flattened(graph)
        if self.dt is not None and step != self.dt:
            retime(made, step, self.dt)
            step = self.dt
        for rewrite in self.rewrites:
            rewrite(made, step)
        wrong = [*self._wrong(made, step)]
        if wrong:
            listed = "; ".join(wrong[:SHOWN])
            more = f"; and {len(wrong) - SHOWN} more" if len(wrong) > SHOWN else ""
            raise UsageError(f"{self.name} would get this graph wrong: {listed}{more}.")
        made.metadata = {**made.metadata, "target": self.name}
        if step:
            made.metadata["dt"] = step
        return made

    def _wrong(self, graph: nir.NIRGraph, dt: float) -> Iterator[str]:
        for graph_check in self.graph_checks:
            problem = graph_check(graph)
            if problem:
                yield problem
        for name, node in graph.nodes.items():
            if isinstance(node, nir.NIRGraph):
                yield from self._wrong(node, dt)
                continue
            for check in self.checks:
                problem = check(node, dt)
                if problem:
                    yield f"node {name!r} ({type(node).__name__}): {problem}"


def _flattened(graph: nir.NIRGraph) -> nir.NIRGraph:
    """Return a copy without nested graphs, their ends left out."""
    flat = flatten(graph)
    edges = list(flat.edges)
    ends = [
        name
        for name, node in flat.nodes.items()
        if isinstance(node, nir.Input | nir.Output) and name not in (flat.input, flat.output)
    ]
    for end in ends:
        before = [source for source, target in edges if target == end]
        after = [target for source, target in edges if source == end]
        kept = [edge for edge in edges if end not in edge]
        edges = kept + [(source, target) for source in before for target in after]
    nodes = {name: copy.deepcopy(node) for name, node in flat.nodes.items() if name not in ends}
    metadata = copy.deepcopy(dict(flat.metadata))
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata=metadata, type_check=False)


def retime(graph: nir.NIRGraph, before: float, after: float) -> None:
    """Make a graph do in steps of ``after`` what it did in steps of ``before``."""
    for node in graph.nodes.values():
        for name in ("tau", "tau_syn", "tau_mem", "delay"):
            if hasattr(node, name):
                setattr(node, name, _like(node, name, parameter(node, name) * after / before))
        if isinstance(node, nir.IF | nir.I):
            node.r = _like(node, "r", parameter(node, "r") * before / after)


def unit_gain(graph: nir.NIRGraph, dt: float) -> None:
    """Give spiking neurons the gain per step that readers expect, in another unit of potential.

    ``r = 1`` for LIF, ``1/dt`` for IF, ``tau_mem/dt`` and ``w_in = tau_syn/dt`` for CubaLIF. A
    potential ``k`` times larger has its threshold, reset and leak divided by ``k``.
    """
    for node in graph.nodes.values():
        if isinstance(node, nir.LIF):
            wanted = {"r": np.ones_like(parameter(node, "r"))}
        elif isinstance(node, nir.IF):
            wanted = {"r": np.full_like(parameter(node, "r"), 1 / dt)}
        elif isinstance(node, nir.CubaLIF):
            wanted = {"r": parameter(node, "tau_mem") / dt, "w_in": parameter(node, "tau_syn") / dt}
        else:
            continue
        factor = np.ones_like(parameter(node, "v_threshold"))
        for name, value in wanted.items():
            factor = factor * parameter(node, name) / value
        if np.allclose(factor, 1, rtol=1e-6, atol=0) or np.any(factor <= 0):
            continue
        for name, value in wanted.items():
            setattr(node, name, _like(node, name, value))
        for name in ("v_threshold", "v_reset", "v_leak"):
            if hasattr(node, name):
                setattr(node, name, _like(node, name, parameter(node, name) / factor))
        node.metadata.pop("input_gain", None)


def _like(node: nir.NIRNode, name: str, value: Any) -> np.ndarray[Any, Any]:
    """Return numbers in the precision that the node has."""
    kind = np.asarray(getattr(node, name)).dtype
    return np.asarray(value, kind if kind.kind == "f" else np.float64)


def refuse(kinds: tuple[type[Any], ...], why: str) -> Check:
    """Return a check that refuses nodes of these kinds."""

    def check(node: nir.NIRNode, dt: float) -> str | None:
        return why if isinstance(node, kinds) else None

    return check


def uniform(node: nir.NIRNode, dt: float) -> str | None:
    """Refuse neurons of one layer that differ."""
    if isinstance(node, NEURONS):
        for name in ("tau", "tau_syn", "tau_mem", "r", "w_in", "v_leak", "v_threshold", "v_reset"):
            values = parameter(node, name) if hasattr(node, name) else np.zeros(1)
            if np.any(values != values.flat[0]):
                return f"{name} differs from neuron to neuron; the reader takes one for all"
    return None


def no_leak_potential(node: nir.NIRNode, dt: float) -> str | None:
    """Refuse ``v_leak`` other than 0."""
    if hasattr(node, "v_leak") and np.any(parameter(node, "v_leak")):
        return "v_leak is not 0, which the reader computes otherwise"
    return None


def no_reset_potential(node: nir.NIRNode, dt: float) -> str | None:
    """Refuse ``v_reset`` other than 0."""
    if isinstance(node, SPIKING) and np.any(parameter(node, "v_reset")):
        return "v_reset is not 0, which the reader ignores or takes otherwise"
    return None


def hard_reset(node: nir.NIRNode, dt: float) -> str | None:
    """Refuse the subtractive reset that the metadata note."""
    if str(node.metadata.get("reset_mode", "hard")) != "hard":
        return "its reset is subtractive, the reader's is to a fixed potential"
    return None


def full_gain(node: nir.NIRNode, dt: float) -> str | None:
    """Refuse gains that could not be brought to what the reader expects."""
    if isinstance(node, SPIKING) and np.any(parameter(node, "r") <= 0):
        return "r is not above 0"
    return None


def longer_than_step(node: nir.NIRNode, dt: float) -> str | None:
    """Refuse time constants below a step."""
    for name in ("tau", "tau_syn", "tau_mem"):
        if hasattr(node, name) and np.any(parameter(node, name) < dt * (1 - 1e-6)):
            return f"{name} is shorter than the time step of {dt:g} s"
    return None


def no_groups(node: nir.NIRNode, dt: float) -> str | None:
    """Refuse convolutions in groups."""
    if isinstance(node, nir.Conv1d | nir.Conv2d) and int(node.groups) != 1:
        return "its channels are in groups; write the kernels of all channels"
    return None


def unpadded_sums(node: nir.NIRNode, dt: float) -> str | None:
    """Refuse sums over windows with zeros around."""
    if isinstance(node, nir.SumPool2d) and np.any(np.asarray(node.padding)):
        return "the reader ignores the padding of sums"
    return None


def no_loops(graph: nir.NIRGraph) -> str | None:
    """Refuse loops."""
    readers: dict[str, list[str]] = {}
    for source, target in graph.edges:
        readers.setdefault(source, []).append(target)
    for name in graph.nodes:
        reached: set[str] = set()
        waiting = list(readers.get(name, ()))
        while waiting:
            each = waiting.pop()
            if each == name:
                return f"node {name!r} lies on a loop, where the reader fails"
            if each not in reached:
                reached.add(each)
                waiting += readers.get(each, [])
    return None
