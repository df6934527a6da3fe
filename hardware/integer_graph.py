"""A network of integers, as a chip runs it: sources and populations joined by delayed synapses.

Every export (Lava, netx, the mapper's input) is made from it, and every engine that runs it must
give the same integers. A population holds current-based leaky integrate-and-fire neurons with
Loihi's registers, and one time step is::

    a[t]  = sum over connections of (acc << e if e > 0 else acc >> -e),
            acc = sum_j w_j s_j[t - 1 - d_j]                    a synapse takes one step, plus delay
    u[t]  = wrap24(decay(u[t-1], du + 1) + (a[t] << 6))
    v'[t] = clip(decay(v[t-1], dv) + u[t] + bias, -(2^23 - 1), 2^23 - 1)
    s[t]  = v'[t] > (vth << 6),   v[t] = 0 where s[t] else v'[t]

    decay(x, d) = sign(x) * (|x| * (4096 - d) >> 12)
    wrap24(x)   = x - 2^24 where x > 2^23, x + 2^24 where x <= -2^23, else x      once, as in Lava
    bias        = bias_mant << bias_exp

Neurons in microcode differ from that as :mod:`neuro.hardware.microcode` says.

A graph is stored as ``graph.json``, which names everything, beside ``graph.npz``, which holds the
numbers.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from neuro.errors import DataError, UsageError, nearest
from neuro.hardware.cuba import DECAY_BITS, STATE_SHIFT, WIDTH, Cuba, Integers, whole_numbers
from neuro.hardware.microcode import PROGRAMS, GradedSpikes, Neuron, SoftReset

__all__ = [
    "DECAY_BITS",
    "STATE_SHIFT",
    "SYNAPSES",
    "WIDTH",
    "Connection",
    "Convolution",
    "Cuba",
    "Decoding",
    "Dense",
    "GradedSpikes",
    "IntegerGraph",
    "Integers",
    "Neuron",
    "Population",
    "SoftReset",
    "Source",
    "Sparse",
    "Synapses",
    "graph_of_tables",
    "graph_tables",
    "kind_of",
    "read_graph",
    "target_shape",
    "write_graph",
]

VERSION = 1
PLAIN = "cuba"
"""Neurons without microcode, in files."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Source:
    """Spikes from outside.

    Args:
        name: unique in a graph.
        shape: of one step.
        message_bits: 0 for spikes, 0 or 1; otherwise bits of the signed number that a graded spike
            carries, its sign included.
    """

    name: str
    shape: tuple[int, ...]
    message_bits: int = 0

    @property
    def message_range(self) -> tuple[int, int]:
        """Least and greatest number that a spike can carry."""
        if not self.message_bits:
            return 0, 1
        half = 1 << (self.message_bits - 1)
        return -half, half - 1


@dataclass(frozen=True, eq=False, kw_only=True)
class Population:
    """Neurons of one kind.

    Args:
        name: unique in a graph.
        shape: of one step.
        neuron: their registers, numbers or arrays that broadcast to ``shape``; of neurons in
            microcode, inside what names the program.
    """

    name: str
    shape: tuple[int, ...]
    neuron: Neuron

    @property
    def message_range(self) -> tuple[int, int]:
        """Least and greatest number that a spike can carry; 0 is silence."""
        if isinstance(self.neuron, GradedSpikes):
            return 0, self.neuron.greatest_sent
        return (0 if self.neuron.registers.vth_low is None else -1), 1

    @property
    def cuba(self) -> Cuba:
        """The registers of plain neurons, as Lava's LIF and Loihi 1 have them.

        Raises:
            UsageError: they are neurons in microcode.
        """
        if isinstance(self.neuron, Cuba):
            return self.neuron
        raise UsageError(
            f"the neurons of {self.name!r} {self.neuron.difference}; that takes microcode of one's "
            f"own on Loihi 2. {self.neuron.instead}"
        )


@dataclass(frozen=True, eq=False, kw_only=True)
class Dense:
    """All-to-all synapses, both ends flattened in C order: ``weight[target, source]``."""

    weight: Integers

    def __post_init__(self) -> None:
        whole_numbers(self, "weight")


@dataclass(frozen=True, eq=False, kw_only=True)
class Sparse:
    """Single synapses, both ends flattened in C order, in compressed rows of the targets.

    Args:
        starts: ``[targets + 1]``; the synapses of target i are ``starts[i]:starts[i + 1]``.
        sources: ``[synapses]``, neuron each comes from; more than one synapse may join two neurons.
        weight: ``[synapses]``.
    """

    starts: Integers
    sources: Integers
    weight: Integers

    def __post_init__(self) -> None:
        whole_numbers(self, "starts", "sources", "weight")


@dataclass(frozen=True, eq=False, kw_only=True)
class Convolution:
    """Synapses shared by position: a cross-correlation of ``[C, H, W]``, as in torch.

    Args:
        weight: ``[O, C / groups, kH, kW]``.
        stride: rows, columns.
        padding: zeros before and after rows and columns.
        dilation: rows, columns.
        groups: of channels.
    """

    weight: Integers
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1

    def __post_init__(self) -> None:
        whole_numbers(self, "weight")


Synapses: TypeAlias = Dense | Sparse | Convolution
SYNAPSES: dict[str, type[Dense] | type[Sparse] | type[Convolution]] = {
    "dense": Dense,
    "sparse": Sparse,
    "convolution": Convolution,
}


@dataclass(frozen=True, eq=False, kw_only=True)
class Connection:
    """Synapses from a source or a population to a population, or to itself.

    Args:
        source: name of a source or population.
        target: name of a population.
        synapses: their weights.
        delay: steps beyond the one that every synapse takes, 0..62: a number, or an array of the
            weight's shape (not for convolutions).
        weight_exponent: by which what arrives is shifted, -8..7.
    """

    source: str
    target: str
    synapses: Synapses
    delay: Integers = field(default_factory=lambda: np.zeros((), np.int32))
    weight_exponent: int = 0

    def __post_init__(self) -> None:
        whole_numbers(self, "delay")


Decoding: TypeAlias = Literal["spikes", "potential"]


@dataclass(frozen=True, eq=False, kw_only=True)
class IntegerGraph:
    """Sources, populations and connections, in the order of their names in the file.

    Args:
        sources: by name.
        populations: by name, inputs before what they drive where nothing runs back.
        connections: in any order.
        output: population that answers.
        decoding: its answer is the neuron with most spikes (of graded ones, the largest sum), or
            with the highest potential after the last step.
        steps: time steps of one sample, those that the last input needs to reach the output
            included.
        metadata: what readers need not know: JSON.

    Raises:
        UsageError: a name that is not there, or shapes that do not fit.
    """

    sources: Mapping[str, Source]
    populations: Mapping[str, Population]
    connections: tuple[Connection, ...]
    output: str
    decoding: Decoding = "spikes"
    steps: int
    metadata: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        twice = self.sources.keys() & self.populations.keys()
        if twice:
            raise UsageError(f"{sorted(twice)[0]!r} is a source and a population; rename one.")
        if self.output not in self.populations:
            raise UsageError(
                f"the output {self.output!r} is no population."
                f"{nearest(self.output, self.populations)}"
            )
        for connection in self.connections:
            self._check(connection)

    def end(self, name: str) -> Source | Population:
        """Return a source or population.

        Raises:
            UsageError: there is none of that name.
        """
        ends: dict[str, Source | Population] = {**self.sources, **self.populations}
        if name not in ends:
            raise UsageError(f"no source or population is called {name!r}.{nearest(name, ends)}")
        return ends[name]

    def shape(self, name: str) -> tuple[int, ...]:
        """Return the shape of a source or population.

        Raises:
            UsageError: there is none of that name.
        """
        return self.end(name).shape

    def inputs_of(self, population: str) -> list[Connection]:
        """Return the connections that end in a population."""
        return [each for each in self.connections if each.target == population]

    def _check(self, connection: Connection) -> None:
        if connection.target in self.sources:
            raise UsageError(f"a connection ends in {connection.target!r}, which is a source.")
        sent, heard = self.shape(connection.source), self.shape(connection.target)
        expected = target_shape(connection.synapses, sent)
        flat = isinstance(connection.synapses, Dense | Sparse)
        fits = expected[0] == _size(heard) if flat else expected == heard
        if not fits:
            raise UsageError(
                f"the synapses from {connection.source!r} {sent} make {expected}, but "
                f"{connection.target!r} is of shape {heard}."
            )
        delay = connection.delay
        whole = isinstance(connection.synapses, Convolution)
        if delay.ndim and (whole or delay.shape != connection.synapses.weight.shape):
            raise UsageError(
                f"delays from {connection.source!r} to {connection.target!r} are of shape "
                f"{delay.shape}; expected one number"
                + ("." if whole else f" or {connection.synapses.weight.shape}.")
            )


def target_shape(synapses: Synapses, source: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of what synapses make of a source; one number where they are not shared.

    Raises:
        UsageError: they do not fit the source.
    """
    if isinstance(synapses, Convolution):
        outputs, channels, *kernel = synapses.weight.shape
        if len(source) != 3 or source[0] != channels * synapses.groups:
            raise UsageError(
                f"a convolution of {channels * synapses.groups} channels cannot read {source}."
            )
        sides = tuple(
            (size + 2 * pad - spread * (extent - 1) - 1) // step + 1
            for size, extent, step, pad, spread in zip(
                source[1:],
                kernel,
                synapses.stride,
                synapses.padding,
                synapses.dilation,
                strict=True,
            )
        )
        return (outputs, *sides)
    if isinstance(synapses, Sparse):
        if synapses.sources.size and int(synapses.sources.max()) >= _size(source):
            raise UsageError(
                f"a synapse comes from neuron {int(synapses.sources.max())} of {_size(source)}."
            )
        return (len(synapses.starts) - 1,)
    targets, sources = synapses.weight.shape
    if sources != _size(source):
        raise UsageError(f"a matrix of {sources} columns cannot read {source}.")
    return (targets,)


def write_graph(graph: IntegerGraph, folder: Path) -> None:
    """Write ``graph.json`` and ``graph.npz`` into a folder."""
    record, arrays = graph_tables(graph)
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "graph.npz").open("wb") as file:
        np.savez_compressed(file, **cast(dict[str, Any], arrays))
    (folder / "graph.json").write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")


def graph_tables(graph: IntegerGraph) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return what files say of a graph: a record in JSON, and arrays by their place in it."""
    arrays: dict[str, NDArray[Any]] = {}

    def table(owner: str, part: Any, *without: str) -> dict[str, Any]:
        """Return the fields of a dataclass; arrays go into the other file, under their place."""
        found: dict[str, Any] = {}
        for each in fields(part):
            value = getattr(part, each.name)
            if each.name in without:
                continue
            if isinstance(value, np.ndarray):
                arrays[f"{owner}.{each.name}"] = value
            else:
                found[each.name] = value
        return found

    def neurons(population: Population) -> dict[str, Any]:
        registers = table(population.name, population.neuron.registers)
        if isinstance(population.neuron, Cuba):
            return {"kind": PLAIN, **registers}
        program = table("", population.neuron, "registers")
        return {"kind": _named(PROGRAMS, population.neuron), **program, **registers}

    record: dict[str, Any] = {
        "version": VERSION,
        "output": graph.output,
        "decoding": graph.decoding,
        "steps": graph.steps,
        "metadata": dict(graph.metadata),
        "sources": [table("", source) for source in graph.sources.values()],
        "populations": [
            {
                **table("", population, "neuron"),
                "neuron": neurons(population),
            }
            for population in graph.populations.values()
        ],
        "connections": [
            {
                **table(f"connection{number}", connection, "synapses"),
                "synapses": {
                    "kind": kind_of(connection.synapses),
                    **table(f"connection{number}.synapses", connection.synapses),
                },
            }
            for number, connection in enumerate(graph.connections)
        ],
    }
    return record, arrays


def read_graph(folder: Path) -> IntegerGraph:
    """Read what :func:`write_graph` wrote.

    Raises:
        DataError: a file is missing, damaged, or of another version.
    """
    path = folder / "graph.json"
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        with (
            (folder / "graph.npz").open("rb") as file,
            np.load(file, allow_pickle=False) as stored,
        ):
            arrays = {name: stored[name] for name in stored.files}
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{folder}: cannot read the integer graph: {error}.") from error
    except Exception as error:  # a damaged archive raises what zipfile and zlib think of it
        raise DataError(f"{folder / 'graph.npz'}: damaged: {error}. Export again.") from error
    return graph_of_tables(record, arrays, str(path))


def graph_of_tables(record: Any, arrays: Mapping[str, NDArray[Any]], path: str) -> IntegerGraph:
    """Return the graph that :func:`graph_tables` tells of.

    Args:
        record: what was read.
        arrays: likewise.
        path: where they were found, for messages.

    Raises:
        DataError: they are of no graph, or of one that cannot be.
    """
    if not isinstance(record, dict) or record.get("version") != VERSION:
        raise DataError(f"{path}: not an integer graph of version {VERSION}.")
    try:
        return _graph(record, arrays)
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: incomplete or of another kind ({error!r}).") from error
    except UsageError as error:
        raise DataError(f"{path}: {error}") from error


def kind_of(synapses: Synapses) -> str:
    """Return the name of a kind of synapses in files."""
    return _named(SYNAPSES, synapses)


def _named(kinds: Mapping[str, type], found: object) -> str:
    return next(name for name, kind in kinds.items() if isinstance(found, kind))


def _graph(record: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> IntegerGraph:
    def stored(owner: str) -> dict[str, Any]:
        start = f"{owner}."
        found = {
            name.removeprefix(start): arrays[name] for name in arrays if name.startswith(start)
        }
        return {name: value for name, value in found.items() if "." not in name}

    sources = [Source(**{**table, "shape": tuple(table["shape"])}) for table in record["sources"]]
    populations = []
    for table in record["populations"]:
        neuron = _neuron(table["name"], dict(table["neuron"]), stored(table["name"]))
        populations.append(
            Population(name=table["name"], shape=tuple(table["shape"]), neuron=neuron)
        )
    connections = []
    for number, table in enumerate(record["connections"]):
        settings: dict[str, Any] = {
            name: tuple(value) if isinstance(value, list) else value
            for name, value in table["synapses"].items()
        }
        kind = SYNAPSES[settings.pop("kind")]
        synapses = kind(**settings, **stored(f"connection{number}.synapses"))
        rest = {name: value for name, value in table.items() if name != "synapses"}
        connections.append(Connection(**rest, **stored(f"connection{number}"), synapses=synapses))
    return IntegerGraph(
        sources={source.name: source for source in sources},
        populations={population.name: population for population in populations},
        connections=tuple(connections),
        output=record["output"],
        decoding=record["decoding"],
        steps=record["steps"],
        metadata=record["metadata"],
    )


def _neuron(
    population: str, settings: dict[str, Any], registers: Mapping[str, NDArray[Any]]
) -> Neuron:
    """Return neurons from the numbers and the arrays of a file."""
    kind = settings.pop("kind")
    if kind == PLAIN:
        return Cuba(**{**settings, **registers})
    if kind not in PROGRAMS:
        raise DataError(f"{population}: unknown kind of neuron {kind!r}.")
    names = {each.name for each in fields(Cuba)}
    program = {name: settings.pop(name) for name in settings.keys() - names}
    return PROGRAMS[kind](Cuba(**{**settings, **registers}), **program)


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
