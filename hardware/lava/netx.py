"""Files that Lava's netx reads: a chain of layers in HDF5, as lava-dl 0.6.0 understands it.

netx turns a file into processes by its own rules, which lose or change some networks without a
word. So a graph is checked against each of those rules before it is written, and a file against
them when it is read.
"""

import warnings
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from neuro.errors import DataError
from neuro.hardware.integer_graph import (
    Connection,
    Convolution,
    Cuba,
    Dense,
    IntegerGraph,
    Integers,
    Population,
    Source,
    target_shape,
)
from neuro.hardware.lava.chain import Layer, folded, layers, matrix, network_options
from neuro.hardware.lava.netx_rules import BIAS_EXP, LONGEST_DELAY, netx_findings
from neuro.hardware.lava.validate import refuse


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
        refuse(netx_findings(graph))
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
                    group("flatten", (int(np.prod(graph.shape(layer.forward.source))), 1, 1))
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
    except (AttributeError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise DataError(f"{path}: damaged, or not a .net file of layers: {error}.") from error


def _write_dense(made: Any, layer: Layer, graph: IntegerGraph) -> None:
    weight, delay = matrix(layer.forward, graph)
    made["inFeatures"], made["outFeatures"] = weight.shape[1], weight.shape[0]
    made["weight"] = weight.astype(np.float32)
    if layer.recurrent is not None:
        made["weight_rec"] = matrix(layer.recurrent, graph)[0].astype(np.float32)
    if delay.any():
        # always the whole matrix: of a vector netx guesses by its length whose delays it holds
        made["delay"] = np.ascontiguousarray(delay, np.int64)


def _write_convolution(made: Any, connection: Connection, synapses: Convolution) -> None:
    whole = folded(connection)
    weight = (whole or connection).synapses.weight
    made["inChannels"], made["outChannels"] = weight.shape[1] * synapses.groups, len(weight)
    made["kernelSize"] = np.array(weight.shape[2:])
    made["weight"] = weight.astype(np.float32)
    made["stride"] = np.array(synapses.stride)
    made["padding"] = np.array(synapses.padding)
    made["dilation"] = np.array(synapses.dilation)
    made["groups"] = synapses.groups


def _write_neuron(made: Any, layer: Layer) -> None:
    neuron, shape = layer.population.cuba, layer.population.shape
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
    steps = int(
        file.attrs.get("steps", file["simulation/tSample"][()] if "simulation" in file else 1)
    )
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
        weight = weight.reshape(int(np.prod(_shape(group))), -1)
    if "delay" not in group:
        return Dense(weight=weight), np.zeros((), np.int32)
    delay = _integers(group["delay"])
    if delay.max() > LONGEST_DELAY:
        warnings.warn(f"delays of {delay.max()} become {LONGEST_DELAY}, as in netx.", stacklevel=2)
        delay = np.minimum(delay, LONGEST_DELAY)
    if delay.ndim == 1:
        delay = delay[:, None] if len(delay) == len(weight) else delay[None, :]
    if delay.ndim:
        delay = np.broadcast_to(delay, weight.shape).copy()
    return Dense(weight=weight), delay


def _read_neuron(file: Any, group: Any, kind: str, place: int) -> Cuba:
    neuron = group["neuron"]
    name = _text(neuron["type"])
    if name not in ("CUBA", "LOIHI"):
        raise DataError(
            f"{file.filename}: neurons of type {name!r}; only CUBA and LOIHI are supported."
        )
    if "messageBits" in neuron:
        raise DataError(
            f"{file.filename}: neuron/messageBits, which netx reads wrongly; remove it."
        )
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
        bias_exp=np.asarray(BIAS_EXP if bias.any() else 0, np.int32),
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
    return (
        shape[:1]
        if len(shape) == 3 and shape[1:] == (1, 1) and _text(group["type"]) != "conv"
        else shape
    )


def _name(group: Any, otherwise: str) -> str:
    return str(group.attrs.get("name", otherwise))
