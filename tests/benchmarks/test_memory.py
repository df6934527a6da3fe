"""Peak memory over time steps: what is claimed of it, and the measurement itself."""

import sys
from dataclasses import replace

import pytest

from benchmarks.command import CheckFailedError, run
from benchmarks.memory import check_flatness, growth_by_rule, measure_apart, memory
from benchmarks.memory_row import Row
from benchmarks.records import read_result
from neuro.errors import NeuroError


def record(**rules: list[float]) -> dict[str, object]:
    rows = [
        {"rule": rule, "timesteps": steps, "update_mb": value}
        for rule, values in rules.items()
        for steps, value in zip((8, 32, 128), values, strict=True)
    ]
    return {"rows": rows}


def test_growth_is_the_largest_over_the_smallest():
    assert growth_by_rule(record(opzo=[20.0, 19.0, 20.9])) == {"opzo": pytest.approx(1.1)}


def test_online_rules_must_be_flat_and_bptt_must_grow(capsys):
    check_flatness(record(opzo=[20.0, 20.5, 20.9], ottt=[19, 19, 19], bptt=[30, 80, 270]))
    with pytest.raises(CheckFailedError, match="opzo"):
        check_flatness(record(opzo=[20.0, 20.5, 21.1], bptt=[30, 80, 270]))
    with pytest.raises(CheckFailedError, match="bptt"):
        check_flatness(record(opzo=[20.0, 20.0, 20.0], bptt=[30, 30, 30]))
    assert "opzo: 1.055 times, at most 1.05 times: FAILS" in capsys.readouterr().out


def test_recomputing_must_save_a_quarter_at_the_largest_t(capsys):
    check_flatness(record(**{"bptt": [30, 80, 400], "bptt+recompute": [30, 80, 300]}))
    assert "bptt+recompute: 0.750 of bptt, at most 0.75: holds" in capsys.readouterr().out
    with pytest.raises(CheckFailedError, match=r"bptt\+recompute"):
        check_flatness(record(**{"bptt": [30, 80, 400], "bptt+recompute": [20, 40, 304]}))


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which Linux alone has")
def test_the_row_that_recomputes_has_its_name(tmp_path):
    file = tmp_path / "memory.json"
    arguments = ["--rules", "bptt+recompute", "--timesteps", "9", "--hidden", "256"]
    places = ["--results", str(file), "--figure", str(tmp_path / "memory.png")]
    assert run(memory, [*arguments, "--batch-size", "64", "--repeats", "1", *places]) == 0
    (row,) = read_result(file, "memory")["rows"]
    assert row["rule"] == "bptt+recompute"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rules", "opso"], 'Did you mean "opzo"'),
        (["--rules", "opzo+recompute"], "unknown learning rule 'opzo+recompute'"),
        (["--timesteps", "8,x"], "--timesteps takes whole numbers"),
        (["--repeats", "0"], "--repeats"),
    ],
)
def test_wrong_use_is_told_in_one_message(arguments, message, capsys):
    assert run(memory, arguments) == 2
    assert message in capsys.readouterr().err


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which Linux alone has")
def test_a_process_that_fails_says_why():
    with pytest.raises(NeuroError, match="widths >= 1"):
        measure_apart(Row("opzo", 4, hidden=(0,)))


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which Linux alone has")
def test_opzo_is_flat_in_time_and_bptt_is_not():
    found = {
        (rule, steps): measure_apart(Row(rule, steps, hidden=(256,), batch_size=128))["update_mb"]
        for rule in ("opzo", "bptt")
        for steps in (16, 64)
    }
    assert found["opzo", 64] <= 1.05 * found["opzo", 16]
    # of 48 more steps at least currents, spikes and inputs: 256 + 256 + 784 floats a sample
    assert found["bptt", 64] - found["bptt", 16] > 48 * (256 + 256 + 784) * 128 * 4 / 2**20


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc, which Linux alone has")
def test_recomputing_leaves_the_layer_at_work_and_bits():
    deep = Row("bptt", 8, hidden=(256,) * 6, features=64)
    growth = [
        measure_apart(replace(deep, timesteps=64, recompute=recompute))["update_mb"]
        - measure_apart(replace(deep, recompute=recompute))["update_mb"]
        for recompute in (False, True)
    ]
    # floats a sample and step: the input, then two for each neuron against three of one layer
    # and a bit for each neuron; a third more for what is fleeting
    assert growth[1] < 1.33 * growth[0] * (64 + 3 * 256 + 6 * 256 / 32) / (64 + 2 * 6 * 256)
