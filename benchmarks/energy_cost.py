"""What counting any torch module costs: a counted evaluation over an ordinary one.

The modules are ordinary networks, in which every operator is counted as torch dispatches it; what
counting spiking networks costs is measured by :mod:`benchmarks.counting`. Both passes run the same
batches, drawn uniformly in [0, 1), in turns; a counter is made anew in every counted pass. Counting
may take at most 1.3 times as long.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from torch import nn

from benchmarks.command import CheckFailedError, main, say
from benchmarks.counting import LIMIT, check_limit
from benchmarks.interleaved import ratios, summary, take_turns
from benchmarks.records import RESULTS, options_given, origin, read_result, write_result
from neuro.energy.operators.dispatch import ModuleCounter
from neuro.errors import UsageError
from neuro.training.memory import tune_malloc

KIND = "energy-cost"
EVALUATION, COUNTING = "evaluation", "counting"


@dataclass(frozen=True)
class Workload:
    """A network and the shape of a sample.

    ``title``: for tables. ``build``: makes the network.
    """

    title: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]


def perceptron(*widths: int) -> nn.Module:
    """Return linear maps with rectifiers between."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(widths):
        layers += [nn.Linear(inputs, outputs), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


def convolutions(channels: int, side: int, width: float) -> nn.Module:
    """Return the layers of ``conv5``, rectifiers in place of neurons.

    Args:
        channels: of the image.
        side: of the image.
        width: multiplies the channels of the layers.
    """
    layers: list[nn.Module] = []
    for number, full in enumerate((128, 256, 512, 512)):
        layers += [nn.Conv2d(channels, int(full * width), 3, padding=1), nn.ReLU()]
        channels = int(full * width)
        if number < 3:
            layers.append(nn.AvgPool2d(2))
            side //= 2
    return nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * side**2, 10))


def attention(features: int, heads: int) -> nn.Module:
    """Return a layer of self-attention and a small network, as transformers have it."""
    return nn.TransformerEncoderLayer(features, heads, 4 * features, batch_first=True)


NETWORKS = {
    "mlp": Workload("784-800-800-10", lambda: perceptron(784, 800, 800, 10), (784,)),
    "conv5": Workload(
        "conv5 at half width, 1x28x28 image", lambda: convolutions(1, 28, 0.5), (1, 28, 28)
    ),
    "attention": Workload(
        "self-attention, 64 of 128 numbers, 4 heads", lambda: attention(128, 4), (64, 128)
    ),
}


def energy_cost(
    *,
    rounds: int = 15,
    warm_up: int = 2,
    threads: int = 1,
    batch_size: int = 256,
    batches: int = 8,
    results: Path | None = None,
    check: bool = False,
) -> None:
    """Time evaluation of ordinary networks with and without counting.

    Parameters
    ----------
    rounds
        Timed passes of each.
    warm_up
        Passes of each before.
    threads
        CPU threads.
    batch_size
        Samples in a batch.
    batches
        Batches of a pass.
    results
        Result file; default benchmarks/results/energy-cost.json.
    check
        Time nothing; fail unless, by the result file, counting takes at most 1.3 times as long.
    """
    file = results or RESULTS / f"{KIND}.json"
    if check:
        check_limit(read_result(file, KIND))
        return
    sizes = {"rounds": rounds, "warm-up": warm_up, "threads": threads}
    for name, number in {**sizes, "batch-size": batch_size, "batches": batches}.items():
        if number < 1:
            raise UsageError(f"--{name} must be >= 1, got {number}.")
    malloc = tune_malloc()
    torch.set_num_threads(threads)
    measured = {}
    for name, workload in NETWORKS.items():
        measured[name] = measure(workload, rounds, warm_up, batch_size, batches)
        say(f"{name}: {measured[name]['over_evaluation']['median']:.2f}")
    options = options_given(
        energy_cost,
        rounds=rounds,
        warm_up=warm_up,
        threads=threads,
        batch_size=batch_size,
        batches=batches,
    )
    record = {
        **origin(["python", "-m", "benchmarks.energy_cost", *options]),
        "kind": KIND,
        "malloc": malloc.reason,
        "rounds": rounds,
        "batch_size": batch_size,
        "batches": batches,
        "limit": LIMIT,
        "networks": measured,
    }
    write_result(file, record)
    check_limit(record)


def measure(
    workload: Workload, rounds: int, warm_up: int, batch_size: int, batches: int
) -> dict[str, Any]:
    """Time one network.

    Raises:
        CheckFailedError: two counts of one batch differ.
    """
    torch.manual_seed(0)
    net, x = workload.build().eval(), torch.rand(batch_size, *workload.shape)
    counter = ModuleCounter(net)
    if counter.count(x) != counter.count(x):
        raise CheckFailedError(f"{workload.title}: two counts of one batch differ.")

    def evaluate() -> None:
        with torch.no_grad():
            for _ in range(batches):
                net(x)

    def count() -> None:
        counter = ModuleCounter(net)
        for _ in range(batches):
            counter.count(x)

    seconds = take_turns({EVALUATION: evaluate, COUNTING: count}, rounds, warm_up)
    return {
        "title": workload.title,
        "times": {
            name: summary([1e3 * each for each in found], "ms") for name, found in seconds.items()
        },
        "over_evaluation": ratios(seconds[COUNTING], seconds[EVALUATION]),
    }


if __name__ == "__main__":
    main(energy_cost)
