"""Time to judge a GRSNN on the whole test set of WN18RR: both sides of each triple.

A network of the preset, untrained or that of a run, answers the distinct queries of all 3,134 test
triples, each with one propagation over 40,943 nodes, and every answer is ranked among all nodes, as
``neuro evaluate`` does. Reading the graph is not timed.
"""

from pathlib import Path
from time import perf_counter
from typing import Any

import torch

from benchmarks.command import CheckFailedError, main, say
from benchmarks.records import RESULTS, options_given, origin, read_result, write_result
from neuro.config import load_reason_config
from neuro.errors import UsageError
from neuro.graph import load_graph, ranking_metrics
from neuro.graph.evaluate import rank_answers
from neuro.training.memory import tune_malloc
from neuro.training.reasoning import ReasoningSession
from neuro.training.run import load_reasoner

KIND = "ranking"
DATASET = "wn18rr"
SECONDS = 600.0
"""The whole test set must not take longer, on two cores."""
CORES = 2


def ranking(
    *,
    data_dir: Path = Path("data"),
    run: Path | None = None,
    triples: int | None = None,
    threads: int = CORES,
    results: Path | None = None,
    check: bool = False,
) -> None:
    """Time the evaluation of a GRSNN on the test set of WN18RR.

    Parameters
    ----------
    data_dir
        Folder that holds WN18RR, or kg/WN18RR.
    run
        Run of grsnn on wn18rr whose last checkpoint is judged; default an untrained network.
    triples
        Only the first so many test triples; nothing is written then unless --results is given.
    threads
        CPU threads.
    results
        Result file; default benchmarks/results/ranking.json.
    check
        Time nothing; fail unless, by the result file, the whole test set took at most 600 seconds
        on at most two threads.
    """
    file = results or RESULTS / "ranking.json"
    if check:
        check_bar(read_result(file, KIND))
        return
    for name, number in {"threads": threads, "triples": triples}.items():
        if number is not None and number < 1:
            raise UsageError(f"--{name} must be >= 1, got {number}.")
    tune_malloc()
    torch.set_num_threads(threads)
    session = open_session(data_dir, run)
    if session.config.dataset_name != DATASET or not session.config.method_name.startswith("grsnn"):
        raise UsageError(f"--run must be a run of grsnn on {DATASET}.")
    found = measure(session, triples)
    say(describe(found))
    if triples is None or results is not None:
        given = {"run": None if run is None else run.name, "triples": triples, "threads": threads}
        options = ["--data-dir", str(data_dir), *options_given(ranking, **given)]
        command = ["python", "-m", "benchmarks.ranking", *options]
        write_result(file, {**origin(command), "kind": KIND, "trained": run is not None, **found})


def open_session(data_dir: Path, run: Path | None) -> ReasoningSession:
    """Return the network and its graph: that of a run, or an untrained one of the preset."""
    if run is not None:
        return load_reasoner(run, data_dir=data_dir)[1]
    config = load_reason_config("grsnn", dataset=DATASET)
    task = load_graph(DATASET, data_dir)
    return ReasoningSession(config, task, torch.device("cpu"), started=perf_counter())


def measure(session: ReasoningSession, triples: int | None) -> dict[str, Any]:
    """Rank both sides of test triples, and time that."""
    task = session.task
    asked = task.test[:triples]
    known = session.answers_of(task.test_known, task.test_graph)
    session.model.eval()
    # compiles, or loads what was compiled
    rank_answers(session.reasoner, session.test_graph.whole, asked[:1], known, **_sizes(session))
    begin = perf_counter()
    found = rank_answers(
        session.reasoner, session.test_graph.whole, asked, known, **_sizes(session)
    )
    seconds = perf_counter() - begin
    return {
        "dataset": session.config.dataset_name,
        "nodes": session.test_graph.whole.nodes,
        "triples": len(asked),
        "of": len(task.test),
        "seconds": seconds,
        "threads": torch.get_num_threads(),
        "firing_rate": found.firing_rate,
        "mrr": ranking_metrics(found.ranks).mrr,
    }


def _sizes(session: ReasoningSession) -> dict[str, int]:
    return {
        "relations": session.test_graph.fact_relations,
        "batch_size": session.config.evaluation_batch_size,
    }


def describe(found: dict[str, Any]) -> str:
    """Return one line."""
    text = (
        f"{found['dataset']}: both sides of {found['triples']:,} of {found['of']:,} test triples "
        f"in {found['seconds']:.1f} s, {found['threads']} threads"
    )
    if found["triples"] == found["of"]:
        return text
    return f"{text}; all in about {found['seconds'] * found['of'] / found['triples']:.0f} s"


def check_bar(record: dict[str, Any]) -> None:
    """Print the bar.

    Raises:
        CheckFailedError: it does not hold, or not the whole test set was judged on two threads.
    """
    if record["triples"] != record["of"] or record["threads"] > CORES:
        raise CheckFailedError(
            f"Not measured: {record['triples']:,} of {record['of']:,} triples on "
            f"{record['threads']} threads, not all on {CORES}."
        )
    holds = record["seconds"] <= SECONDS
    print(f"{describe(record)}, at most {SECONDS:g}: {'holds' if holds else 'FAILS'}")
    if not holds:
        raise CheckFailedError("The bar of ranking does not hold.")


if __name__ == "__main__":
    main(ranking)
