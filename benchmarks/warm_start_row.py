"""The process that measures one row of :mod:`benchmarks.warm_start`; prints one JSON object."""

import json
import sys
import time
from collections.abc import Callable

import torch


def lif() -> None:
    from neuro.kernels import lif

    currents = torch.rand(4, 2, 64, requires_grad=True)
    lif(currents, torch.zeros(2, 64), decay=0.5).spikes.sum().backward()  # type: ignore[no-untyped-call]


def lif_step() -> None:
    from neuro.kernels import lif_step

    lif_step(torch.rand(2, 64), torch.zeros(2, 64), None, None, decay=0.5, threshold=1.0)


def packed_spikes() -> None:
    from neuro.kernels import pack_spikes, unpack_spikes

    unpack_spikes(pack_spikes(torch.ones(2, 64)), (2, 64), dtype=torch.float32)


def sigmoid_factor() -> None:
    from neuro.kernels import sigmoid_factor

    sigmoid_factor(torch.rand(2, 64), torch.rand(2, 64), slope=4.0)


CALLS: dict[str, Callable[[], None]] = {
    "lif": lif,
    "lif_step": lif_step,
    "packed_spikes": packed_spikes,
    "sigmoid_factor": sigmoid_factor,
}
"""For every op the smallest call that needs all of its compiled functions of one variant."""


def measure_here(op: str) -> dict[str, float]:
    """Return how long the first two calls of an op take here, other packages being imported.

    Torch imports its compiler at the first call of any operation that is not its own.
    """
    import numba  # noqa: F401
    import torch._dynamo  # noqa: F401

    import neuro.kernels  # noqa: F401

    seconds = []
    for _ in range(2):
        started = time.perf_counter()
        CALLS[op]()
        seconds.append(time.perf_counter() - started)
    return {"first_seconds": seconds[0], "second_seconds": seconds[1]}


if __name__ == "__main__":
    print(json.dumps(measure_here(sys.argv[1])))
