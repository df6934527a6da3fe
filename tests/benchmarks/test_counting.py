"""The cost of counting: both passes do the same work, and the claim is held to the file."""

import pytest

from benchmarks.agreement_table import render_counting
from benchmarks.command import CheckFailedError
from benchmarks.counting import KIND, LIMIT, bars_of, check_limit, measure, measure_reasoner
from benchmarks.records import RESULTS, read_result
from benchmarks.speed import Workload
from neuro.models import MLP

TINY = Workload("tiny", MLP(norm="none", hidden=(12, 8)), (6,), "different", 2.0)


def test_both_passes_are_timed():
    found = measure(TINY, rounds=2, warm_up=1, batch_size=3, batches=2)
    assert list(found["times"]) == ["evaluation", "counting"]
    assert found["over_evaluation"]["median"] > 0


def test_reasoners_are_timed():
    found = measure_reasoner("grsnn", "nations", rounds=1, warm_up=1)
    assert list(found["times"]) == ["evaluation", "counting"]
    assert found["title"] == "grsnn on nations, 32 queries"


def test_the_claim_holds_and_is_shown():
    record = read_result(RESULTS / f"{KIND}.json", KIND)
    check_limit(record)
    assert all(ratio <= LIMIT for _, ratio in bars_of(record))
    assert render_counting(record, "counting.json").count("\n| ") == len(record["networks"]) + 2


def test_a_slow_network_fails():
    record = {"networks": {"slow": {"over_evaluation": {"median": 1.31}}}}
    with pytest.raises(CheckFailedError, match=r"more than 1.3 times: slow"):
        check_limit(record)
