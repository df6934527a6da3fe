"""What counting operations costs: a counted pass beside an ordinary evaluation of the same batch.

``evaluate`` runs the network as evaluation does, ``count`` runs it once and counts every layer:
spiking networks with ``count_network``, the ordinary network with ``count_module``, by torch's
dispatcher. Both begin with the same numbers, drawn uniformly in [0, 1), at random initial weights,
and end with the same output; the share of neurons that fire is recorded, as sums over spikes are
what counting adds. Reported are medians over interleaved rounds, and of the ratio within a round.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.command import CheckFailedError, main, say
from benchmarks.interleaved import Step, ratios, summary, take_turns
from benchmarks.records import RESULTS, options_given, origin, read_result, write_result
from neuro.energy import Ledger
from neuro.energy.dispatch import count_module
from neuro.energy.network import count_network
from neuro.errors import UsageError
from neuro.layers import Network
from neuro.models import MLP, Conv5, ModelOptions, build_model
from neuro.training.memory import tune_malloc

KIND = "energy-cost"
EVALUATE, COUNT = "evaluate", "count"
MOST = 1.3
"""What counting may take of the time of an evaluation."""
CLASSES = 10


@dataclass(frozen=True)
class Pass:
    """Both ways to run a batch.

    Attributes:
        evaluate: as an evaluation does.
        count: the same, counted.
    """

    evaluate: Callable[[], object]
    count: Callable[[], Ledger]


@dataclass(frozen=True)
class Workload:
    """A network and a batch.

    Attributes:
        title: for tables.
        model: a spiking network, or None for an ordinary one.
        shape: of a sample.
        timesteps: T.
        batch_size: B.
    """

    title: str
    model: ModelOptions | None
    shape: tuple[int, ...]
    timesteps: int
    batch_size: int

    def draw(self) -> Pass:
        """Build the network and draw the batch, always the same."""
        generator = torch.Generator().manual_seed(0)
        x = torch.rand(self.batch_size, *self.shape, generator=generator)
        if self.model is None:
            net = ordinary_network(self.shape, generator).eval()
            return Pass(lambda: net(x), lambda: count_module(net, x))
        network = build_model(self.model, self.shape, CLASSES, generator).eval()
        return Pass(*_spiking(network, [x] * self.timesteps))


WORKLOADS = {
    "digits-mlp": Workload("digits, 64-256-256-10", MLP(hidden=(256, 256)), (64,), 6, 64),
    "mnist-mlp": Workload("MNIST, 784-800-800-10", MLP(hidden=(800, 800)), (784,), 6, 128),
    "mnist-conv5": Workload("MNIST, conv5, width 0.5", Conv5(width=0.5), (1, 28, 28), 6, 32),
    "mnist-ann": Workload("MNIST, conv5 without spikes, width 0.5", None, (1, 28, 28), 1, 128),
}


def energy_cost(
    *,
    rounds: int = 21,
    warm_up: int = 3,
    threads: int = 2,
    results: Path | None = None,
    check: bool = False,
) -> None:
    """Time counting beside evaluation.

    Parameters
    ----------
    rounds
        Timed passes of each kind.
    warm_up
        Passes of each kind before.
    threads
        CPU threads.
    results
        Result file; default benchmarks/results/energy-cost.json.
    check
        Time nothing; fail unless, by the result file, counting takes at most 1.3 times an
        evaluation on every network.
    """
    file = results or RESULTS / "energy-cost.json"
    if check:
        check_bars(read_result(file, KIND))
        return
    for name, number in {"rounds": rounds, "warm-up": warm_up, "threads": threads}.items():
        if number < 1:
            raise UsageError(f"--{name} must be >= 1, got {number}.")
    malloc = tune_malloc()
    torch.set_num_threads(threads)
    options = options_given(energy_cost, rounds=rounds, warm_up=warm_up, threads=threads)
    record = {
        **origin(["python", "-m", "benchmarks.energy_cost", *options]),
        "kind": KIND,
        "rounds": rounds,
        "malloc": malloc.reason,
        "most": MOST,
        "workloads": {name: measure(each, rounds, warm_up) for name, each in WORKLOADS.items()},
    }
    write_result(file, record)
    for text, ratio, holds in bars_of(record):
        print(f"{text}: {ratio:.2f} of an evaluation{'' if holds else ', above the bar'}")


def measure(workload: Workload, rounds: int, warm_up: int) -> dict[str, Any]:
    """Time both passes of a workload.

    Raises:
        CheckFailedError: two counts of one batch differ.
    """
    batch = workload.draw()
    ledger = batch.count()
    if batch.count() != ledger:
        raise CheckFailedError(f"{workload.title}: two counts of one batch differ.")
    total = ledger.total

    def evaluate() -> None:
        with torch.no_grad():
            batch.evaluate()

    def count() -> None:
        batch.count()

    steps: dict[str, Step] = {EVALUATE: evaluate, COUNT: count}
    seconds = take_turns(steps, rounds, warm_up)
    say(f"{workload.title}: {rounds} rounds")
    return {
        "title": workload.title,
        "timesteps": workload.timesteps,
        "batch_size": workload.batch_size,
        "firing_rate": total.spikes / total.neuron_updates if total.neuron_updates else None,
        "times": {
            name: summary([1e3 * each for each in found], "ms", 3)
            for name, found in seconds.items()
        },
        "count_over_evaluate": ratios(seconds[COUNT], seconds[EVALUATE]),
    }


def ordinary_network(shape: tuple[int, ...], generator: torch.Generator) -> nn.Module:
    """Return the layers of ``conv5`` at half width, rectifiers in place of neurons."""
    channels, rows, columns = shape
    layers: list[nn.Module] = []
    for number, width in enumerate((64, 128, 256, 256)):
        layers += [nn.Conv2d(channels, width, 3, padding=1), nn.ReLU()]
        if number < 3:
            layers.append(nn.AvgPool2d(2))
            rows, columns = rows // 2, columns // 2
        channels = width
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(channels * rows * columns, CLASSES))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.uniform_(-0.05, 0.05, generator=generator)
    return net


def _spiking(
    network: Network, steps: list[Tensor]
) -> tuple[Callable[[], object], Callable[[], Ledger]]:
    return lambda: network.run(steps), lambda: count_network(network, steps)


def bars_of(record: dict[str, Any]) -> Iterator[tuple[str, float, bool]]:
    """Yield each workload's title, ratio, and whether it is within the bar."""
    for found in record["workloads"].values():
        ratio = found["count_over_evaluate"]["median"]
        yield found["title"], ratio, ratio <= MOST


def check_bars(record: dict[str, Any]) -> None:
    """Print each ratio.

    Raises:
        CheckFailedError: one is above the bar, or a workload was not timed.
    """
    missing = WORKLOADS.keys() - record["workloads"].keys()
    if missing:
        raise CheckFailedError(f"not timed: {', '.join(sorted(missing))}; run the benchmark again.")
    failed = 0
    for text, ratio, holds in bars_of(record):
        failed += not holds
        print(f"{text}: {ratio:.2f}, at most {MOST:g}: {'holds' if holds else 'FAILS'}")
    if failed:
        raise CheckFailedError(f"{failed} of {len(record['workloads'])} counts cost too much.")


if __name__ == "__main__":
    main(energy_cost)
