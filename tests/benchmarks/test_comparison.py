"""Paired comparison of rules over seeds."""

import pytest

from benchmarks.comparison import mean_and_std, paired_difference


def test_std_is_the_sample_standard_deviation():
    found = mean_and_std([1.0, 2.0, 4.0])
    assert found["mean"] == pytest.approx(7 / 3)
    assert found["std"] == pytest.approx(((16 / 9 + 1 / 9 + 25 / 9) / 2) ** 0.5)


def test_one_value_has_no_std():
    assert mean_and_std([0.5]) == {"mean": 0.5, "std": None}


def test_paired_t_test_by_hand():
    # differences 1, 2, 3: mean 2, std 1, t = 2 sqrt(3) = 3.464 with 2 degrees of freedom;
    # for 2 degrees p = 1 - t / sqrt(t^2 + 2) = 1 - 3.464 / sqrt(14)
    found = paired_difference({0: 2.0, 1: 3.0, 2: 5.0}, {0: 1.0, 1: 1.0, 2: 2.0})
    assert found is not None
    assert found["mean"] == pytest.approx(2.0)
    assert found["std"] == pytest.approx(1.0)
    assert found["p_value"] == pytest.approx(1 - 12**0.5 / 14**0.5)
    assert found["ci95"] == pytest.approx(4.302653 / 3**0.5, rel=1e-6)
    assert found["beyond_noise"] is False


def test_a_clear_difference_is_beyond_noise():
    found = paired_difference({0: 0.50, 1: 0.51, 2: 0.52}, {0: 0.90, 1: 0.92, 2: 0.91})
    assert found is not None
    assert found["beyond_noise"] is True
    assert found["mean"] == pytest.approx(-0.4)


@pytest.mark.parametrize(("shift", "p_value"), [(0.0, 1.0), (0.25, 0.0)])
def test_equal_differences_leave_no_doubt(shift, p_value):
    baseline = {0: 0.5, 1: 0.75}
    found = paired_difference({seed: value + shift for seed, value in baseline.items()}, baseline)
    assert found is not None
    assert found["p_value"] == p_value
    assert found["beyond_noise"] is (p_value == 0)


def test_only_common_seeds_are_compared():
    found = paired_difference({0: 1.0, 1: 9.0}, {0: 0.5, 2: 7.0})
    assert found is not None
    assert (found["n"], found["mean"], found["p_value"]) == (1, 0.5, None)
    assert paired_difference({1: 1.0}, {2: 1.0}) is None
