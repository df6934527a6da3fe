"""Delayed messages beside torch alone: that they agree, and what is claimed of the factors."""

from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks.command import CheckFailedError, run
from benchmarks.graph import TASKS, check_bars, compare, describe, graph, measure
from benchmarks.graph_row import (
    CONTENDERS,
    NAIVE,
    OURS,
    Task,
    draw_problem,
    draw_small,
    measure_here,
    read_graph,
)
from benchmarks.records import origin, write_result
from benchmarks.tables import render
from neuro.errors import UsageError

FACTS = "b\tlikes\ta\na\tlikes\tc\nc\tis\tb\nb\tis\ta\n"


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    folder = tmp_path / "kg" / "small"
    folder.mkdir(parents=True)
    (folder / "train.txt").write_text(FACTS)
    return tmp_path


def test_a_fact_is_an_edge_and_its_inverse(data_dir):
    facts, relations = read_graph(data_dir / "kg" / "small")
    assert (facts.nodes, facts.edges, relations) == (3, 8, 4)
    # into a = 0: b likes a (1), b is a (0), and the inverse of a likes c (1 + 2)
    first = slice(int(facts.in_starts[0]), int(facts.in_starts[1]))
    into = sorted(
        zip(facts.in_sources[first].tolist(), facts.in_relations[first].tolist(), strict=True)
    )
    assert into == [(1, 0), (1, 1), (2, 3)]
    with pytest.raises(UsageError, match="There is no"):
        read_graph(data_dir / "kg")


@pytest.mark.parametrize("quantity", ["inference", "training"])
@pytest.mark.parametrize("busy", [False, True])
def test_both_ways_agree_and_are_timed(quantity, busy):
    problem = draw_small(Task("kg/small", quantity, 3, busy=busy, neurons=8))
    assert len(problem.run(OURS)) == (1 if quantity == "inference" else 5)
    found = measure(problem, rounds=2)
    assert found["equal"] == 1.0
    assert found["gradient_gap"] < 1e-4
    assert found["share_of_neurons_that_fire"] > (0.3 if busy else 0.001)
    for each in found["contenders"].values():
        assert 0 < each["min_ms"] <= each["median_ms"]


def test_no_speed_is_reported_of_what_differs():
    problem = draw_small(Task("kg/small", "training", 3, busy=True, neurons=8))
    ours, others = problem.run(OURS), problem.run(NAIVE)
    with pytest.raises(CheckFailedError, match="otherwise"):
        compare((1 - ours[0], *ours[1:]), others)
    with pytest.raises(CheckFailedError, match="gradients"):
        compare((*ours[:-1], 1.1 * ours[-1]), others)


def test_memory_is_that_of_a_call(data_dir):
    task = Task("kg/small", "inference", 2, neurons=8)
    assert measure_here(task, OURS, data_dir)["peak_memory_mb"] >= 0
    assert draw_problem(task, *read_graph(data_dir / "kg" / "small")).of_decoded.numel() == 0


def record(time: float = 100.0, memory: float = 100.0) -> dict[str, Any]:
    def contender(factor: float, megabytes: float) -> dict[str, Any]:
        times = {"median_ms": factor, "over_neuro": {"median": factor}}
        return {**times, "peak_memory_mb": megabytes}

    return {
        "kind": "graph",
        "rounds": 3,
        "tasks": {
            task.name: {
                "quantity": task.quantity,
                "busy": task.busy,
                "share_of_neurons_that_fire": 0.25,
                "contenders": dict(
                    zip(CONTENDERS, (contender(1, 10), contender(time, 10 * memory)), strict=True)
                ),
            }
            for task in TASKS
        },
    }


def test_check_holds_each_bar(capsys):
    check_bars(record())
    assert capsys.readouterr().out.count("holds") == 2 * len(TASKS)
    for worse, failed in (({"time": 20.0}, 4), ({"memory": 30.0}, 4), ({"memory": 10.0}, 6)):
        with pytest.raises(CheckFailedError, match=f"{failed} bars"):
            check_bars(record(**worse))
    name = TASKS[0].name
    assert "100 times faster, 100 times less" in describe(name, record()["tasks"][name])
    fewer = record()
    del fewer["tasks"][name]
    with pytest.raises(CheckFailedError, match="Not measured: inference: WN18RR"):
        check_bars(fewer)


def test_the_command_checks_a_file(tmp_path, capsys):
    file = tmp_path / "graph.json"
    write_result(file, {**origin(["python", "-m", "benchmarks.graph"]), **record()})
    assert run(graph, ["--check", "--results", str(file)]) == 0
    assert "holds" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rounds", "0"], "--rounds must be >= 1"),
        (["--tasks", "nothing"], "is part of no name"),
        (["--tasks", "fb237", "--data-dir", "nowhere"], "There is no nowhere"),
    ],
)
def test_wrong_use_is_told_in_one_message(arguments, message, capsys):
    threads = torch.get_num_threads()
    try:
        assert run(graph, arguments) == 2
    finally:
        torch.set_num_threads(threads)
    assert message in capsys.readouterr().err


def test_the_table_is_made_from_the_file(tmp_path):
    opening = origin(["python", "-m", "benchmarks.graph"])
    write_result(tmp_path / "graph.json", {**opening, **record()})
    text = render(tmp_path)
    assert f"| {TASKS[0].name} | 25.0% | 100 | 1.0 | 100 | 1,000 | 10 | 100 |" in text
