import re
import struct

import numpy as np
import pytest

from neuro.data.events.atis import decode_atis, read_atis
from neuro.errors import DataError


def event(x, y, t, on):
    """Encode as the format's page says: bits 39-32 x, 31-24 y, 23 polarity, 22-0 time."""
    return struct.pack(">Q", x << 32 | y << 24 | on << 23 | t)[3:]


def test_fields_come_back_as_encoded():
    data = event(3, 33, 0, 0) + event(33, 0, (1 << 23) - 1, 1)
    stream = decode_atis(data, "a.bin", (34, 34))
    assert stream.x.tolist() == [3, 33]
    assert stream.y.tolist() == [33, 0]
    assert stream.t_us.tolist() == [0, 8_388_607]
    assert stream.polarity.tolist() == [0, 1]


def test_row_240_carries_the_clock_on_by_8192_us_and_is_no_event():
    data = b"".join(
        (
            event(1, 1, 8000, 1),
            event(0, 240, 0, 0),
            event(2, 2, 5, 0),
            event(0, 240, 0, 0),
            event(3, 3, 7, 1),
        )
    )
    stream = decode_atis(data, "a.bin", (180, 240))
    assert stream.t_us.tolist() == [8000, 8192 + 5, 2 * 8192 + 7]
    assert stream.x.tolist() == [1, 2, 3]


def test_events_out_of_order_are_put_in_order():
    data = event(1, 0, 9, 0) + event(2, 0, 4, 1)
    assert decode_atis(data, "a.bin", (34, 34)).x.tolist() == [2, 1]


@pytest.mark.parametrize("cut", [1, 4])
def test_a_truncated_file_is_an_error_that_says_what_was_expected(cut):
    with pytest.raises(DataError, match=r"b\.bin: truncated.*multiple of 5.*Get it again\."):
        decode_atis(event(1, 1, 1, 1) * 3 + b"\0" * cut, "b.bin", (34, 34), remedy="Get it again.")


def test_an_empty_file_is_an_error():
    with pytest.raises(DataError, match=r"b\.bin: the file is empty"):
        decode_atis(b"", "b.bin", (34, 34))


def test_an_event_outside_the_sensor_means_a_wrong_file():
    with pytest.raises(DataError, match=r"b\.bin: .*34 x 34 sensor.*Wrong or damaged file"):
        decode_atis(event(34, 0, 0, 0), "b.bin", (34, 34))


def test_a_missing_file_is_an_error_that_names_it(tmp_path):
    path = tmp_path / "none.bin"
    with pytest.raises(DataError, match=re.escape(str(path))):
        read_atis(path, (34, 34))


def test_the_real_n_mnist_sample(test_data):
    path = test_data / "events" / "tonic-samples" / "sample_nmnist.bin"
    stream = read_atis(path, (34, 34))
    assert len(stream) == 4325
    assert (stream.t_us[0], stream.t_us[-1]) == (654, 311_175)
    assert (stream.x.min(), stream.x.max(), stream.y.min(), stream.y.max()) == (0, 33, 0, 33)
    assert int(stream.polarity.sum()) == 2145
    # a 4: its events, motion undone or not, gather in the middle of the sensor
    inner = (abs(stream.x - 16.5) < 11) & (abs(stream.y - 16.5) < 14)
    assert inner.mean() > 0.95


def test_the_real_n_caltech101_sample(test_data):
    path = test_data / "events" / "evlib-samples" / "faces_easy_0001.bin"
    stream = read_atis(path, (180, 240))
    assert len(stream) == 67_445
    assert (stream.t_us[0], stream.t_us[-1]) == (6, 299_364)
    assert (stream.x.max(), stream.y.max()) == (150, 172)
    # three saccades of 100 ms: quiet where they meet
    per_5_ms = np.bincount(stream.t_us // 5000)
    assert per_5_ms[19] < 0.2 * per_5_ms[:19].max()
    with pytest.raises(DataError, match="34 x 34 sensor"):
        read_atis(path, (34, 34))
