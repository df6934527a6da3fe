"""A network that computes as the chip does: weights, biases, decays and messages in whole numbers.

Built from a network and the integer graph it was quantised to, it has the same layers and the same
parameters under the same names, and any learning rule trains it. A synapse on a residual stream,
which a chip holds once for every population it drives, is rounded for each. It does what the graph
does that :meth:`QuantisedNetwork.integers` writes: a neuron spikes at step t if the chip's does at
step t + depth. In 32-bit floats that holds while no sum, its signs left out, reaches 2^24 units of
weights, and on the chip while no register overflows.
"""

import copy
from collections import Counter
from collections.abc import Collection
from dataclasses import replace
from math import prod
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neuro.errors import UsageError
from neuro.export.folding import Link, fold
from neuro.export.network import chip_neuron, compact
from neuro.hardware.float_graph import FloatConvolution
from neuro.hardware.integer_graph import (
    STATE_SHIFT,
    Connection,
    Convolution,
    Dense,
    IntegerGraph,
    Population,
    SoftReset,
    Synapses,
)
from neuro.hardware.messages import Messages
from neuro.hardware.microcode import with_registers
from neuro.hardware.registers import LARGEST_BIAS_EXPONENT, UNITY, weight_steps
from neuro.hardware.targets import Target
from neuro.layers import (
    INPUT,
    Add,
    AvgPool2d,
    Conv2d,
    Delay,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    LinearMap,
    Network,
    Node,
    Scale,
    Spiking,
    Synapse,
)
from neuro.layers.quantised import Copy, Grid, Heard, QuantisedSynapse, SharedBias
from neuro.neurons.fixed_point import FixedPointLIF

_PLAIN = "Export without fine-tuning."


class Path(NamedTuple):
    """A way from a source or spiking layer through one synapse into another's neurons.

    ``spike``: what the layer sends for a spike. ``before``: maps in front of the synapse;
    ``averaging``: the product of the shares, 1 / s^2, with which pooling takes each input;
    ``scaling``: that of constant factors. ``behind``: factors behind the synapse, by node;
    ``delayed``: by a node behind it. ``copy``: of how many the synapse is held as, one for each
    population it drives, this is which.
    """

    origin: str
    spike: float = 1.0
    before: tuple[Link, ...] = ()
    averaging: float = 1.0
    scaling: float = 1.0
    synapse: Link | None = None
    behind: tuple[tuple[str, float], ...] = ()
    delayed: str = ""
    copy: int = 0

    @property
    def gain(self) -> float:
        """Of what is behind the synapse."""
        return prod(factor for _, factor in self.behind)


class LayerLoss(NamedTuple):
    """What the weights of a population lose: the share that is cut, the relative error of all."""

    clipped_weights: float
    weight_error: float


class QuantisedNetwork(Network):
    """A network in the whole numbers of an integer graph.

    Args:
        network: in real numbers; its parameters are copied.
        graph: what it was quantised to, see :func:`neuro.hardware.quantise.quantise`. Scales,
            thresholds, decays and exponents of weights stay those.
        target: the chip.

    Raises:
        UsageError: a layer of which this form knows nothing; the message names it.
    """

    def __init__(self, network: Network, graph: IntegerGraph, target: Target) -> None:
        parameter = next(network.parameters())
        network = copy.deepcopy(network).cpu()
        all_paths = _paths(network)
        joined = _joined(all_paths)
        modules: dict[str, nn.Module] = dict(network.nodes)
        grids: dict[str, list[Grid]] = {}
        for name, paths in all_paths.items():
            population = graph.populations[name]
            scale = float(graph.metadata["scales"][name])
            spiking = modules[name] if isinstance(modules[name], Spiking) else None
            gain = 1.0
            if isinstance(spiking, Spiking):
                gain = _one_gain(name, spiking)
                modules[name] = _in_registers(spiking, population, scale, parameter)
            for path, connection in zip(paths, graph.inputs_of(name), strict=True):
                grid = _grid(
                    path,
                    connection,
                    target,
                    scale * gain * path.gain,
                    _speech(graph, path.origin),
                    sent=1.0 if spiking else 1 / scale,
                )
                grids.setdefault(_synapse_of(path).name, []).append(grid)
                modules |= {node: Scale(1.0) for node, _ in path.behind}  # in the weights
        apart = {_synapse_of(path).name for name in joined for path in all_paths[name]}
        for name, each in grids.items():
            synapse = modules[name]
            assert isinstance(synapse, Synapse)
            modules[name] = QuantisedSynapse(synapse, *each, biased=name not in apart)
        heard = _unused("messages", [INPUT, *modules])
        nodes = [Node(heard, _messages(graph), (INPUT,))]
        biases: dict[str, str] = {}
        for name, module in modules.items():
            sources = tuple(heard if each == INPUT else each for each in network.sources[name])
            if name in joined:
                nodes += _stream(name, all_paths[name], modules)
                biases[name], sources = nodes[-1].name, (nodes[-1].name,)
            nodes.append(Node(name, module, sources))
        super().__init__(_needed(nodes), network.input_shape)
        self._paths, self._graph, self._biases = all_paths, graph, biases
        self.to(parameter.device)

    @torch.no_grad()
    def integers(self) -> IntegerGraph:
        """Return the integer graph that does what this network does.

        Raises:
            UsageError: biases that outgrew their register.
        """
        graph = self._graph
        populations: dict[str, Population] = {}
        connections: list[Connection] = []
        for name, paths in self._paths.items():
            for path, connection in zip(paths, graph.inputs_of(name), strict=True):
                synapses = self._synapses(path, graph.shape(path.origin), connection)
                connections.append(replace(connection, synapses=synapses))
            populations[name] = self._biased(name, graph.populations[name])
        return replace(graph, populations=populations, connections=tuple(connections))

    @torch.no_grad()
    def losses(self) -> dict[str, LayerLoss]:
        """Return by population what its weights lose against the real ones that stand for them."""
        found = {}
        for name, paths in self._paths.items():
            clipped = weights = 0
            errors = squares = 0.0
            for path in paths:
                synapse = self._quantised(path)
                grid = synapse.grids[path.copy]
                unit = 2.0**grid.exponent
                wanted = synapse.wanted_weight(path.copy).double() * unit
                made = synapse.copied_weight(path.copy).double()
                over = wanted.abs() - (grid.largest + grid.step / 2) * unit
                clipped += int((over > 0).sum())
                weights += wanted.numel()
                errors += float((made - wanted).square().sum())
                squares += float(wanted.square().sum())
            found[name] = LayerLoss(clipped / weights, (errors / squares) ** 0.5)
        return found

    def _bias_registers(self, name: str) -> tuple[Tensor, Tensor] | None:
        """Return mantissa and exponent of a population's bias; None if it has none."""
        if name in self._biases:
            shared = self.nodes[self._biases[name]]
            assert isinstance(shared, SharedBias)
            return shared.bias_registers()
        registers = (self._quantised(path).bias_registers() for path in self._paths[name])
        return next((each for each in registers if each is not None), None)

    def _quantised(self, path: Path) -> QuantisedSynapse:
        synapse = self.nodes[_synapse_of(path).name]
        assert isinstance(synapse, QuantisedSynapse)
        return synapse

    def _synapses(self, path: Path, source: tuple[int, ...], connection: Connection) -> Synapses:
        """Return the weights of a path, folded, as a connection holds them."""
        quantised = self._quantised(path)
        exponent = quantised.grids[path.copy].exponent
        weight = quantised.copied_weight(path.copy).double().cpu() / 2**exponent
        link = _synapse_of(path)._replace(module=_plain(quantised.original, weight))
        folded = fold((*path.before, link), 1 / (path.averaging * path.scaling), source)
        whole = np.rint(folded.weight).astype(np.int32)
        if isinstance(folded, FloatConvolution):
            assert isinstance(connection.synapses, Convolution)
            return replace(connection.synapses, weight=whole)
        return Dense(weight=whole)

    def _biased(self, name: str, population: Population) -> Population:
        registers = self._bias_registers(name)
        if registers is None:
            return population
        mantissa, power = registers
        exponent = int(power)
        given: NDArray[Any] = mantissa.cpu().numpy()
        if exponent > LARGEST_BIAS_EXPONENT:
            raise UsageError(f"{name}: its biases outgrew their registers. Lower --finetune-lr.")
        neuron = population.neuron
        cuba = replace(
            neuron.registers,
            bias_mant=compact(given).astype(np.int32),
            bias_exp=np.asarray(exponent, np.int32),
        )
        return replace(population, neuron=with_registers(neuron, cuba))


def _joined(paths: dict[str, tuple[Path, ...]]) -> set[str]:
    """Return the populations that hear synapses which others hear, too, or several biases."""
    heard = Counter(_synapse_of(path).name for each in paths.values() for path in each)
    return {
        name
        for name, each in paths.items()
        if any(heard[_synapse_of(path).name] > 1 for path in each) or sum(map(_biased, each)) > 1
    }


def _biased(path: Path) -> bool:
    return path.origin == INPUT or getattr(_synapse_of(path).module, "bias", None) is not None


def _stream(name: str, paths: tuple[Path, ...], modules: dict[str, nn.Module]) -> list[Node]:
    """Return nodes that bring to a population the copies of synapses that are its own.

    They stand in for what leads there from the synapses, whose factors are in the weights.

    Raises:
        UsageError: a copy that has no current of its own.
    """
    nodes: list[Node] = []
    sources: list[str] = []
    held: list[tuple[QuantisedSynapse, int]] = []
    taken = set(modules)
    if not isinstance(modules[name], Spiking):
        raise UsageError(
            f"{name}: a read-out whose synapses drive others, too, or have several biases, is not "
            f"known to fine-tuning. {_PLAIN}"
        )

    def add(wanted: str, module: nn.Module, *read: str) -> str:
        nodes.append(Node(_unused(wanted, taken), module, read))
        taken.add(nodes[-1].name)
        return nodes[-1].name

    for path in paths:
        synapse = modules[_synapse_of(path).name]
        assert isinstance(synapse, QuantisedSynapse)
        label, copies = _synapse_of(path).name, len(synapse.grids)
        if path.delayed:
            raise UsageError(
                f"{path.delayed}: a delay behind {label}, whose current {name} does not have for "
                f"itself, is not known to fine-tuning; put it before the synapse. {_PLAIN}"
            )
        if copies > 1 and getattr(synapse.linear, "groups", 1) > 1:
            raise UsageError(
                f"{label}: it drives several populations in groups of channels, which is not known "
                f"to fine-tuning. {_PLAIN}"
            )
        if copies > 1:
            label = add(f"{label}_{name}", Copy(path.copy, copies), label)
        sources.append(label)
        held.append((synapse, path.copy))
    last = add(f"{name}_sum", Add(), *sources) if len(sources) > 1 else sources[0]
    add(f"{name}_bias", SharedBias(*held), last)
    return nodes


def _needed(nodes: list[Node]) -> list[Node]:
    """Return the nodes that the last one hears, directly or through others."""
    needed = {nodes[-1].name}
    for node in reversed(nodes):
        if node.name in needed:
            needed |= set(node.sources)
    return [node for node in nodes if node.name in needed]


def _paths(network: Network) -> dict[str, tuple[Path, ...]]:
    """Return by population the ways into it, in the order of the graph's connections."""
    flows: dict[str, tuple[Path, ...]] = {INPUT: (Path(INPUT),)}
    shapes = {INPUT: network.input_shape, **network.shapes}
    found: dict[str, tuple[Path, ...]] = {}
    copies: Counter[str] = Counter()

    def settle(name: str, paths: tuple[Path, ...]) -> None:
        numbered = []
        for path in paths:
            if path.synapse is None:
                raise UsageError(
                    f"{name}: {path.origin} reaches it past all synapses, as in a residual stream "
                    f"of spikes; such networks are not fine-tuned. {_PLAIN}"
                )
            numbered.append(path._replace(copy=copies[path.synapse.name]))
            copies[path.synapse.name] += 1
        found[name] = tuple(numbered)

    for name, module in network.nodes.items():
        arriving = tuple(path for source in network.sources[name] for path in flows[source])
        link = Link(name, module, shapes[network.sources[name][0]], shapes[name])
        match module:
            case Spiking() as module:
                settle(name, arriving)
                flows[name] = (Path(name, spike=module.scale),)
            case Synapse():
                if len(arriving) != 1 or arriving[0].synapse is not None:
                    raise UsageError(
                        f"{name}: fine-tuning wants one source or spiking layer before a synapse, "
                        f"and no other synapse between. {_PLAIN}"
                    )
                flows[name] = (arriving[0]._replace(synapse=link),)
            case Add():
                flows[name] = arriving
            case Delay():
                flows[name] = tuple(
                    path._replace(delayed=name if path.synapse else "") for path in arriving
                )
            case LinearMap():
                flows[name] = tuple(_mapped(path, link) for path in arriving)
            case _:
                raise UsageError(
                    f"{name}: {type(module).__name__} is not known to fine-tuning. {_PLAIN}"
                )
    if not isinstance(network.nodes[network.output], Spiking):
        settle(network.output, flows[network.output])
    return found


def _mapped(path: Path, link: Link) -> Path:
    module = link.module
    if path.synapse is not None:
        if isinstance(module, Scale):
            return path._replace(behind=(*path.behind, (link.name, module.factor)))
        raise UsageError(
            f"{link.name}: {type(module).__name__} between a synapse and its neurons is not known "
            f"to fine-tuning; put it before the synapse. {_PLAIN}"
        )
    path = path._replace(before=(*path.before, link))
    match module:
        case Scale():
            return path._replace(scaling=path.scaling * module.factor)
        case AvgPool2d():
            return path._replace(averaging=path.averaging / module.size**2)
        case GlobalAvgPool2d():
            return path._replace(averaging=path.averaging / float(np.prod(link.source[1:])))
        case Flatten():
            return path
    raise UsageError(f"{link.name}: {type(module).__name__} is not known to fine-tuning. {_PLAIN}")


def _grid(
    path: Path,
    connection: Connection,
    target: Target,
    factor: float,
    speaks: Messages | None,
    *,
    sent: float,
) -> Grid:
    """Return the grid of a path's synapse, where a real unit is worth ``factor`` of weights."""
    link = _synapse_of(path)
    assert isinstance(link.module, Synapse)
    step, largest = weight_steps(target.weight_bits)
    share = path.averaging * path.scaling * path.spike
    stands: Tensor | float = share
    silence: Tensor | None = None
    if speaks is not None:
        shape = path.before[0].source if path.before else link.source
        unit = _through(path.before, np.broadcast_to(speaks.unit, shape))
        stands = _per_input(link, unit * path.averaging)
        if np.any(speaks.offset):
            offset = _through(path.before, np.broadcast_to(speaks.offset / speaks.unit, shape))
            silence = (offset / share).to(link.module.weight.dtype)
    return Grid(
        factor=stands * factor,
        bias_factor=factor,
        exponent=connection.weight_exponent,
        step=step,
        largest=largest,
        bias_exponent=target.bias_exponent,
        unit=share,
        silence=silence,
        sent=sent,
    )


def _in_registers(layer: Spiking, population: Population, scale: float, like: Tensor) -> Spiking:
    """Return a layer whose neurons are those of a population; its parameters stay, unused."""
    ideal, registers = layer.neuron, population.neuron.registers
    found = copy.deepcopy(layer)
    found.learnable = ()
    found._neuron = FixedPointLIF(
        steps=scale * (1 << STATE_SHIFT),
        threshold=_number(registers.vth / scale, like.device),
        current_decay=_number((UNITY - 1 - registers.du) / UNITY, like.device),
        voltage_decay=_number((UNITY - registers.dv) / UNITY, like.device),
        reset_mode="soft" if isinstance(population.neuron, SoftReset) else "hard",
        detach_reset=ideal.detach_reset,
        surrogate=ideal.surrogate,
        dtype=like.dtype,
    )
    return found


def _one_gain(name: str, layer: Spiking) -> float:
    _, gain = chip_neuron(name, layer.neuron)
    if gain.ndim:
        raise UsageError(
            f"{name}: fine-tuning wants one input gain for all neurons of a layer. {_PLAIN}"
        )
    return float(gain)


def _synapse_of(path: Path) -> Link:
    assert path.synapse is not None
    return path.synapse


def _messages(graph: IntegerGraph) -> Heard:
    speaks = _speech(graph, INPUT)
    assert speaks is not None
    lowest, highest = graph.sources[INPUT].message_range
    unit, offset = torch.as_tensor(speaks.unit), torch.as_tensor(speaks.offset)
    return Heard(unit, offset, lowest=lowest, highest=highest)


def _speech(graph: IntegerGraph, name: str) -> Messages | None:
    """Return how a source speaks; None for a population."""
    if name not in graph.sources:
        return None
    return Messages.from_json(graph.metadata["messages"][name])


def _through(maps: tuple[Link, ...], sample: NDArray[np.float64]) -> Tensor:
    value = torch.from_numpy(np.ascontiguousarray(sample))[None]
    for link in maps:
        value = link.module(value)
    return value[0]


def _per_input(link: Link, stands: Tensor) -> Tensor:
    """Return what a message stands for by input of a synapse, to multiply its weight."""
    if not isinstance(link.module, Conv2d):
        return stands
    by_channel = stands[:, :1, :1]
    if not torch.allclose(stands, by_channel.expand_as(stands), rtol=1e-9):
        raise UsageError(
            f"{link.name}: messages of one channel stand for different numbers. {_PLAIN}"
        )
    outputs = link.module.out_channels // link.module.groups
    return by_channel.reshape(link.module.groups, -1, 1, 1).repeat_interleave(outputs, 0)


def _plain(synapse: Synapse, weight: Tensor) -> Synapse:
    """Return a synapse without bias that has a weight as it is."""
    plain: Synapse
    if isinstance(synapse, Conv2d):
        names = ("kernel_size", "stride", "padding", "dilation", "groups")
        window: dict[str, Any] = {name: getattr(synapse, name) for name in names}
        plain = Conv2d(synapse.in_channels, synapse.out_channels, bias=False, **window)
    else:
        plain = Linear(weight.shape[1], weight.shape[0], bias=False)
    plain.weight = nn.Parameter(weight)
    return plain


def _number(values: NDArray[Any], device: torch.device) -> float | Tensor:
    return (
        torch.tensor(values, dtype=torch.float64, device=device) if values.ndim else float(values)
    )


def _unused(name: str, names: Collection[str]) -> str:
    while name in names:
        name += "_"
    return name
