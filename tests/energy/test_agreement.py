"""What other tools count: equal where definitions coincide, else explained as a number."""

import copy
from importlib.util import find_spec

import pytest

from benchmarks.agreement_table import render_agreement
from benchmarks.command import CheckFailedError
from benchmarks.energy_agreement import (
    KIND,
    TOOLS,
    cases,
    check_record,
    neurobench_rows,
    own_rows,
    spikingjelly_rows,
)
from benchmarks.records import RESULTS, read_result


@pytest.fixture(scope="module")
def record():
    return read_result(RESULTS / f"{KIND}.json", KIND)


def test_the_committed_figures_are_those_of_today(record):
    check_record(record)
    assert {row["tool"] for row in record["rows"]} == set(TOOLS)
    assert len(record["rows"]) == len(own_rows())


@pytest.mark.parametrize(
    ("case", "quantity"),
    [
        ("linear", "Effective_ACs"),
        ("linear", "synop"),
        ("linear", "Dense"),
        ("conv", "Effective_ACs"),
        ("conv", "Dense"),
        ("conv", "synop"),
        ("pruned", "Effective_ACs"),
        ("pruned", "ConnectionSparsity"),
        ("image", "Effective_ACs"),
        ("pooled", "ParameterCount"),
        ("conv", "ActivationSparsity"),
    ],
)
def test_definitions_that_coincide_give_equal_numbers(record, case, quantity):
    (row,) = [r for r in record["rows"] if (r["case"], r["quantity"]) == (case, quantity)]
    assert row["difference"] == 0
    assert row["ours"] == row["theirs"] > 0 or quantity == "ConnectionSparsity"


@pytest.mark.parametrize(
    ("case", "tool", "quantity", "sign"),
    [
        ("pruned", "spikingjelly", "synop", 1),
        ("pruned", "neurobench", "Dense", 1),
        ("image", "neurobench", "Effective_MACs", 1),
        ("image", "spikingjelly", "mac", 1),
        ("pooled", "neurobench", "Effective_ACs", -1),
        ("pooled", "neurobench", "Effective_MACs", 1),
        ("pooled", "spikingjelly", "synop", -1),
        ("silent", "neurobench", "Effective_MACs", -1),
        ("silent", "spikingjelly", "mac", -1),
    ],
)
def test_definitions_that_differ_give_other_numbers(record, case, tool, quantity, sign):
    chosen = (case, tool, quantity)
    (row,) = [r for r in record["rows"] if (r["case"], r["tool"], r["quantity"]) == chosen]
    assert row["difference"] * sign > 0
    assert row["reason"]
    assert row["by_definition"] == row["theirs"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ours": 1}, "linear neurobench Effective_ACs: counts otherwise now"),
        ({"theirs": 1}, "its definition gives another number"),
        ({"difference": 7}, "a difference without a reason"),
        ({"reason": "whim"}, "a reason without a difference"),
    ],
)
def test_a_record_that_does_not_hold_fails(record, change, message):
    broken = copy.deepcopy(record)
    broken["rows"][0].update(change)
    with pytest.raises(CheckFailedError, match=message):
        check_record(broken)


def test_the_table_shows_every_difference(record):
    text = render_agreement(record, "energy-agreement.json")
    differing = [row for row in record["rows"] if row["difference"]]
    assert text.count("\n| ") == len(differing) + 2
    assert f"{len(record['rows']) - len(differing)} of {len(record['rows'])} figures" in text


@pytest.mark.skipif(
    any(find_spec(tool) is None for tool in TOOLS), reason="needs what make bench-peers installs"
)
def test_the_tools_themselves_still_say_so():
    from benchmarks.peers.operation_counters import neurobench_counts, spikingjelly_counts

    for name, case in cases().items():
        rows = neurobench_rows(name, case, neurobench_counts(case.network, case.steps))
        rows += spikingjelly_rows(name, case, spikingjelly_counts(case.network, case.steps))
        for row in rows:
            assert row.theirs == row.by_definition, row
