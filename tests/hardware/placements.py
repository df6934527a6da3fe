"""Chips made small, and networks to place on them."""

import numpy as np

from neuro.hardware import HardwareProfile, Quantity, load_profile
from neuro.hardware.integer_graph import (
    Connection,
    Convolution,
    Cuba,
    Dense,
    IntegerGraph,
    Population,
    Source,
)

LOIHI1, LOIHI2 = load_profile("loihi1"), load_profile("loihi2")


def chip(kind="published", **limits):
    """Return Loihi 1 with other numbers; tiles of one core each."""
    changed = {name: Quantity(value, "", kind, "a test", 2020) for name, value in limits.items()}
    tile = {"cores_per_tile": Quantity(1, "", "published", "a test", 2020)}
    default = {} if "cores" in limits else {"cores": Quantity(32, "", "published", "a test", 2020)}
    return HardwareProfile("small", {}, {**LOIHI1.limits, **tile, **default, **changed})


def integers(values):
    return np.asarray(values, np.int32)


def population(name, shape, **registers):
    given = {"du": 4095, "dv": 100, "vth": 50, **registers}
    neuron = Cuba(**{key: integers(value) for key, value in given.items()})
    return Population(name=name, shape=shape, neuron=neuron)


def mixed(shape, seed=0):
    """Return even weights of both signs that need all 8 bits."""
    weight = np.random.default_rng(seed).integers(-128, 128, shape) * 2
    weight.reshape(-1)[:2] = (2, -2)[: weight.size]
    return integers(weight)


def dense(source, target, shape, **options):
    return Connection(source=source, target=target, synapses=Dense(weight=mixed(shape)), **options)


def network(sources, populations, connections):
    return IntegerGraph(
        sources={name: Source(name=name, shape=shape) for name, shape in sources.items()},
        populations={each.name: each for each in populations},
        connections=tuple(connections),
        output=populations[-1].name,
        steps=5,
    )


def two_layers(hidden=300, **options):
    return network(
        {"in": (100,)},
        [population("hidden", (hidden,), **options), population("out", (10,))],
        [dense("in", "hidden", (hidden, 100)), dense("hidden", "out", (10, hidden))],
    )


def conv_network(groups=1, stride=1, padding=1, channels=4, outputs=6, side=5):
    weight = mixed((outputs, channels // groups, 3, 3))
    synapses = Convolution(
        weight=weight, stride=(stride, stride), padding=(padding, padding), groups=groups
    )
    size = (side + 2 * padding - 3) // stride + 1
    return network(
        {"in": (channels, side, side)},
        [
            population("maps", (outputs, size, size), vth=np.arange(outputs)[:, None, None]),
            population("out", (3,)),
        ],
        [
            Connection(source="in", target="maps", synapses=synapses),
            dense("maps", "out", (3, outputs * size * size)),
        ],
    )
