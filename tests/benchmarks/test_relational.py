"""Relational products beside torch: that they agree, and what is claimed of time and memory."""

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchmarks import relational_row
from benchmarks.command import CheckFailedError, run
from benchmarks.memory import RETURN_FREED_MEMORY
from benchmarks.records import REPOSITORY, origin, write_result
from benchmarks.relational import check_bars, compare, measure, relational
from benchmarks.relational_row import Layer, Shape
from benchmarks.tables import render

SMALL = Shape("small", nodes=30, relations=4, edges=100, batch=2, skew=0.5)


@pytest.mark.parametrize("aggregate", ["sum", "pna"])
def test_contenders_agree_and_are_timed_with_each_number_of_threads(aggregate):
    threads = torch.get_num_threads()
    try:
        rows = measure(SMALL, aggregate, [1, 2], 2, 1)
    finally:
        torch.set_num_threads(threads)
    assert [row["direction"] for row in rows] == ["forward", "training"]
    for row in rows:
        assert row["times"].keys() == {"1", "2"}
        for times in row["times"].values():
            assert times["torch"]["min_ms"] > 0
            assert times["neuro"]["min_ms"] > 0
            assert times["torch_over_ours"]["median"] > 0


@pytest.mark.parametrize("direction", ["forward", "training"])
def test_contenders_that_disagree_are_not_timed(monkeypatch, direction):
    layer = Layer(SMALL, "sum")
    ours = relational_row.relational_spmm
    monkeypatch.setattr(relational_row, "relational_spmm", lambda *given: 1 + 2 * ours(*given))
    with pytest.raises(CheckFailedError, match="differs from torch"):
        compare(layer, direction)


def test_graphs_have_their_sizes_and_inverse_edges():
    graph = Layer(SMALL, "sum").graph
    assert (graph.nodes, graph.edges) == (30, 100)
    assert torch.equal(graph.in_starts.diff(), graph.out_starts.diff())
    assert graph.in_relations.max() < 4


IN_A_FRESH_PROCESS = """
from benchmarks.relational_row import SHAPES, Row, Shape, measure_here
SHAPES["small"] = Shape("small", 100, 4, 100_000, 2, 0.5)
print(measure_here(Row("torch", "small", "sum", "training"))["step_mb"])
"""


def test_a_process_tells_its_peak():
    # messages of 25 MB; a process that has run before may hold as much free
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_PROCESS],
        cwd=REPOSITORY,
        env={**os.environ, **RETURN_FREED_MEMORY},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    assert float(done.stdout) > 20


def record(speed: float, memory: float) -> dict[str, Any]:
    times = {
        "torch": {"median_ms": 60.0},
        "neuro": {"median_ms": 12.0},
        "torch_over_ours": {"median": speed},
    }
    row = {
        "graph": "a graph",
        "aggregate": "pna",
        "times": {"1": times, "2": times},
        "memory_mb": {"torch": memory, "neuro": 1.0},
    }
    rows = [{**row, "direction": each} for each in ("forward", "training")]
    return {"kind": "relational", "rounds": 5, "threads": [1, 2], "rows": rows}


def test_check_holds_ours_to_its_ratios(capsys):
    check_bars(record(3.1, 3.1))
    assert capsys.readouterr().out.count("holds") == 5
    with pytest.raises(CheckFailedError, match="4 bars"):
        check_bars(record(2.9, 3.1))
    with pytest.raises(CheckFailedError, match="1 bars"):
        check_bars(record(3.1, 2.9))


def test_wrong_use_is_told_in_one_message(capsys):
    assert run(relational, ["--rounds", "0"]) == 2
    assert "--rounds must be >= 1" in capsys.readouterr().err


def test_the_table_is_made_from_the_file(tmp_path: Path):
    opening = origin(["python", "-m", "benchmarks.relational"])
    write_result(tmp_path / "relational.json", {**opening, **record(5.0, 9.0)})
    text = render(tmp_path)
    assert "| a graph | pna | training | 60 | 12.0 | 5.0 | 5.0 | 9 | 1 |" in text
    assert "`python -m benchmarks.relational`" in text
