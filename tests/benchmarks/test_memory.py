"""Peak memory over time steps: what is claimed of it, and the measurement itself."""

import sys

import pytest

from benchmarks.command import CheckFailedError, run
from benchmarks.memory import check_flatness, growth_by_rule, measure_apart, memory
from benchmarks.memory_row import Row
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


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--rules", "opso"], 'Did you mean "opzo"'),
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
        for steps in (8, 64)
    }
    assert found["opzo", 64] <= 1.05 * found["opzo", 8]
    # spikes, potentials and surrogates of 56 more steps: at least three tensors of 128 x 256 floats
    assert found["bptt", 64] - found["bptt", 8] > 56 * 3 * 128 * 256 * 4 / 2**20
