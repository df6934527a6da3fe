import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from neuro.data.events.frames import (
    check_framing,
    frames_by_count,
    frames_by_time,
    make_frames,
)
from neuro.data.events.stream import EventStream
from neuro.errors import DataError, UsageError


def at_times(times, sensor_size=(2, 3)):
    """One event per time; the pixel runs on so that every cell can be told apart."""
    n = np.arange(len(times))
    height, width = sensor_size
    return EventStream(
        n % width,
        n // width % height,
        np.array(times, np.int64),
        (n % 2).astype(np.uint8),
        sensor_size,
    )


def test_events_go_to_their_pixel_polarity_and_span_of_time():
    frames = frames_by_time(at_times([0, 9, 10, 19]), 2, start_us=0, duration_us=20)
    expected = np.zeros((2, 2, 2, 3), np.uint8)
    expected[0, 0, 0, 0] = 1  # t = 0, OFF, x = 0, y = 0
    expected[0, 1, 0, 1] = 1  # t = 9, ON
    expected[1, 0, 0, 2] = 1  # t = 10
    expected[1, 1, 1, 0] = 1  # t = 19
    assert frames.dtype == np.uint8
    np.testing.assert_array_equal(frames, expected)


def test_equal_time_without_bounds_spans_the_recording():
    frames = frames_by_time(at_times([100, 104, 105, 109]), 2)
    assert frames.sum((1, 2, 3)).tolist() == [2, 2]


def test_events_outside_the_given_span_are_in_no_frame():
    frames = frames_by_time(at_times([0, 5, 14, 15, 90]), 3, start_us=5, duration_us=10)
    assert frames.sum((1, 2, 3)).tolist() == [1, 0, 1]


def test_spans_of_time_that_do_not_divide_are_cut_in_whole_numbers():
    frames = frames_by_time(at_times(range(10)), 3, start_us=0, duration_us=10)
    assert frames.sum((1, 2, 3)).tolist() == [4, 3, 3]


@pytest.mark.parametrize(("events", "counts"), [(6, [2, 2, 2]), (7, [3, 2, 2]), (2, [1, 1, 0])])
def test_equal_count_gives_every_frame_as_many_events(events, counts):
    # times are lopsided on purpose: only the order matters
    frames = frames_by_count(at_times([i**3 for i in range(events)]), 3)
    assert frames.sum((1, 2, 3)).tolist() == counts


@given(st.lists(st.integers(0, 10**9), min_size=1, max_size=60), st.integers(1, 17), st.booleans())
def test_every_event_is_counted_once(times, timesteps, by_time):
    stream = at_times(sorted(times))
    frames = make_frames(stream, timesteps, "time" if by_time else "count")
    assert frames.shape == (timesteps, 2, 2, 3)
    assert frames.sum() == len(stream)
    assert frames[:, 1].sum() == stream.polarity.sum()


def test_counts_stop_at_255():
    n = 300
    stream = EventStream(
        np.zeros(n, int), np.zeros(n, int), np.arange(n), np.ones(n, np.uint8), (1, 1)
    )
    assert frames_by_count(stream, 1).ravel().tolist() == [0, 255]


def test_an_empty_stream_gives_empty_frames():
    assert frames_by_time(at_times([]), 4).sum() == 0
    assert frames_by_count(at_times([]), 4).shape == (4, 2, 2, 3)


@pytest.mark.parametrize("cut", [frames_by_time, frames_by_count])
def test_no_frames_is_an_error(cut):
    with pytest.raises(DataError, match="timesteps >= 1, got 0"):
        cut(at_times([1]), 0)


def test_a_duration_of_nothing_is_an_error():
    with pytest.raises(DataError, match="duration > 0, got 0"):
        frames_by_time(at_times([1]), 2, start_us=0, duration_us=0)


def test_an_unknown_framing_names_the_nearest():
    with pytest.raises(UsageError, match='Did you mean "count"'):
        check_framing("counts")
