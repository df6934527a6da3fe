"""What travels along a network's connections: the declared signal of its input, carried on.

- Neurons send spikes; a gain on them, or a factor after, is what a spike arrives as, and belongs to
  the weights it meets. Delays and changes of shape leave spikes what they are.
- An average of spikes before a synapse is linear and constant: weights over the size of a window,
  at every input of it. Where all that reads it are synapses, it is *folded*: spikes reach the
  synapse one by one, as an export writes it. Where something else reads it, it is computed, and
  gives events with a number each.
- Sums of spikes are events with a number each. What synapses and integrators send is real.
- A real factor that stands alone after a synapse, or only before synapses and neurons, goes into
  weights or thresholds.
"""

from collections.abc import Mapping, Sequence
from math import prod
from typing import NamedTuple

from torch import nn

from neuro.energy.signals import Signal
from neuro.errors import UsageError
from neuro.layers import (
    INPUT,
    Add,
    AvgPool2d,
    Delay,
    Flatten,
    GlobalAvgPool2d,
    Network,
    ReadoutIntegrator,
    Scale,
    Spiking,
    Synapse,
)
from neuro.layers.network import STATEFUL
from neuro.layers.quantised import Heard

RESHAPING = (Flatten, nn.Flatten, nn.Identity)
POOLING = (AvgPool2d, GlobalAvgPool2d)
DROPPING = (nn.Dropout, nn.Dropout1d, nn.Dropout2d, nn.Dropout3d)
PASSING = (*RESHAPING, *DROPPING)
KNOWN = (*STATEFUL, *RESHAPING, *POOLING, Synapse, Scale, Add, Heard)
Shape = tuple[int, ...]


class Stream(NamedTuple):
    """What a node sends on.

    Attributes:
        signal: as declared, or as it follows.
        origin: node whose output holds the events; what lies between is folded.
        unit: what a spike arrives as.
        maps: folded ones between origin and here, in order, with the shapes they take.
        constant: whether it is the same at every step.
        repeated: whether its values were another node's before, and checked there.
    """

    signal: Signal
    origin: str
    unit: float = 1.0
    maps: tuple[tuple[nn.Module, Shape], ...] = ()
    constant: bool = False
    repeated: bool = False

    @property
    def events(self) -> bool:
        """Whether zeros cost nothing."""
        return self.signal != "real"


def without_arithmetic(name: str, module: nn.Module) -> bool:
    """Tell whether a module only passes on what it is given.

    Raises:
        UsageError: it drops numbers at random, as it does in training.
    """
    if isinstance(module, DROPPING):
        if module.training:
            raise UsageError(
                f"{name}: {type(module).__name__} is in training mode, in which its output is "
                "random. Call network.eval() before counting."
            )
        return True
    return isinstance(module, RESHAPING)


def streams(
    network: Network, signal: Signal, folding: "Folding", *, constant: bool
) -> dict[str, Stream]:
    """Return what the input and every node send on.

    Args:
        network: whose nodes are in order.
        signal: of the input.
        folding: of the network.
        constant: whether the input is the same at every step.
    """
    found = {INPUT: Stream(signal, INPUT, constant=constant)}
    shapes: dict[str, Shape] = {INPUT: network.input_shape, **network.shapes}
    for name, module in network.nodes.items():
        names = network.sources[name]
        given = [found[source] for source in names]
        found[name] = _sent(name, module, given, shapes[names[0]], name in folding.pools)
    return found


def _sent(
    name: str, module: nn.Module, given: Sequence[Stream], shape: Shape, folded: bool
) -> Stream:
    first = given[0]
    constant = all(stream.constant for stream in given)
    if isinstance(module, Spiking):
        return Stream("binary", name, unit=module.scale)
    if isinstance(module, Delay):
        return Stream(first.signal, name, unit=first.unit, repeated=True)
    if isinstance(module, ReadoutIntegrator):
        return Stream("real", name)
    if isinstance(module, Add):
        real = any(not stream.events for stream in given)
        return Stream("real" if real else "graded", name, constant=constant)
    if isinstance(module, Heard):
        return Stream("graded", name, constant=constant)
    if not first.events or not isinstance(module, (*PASSING, *POOLING, Scale)):
        return Stream("real", name, constant=constant)
    if isinstance(module, Scale):
        return first._replace(unit=first.unit * module.factor)
    if isinstance(module, POOLING):
        if not folded:
            return Stream("graded", name, constant=constant)
        first = first._replace(unit=first.unit / prod(window(module, shape)))
    return first._replace(maps=(*first.maps, (module, shape)))


def window(pool: nn.Module, shape: Shape) -> Shape:
    """Return over how many rows and columns of a shape a pool averages."""
    return (pool.size, pool.size) if isinstance(pool, AvgPool2d) else shape[-2:]


class Folding(NamedTuple):
    """What acts within its neighbours.

    Attributes:
        pools: of spikes, that act within the weights of synapses after them.
        factors: scales, and pools' division, that go into weights or thresholds.
    """

    pools: frozenset[str]
    factors: frozenset[str]


def folding_of(network: Network) -> Folding:
    """Return which nodes of a network are folded."""
    readers: dict[str, list[str]] = {}
    for name, sources in network.sources.items():
        for source in sources:
            readers.setdefault(source, []).append(name)

    def only_before(name: str, kinds: tuple[type[nn.Module], ...]) -> bool:
        """Whether all that reads a node, through maps that pass it on, is of these kinds."""
        found = readers.get(name, [])
        return bool(found) and all(
            isinstance(network.nodes[each], kinds)
            or (
                isinstance(network.nodes[each], (*PASSING, *POOLING, Scale))
                and only_before(each, kinds)
            )
            for each in found
        )

    def alone_after_synapse(name: str) -> bool:
        source = network.sources[name][0]
        if source == INPUT or len(readers[source]) > 1:
            return False
        module = network.nodes[source]
        return isinstance(module, Synapse) or (
            isinstance(module, (*PASSING, *POOLING, Scale)) and alone_after_synapse(source)
        )

    pools = [name for name, module in network.nodes.items() if isinstance(module, POOLING)]
    scales = [name for name, module in network.nodes.items() if isinstance(module, Scale)]
    return Folding(
        frozenset(name for name in pools if only_before(name, (Synapse,))),
        frozenset(
            name
            for name in (*pools, *scales)
            if alone_after_synapse(name) or only_before(name, (Synapse, Spiking, ReadoutIntegrator))
        ),
    )


class Surroundings(NamedTuple):
    """A network, and what follows from its declared input."""

    network: Network
    streams: Mapping[str, Stream]
    folding: Folding

    @classmethod
    def of(cls, network: Network, signal: Signal, constant: bool) -> "Surroundings":
        """Return those of a network.

        Args:
            network: whatever it is.
            signal: of its input.
            constant: whether the input is the same at every step.
        """
        folding = folding_of(network)
        return cls(network, streams(network, signal, folding, constant=constant), folding)

    def shape(self, name: str) -> Shape:
        """Return the shape of what a node, or the input, sends on."""
        return self.network.input_shape if name == INPUT else self.network.shapes[name]
