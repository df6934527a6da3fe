"""Files that Lava's netx reads: a chain of layers in HDF5, as lava-dl 0.6.0 understands it.

netx turns a file into processes by its own rules, which lose or change some networks without a
word. So a graph is checked against each of those rules before it is written, and a file against
them when it is read.
"""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuro.errors import DataError, UsageError
from neuro.hardware.integer_graph import (
    Connection,
    Convolution,
    Cuba,
    Dense,
    IntegerGraph,
    Integers,
    Population,
    Source,
    Sparse,
    target_shape,
)
from neuro.hardware.lava.validate import (
    CHIP_DELAY,
    Finding,
    divisible,
    refuse,
    stored,
    weight_findings,
    where,
)

BIAS_EXP = 6
"""Exponent that netx gives to every bias."""


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
            f"netx reads a chain of layers that ends in the output; from {next(iter(graph.sources))!r}"
            f" this one goes over {len(found)} of {len(graph.populations)} populations to {name!r}."
        )
    return found


def findings(graph: IntegerGraph) -> list[Finding]:
    """Return what netx would refuse, lose or change of a graph.

    Raises:
        UsageError: it is no chain of layers.
    """
    chain = layers(graph)
    found: list[Finding] = []
    before: Layer | None = None
    for layer in chain:
        found += _neuron_findings(layer)
        if isinstance(layer.forward.synapses, Convolution):
            found += _convolution_findings(layer, before)
        else:
            found += _dense_findings(layer, graph)
        before = layer
    return [*found, *_start_findings(chain)]


def network_options(graph: IntegerGraph, steps: int) -> dict[str, int]:
    """Return what ``lava.lib.dl.netx.hdf5.Network`` must be told beside the file.

    A file knows no resets and no graded input: ``reset_interval`` and ``reset_offset`` zero each
    layer where its ``start`` says, ``input_message_bits`` is that of the source.
    """
    (source,) = graph.sources.values()
    options = {"input_message_bits": source.message_bits} if source.message_bits else {}
    chain = layers(graph)
    first = chain[0].population.neuron
    if first.start is not None:
        beyond = steps + first.start + len(chain) + 1
        options["reset_interval"] = first.interval or beyond
        options["reset_offset"] = first.start
    return options


def write_net(graph: IntegerGraph, path: Path, *, check: bool = True) -> None:
    """Write a graph as netx reads it.

    Sparse synapses are written as a matrix, and a shift of the weights into them. What netx does
    not read is kept as HDF5 attributes: names, resets, how the output is decoded.

    Args:
        graph: a chain of layers.
        path: of the file, ``*.net``; a file that is there is replaced.
        check: refuse what netx would change.

    Raises:
        UsageError: netx cannot express the graph.
    """
    if check:
        refuse(findings(graph))
    chain = layers(graph)
    (source,) = graph.sources.values()
    partial = path.with_name(path.name + ".partial")
    with h5py.File(partial, "w") as file:
        file["simulation/Ts"] = 1
        file["simulation/tSample"] = graph.steps
        file.attrs["decoding"] = graph.decoding
        file.attrs["steps"] = graph.steps
        for name, value in network_options(graph, graph.steps).items():
            file.attrs[name] = value
        number = 0

        def group(kind: str, shape: tuple[int, ...]) -> Any:
            nonlocal number
            made = file.create_group(f"layer/{number}")
            made.create_dataset("type", (1,), "S10", [kind.encode("ascii")])
            made["shape"] = np.array(shape)
            number += 1
            return made

        group("input", source.shape).attrs["name"] = source.name
        after_convolution = False
        for layer in chain:
            shape = layer.population.shape
            if isinstance(layer.forward.synapses, Convolution):
                made = group("conv", shape)
                _write_convolution(made, layer.forward, layer.forward.synapses)
                after_convolution = True
            else:
                if after_convolution:
                    group("flatten", (_size(graph.shape(layer.forward.source)), 1, 1))
                made = group("dense_rec" if layer.recurrent else "dense", shape)
                _write_dense(made, layer, graph)
                after_convolution = False
            made.attrs["name"] = layer.population.name
            _write_neuron(made, layer)
    partial.replace(path)


def read_net(path: Path) -> IntegerGraph:
    """Read a file of layers as netx does, whoever wrote it.

    Delays above 62 become 62, with a warning, as in netx. What is not in a file of another writer
    is made up: names, the number of steps if there is no ``simulation/tSample``.

    Raises:
        DataError: the file cannot be read, or netx would not run what it says; or it holds neurons
            other than current-based ones.
    """
    try:
        with h5py.File(path, "r") as file:
            return _graph(file, path)
    except OSError as error:
        raise DataError(f"{path}: cannot read it as a .net file: {error}.") from error
    except KeyError as error:
        raise DataError(f"{path}: incomplete: {error.args[0]}.") from error


# What netx changes or refuses.


def _neuron_findings(layer: Layer) -> Iterator[Finding]:
    neuron, place = layer.population.neuron, where(layer.population)

    def finding(rule: str, message: str) -> Finding:
        return Finding(rule=rule, where=place, message=message)

    if neuron.vth_low is not None:
        yield finding("netx-ternary", "netx has no neurons that send -1.")
    ranges = {"du": (-1, 4095), "dv": (0, 4096), "vth": (0, 131071)}
    for name, (low, high) in ranges.items():
        value = getattr(neuron, name)
        if value.min() < low or value.max() > high:
            yield finding("register", f"{name} of {value.min()} to {value.max()}, not {low}..{high}.")
    bias = neuron.bias
    mantissa = bias >> BIAS_EXP
    if (bias % (1 << BIAS_EXP)).any():
        yield finding("netx-bias", "netx takes biases in units of weights: multiples of 64.")
    elif mantissa.min() < -4096 or mantissa.max() > 4095:
        yield finding("netx-bias", f"a bias of {bias.min()} to {bias.max()} needs over 13 bits.")
    if isinstance(layer.forward.synapses, Convolution) and bias.ndim:
        spread = np.broadcast_to(bias, layer.population.shape)
        if (spread != spread[:, :1, :1]).any():
            yield finding("netx-bias", "netx takes one bias for each channel of a convolution.")


def _convolution_findings(layer: Layer, before: Layer | None) -> Iterator[Finding]:
    connection, place = layer.forward, where(layer.forward)
    if connection.delay.any():
        yield Finding(
            rule="netx-convolution-delay",
            where=place,
            message="netx ignores the delays of a convolution.",
        )
    if layer.recurrent is not None:
        yield Finding(
            rule="netx-recurrent",
            where=where(layer.recurrent),
            message="netx knows recurrent synapses of dense layers alone.",
        )
    if before is not None and not isinstance(before.forward.synapses, Convolution):
        yield Finding(
            rule="netx-convolution-after-dense",
            where=place,
            message="netx takes a dense layer's output as flat, and a convolution cannot read it.",
        )
    folded = _folded(connection)
    if folded is None:
        yield _exponent_finding(connection)
    else:
        yield from weight_findings(folded)


def _dense_findings(layer: Layer, graph: IntegerGraph) -> Iterator[Finding]:
    connections = [layer.forward, *([layer.recurrent] if layer.recurrent else [])]
    matrices = []
    for connection in connections:
        if isinstance(connection.synapses, Convolution):
            yield Finding(
                rule="netx-recurrent",
                where=where(connection),
                message="netx knows dense recurrent synapses alone.",
            )
            return
        delay = connection.delay
        if delay.size and (delay.min() < 0 or delay.max() > CHIP_DELAY):
            yield Finding(
                rule="delay",
                where=where(connection),
                message=f"delays of {delay.min()} to {delay.max()}; netx makes them 0..{CHIP_DELAY}.",
            )
        if layer.recurrent is not None and delay.any():
            yield Finding(
                rule="netx-recurrent-delay",
                where=where(connection),
                message=(
                    "netx gives one set of delays to the synapses into a recurrent layer and to "
                    "those within it, and forgets the weights' exponent."
                ),
            )
        if _folded(connection) is None:
            yield _exponent_finding(connection)
            return
        try:
            matrices.append(_matrix(connection, graph)[0])
        except UsageError as error:
            yield Finding(rule="netx-sparse", where=where(connection), message=str(error))
            return
    yield from _matrix_findings(matrices, where(layer.forward))


def _exponent_finding(connection: Connection) -> Finding:
    return Finding(
        rule="negative-exponent",
        where=where(connection),
        message=(
            f"weights that 2^{-connection.weight_exponent} does not divide; netx chooses the "
            "exponent itself, so it is put into the weights."
        ),
    )


def _matrix_findings(matrices: list[Integers], place: str) -> Iterator[Finding]:
    """Find weights that netx and then Lava's Dense do not bring through whole."""

    def finding(rule: str, message: str) -> Finding:
        return Finding(rule=rule, where=place, message=message)

    together = np.hstack(matrices)
    low, high = int(together.min(initial=0)), int(together.max(initial=0))
    if low == high == 0:
        yield finding("netx-zero-weights", "all weights are 0, of which netx takes the logarithm.")
        return
    if low < -256 or high > 255 or (low < 0 and high > 254):
        yield finding("weight-range", f"weights from {low} to {high}; a synapse has -256..254.")
        return
    left, bits = _netx_format(together)
    if bits > 8:
        yield finding(
            "odd-weights",
            f"odd weights between {low} and {high} of both signs need 9 bits; a synapse has 8. "
            "Round them to even numbers.",
        )
    elif any(not np.array_equal(stored(each << left, bits), each << left) for each in matrices):
        yield finding(
            "netx-negative-power",
            f"no positive weight, and the least is {low}: netx makes -256 of it, Lava -255. "
            "Scale the weights so that the least is no power of two.",
        )


def _netx_format(weight: Integers) -> tuple[int, int]:
    """Return by how much netx shifts weights to the left, and how many bits it gives them.

    It fills the eight bits of a mantissa, and takes off those that are 0 in all weights.
    """
    low, high = int(weight.min()), int(weight.max())
    mixed = int(low < 0 <= high)
    room = [limit / each for limit, each in ((127 if mixed else 255, high),) if each > 0]
    room += [limit / each for limit, each in ((-128 if mixed else -256, low),) if each < 0]
    left = int(np.floor(np.log2(min(room)))) + mixed
    zeros = next(count for count in range(8, -1, -1) if not (weight % (1 << count)).any())
    return left, 8 - left - (zeros - mixed)


def _start_findings(chain: list[Layer]) -> Iterator[Finding]:
    first = chain[0].population.neuron
    for place, layer in enumerate(chain):
        neuron = layer.population.neuron
        expected = None if first.start is None else first.start + place
        if (neuron.start, neuron.interval) != (expected, first.interval):
            yield Finding(
                rule="netx-start",
                where=where(layer.population),
                message=(
                    f"zeroed before step {neuron.start}; netx zeroes each layer one step after the "
                    f"one before it, here {expected}, or none of them."
                ),
            )


# Writing.


def _folded(connection: Connection) -> Connection | None:
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


def _matrix(connection: Connection, graph: IntegerGraph) -> tuple[Integers, Integers]:
    """Return weights and delays ``[targets, sources]`` of dense or sparse synapses.

    Raises:
        UsageError: more than one synapse joins two neurons.
    """
    folded = _folded(connection)
    synapses = (folded or connection).synapses
    delay = connection.delay
    if isinstance(synapses, Dense):
        return synapses.weight, np.broadcast_to(delay, synapses.weight.shape)
    assert isinstance(synapses, Sparse)
    shape = (len(synapses.starts) - 1, _size(graph.shape(connection.source)))
    targets = np.repeat(np.arange(shape[0]), np.diff(synapses.starts))
    flat = targets * shape[1] + synapses.sources
    if len(np.unique(flat)) < len(flat):
        raise UsageError("more than one synapse joins two neurons, and a matrix has but one place.")
    weight, delays = np.zeros((2, *shape), np.int32)
    weight[targets, synapses.sources] = synapses.weight
    delays[targets, synapses.sources] = delay
    return weight, delays


def _write_dense(made: Any, layer: Layer, graph: IntegerGraph) -> None:
    weight, delay = _matrix(layer.forward, graph)
    made["inFeatures"], made["outFeatures"] = weight.shape[1], weight.shape[0]
    made["weight"] = weight.astype(np.float32)
    if layer.recurrent is not None:
        made["weight_rec"] = _matrix(layer.recurrent, graph)[0].astype(np.float32)
    if delay.any():
        # always the whole matrix: of a vector netx guesses by its length whose delays it holds
        made["delay"] = np.ascontiguousarray(delay, np.int64)


def _write_convolution(made: Any, connection: Connection, synapses: Convolution) -> None:
    folded = _folded(connection)
    weight = (folded or connection).synapses.weight
    made["inChannels"], made["outChannels"] = weight.shape[1] * synapses.groups, len(weight)
    made["kernelSize"] = np.array(weight.shape[2:])
    made["weight"] = weight.astype(np.float32)
    made["stride"] = np.array(synapses.stride)
    made["padding"] = np.array(synapses.padding)
    made["dilation"] = np.array(synapses.dilation)
    made["groups"] = synapses.groups


def _write_neuron(made: Any, layer: Layer) -> None:
    neuron, shape = layer.population.neuron, layer.population.shape
    convolution = isinstance(layer.forward.synapses, Convolution)

    def register(value: Integers) -> Any:
        if not value.ndim:
            return int(value)
        spread = np.broadcast_to(value, shape).astype(np.int64)
        # netx hands it to Lava as it is, which holds [W, H, C]
        return spread.transpose(2, 1, 0).copy() if convolution else spread.reshape(-1)

    made["neuron/type"] = "CUBA"
    made["neuron/iDecay"] = register(neuron.du + 1)
    made["neuron/vDecay"] = register(neuron.dv)
    made["neuron/vThMant"] = register(neuron.vth)
    made["neuron/refDelay"] = 1
    made["neuron/gradedSpike"] = False
    bias = neuron.bias >> BIAS_EXP
    if bias.any():
        spread = np.broadcast_to(bias, shape)
        made["bias"] = np.array(spread[:, 0, 0] if convolution else spread.reshape(-1), np.int32)


# Reading.


def _graph(file: Any, path: Path) -> IntegerGraph:
    def refused(number: int, message: str) -> DataError:
        return DataError(f"{path}, layer {number}: {message}")

    groups = [file["layer"][str(number)] for number in range(len(file["layer"]))]
    source: Source | None = None
    populations: dict[str, Population] = {}
    connections: list[Connection] = []
    flat = False
    for number, group in enumerate(groups):
        kind = _text(group["type"])
        if kind == "flatten":
            flat = True
            continue
        if kind == "input":
            if "neuron" in group:
                raise refused(number, "an input with neurons is fed by its bias; not supported.")
            source = Source(
                name=_name(group, "input"),
                shape=_shape(group),
                message_bits=int(file.attrs.get("input_message_bits", 0)),
            )
            continue
        if kind not in ("dense", "dense_rec", "conv"):
            raise refused(number, f"netx does not read layers of type {kind!r}.")
        if "neuron" not in group:
            raise refused(number, "no neuron: netx takes one whose threshold no register holds.")
        synapses, delay = _read_synapses(group, kind)
        if source is None:
            if isinstance(synapses, Convolution):
                raise refused(number, "a convolution without an input layer, whose shape it needs.")
            source = Source(name="input", shape=(synapses.weight.shape[1],))
        before = list(populations.values())[-1] if populations else source
        if isinstance(synapses, Dense) and len(before.shape) == 3 and populations and not flat:
            convolved = isinstance(connections[-1].synapses, Convolution)
            if convolved:
                raise refused(number, "a dense layer after a convolution, with no flatten between.")
        if isinstance(synapses, Convolution):
            if delay.any() or "delay" in group:
                raise refused(number, "netx ignores the delays of a convolution.")
            made = target_shape(synapses, before.shape)
            if made != _shape(group):
                raise refused(number, f"its shape is {_shape(group)}, but it makes {made}.")
        name = _name(group, f"layer{len(populations) + 1}")
        populations[name] = Population(
            name=name, shape=_shape(group), neuron=_read_neuron(file, group, kind, len(populations))
        )
        connections.append(
            Connection(source=before.name, target=name, synapses=synapses, delay=delay)
        )
        if kind == "dense_rec":
            if "delay" in group:
                raise refused(number, "a recurrent layer with delays, which netx mixes up.")
            weight = _integers(group["weight_rec"])
            connections.append(Connection(source=name, target=name, synapses=Dense(weight=weight)))
        flat = False
    if source is None or not populations:
        raise DataError(f"{path}: no layers.")
    steps = int(file.attrs.get("steps", file["simulation/tSample"][()] if "simulation" in file else 1))
    return IntegerGraph(
        sources={source.name: source},
        populations=populations,
        connections=tuple(connections),
        output=list(populations)[-1],
        decoding=file.attrs.get("decoding", "spikes"),
        steps=steps,
    )


def _read_synapses(group: Any, kind: str) -> tuple[Dense | Convolution, Integers]:
    weight = _integers(group["weight"])
    if kind == "conv":

        def pair(name: str) -> tuple[int, int]:
            rows, columns = np.broadcast_to(_integers(group[name]), (2,))
            return int(rows), int(columns)

        convolution = Convolution(
            weight=weight.reshape(weight.shape[:4]),
            stride=pair("stride"),
            padding=pair("padding"),
            dilation=pair("dilation"),
            groups=int(group["groups"][()]),
        )
        return convolution, np.zeros((), np.int32)
    if weight.ndim == 1:
        weight = weight.reshape(_size(_shape(group)), -1)
    if "delay" not in group:
        return Dense(weight=weight), np.zeros((), np.int32)
    delay = _integers(group["delay"])
    if delay.max() > CHIP_DELAY:
        warnings.warn(f"delays of {delay.max()} become {CHIP_DELAY}, as in netx.", stacklevel=2)
        delay = np.minimum(delay, CHIP_DELAY)
    if delay.ndim == 1:
        delay = delay[:, None] if len(delay) == len(weight) else delay[None, :]
    if delay.ndim:
        delay = np.broadcast_to(delay, weight.shape).copy()
    return Dense(weight=weight), delay


def _read_neuron(file: Any, group: Any, kind: str, place: int) -> Cuba:
    neuron = group["neuron"]
    name = _text(neuron["type"])
    if name not in ("CUBA", "LOIHI"):
        raise DataError(f"neurons of type {name!r}; only CUBA and LOIHI are supported.")
    if "messageBits" in neuron:
        raise DataError("neuron/messageBits, which netx reads wrongly; remove it.")
    shape = _shape(group)

    def register(key: str) -> Integers:
        value = _integers(neuron[key])
        if value.ndim == 0:
            return value
        return value.transpose(2, 1, 0) if kind == "conv" else value.reshape(shape)

    bias = _integers(group["bias"]) if "bias" in group else np.zeros((), np.int32)
    if bias.ndim:
        bias = bias.reshape(-1, 1, 1) if kind == "conv" else bias.reshape(shape)
    offset, interval = file.attrs.get("reset_offset"), int(file.attrs.get("reset_interval", 0))
    endless = interval > int(file.attrs.get("steps", 0))
    return Cuba(
        du=register("iDecay") - np.int32(1),
        dv=register("vDecay"),
        vth=register("vThMant"),
        bias_mant=bias,
        bias_exp=np.int32(BIAS_EXP) if bias.any() else np.int32(0),
        start=None if offset is None else int(offset) + place,
        interval=None if not interval or endless else interval,
    )


def _integers(dataset: Any) -> Integers:
    return np.asarray(dataset[()]).astype(np.int32)


def _text(dataset: Any) -> str:
    value = dataset[()]
    value = value[0] if isinstance(value, np.ndarray) else value
    return value.decode("ascii") if isinstance(value, bytes) else str(value)


def _shape(group: Any) -> tuple[int, ...]:
    shape = tuple(int(each) for each in group["shape"][()])
    return shape[:1] if len(shape) == 3 and shape[1:] == (1, 1) and _text(group["type"]) != "conv" else shape


def _name(group: Any, otherwise: str) -> str:
    return str(group.attrs.get("name", otherwise))


def _size(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape, dtype=np.int64))
