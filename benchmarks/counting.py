"""What counting operations costs: an evaluation pass that counts over one that does not.

Both run the same batches through the same network, in turns; a reasoner is asked the same queries
of an embedded graph. Nothing is trained: biases of spiking reasoners are drawn so that all nodes
fire, for few spikes are counted at once. Counting may take at most 1.3 times as long.
"""

from collections.abc import Iterator
from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks.command import CheckFailedError, main, say
from benchmarks.interleaved import Step, ratios, summary, take_turns
from benchmarks.records import RESULTS, options_given, origin, read_result, write_result
from benchmarks.speed import WORKLOADS, Workload, draw_frames, draw_network
from neuro.config import load_reason_config
from neuro.energy import NetworkCounter, Signal
from neuro.graph import GRSNN, load_graph
from neuro.models import Conv9, ResNet18
from neuro.reports.reasoning import ask_queries, count_queries, draw_queries
from neuro.training.memory import tune_malloc
from neuro.training.reasoning import ReasoningSession

KIND = "counting"
METHODS = ("grsnn", "nbfnet")
LIMIT = 1.3
NETWORKS = {
    **{name: WORKLOADS[name] for name in ("mlp", "mlp-events", "mlp-2312-40", "conv5")},
    "conv9": Workload(
        "conv9 at quarter width, 3x32x32 image", Conv9(width=0.25), (3, 32, 32), "same"
    ),
    "resnet18": Workload(
        "resnet18 at quarter width, 3x32x32 image", ResNet18(width=0.25), (3, 32, 32), "same"
    ),
}

REASONERS = {
    f"{method}-{graph}": (method, graph) for graph in ("umls", "kinship") for method in METHODS
}
QUERIES = 32


def counting(
    *,
    rounds: int = 15,
    warm_up: int = 2,
    threads: int = 1,
    batch_size: int = 64,
    batches: int = 4,
    results: Path | None = None,
    check: bool = False,
) -> None:
    """Time evaluation with and without counting.

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
        Batches in a pass.
    results
        Result file; default benchmarks/results/counting.json.
    check
        Time nothing; fail unless, by the result file, counting takes at most 1.3 times as long.
    """
    file = results or RESULTS / f"{KIND}.json"
    if check:
        check_limit(read_result(file, KIND))
        return
    malloc = tune_malloc()
    torch.set_num_threads(threads)
    measured = {}
    for name, workload in NETWORKS.items():
        measured[name] = measure(workload, rounds, warm_up, batch_size, batches)
    for name, (method, graph) in REASONERS.items():
        measured[name] = measure_reasoner(method, graph, rounds, warm_up)
    for name, each in measured.items():
        say(f"{name}: {each['over_evaluation']['median']:.2f}")
    options = options_given(
        counting,
        rounds=rounds,
        warm_up=warm_up,
        threads=threads,
        batch_size=batch_size,
        batches=batches,
    )
    record = {
        **origin(["python", "-m", "benchmarks.counting", *options]),
        "kind": KIND,
        "malloc": malloc.reason,
        "rounds": rounds,
        "batch_size": batch_size,
        "batches": batches,
        "networks": measured,
    }
    write_result(file, record)
    check_limit(record)


def measure(
    workload: Workload, rounds: int, warm_up: int, batch_size: int, batches: int
) -> dict[str, Any]:
    """Time one network."""
    generator = torch.Generator().manual_seed(0)
    network = draw_network(workload, generator).eval()
    frames = draw_frames(workload, batch_size, generator)
    signal: Signal = "real" if workload.frames == "same" else "binary"

    def evaluate() -> None:
        for _ in range(batches):
            network.run(frames)

    def count() -> None:
        counter = NetworkCounter(network, signal=signal)
        for _ in range(batches):
            counter.count(frames)

    title = f"{workload.title}, T = {workload.timesteps}"
    return compare(title, evaluate, count, rounds, warm_up)


def measure_reasoner(method: str, graph: str, rounds: int, warm_up: int) -> dict[str, Any]:
    """Time one reasoner."""
    config = load_reason_config(method, dataset=graph)
    session = ReasoningSession(
        config, load_graph(graph), torch.device("cpu"), started=perf_counter()
    )
    if isinstance(session.model, GRSNN):
        bias = session.model.linear.bias
        torch.nn.init.uniform_(bias, generator=torch.Generator().manual_seed(0))
    queries = draw_queries(session, QUERIES)

    def count() -> None:
        for _ in count_queries(session, *queries):
            pass

    title = f"{method} on {graph}, {QUERIES} queries"
    ask = ask_queries(session, QUERIES)

    def evaluate() -> None:
        ask()

    return compare(title, evaluate, count, rounds, warm_up)


def compare(title: str, evaluate: Step, count: Step, rounds: int, warm_up: int) -> dict[str, Any]:
    """Time both passes in turns."""
    seconds = take_turns({"evaluation": evaluate, "counting": count}, rounds, warm_up)
    return {
        "title": title,
        "times": {
            name: summary([1e3 * each for each in found], "ms") for name, found in seconds.items()
        },
        "over_evaluation": ratios(seconds["counting"], seconds["evaluation"]),
    }


def bars_of(record: dict[str, Any]) -> Iterator[tuple[str, float]]:
    """Yield each network's name and ratio."""
    for name, each in record["networks"].items():
        yield name, each["over_evaluation"]["median"]


def check_limit(record: dict[str, Any]) -> None:
    """Print each ratio.

    Raises:
        CheckFailedError: one is above the limit.
    """
    slow = [name for name, ratio in bars_of(record) if ratio > LIMIT]
    for name, ratio in bars_of(record):
        print(f"{name}: counting over evaluation {ratio:.2f}, at most {LIMIT:g}")
    if slow:
        raise CheckFailedError(f"Counting costs more than {LIMIT:g} times: {', '.join(slow)}.")


if __name__ == "__main__":
    main(counting)
