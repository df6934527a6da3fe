"""Integer graphs in few words."""

from typing import Any

import numpy as np

from neuro.hardware.integer_graph import (
    Connection,
    Convolution,
    Cuba,
    Dense,
    IntegerGraph,
    Population,
    Source,
    Sparse,
)


def integers(values: Any) -> np.ndarray:
    return np.asarray(values, np.int32)


def neurons(du: Any = 400, dv: Any = 200, vth: Any = 500, **more: Any) -> Cuba:
    """Return neurons; numbers become registers, ``start`` and ``interval`` stay."""
    steps = {name: more.pop(name) for name in ("start", "interval") if name in more}
    registers = {"du": du, "dv": dv, "vth": vth, **more}
    return Cuba(**{name: integers(value) for name, value in registers.items()}, **steps)


def dense(source: str, target: str, weight: Any, delay: Any = 0, exponent: int = 0) -> Connection:
    return Connection(
        source=source,
        target=target,
        synapses=Dense(weight=integers(weight)),
        delay=integers(delay),
        weight_exponent=exponent,
    )


def convolution(source: str, target: str, weight: Any, exponent: int = 0, **how: Any) -> Connection:
    return Connection(
        source=source,
        target=target,
        synapses=Convolution(weight=integers(weight), **how),
        weight_exponent=exponent,
    )


def sparse(
    source: str, target: str, weight: Any, delay: Any = None, doubled: int = 0
) -> Connection:
    """Return the synapses of a matrix that are not 0, the first few of them twice."""
    weight = integers(weight)
    targets, sources = np.nonzero(weight)
    chosen = np.sort(np.concatenate([np.arange(len(targets)), np.arange(doubled)]))
    targets, sources = targets[chosen], sources[chosen]
    delays = integers(0) if delay is None else integers(delay)[targets, sources]
    if delay is not None and doubled:
        delays[1] += 3  # the second between the same neurons takes longer
    return Connection(
        source=source,
        target=target,
        synapses=Sparse(
            starts=integers(np.searchsorted(targets, np.arange(len(weight) + 1))),
            sources=integers(sources),
            weight=weight[targets, sources],
        ),
        delay=delays,
    )


def graph(
    sources: dict[str, Any],
    populations: dict[str, tuple[Any, Cuba]],
    *connections: Connection,
    steps: int = 20,
    bits: int = 0,
) -> IntegerGraph:
    """Return a graph; shapes are numbers or tuples, the output is the last population."""

    def shape(given: Any) -> tuple[int, ...]:
        return given if isinstance(given, tuple) else (given,)

    return IntegerGraph(
        sources={
            name: Source(name=name, shape=shape(given), message_bits=bits)
            for name, given in sources.items()
        },
        populations={
            name: Population(name=name, shape=shape(given), neuron=neuron)
            for name, (given, neuron) in populations.items()
        },
        connections=connections,
        output=list(populations)[-1],
        steps=steps,
    )


def one_layer(weight: Any, neuron: Cuba, steps: int = 20, **how: Any) -> IntegerGraph:
    """Return a source ``in`` that drives a population ``out`` through a matrix."""
    targets, sources = np.shape(weight)
    bits = how.pop("bits", 0)
    return graph(
        {"in": sources},
        {"out": (targets, neuron)},
        dense("in", "out", weight, **how),
        steps=steps,
        bits=bits,
    )


def even(rng: np.random.Generator, *shape: int, largest: int = 60) -> np.ndarray:
    """Return even weights of both signs."""
    return integers(rng.integers(-largest // 2, largest // 2 + 1, shape) * 2)


def spikes(rng: np.random.Generator, steps: int, *shape: int, rate: float = 0.3) -> np.ndarray:
    return integers(rng.random((steps, *shape)) < rate)
