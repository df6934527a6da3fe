"""Integer graphs drawn from a seed: everything Lava runs exactly, in some mixture."""

import numpy as np

from neuro.hardware.integer_graph import IntegerGraph
from tests.hardware.lava.build import convolution, dense, even, graph, neurons, sparse, spikes

STEPS = 25


def draw(seed: int) -> tuple[IntegerGraph, dict[str, np.ndarray]]:
    """Return a graph and one sample ``[T, 1, *shape]``.

    Maps through a convolution, or one row of neurons; then a layer with per-neuron registers, that
    may hear itself; mixed or one-sided weights, delays, exponents, biases; currents that wrap.
    """
    rng = np.random.default_rng(seed)
    maps, recurrent, delayed, wraps = (bool(each) for each in rng.integers(0, 2, 4))
    shape = (2, 5, 4) if maps else (7,)
    first = (3, 5, 4) if maps else (6,)
    hidden, outputs = int(np.prod(first)), 4
    if maps:
        entry = convolution("in", "first", even(rng, 3, 2, 3, 3), padding=(1, 1))
    else:
        weight = even(rng, hidden, 7)
        weight[-1, -1] = 2  # of both signs, however the others fall
        entry = dense("in", "first", weight, exponent=int(rng.integers(0, 3)))
    matrix = even(rng, outputs, hidden)
    if wraps:  # sums of one sign, times 2^7, go beyond 24 bits
        matrix = np.abs(matrix)
    matrix[0, 0], matrix[0, 1] = 2, -2
    delay = rng.integers(0, 9, matrix.shape) if delayed else 0
    kind = rng.integers(0, 2)
    second = (
        dense("first", "second", matrix, delay, exponent=7 if wraps else 0)
        if kind or wraps
        else sparse("first", "second", matrix, delay if delayed else None)
    )
    own = [dense("second", "second", even(rng, outputs, outputs, largest=100))]
    fast = 0 if wraps else int(rng.integers(0, 4096))
    made = graph(
        {"in": shape},
        {
            "first": (
                first,
                neurons(
                    du=int(rng.integers(0, 4096)),
                    dv=int(rng.integers(0, 4096)),
                    vth=int(rng.integers(20, 400)),
                    bias_mant=int(rng.integers(-300, 300)),
                    bias_exp=int(rng.integers(0, 5)),
                ),
            ),
            "second": (
                outputs,
                neurons(
                    du=fast,
                    dv=rng.integers(0, 4096, outputs),
                    vth=rng.integers(20, 2000, outputs),
                ),
            ),
        },
        entry,
        second,
        *(own if recurrent else []),
        steps=STEPS,
    )
    return made, {"in": spikes(rng, STEPS, 1, *shape, rate=0.4)}
