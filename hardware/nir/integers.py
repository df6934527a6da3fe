"""Integer graphs as NIR: real numbers in the nodes, which have no others, integers in the metadata.

Of a population with weight scale S, an exponent e of its synapses, and decays ``b = 1 - dv / 4096``
and ``a = 1 - (du + 1) / 4096``, in units of the potential it was quantised from::

    weights    2^e W_int / S                        of LIF over 1 - b, as r = 1
    threshold  (vth + 1/128) / S                    half a step of the state above the register's
    bias       bias / (64 S)                        in a synapse, or v_leak = bias / (64 S (1 - b))
    node       LIF, IF (dv = 0); CubaLIF where currents outlast a step; of a population that answers
               with its potential LI, I, CubaLI

A synapse of a chip takes a step, and a spike of NIR none. So step t of a node is step t + depth of
its population: the steps after which the first spike can arrive there. What takes longer than that
passes a Delay. Inputs are the numbers that messages carry.

Decays of integers round, those of real numbers do not: without decay (IF) both do the same, spike
for spike. With it a potential within rounding of its threshold may tip over.
"""

import json
import os
from collections.abc import Iterator
from typing import Any, TypeAlias

import nir
import numpy as np
from numpy.typing import NDArray

from neuro.errors import DataError, UsageError
from neuro.hardware.integer_graph import (
    STATE_SHIFT,
    Connection,
    Convolution,
    Cuba,
    IntegerGraph,
    Population,
    Sparse,
    graph_of_tables,
    graph_tables,
)
from neuro.hardware.nir.dialects import convert, dialect
from neuro.hardware.nir.export import DT, smallest, ungrouped
from neuro.hardware.nir.file import read_nir
from neuro.hardware.nir.formulas import LOIHI_DECAY, Numbers, taus_from_loihi
from neuro.hardware.nir.metadata import graph_metadata

KEY = "integers"
"""Of the metadata: ``graph``, the record of the integer graph in JSON, and ``arrays``, its integers
by their place in that (``<population>.vth``, ``connection0.synapses.weight``)."""
SILENT = 4095
"""du of a current that does not outlast its step."""

Source: TypeAlias = "nir.NIRGraph | str | os.PathLike[str]"


def integers_to_nir(
    graph: IntegerGraph, *, dt: float = DT, target: str = "generic"
) -> nir.NIRGraph:
    """Return an integer graph as a NIR graph that holds its integers, too.

    Args:
        graph: of neurons without microcode, with one source.
        dt: seconds a step stands for.
        target: the dialect, one of ``DIALECTS``.

    Raises:
        UsageError: what NIR does not express, or the target would get wrong, by name.
    """
    if not (np.isfinite(dt) and dt > 0):
        raise UsageError(f"dt is a positive number of seconds, got {dt}.")
    made = _Writer(graph, dialect(target).dt or dt).write()
    return convert(made, target)


def integers_from_nir(source: Source) -> IntegerGraph:
    """Return the integer graph that :func:`integers_to_nir` made a NIR graph or file of.

    Raises:
        UsageError: the graph was made of something else.
        DataError: a damaged file.
    """
    graph = source if isinstance(source, nir.NIRGraph) else read_nir(source)
    where = "the graph" if isinstance(source, nir.NIRGraph) else str(source)
    if KEY not in graph.metadata:
        raise UsageError(f"{where} holds no integers; it was not made of an integer graph.")
    try:
        record = json.loads(graph.metadata[KEY]["graph"])
        arrays = {name: np.asarray(each) for name, each in graph.metadata[KEY]["arrays"].items()}
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where}: its integers are damaged ({error!r}).") from error
    return graph_of_tables(record, arrays, where)


class _Writer:
    """Walks over a graph in order; ``ends`` says what sends the spikes of a source or population,
    ``starts`` what hears a population's currents."""

    def __init__(self, graph: IntegerGraph, dt: float) -> None:
        if len(graph.sources) != 1:
            raise UsageError(f"NIR has one Input; the graph has the sources {[*graph.sources]}.")
        self.graph, self.dt = graph, dt
        self.depths = _depths(graph)
        self.nodes: dict[str, nir.NIRNode] = {}
        self.edges: list[tuple[str, str]] = []
        self.starts: dict[str, str] = {}
        self.ends: dict[str, str] = {}

    def write(self) -> nir.NIRGraph:
        graph = self.graph
        for name, source in graph.sources.items():
            node = nir.Input(input_type={"input": np.array(source.shape)})
            self.ends[name] = self._add("input", node, name)
        back: list[tuple[Connection, _Neurons]] = []
        for name, population in graph.populations.items():
            neurons = _Neurons(graph, population, self.depths[name], self.dt)
            arriving: list[str] = []
            for connection in graph.inputs_of(name):
                if connection.source in self.ends:
                    arriving += self._synapses(connection, neurons)
                else:
                    back.append((connection, neurons))
            neurons.settle_bias()
            for node in neurons.nodes:
                arriving = [self._add(type(node).__name__.lower(), node, name, *arriving)]
                self.starts.setdefault(name, arriving[0])
            (self.ends[name],) = arriving
        for connection, neurons in back:
            last = self._synapses(connection, neurons)
            self.edges += [(each, self.starts[connection.target]) for each in last]
        end = nir.Output(output_type={"output": np.array(graph.shape(graph.output))})
        self._add("output", end, "output", self.ends[graph.output])
        record, arrays = graph_tables(graph)
        metadata = graph_metadata(self.dt, "generic", "hard", None) | {
            "steps": graph.steps - self.depths[graph.output],
            KEY: {
                "graph": json.dumps(record),
                "arrays": {name: each if each.ndim else int(each) for name, each in arrays.items()},
            },
        }
        return nir.NIRGraph(nodes=self.nodes, edges=self.edges, metadata=metadata)

    def _synapses(self, connection: Connection, neurons: "_Neurons") -> list[str]:
        """Add what is between a source and neurons; return the nodes that send to these."""
        source, target = connection.source, connection.target
        where = f"{source}_{target}"
        late = 1 - (self.depths[target] - self.depths[source])
        found = []
        for delay, weight in _by_delay(connection, int(np.prod(self.graph.shape(source)))):
            last, steps = self.ends[source], delay + late
            if steps < 0:
                raise UsageError(
                    f"{source} -> {target}: {source!r} is reached {-steps} steps before "
                    f"what drives {target!r} otherwise; put it first in the graph."
                )
            # a loop takes a step by itself, unless there is a Delay in it
            if steps and not (source == target and steps == 1):
                seconds = np.full(self.graph.shape(source), steps * self.dt, np.float32)
                last = self._add("delay", nir.Delay(delay=seconds), f"{where}_delay", last)
            if not isinstance(connection.synapses, Convolution):
                last = self._flat(source, where, last)
            node = neurons.synapse(connection, weight, self.graph.shape(source))
            found.append(self._add(type(node).__name__.lower(), node, where, last))
        return found

    def _flat(self, source: str, where: str, last: str) -> str:
        shape = self.graph.shape(source)
        if len(shape) == 1:
            return last
        node = nir.Flatten(input_type={"input": np.array(shape)}, start_dim=0, end_dim=-1)
        return self._add("flatten", node, f"{where}_flatten", last)

    def _add(self, kind: str, node: nir.NIRNode, name: str, *sources: str) -> str:
        label = f"{len(self.nodes):03d}_{kind}"
        node.metadata = {"name": name, **node.metadata}
        self.nodes[label] = node
        self.edges += [(source, label) for source in sources]
        return label


class _Neurons:
    """The node, or nodes, of a population, and the real numbers of the synapses into it."""

    def __init__(self, graph: IntegerGraph, population: Population, depth: int, dt: float) -> None:
        self.name, self.shape = population.name, population.shape
        self.registers = registers = population.cuba
        self.scale = float(graph.metadata.get("scales", {}).get(self.name, 1.0))
        self._require_plain(registers, depth)
        self.integrates = graph.decoding == "potential" and graph.output == self.name
        du, dv = self._filled(registers.du), self._filled(registers.dv)
        self.bias: Numbers | None = self._filled(registers.bias) / (self.scale * (1 << STATE_SHIFT))
        if not self.bias.any():
            self.bias = None
        self.filtered = bool(np.any(du != SILENT))
        self.decay = 1 - dv / LOIHI_DECAY
        self.factor: Numbers = np.ones(self.shape)
        """By which weights are larger than those of neurons with a gain of 1 a step."""
        self.nodes = self._made(du, dv, dt)
        if not self.integrates:
            self.nodes[0].metadata = self._noted(du)

    def _made(self, du: Numbers, dv: Numbers, dt: float) -> list[nir.NIRNode]:
        """Return the nodes, in order."""
        leaks = np.any(dv > 0)
        if leaks and np.any(dv == 0):
            raise UsageError(f"{self.name}: some of its neurons leak and some do not (dv = 0).")
        if np.any(du < 0):
            raise UsageError(f"{self.name}: a current that never decays has no time constant.")
        zeros = np.zeros(self.shape)
        threshold = (self._filled(self.registers.vth) + 1 / 128) / self.scale
        spiking = {} if self.integrates else {"v_threshold": threshold, "v_reset": zeros}
        summing = _node(nir.I if self.integrates else nir.IF, r=zeros + 1 / dt, **spiking)
        if not self.filtered and not leaks:
            return [summing]
        if not leaks and not self.integrates:
            raise UsageError(
                f"{self.name}: a potential without leak (dv = 0) behind a current has no NIR form. "
                "Train these neurons with a leak, or as lif without one."
            )
        tau_syn, tau_mem = taus_from_loihi(du, np.where(dv > 0, dv, 1), dt)
        if not leaks:  # of a read-out: the leak is that of the current
            return [_node(nir.LI, tau=tau_syn, r=tau_syn / dt, v_leak=zeros), summing]
        if self.filtered:
            kind = nir.CubaLI if self.integrates else nir.CubaLIF
            constants = {"tau_syn": tau_syn, "tau_mem": tau_mem, "w_in": tau_syn / dt}
            return [_node(kind, r=tau_mem / dt, v_leak=zeros, **constants, **spiking)]
        self.factor = 1 / (1 - self.decay)
        kind = nir.LI if self.integrates else nir.LIF
        return [_node(kind, tau=tau_mem, r=zeros + 1, v_leak=zeros, **spiking)]

    def _noted(self, du: Numbers) -> dict[str, Any]:
        """Return what NIR does not say of spiking neurons; decays in double precision."""
        noted = {"inclusive": False, "reset_mode": "hard", "weight_scale": self.scale}
        if self.filtered:
            current = smallest(1 - (du + 1) / LOIHI_DECAY)
            return noted | {"current_decay": current, "voltage_decay": smallest(self.decay)}
        return noted if np.all(self.decay == 1) else noted | {"decay": smallest(self.decay)}

    def _require_plain(self, registers: Cuba, depth: int) -> None:
        if registers.vth_low is not None:
            raise UsageError(f"{self.name}: NIR has no neurons that send -1.")
        late = registers.start is not None and registers.start > depth
        if late or registers.interval is not None:
            raise UsageError(
                f"{self.name}: NIR's neurons are not zeroed at a step, but these are; let them "
                f"start at step {depth}, when the first spike may reach them."
            )
        if registers.bias.any() and registers.start != depth:
            raise UsageError(
                f"{self.name}: its bias drives it before the first spike may, at step {depth}; "
                "let the population start there."
            )

    def synapse(
        self, connection: Connection, weight: NDArray[np.int64], source: tuple[int, ...]
    ) -> nir.NIRNode:
        """Return the node of a connection; the first that may takes over the bias."""
        synapses = connection.synapses
        real: Numbers = weight * np.float64(2.0**connection.weight_exponent / self.scale)
        if isinstance(synapses, Convolution):
            return self._convolution(synapses, real, source)
        if len(self.shape) != 1:
            raise UsageError(
                f"{connection.source} -> {self.name}: NIR's Affine sends vectors, and "
                f"{self.name!r} is of shape {self.shape}."
            )
        real *= self.factor[:, None]
        bias = self._taken_bias()
        return _node(nir.Linear, weight=real) if bias is None else _node(
            nir.Affine, weight=real, bias=bias)  # fmt: skip

    def _convolution(
        self, synapses: Convolution, real: Numbers, source: tuple[int, ...]
    ) -> nir.NIRNode:
        if real.shape[2] != real.shape[3]:
            raise UsageError(
                f"{self.name}: kernels of {real.shape[2]}x{real.shape[3]}, and NIR works out "
                "shapes from their height alone. Make them square, with zeros."
            )
        if not _same_in_channels(self.factor):
            raise UsageError(f"{self.name}: neurons of a convolution leak alike in each channel.")
        bias = self._taken_bias() if self.bias is None or _same_in_channels(self.bias) else None
        node = _node(
            nir.Conv2d,
            weight=ungrouped(real * self.factor[:, :1, :1, None], synapses.groups),
            bias=np.zeros(len(real)) if bias is None else bias[:, 0, 0],
            input_shape=tuple(source[1:]),
            stride=synapses.stride,
            padding=synapses.padding,
            dilation=synapses.dilation,
            groups=1,
        )
        return node

    def _taken_bias(self) -> Numbers | None:
        """Return what the bias is worth beside the weights, once, where nothing filters it."""
        if self.filtered or self.bias is None:
            return None
        taken, self.bias = self.bias * self.factor, None
        return taken

    def settle_bias(self) -> None:
        """Give the neurons a resting potential for a bias that no synapse took over."""
        if self.bias is None:
            return
        if np.any(self.decay == 1):
            raise UsageError(
                f"{self.name}: a bias of neurons that do not leak has no NIR form but that of one "
                "number a channel, without a current."
            )
        self.nodes[0].v_leak = (self.bias / (1 - self.decay)).astype(np.float32)
        self.bias = None

    def _filled(self, values: NDArray[Any]) -> Numbers:
        return np.broadcast_to(values, self.shape).astype(np.float64)


def _depths(graph: IntegerGraph) -> dict[str, int]:
    """Return the steps after which a first spike can reach each population."""
    found = dict.fromkeys(graph.sources, 0)
    for name in graph.populations:
        reached = [
            found[each.source] + 1 + int(each.delay.min())
            for each in graph.inputs_of(name)
            if each.source in found and each.delay.size
        ]
        if not reached:
            raise UsageError(f"{name}: nothing drives it that comes before it.")
        found[name] = min(reached)
    return found


def _by_delay(connection: Connection, sources: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield each delay of a connection and the weights that have it, as a matrix or kernels."""
    synapses, delay = connection.synapses, connection.delay
    weight = synapses.weight.astype(np.int64)
    for each in np.unique(delay):
        chosen = np.where(delay == each, weight, 0)
        if isinstance(synapses, Sparse):
            rows = len(synapses.starts) - 1
            matrix = np.zeros((rows, sources), np.int64)
            targets = np.repeat(np.arange(rows), np.diff(synapses.starts))
            np.add.at(matrix, (targets, synapses.sources), chosen)
            chosen = matrix
        yield int(each), chosen


def _node(kind: type[nir.NIRNode], **settings: Any) -> nir.NIRNode:
    """Return a node; its arrays in single precision, as readers have them."""
    return kind(
        **{
            name: each.astype(np.float32) if isinstance(each, np.ndarray) else each
            for name, each in settings.items()
        }
    )


def _same_in_channels(values: Numbers) -> bool:
    return bool(np.all(values == values[:, :1, :1]))
