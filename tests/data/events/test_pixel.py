import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.data.events.pixel import add_counts, substep_events


def follow(levels, *, off=1.0, on=1.0, refractory=0.0, step=100.0):
    """Run one pixel through straight pieces between ``levels``; return (time, polarity) pairs."""
    memory, blind_until = levels[0], -1.0
    events = []
    times = np.empty(1000)
    for k, (first, last) in enumerate(pairwise(levels)):
        n, memory, blind_until = substep_events(
            first, last, k * step, (k + 1) * step, memory, blind_until, off, on, refractory, times
        )
        events += [(float(t), int(last > first)) for t in times[:n]]
    return events


def test_a_ramp_gives_an_event_at_each_multiple_of_the_threshold():
    # 0 -> 3.5 in 100 us: levels 1, 2, 3 after 1/3.5, 2/3.5, 3/3.5 of it
    assert follow([0.0, 3.5]) == [(pytest.approx(100 * k / 3.5), 1) for k in (1, 2, 3)]


def test_what_is_left_over_counts_in_the_next_sub_step():
    # memory 1 after the first piece (at 1.6); 2 is reached when 0.4 of the next 0.8 are done
    assert follow([0.0, 1.6, 2.4]) == [
        (pytest.approx(100 / 1.6), 1),
        (pytest.approx(150.0), 1),
    ]


def test_turning_back_gives_off_events_from_the_remembered_level():
    # up to 1.5 (ON at 1), then down: OFF at 0 and -1
    events = follow([0.0, 1.5, -1.5])
    assert [polarity for _, polarity in events] == [1, 0, 0]
    assert [t for t, _ in events] == pytest.approx([100 / 1.5, 150.0, 100 + 250 / 3])


def test_thresholds_of_the_two_sides_differ():
    assert len(follow([0.0, 2.0, 0.0], on=2.0, off=0.5)) == 1 + 4


def test_a_level_that_stays_gives_nothing():
    assert follow([0.3, 0.3, 0.3]) == []


def test_after_an_event_the_pixel_is_blind_and_remembers_the_level_at_its_end():
    # slope 0.04 / us, threshold 1: events every 25 us without, every 25 + 10 us with blindness
    assert follow([0.0, 4.0], refractory=10.0) == [
        (pytest.approx(25.0), 1),
        (pytest.approx(60.0), 1),
        (pytest.approx(95.0), 1),
    ]


def test_blindness_reaches_over_sub_steps():
    # ON at 50 (level 1); blind to 250, where the level is 2 + 0.5 * 2 = 3; next at 4, i.e. 300 us
    events = follow([0.0, 2.0, 2.0, 4.0, 6.0], refractory=200.0)
    assert events == [(pytest.approx(50.0), 1), (pytest.approx(300.0), 1)]


def test_a_swing_during_blindness_is_not_seen():
    # up and down again while blind: remembered is the level at the end of it, 0.4 * 100 + ...
    events = follow([0.0, 1.0, 50.0, 0.0, 0.0], off=1.0, refractory=250.0)
    assert [polarity for _, polarity in events] == [1]


LEVELS = st.lists(st.floats(-5, 5, allow_nan=False), min_size=2, max_size=12)


@given(LEVELS, st.floats(0.1, 2), st.floats(0.1, 2))
def test_without_blindness_events_add_up_to_the_change_of_level(levels, on, off):
    events = follow(levels, on=on, off=off)
    ups = sum(polarity for _, polarity in events)
    remembered = levels[0] + on * ups - off * (len(events) - ups)
    assert levels[-1] - on - 1e-6 < remembered < levels[-1] + off + 1e-6


@given(LEVELS, st.floats(0.1, 2), st.floats(0, 300))
def test_events_are_in_order_and_apart_by_the_refractory_period(levels, threshold, refractory):
    times = [t for t, _ in follow(levels, on=threshold, off=threshold, refractory=refractory)]
    gaps = np.diff(times)
    assert np.all(gaps >= refractory - 1e-6)
    assert all(0 <= t <= 100.0 * (len(levels) - 1) for t in times)


@given(st.floats(-5, 5), st.floats(-5, 5), st.floats(0.1, 2), st.floats(0, 50), st.integers(2, 7))
def test_cutting_a_straight_piece_changes_nothing(start, end, threshold, refractory, pieces):
    whole = follow([start, end], on=threshold, off=threshold, refractory=refractory)
    levels = [start + (end - start) * i / pieces for i in range(pieces + 1)]
    cut = follow(levels, on=threshold, off=threshold, refractory=refractory, step=100.0 / pieces)
    # a crossing at the very end of a piece may fall to either side of it by rounding
    if not math.isclose(abs(end - start) % threshold, 0, abs_tol=1e-6):
        count = min(len(whole), len(cut))
        assert abs(len(whole) - len(cut)) <= 1
        assert [t for t, _ in cut[:count]] == pytest.approx([t for t, _ in whole[:count]], abs=1e-6)


def test_counts_go_to_the_span_of_their_time_and_stop_at_255():
    frames = np.zeros((2, 2, 3), np.uint8)
    frames[0, 1, 2] = 254
    when = np.array([0, 0, 0, 9, 10, 19])
    where = np.array([2, 2, 2, 0, 1, 1])
    which = np.array([1, 1, 1, 0, 0, 1], np.uint8)
    add_counts(frames, when, where, which, 20)
    assert frames[0].tolist() == [[1, 0, 0], [0, 0, 255]]
    assert frames[1].tolist() == [[0, 1, 0], [0, 1, 0]]
