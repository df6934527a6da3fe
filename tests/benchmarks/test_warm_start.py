"""Warm start: nothing is compiled twice, every op is measured, and what is claimed."""

from pathlib import Path

import pytest

from benchmarks.command import CheckFailedError, run
from benchmarks.records import origin, write_result
from benchmarks.tables import render
from benchmarks.warm_start import HELP, check_bars, measure_pair, time_process, warm_start
from benchmarks.warm_start_row import CALLS
from neuro.errors import NeuroError
from neuro.kernels import OPS


def test_every_op_is_measured():
    assert CALLS.keys() == OPS.keys()


@pytest.mark.slow
@pytest.mark.parametrize("op", OPS)
def test_a_second_process_compiles_nothing(op):
    found = measure_pair(op)
    if op != "three_factor":  # which is BLAS's
        assert found["cold"]["compiled"] >= 1
    assert found["warm"]["compiled"] == 0
    assert found["warm"]["first_seconds"] > found["warm"]["second_seconds"] > 0


def test_a_process_that_fails_says_why():
    assert time_process(("-c", "pass")) > 0
    with pytest.raises(NeuroError, match="no-such-op"):
        measure_pair("no-such-op")


def record(warm_seconds: float = 0.5, compiled: int = 0, help_seconds: float = 0.4) -> dict:
    return {
        "kind": "warm_start",
        "repeats": 5,
        "ops": {
            "lif": {
                "cold": {"first_seconds": 6.0, "second_seconds": 0.002, "compiled": 2},
                "warm": {
                    "first_seconds": warm_seconds,
                    "second_seconds": 0.002,
                    "compiled": compiled,
                },
            }
        },
        "processes": {"python, nothing": 0.03, HELP: help_seconds},
    }


def test_check_holds_each_bar(capsys):
    check_bars(record())
    assert capsys.readouterr().out.count("holds") == 3
    for worse in ({"warm_seconds": 1.1}, {"compiled": 1}, {"help_seconds": 0.6}):
        with pytest.raises(CheckFailedError, match="1 bars"):
            check_bars(record(**worse))


def test_the_tables_state_calls_and_processes(tmp_path: Path) -> None:
    opening = origin(["python", "-m", "benchmarks.warm_start"])
    write_result(tmp_path / "warm_start.json", {**opening, **record()})
    text = render(tmp_path)
    assert "| `lif` | 6000 | 500 | 2.00 | 2 / 0 |" in text
    assert "| `neuro --help` | 0.40 |" in text
    assert "`python -m benchmarks.warm_start`" in text


def test_wrong_use_is_told_in_one_message(capsys):
    assert run(warm_start, ["--repeats", "0"]) == 2
    assert "--repeats must be >= 1" in capsys.readouterr().err
