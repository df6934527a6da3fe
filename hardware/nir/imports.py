"""NIR graphs as models that run, can be evaluated, and can be trained further."""

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Literal, TypeAlias, cast

import nir
import numpy as np
import torch
from torch import nn

from neuro.errors import UsageError
from neuro.hardware.nir.file import read_nir
from neuro.hardware.nir.flat import FlatGraph, flatten
from neuro.hardware.nir.interpreter import Interpreter
from neuro.hardware.nir.layers import Pool2d
from neuro.hardware.nir.reading import Reading
from neuro.layers import (
    INPUT,
    Add,
    AvgPool2d,
    Conv2d,
    Delay,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    Network,
    Node,
    ReadoutIntegrator,
    Scale,
    Spiking,
    Synapse,
)

Reset = Literal["hard", "soft"]
Source: TypeAlias = "nir.NIRGraph | str | os.PathLike[str]"


def from_nir(
    source: Source,
    *,
    dt: float | None = None,
    reset: Reset | None = None,
    lossy: bool = False,
    use_metadata: bool = True,
) -> Network | Interpreter:
    """Return a NIR graph as a model: a ``Network`` where it can be one, else an ``Interpreter``.

    Both have ``initial_state``, ``step``, ``sequence`` and ``run``. A ``Network`` trains by every
    learning rule; an ``Interpreter`` (loops, neurons that differ, primitives that networks have
    not) by ``torch.autograd``.

    Args:
        source: a graph, or the ``.nir`` file that holds it.
        dt: seconds of a time step; None for what the file's metadata say. Time constants are
            turned into decays by an Euler step, ``1 - dt / tau``.
        reset: what spikes do to every potential; None for what the metadata say, else "hard".
        lossy: take the nearest where a step of ``dt`` cannot hold a delay or a time constant, with
            a ``LossyImportWarning``, instead of refusing.
        use_metadata: go by what this package's writer noted of decays, firing at the threshold,
            reset and surrogate gradient. Foreign metadata are kept, in ``Interpreter.metadata``.

    Raises:
        DataError: a damaged file, or nodes that do not fit each other.
        UsageError: no ``dt``, or something that cannot be kept; it names the node.
    """
    graph, reading = _prepared(source, dt, reset, lossy, use_metadata)
    interpreter = Interpreter(graph, reading)
    try:
        return _network(interpreter, reading)
    except _NoNetworkError:
        return interpreter


def interpret(
    source: Source,
    *,
    dt: float | None = None,
    reset: Reset | None = None,
    lossy: bool = False,
    use_metadata: bool = True,
) -> Interpreter:
    """Return a NIR graph as an ``Interpreter``, node for node; arguments as :func:`from_nir`."""
    return Interpreter(*_prepared(source, dt, reset, lossy, use_metadata))


def to_network(
    source: Source,
    *,
    dt: float | None = None,
    reset: Reset | None = None,
    lossy: bool = False,
    use_metadata: bool = True,
) -> Network:
    """Return a NIR graph as a ``Network``; arguments as :func:`from_nir`.

    Raises:
        UsageError: besides the errors of :func:`from_nir`, a node that networks have not.
    """
    graph, reading = _prepared(source, dt, reset, lossy, use_metadata)
    try:
        return _network(Interpreter(graph, reading), reading)
    except _NoNetworkError as error:
        raise UsageError(f"{error} from_nir and interpret run such graphs.") from error


class _NoNetworkError(Exception):
    """The graph is no network of this package."""


def _prepared(
    source: Source, dt: float | None, reset: Reset | None, lossy: bool, use_metadata: bool
) -> tuple[FlatGraph, Reading]:
    if reset not in (None, "hard", "soft"):
        raise UsageError(f"reset is 'hard' or 'soft', got {reset!r}.")
    graph = source if isinstance(source, nir.NIRGraph) else read_nir(source)
    noted = graph.metadata.get("dt")
    if dt is None:
        if noted is None:
            raise UsageError(
                "the graph does not say how long a time step is; pass dt, in seconds (snntorch and "
                "spikingjelly write for 1e-4)."
            )
        dt = float(noted)
    if not (np.isfinite(dt) and dt > 0):
        raise UsageError(f"dt is a positive number of seconds, got {dt}.")
    ours = use_metadata and noted is not None and float(noted) == dt
    exponential = str(graph.metadata.get("dynamics", "")) == "exponential"
    return flatten(graph), Reading(dt, reset, lossy, ours, exponential)


def _network(interpreter: Interpreter, reading: Reading) -> Network:
    """Return the interpreter's modules as a network; the interpreter is of no use afterwards."""
    graph = interpreter.graph
    if interpreter.plan.late or interpreter.plan.early:
        raise _NoNetworkError("the graph has a loop.")
    names = {graph.input: INPUT}
    modules: dict[str, nn.Module] = {}
    read: dict[str, tuple[str, ...]] = {}
    for name in interpreter.plan.order:
        if name == graph.input:
            continue
        sources = tuple(names[source] for source in interpreter.sources[name])
        label = _label(name, graph.nodes[name], modules)
        if len(sources) > 1:
            modules[f"{label}_add"], read[f"{label}_add"] = Add(), sources
            sources = (f"{label}_add",)
        module = interpreter.module(name)
        if module is None:
            names[name] = sources[0]
        else:
            modules[label], read[label] = _layer(interpreter, name, module), sources
            names[name] = label
    if not modules or names[graph.output] != list(modules)[-1]:
        raise _NoNetworkError("its output is not that of the last node.")
    if reading.metadata:
        _restore_scales(interpreter, names, modules)
    nodes = [Node(name, module, read[name]) for name, module in modules.items()]
    return Network(nodes, interpreter.input_shape)


def _layer(interpreter: Interpreter, name: str, module: nn.Module) -> nn.Module:
    """Return the layer that a node's module is, or refuse."""
    if _pools_all(interpreter, name, module):
        return GlobalAvgPool2d()
    if type(module) in _LAYERS:
        return module
    if type(module) is ReadoutIntegrator and interpreter.sources[interpreter.output] == (name,):
        return module
    node = interpreter.graph.nodes[name]
    raise _NoNetworkError(f"node {name!r} ({type(node).__name__}) is no layer of a Network.")


_LAYERS = (Linear, Conv2d, AvgPool2d, Flatten, Scale, Delay, Spiking)


def _pools_all(interpreter: Interpreter, name: str, module: nn.Module) -> bool:
    """Whether a node averages the whole map, and only flattening follows."""
    if isinstance(module, AvgPool2d):
        kernel: tuple[int, ...] = (module.size, module.size)
    elif isinstance(module, Pool2d) and module.divisor is None and not any(module.padding):
        kernel = module.kernel
    else:
        return False
    readers = [interpreter.module(reader) for reader in interpreter.graph.readers(name)]
    before = interpreter.shapes[interpreter.sources[name][0]]
    return kernel == before[1:] and all(type(each) is Flatten for each in readers)


_NO_MODULES = nn.ModuleDict()


def _label(name: str, node: Any, taken: Mapping[str, nn.Module]) -> str:
    """Return the name that the network's node had, or one like the NIR node's."""
    label = str(node.metadata.get("name", name)).replace(".", "_")
    # torch keeps modules among its own attributes: no node may be called "type" or "forward"
    while label in taken or label in (INPUT, "") or hasattr(_NO_MODULES, label):
        label += "_"
    return label


def _restore_scales(
    interpreter: Interpreter, names: dict[str, str], modules: dict[str, nn.Module]
) -> None:
    """Take gains that were folded into weights out of them again, back into the neurons."""
    graph = interpreter.graph
    for name, node in graph.nodes.items():
        layer = modules.get(names.get(name, ""))
        if "input_gain" not in node.metadata or not isinstance(layer, Spiking):
            continue
        gain = np.asarray(node.metadata["input_gain"])
        sources = [graph.nodes[source].metadata for source in interpreter.sources[name]]
        own = node.metadata.get("name")
        if gain.size != 1 or not all(
            "factor" in each and each.get("folded_into") == own for each in sources
        ):
            continue
        scaled: dict[str, Any] = {"input_gain": float(gain)}
        modules[names[name]] = Spiking(replace(layer.neuron, **scaled))
        for source, metadata in zip(interpreter.sources[name], sources, strict=True):
            _unscale(cast(Synapse, modules[names[source]]), metadata["factor"])


def _unscale(synapse: Synapse, factor: Any) -> None:
    rows = torch.tensor(np.asarray(factor, np.float64)).reshape(-1)
    with torch.no_grad():
        shape = (-1, *(1,) * (synapse.weight.ndim - 1))
        synapse.weight.copy_(synapse.weight.double() / rows.reshape(shape))
        if synapse.bias is not None:
            synapse.bias.copy_(synapse.bias.double() / rows)
