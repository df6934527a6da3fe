import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.data.events.stream import EventStream, sorted_stream
from neuro.errors import DataError


def stream(x, y, t, polarity, sensor_size=(3, 4)):
    return EventStream(
        np.array(x), np.array(y), np.array(t, np.int64), np.array(polarity, np.uint8), sensor_size
    )


def test_length_and_duration_count_from_first_to_last_event():
    events = stream([0, 3, 1], [2, 0, 1], [5, 5, 9], [1, 0, 1])
    assert len(events) == 3
    assert events.duration_us == 5


def test_an_empty_stream_lasts_no_time():
    events = stream([], [], [], [])
    assert (len(events), events.duration_us) == (0, 0)


@pytest.mark.parametrize(
    ("x", "y", "axis"),
    [([4], [0], "x spans 4..4, expected 0..3"), ([0], [3], "y spans"), ([-1], [0], "x spans -1")],
)
def test_an_event_outside_the_sensor_is_an_error(x, y, axis):
    with pytest.raises(DataError, match=axis):
        stream(x, y, [0], [0])


def test_time_that_runs_backwards_is_an_error_that_names_the_event():
    with pytest.raises(DataError, match="at event 2: 7 us, then 6 us"):
        stream([0, 0, 0], [0, 0, 0], [1, 7, 6], [0, 0, 0])


def test_polarity_other_than_0_and_1_is_an_error():
    with pytest.raises(DataError, match="Polarity must be 0 or 1, got 2"):
        stream([0], [0], [0], [2])


def test_arrays_of_unequal_length_are_an_error():
    with pytest.raises(DataError, match="one length"):
        stream([0, 1], [0], [0], [0])


def test_between_includes_the_start_and_excludes_the_end():
    events = stream([0, 1, 2, 3], [0, 0, 0, 0], [10, 20, 20, 30], [0, 1, 0, 1])
    assert events.between(20, 30).x.tolist() == [1, 2]
    assert events.between(10, 31).t_us.tolist() == [10, 20, 20, 30]
    assert len(events.between(11, 20)) == 0


def test_resized_sums_what_falls_together():
    events = stream([0, 1, 2, 3, 4, 5], [0, 1, 2, 3, 4, 5], range(6), [0] * 6, (6, 6))
    smaller = events.resized((3, 2))
    assert smaller.x.tolist() == [0, 0, 0, 1, 1, 1]
    assert smaller.y.tolist() == [0, 0, 1, 1, 2, 2]
    assert smaller.sensor_size == (3, 2)


def test_resized_does_not_wrap_8_bit_coordinates():
    events = EventStream(
        np.array([127], np.uint8),
        np.array([127], np.uint8),
        np.array([0], np.int64),
        np.array([1], np.uint8),
        (128, 128),
    )
    smaller = events.resized((48, 48))
    assert (smaller.x[0], smaller.y[0]) == (47, 47)


@pytest.mark.parametrize("size", [(7, 6), (6, 7), (0, 3)])
def test_resizing_to_more_pixels_or_none_is_an_error(size):
    with pytest.raises(DataError, match="cannot be resized"):
        stream([0], [0], [0], [0], (6, 6)).resized(size)


@given(st.lists(st.integers(0, 20), max_size=40))
def test_sorting_keeps_the_order_of_equal_times(times):
    number = np.arange(len(times))
    events = sorted_stream(
        number,
        np.zeros_like(number),
        np.array(times, np.int64),
        np.zeros(len(times), np.uint8),
        (1, max(1, len(times))),
    )
    assert list(zip(events.t_us, events.x, strict=True)) == sorted(zip(times, number, strict=True))
