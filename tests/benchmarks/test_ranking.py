"""Time of a whole test set: what is timed, and what is claimed of it."""

from time import perf_counter
from typing import Any

import pytest
import torch

from benchmarks.command import CheckFailedError, run
from benchmarks.ranking import check_bar, describe, measure, ranking
from benchmarks.records import origin, write_result
from benchmarks.tables import render
from neuro.config import load_reason_config
from neuro.errors import UsageError
from neuro.graph import load_own_graph
from neuro.training.reasoning import ReasoningSession


@pytest.fixture
def session(graphs) -> ReasoningSession:
    config = load_reason_config(
        "grsnn", graph=str(graphs / "ring"), method={"hidden": 8, "timesteps": 6}
    )
    task = load_own_graph(graphs / "ring")
    return ReasoningSession(config, task, torch.device("cpu"), started=perf_counter())


def test_what_is_timed_is_the_evaluation_of_a_run(session):
    found = measure(session, None)
    tested = session.test()
    assert found["mrr"] == tested.metrics["mrr"]
    assert found["firing_rate"] == tested.metrics["firing_rate"]
    assert (found["triples"], found["of"]) == 2 * (len(session.task.test),)
    assert found["seconds"] > 0
    few = measure(session, 1)
    assert (few["triples"], few["of"]) == (1, found["of"])


def record(**changed: Any) -> dict[str, Any]:
    return {
        "kind": "ranking",
        "dataset": "wn18rr",
        "triples": 3134,
        "of": 3134,
        "seconds": 300.0,
        "threads": 2,
        **changed,
    }


def test_check_holds_the_bar_to_the_whole_test_set(capsys, tmp_path):
    file = tmp_path / "ranking.json"
    write_result(file, {**origin(["python", "-m", "benchmarks.ranking"]), **record()})
    assert run(ranking, ["--check", "--results", str(file)]) == 0
    assert "3,134 of 3,134 test triples in 300.0 s, 2 threads, at most 600: holds" in (
        capsys.readouterr().out
    )
    with pytest.raises(CheckFailedError, match="does not hold"):
        check_bar(record(seconds=600.5))
    for changed in ({"triples": 64}, {"threads": 4}):
        with pytest.raises(CheckFailedError, match="Not measured"):
            check_bar(record(**changed))


def test_a_part_tells_what_all_would_take():
    assert describe(record(triples=1567, seconds=10.0)).endswith("; all in about 20 s")


@pytest.mark.parametrize("wrong", [["--triples", "0"], ["--threads", "0"]])
def test_wrong_use_is_one_message(wrong, capsys):
    assert run(ranking, wrong) == UsageError.exit_code == 2
    assert "must be >= 1" in capsys.readouterr().err


def test_the_table_is_made_from_the_file(tmp_path):
    opening = origin(["python", "-m", "benchmarks.ranking"])
    found = record(nodes=40_943, trained=False)
    write_result(tmp_path / "ranking.json", {**opening, **found})
    text = render(tmp_path)
    assert "3,134 of 3,134 test triples of wn18rr among 40,943 nodes by an untrained GRSNN" in text
    assert "**300 s** (`python -m benchmarks.ranking`)" in text
