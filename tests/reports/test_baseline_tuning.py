"""Learning rates around a run's: which are tried, and which is best."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.errors import DivergedError
from neuro.reports.baseline_tuning import FACTOR, GROWTHS, POWERS, Trial, rate_at, tune


class Trials:
    """Quality by rate; whatever has none diverges."""

    def __init__(self, accuracies: dict[float, float], losses: dict[float, float] | None = None):
        self.accuracies, self.losses, self.order = accuracies, losses or {}, []

    def __call__(self, lr: float) -> Trial:
        self.order.append(lr)
        if lr not in self.accuracies:
            return Trial(lr=lr)
        return Trial(lr=lr, accuracy=self.accuracies[lr], loss=self.losses.get(lr, 1.0))


@pytest.mark.parametrize(
    ("accuracies", "order", "best"),
    [
        ({0.01: 0.5, 0.03: 0.7, 0.09: 0.6}, [0.01, 0.03, 0.09], 0.03),
        ({0.01: 0.8, 0.03: 0.7, 0.00333: 0.7}, [0.01, 0.03, 0.09, 0.00333], 0.01),
        ({0.01: 0.8, 0.00333: 0.9, 0.00111: 0.95}, [0.01, 0.03, 0.09, 0.00333, 0.00111], 0.00111),
        ({0.09: 0.8}, [0.01, 0.03, 0.09, 0.27], 0.09),
        ({0.09: 0.8, 0.27: 0.9}, [0.01, 0.03, 0.09, 0.27, 0.81], 0.27),
        ({0.00111: 0.1}, [0.01, 0.03, 0.09, 0.00333, 0.00111], 0.00111),
    ],
)
def test_the_list_grows_until_the_best_is_inside_or_twice(accuracies, order, best):
    trials = Trials(accuracies)
    found, tried = tune(0.03, trials)
    assert trials.order == order
    assert found.lr == best
    assert [each.lr for each in tried] == sorted(order)


def test_the_smaller_loss_is_best_among_equals():
    same = dict.fromkeys((0.01, 0.03, 0.09), 0.9)
    found, _ = tune(0.03, Trials(same, {0.01: 0.4, 0.03: 0.2, 0.09: 0.3}))
    assert found.lr == 0.03


def test_that_all_diverge_is_an_error_that_names_them():
    with pytest.raises(DivergedError, match=r"tried: 0\.00111, 0\.00333, 0\.01, 0\.03, 0\.09\. G"):
        tune(0.03, Trials({}))


@given(
    st.floats(1e-6, 1.0),
    st.lists(st.none() | st.tuples(st.floats(0, 1), st.floats(0, 9)), min_size=7, max_size=7),
)
def test_what_is_found_is_best_of_what_was_tried(lr, qualities):
    powers = range(POWERS[0] - GROWTHS, POWERS[-1] + GROWTHS + 1)
    by_rate = {rate_at(lr, power): each for power, each in zip(powers, qualities, strict=True)}

    def attempt(rate: float) -> Trial:
        accuracy, loss = by_rate[rate] or (None, None)
        return Trial(lr=rate, accuracy=accuracy, loss=loss)

    try:
        found, tried = tune(lr, attempt)
    except DivergedError:
        return
    known = [(each.accuracy, -each.loss) for each in tried if each.accuracy is not None]
    assert (found.accuracy, -found.loss) == max(known)
    rates = [each.lr for each in tried]
    assert rates == sorted(set(rates))
    assert lr in rates
    assert len(POWERS) <= len(rates) <= len(POWERS) + GROWTHS
    assert found.lr not in (rates[0], rates[-1]) or len(rates) == len(POWERS) + GROWTHS


@given(st.floats(1e-6, 1.0), st.integers(-3, 3))
def test_rates_are_told_as_they_are(lr, power):
    rate = rate_at(lr, power)
    assert rate == pytest.approx(lr * FACTOR**power, rel=5e-3)
    assert power == 0 or float(f"{rate:g}") == rate
    assert math.isfinite(rate)
