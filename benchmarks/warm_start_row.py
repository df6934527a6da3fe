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


def noise() -> None:
    from neuro.kernels import NoiseStream, noise

    noise(NoiseStream("gaussian", 0, 0, 0), torch.empty(2, 64))


def online_step() -> None:
    from neuro.kernels import NoiseStream, online_step

    online_step(
        torch.rand(2, 64),
        torch.zeros(2, 64),
        decay=0.5,
        traces=[torch.zeros(2, 64)],
        noise=NoiseStream("gaussian", 0, 0, 0),
        strength=torch.ones(2),
    )


def opzo_update() -> None:
    from neuro.kernels import NoiseStream, opzo_update

    stream = NoiseStream("gaussian", 0, 0, 0)
    opzo_update(torch.zeros(3, 64), torch.rand(2, 3), stream, keep=0.9, factor=0.1)


def packed_spikes() -> None:
    from neuro.kernels import pack_spikes, unpack_spikes

    unpack_spikes(pack_spikes(torch.ones(2, 64)), (2, 64), dtype=torch.float32)


def three_factor() -> None:
    from neuro.kernels import three_factor_gradient

    three_factor_gradient(
        torch.rand(3, 64), torch.rand(2, 3), torch.rand(2, 64), torch.rand(2, 5), torch.zeros(64, 5)
    )


def event_linear() -> None:
    from neuro.kernels import event_linear

    event_linear(torch.zeros(128, 800), torch.rand(800, 800))


def event_conv2d() -> None:
    from neuro.kernels import event_conv2d

    event_conv2d(torch.zeros(16, 64, 16, 16), torch.rand(64, 64, 3, 3), padding=1)


def delayed_message() -> None:
    from neuro.kernels import RelationalGraph, delayed_message

    ring = torch.arange(64)
    graph = RelationalGraph.of(ring, ring % 2, ring.roll(1), nodes=64)
    drive = torch.ones(2, 32, requires_grad=True)
    numbers = torch.full((2, 2, 32), 1.0), torch.eye(32), torch.zeros(32), torch.full((4,), 0.25)
    found = delayed_message(graph, torch.tensor([0, 1]), drive, *numbers, decay=0.8, gain=0.7)
    found.decoded.sum().backward()  # type: ignore[no-untyped-call]


def relational_spmm() -> None:
    from neuro.kernels import RelationalGraph, relational_pna, relational_spmm

    ring = torch.arange(64)
    graph = RelationalGraph.of(ring, ring % 2, ring.roll(1), nodes=64)
    features = torch.ones(64, 2, 32, requires_grad=True)
    found = relational_pna(features, torch.ones(2, 2, 32), graph, torch.zeros(64, 2, 32))
    total = relational_spmm(features, torch.ones(2, 2, 32), graph)
    (sum(found) + total).sum().backward()  # type: ignore[no-untyped-call]


def arrivals() -> None:
    from neuro.kernels import RelationalGraph, count_arrivals

    ring = torch.arange(64)
    graph = RelationalGraph.of(ring, ring % 2, ring.roll(1), nodes=64)
    trains, masks = torch.ones(2, 64, 10, 1), torch.ones(1, 2, 2, 1)
    count_arrivals(trains.int(), masks.int(), graph)


CALLS: dict[str, Callable[[], None]] = {
    "lif": lif,
    "noise": noise,
    "online_step": online_step,
    "opzo_update": opzo_update,
    "packed_spikes": packed_spikes,
    "three_factor": three_factor,
    "event_linear": event_linear,
    "event_conv2d": event_conv2d,
    "delayed_message": delayed_message,
    "relational_spmm": relational_spmm,
    "arrivals": arrivals,
}
"""For every op a small call, of the variant that training uses most."""


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
