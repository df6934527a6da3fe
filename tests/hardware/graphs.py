"""Integer graphs to test with: random ones of every kind of synapse, and what drives them."""

from collections.abc import Callable
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

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
    Synapses,
    target_shape,
)
from neuro.hardware.microcode import GradedSpikes, Neuron, SoftReset

Array = NDArray[Any]


def integers(values: Any) -> Integers:
    return np.asarray(values, np.int32)


def neurons(du: Any = 4095, dv: Any = 2048, vth: Any = 100, **more: Any) -> Cuba:
    arrays = {name: integers(more.pop(name)) for name in ("bias_mant", "bias_exp") if name in more}
    return Cuba(du=integers(du), dv=integers(dv), vth=integers(vth), **arrays, **more)


def one_layer(
    weight: Array, neuron: Neuron, steps: int, *, delay: Any = 0, exponent: int = 0, bits: int = 0
) -> IntegerGraph:
    """Return a source ``in`` that drives a population ``out`` through a matrix."""
    return IntegerGraph(
        sources={"in": Source(name="in", shape=(weight.shape[1],), message_bits=bits)},
        populations={"out": Population(name="out", shape=(len(weight),), neuron=neuron)},
        connections=(
            Connection(
                source="in",
                target="out",
                synapses=Dense(weight=integers(weight)),
                delay=integers(delay),
                weight_exponent=exponent,
            ),
        ),
        output="out",
        steps=steps,
    )


def sparse(weight: Array) -> Sparse:
    """Return the entries of a matrix that are not zero."""
    targets, sources = np.nonzero(weight)
    starts = np.searchsorted(targets, np.arange(len(weight) + 1))
    return Sparse(
        starts=integers(starts),
        sources=integers(sources),
        weight=integers(weight[targets, sources]),
    )


def random_neurons(rng: np.random.Generator, shape: tuple[int, ...], steps: int) -> Neuron:
    """Return neurons with registers of their own or in common, over the whole of their ranges."""
    per_neuron = bool(rng.integers(2))

    def register(low: int, high: int) -> Integers:
        return integers(rng.integers(low, high, shape if per_neuron else ()))

    start = int(rng.integers(steps)) if rng.integers(2) else None
    plain = Cuba(
        du=register(-1, 4096) if rng.integers(2) else integers(4095),
        dv=register(0, 4097) if rng.integers(2) else integers(0),
        vth=register(0, 1 << int(rng.integers(1, 18))),
        bias_mant=register(-4096, 4096) if rng.integers(2) else integers(0),
        bias_exp=register(0, 8),
        start=start,
        interval=int(rng.integers(1, 6)) if start is not None and rng.integers(2) else None,
        vth_low=-register(0, 1 << 10) if rng.integers(4) == 0 else None,
    )
    if plain.vth_low is not None:
        return plain
    match rng.integers(4):
        case 0:
            return SoftReset(plain)
        case 1:
            return GradedSpikes(
                plain,
                "excess" if rng.integers(2) else "potential",
                message_bits=int(rng.choice([2, 4, 5])),
                shift=int(rng.choice([0, 6, 11, 17])),
            )
    return plain


def random_synapses(
    rng: np.random.Generator, source: tuple[int, ...], size: int | None
) -> tuple[Synapses, Integers]:
    """Return synapses from a shape, to ``size`` neurons or as many as it pleases, and delays."""
    scale = int(rng.choice([4, 256, 2000]))
    kind = rng.choice(["dense", "sparse", "convolution"])
    if kind == "convolution" and len(source) == 3 and size is None:
        groups = int(rng.choice([g for g in (1, 2, 3) if source[0] % g == 0]))
        kernel = tuple(int(rng.integers(1, min(4, side) + 1)) for side in source[1:])
        weight = rng.integers(
            -scale, scale, (groups * int(rng.integers(1, 4)), source[0] // groups, *kernel)
        )
        dilation = tuple(int(rng.integers(1, 3)) if k * 2 - 1 <= s else 1
                         for k, s in zip(kernel, source[1:], strict=True))  # fmt: skip
        synapses: Synapses = Convolution(
            weight=integers(weight),
            stride=(int(rng.integers(1, 4)), int(rng.integers(1, 4))),
            padding=(int(rng.integers(3)), int(rng.integers(3))),
            dilation=(dilation[0], dilation[1]),
            groups=groups,
        )
        return synapses, integers(rng.integers(4))
    sources = int(np.prod(source))
    weight = rng.integers(-scale, scale, (size or int(rng.integers(1, 7)), sources))
    weight *= rng.random(weight.shape) < 0.6
    synapses = sparse(weight) if kind == "sparse" else Dense(weight=integers(weight))
    several = rng.integers(2)
    return synapses, integers(rng.integers(0, 6, synapses.weight.shape if several else ()))


def random_graph(seed: int) -> IntegerGraph:
    """Return a graph of up to four populations, joined forwards and sometimes backwards."""
    rng = np.random.default_rng(seed)
    steps = int(rng.integers(1, 9))
    shape = tuple(int(n) for n in rng.integers(1, 6, int(rng.choice([1, 3]))))
    source = Source(name="in", shape=shape, message_bits=int(rng.choice([0, 0, 4, 8])))
    populations: dict[str, Population] = {}
    connections: list[Connection] = []

    def join(origin: str, target: str, synapses: Synapses, delay: Integers) -> None:
        exponent = int(rng.choice([0, 0, -2, 3]))
        connections.append(
            Connection(
                source=origin,
                target=target,
                synapses=synapses,
                delay=delay,
                weight_exponent=exponent,
            )
        )

    shapes = {"in": shape}
    for number in range(int(rng.integers(1, 5))):
        name, origin = f"layer{number}", str(rng.choice(list(shapes)))
        synapses, delay = random_synapses(rng, shapes[origin], None)
        shapes[name] = target_shape(synapses, shapes[origin])
        neuron = random_neurons(rng, shapes[name], steps)
        populations[name] = Population(name=name, shape=shapes[name], neuron=neuron)
        join(origin, name, synapses, delay)
        if rng.integers(2):  # from anywhere, itself included: recurrent
            origin = str(rng.choice(list(shapes)))
            size = int(np.prod(shapes[name]))
            join(origin, name, *random_synapses(rng, shapes[origin], size))
    return IntegerGraph(
        sources={"in": source},
        populations=populations,
        connections=tuple(connections),
        output=name,
        steps=steps,
    )


def random_input(graph: IntegerGraph, seed: int, batch: int) -> dict[str, Array]:
    """Return what drives a graph; sometimes less long than it runs, sometimes constant."""
    rng = np.random.default_rng(seed)
    inputs = {}
    for name, source in graph.sources.items():
        low, high = source.message_range
        length = int(rng.integers(1, graph.steps + 1))
        drawn = rng.integers(low, high + 1, (length, batch, *source.shape))
        drawn *= rng.random(drawn.shape) < rng.choice([0.2, 1.0])
        inputs[name] = np.repeat(drawn[:1], length, 0) if rng.integers(2) else drawn
    return inputs


def assert_same(one, other):
    assert type(one) is type(other)
    if is_dataclass(one):
        for each in fields(one):
            assert_same(getattr(one, each.name), getattr(other, each.name))
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other, strict=True)
    elif isinstance(one, dict):
        assert list(one) == list(other)
        for name in one:
            assert_same(one[name], other[name])
    elif isinstance(one, tuple) and one and is_dataclass(one[0]):
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    else:
        assert one == other


seeds: Callable[[], Any] = lambda: st.integers(0, 2**32 - 1)  # noqa: E731
