import struct

import numpy as np
import pytest

from neuro.data.events.aedat2 import decode_aedat2, decode_aedat2_header, read_aedat2
from neuro.errors import DataError

HEADER = (
    b"#!AER-DAT2.0\r\n"
    b"# This is a raw AE data file - do not edit\r\n"
    b"# Data format is int32 address, int32 timestamp (8 bytes total), repeated for each event\r\n"
    b"# Timestamps tick is 1 us\r\n"
)


def event(x_address, y_address, off, t, external=0):
    """Bits of a DVS128 address: 0 polarity, 1-7 x, 8-14 y, 15 external; high byte first."""
    return struct.pack(">II", external << 15 | y_address << 8 | x_address << 1 | off, t)


def test_fields_come_back_upright_and_from_time_0():
    data = HEADER + event(0, 0, 1, 1000) + event(127, 5, 0, 1007)
    stream = decode_aedat2(data, "a.aedat")
    assert stream.x.tolist() == [127, 0]
    assert stream.y.tolist() == [127, 122]
    assert stream.t_us.tolist() == [0, 7]
    assert stream.polarity.tolist() == [0, 1]
    assert stream.sensor_size == (128, 128)


def test_a_named_dvs128_is_accepted():
    header = HEADER + b"# AEChip: ch.unizh.ini.jaer.chip.retina.DVS128\r\n"
    assert decode_aedat2_header(header, "a.aedat").chip == "DVS128"
    assert len(decode_aedat2(header + event(1, 1, 0, 0), "a.aedat")) == 1


def test_another_camera_is_an_error():
    data = HEADER + b"# AEChip: eu.seebetter.ini.chips.davis.Davis346red\r\n" + event(1, 1, 0, 0)
    with pytest.raises(DataError, match=r"a\.aedat: recorded by a Davis346red, expected a DVS128"):
        decode_aedat2(data, "a.aedat")


def test_pulses_on_the_input_pin_are_no_events():
    data = HEADER + event(1, 1, 0, 3) + event(9, 9, 0, 4, external=1) + event(2, 1, 0, 5)
    assert decode_aedat2(data, "a.aedat").t_us.tolist() == [0, 2]


def test_a_clock_that_goes_round_is_unwrapped():
    data = HEADER + event(1, 0, 0, 2**32 - 10) + event(2, 0, 0, 5) + event(3, 0, 0, 9)
    stream = decode_aedat2(data, "a.aedat")
    assert stream.t_us.tolist() == [0, 15, 19]
    assert stream.x.tolist() == [126, 125, 124]


def test_small_steps_back_are_sorted_also_across_the_wrap():
    data = HEADER + event(1, 0, 0, 2**32 - 4) + event(2, 0, 0, 2) + event(3, 0, 0, 2**32 - 2)
    stream = decode_aedat2(data, "a.aedat")
    assert stream.t_us.tolist() == [0, 2, 6]
    assert stream.x.tolist() == [126, 124, 125]


def test_a_header_alone_holds_no_events():
    with pytest.raises(DataError, match="holds no events"):
        decode_aedat2(HEADER, "a.aedat")


def test_a_truncated_event_is_an_error():
    with pytest.raises(
        DataError, match=r"a\.aedat: truncated: 13 bytes .* multiple of 8\. Again\."
    ):
        decode_aedat2(HEADER + event(1, 1, 0, 0) + b"12345", "a.aedat", remedy="Again.")


def test_a_truncated_header_is_an_error():
    with pytest.raises(DataError, match="truncated in its header: line 2 has no end"):
        decode_aedat2(HEADER[:30], "a.aedat")


def test_addresses_of_more_than_16_bits_mean_another_camera():
    data = HEADER + struct.pack(">II", 0x80000001, 0)
    with pytest.raises(DataError, match="address 0x80000001 is none of a DVS128"):
        decode_aedat2(data, "a.aedat")


@pytest.mark.parametrize(
    ("data", "got"),
    [(b"", "an empty file"), (b"\x89PNG1234", "89504e47"), (b"#!AER-DAT3.1\r\n", "AER-DAT3.1")],
)
def test_another_format_is_an_error_that_shows_what_came_instead(data, got):
    with pytest.raises(DataError, match=f"not an AEDAT 2.0 file.*{got}"):
        decode_aedat2(data, "a.aedat")


def test_reading_a_missing_file_names_it(tmp_path):
    with pytest.raises(DataError, match=r"none\.aedat: cannot be read"):
        read_aedat2(tmp_path / "none.aedat")


def test_a_real_header(test_data):
    path = test_data / "events" / "tonic-samples" / "sample_aedat_header.aedat"
    data = path.read_bytes()
    header = decode_aedat2_header(data, path.name)
    assert header.size == len(data)
    assert header.chip == "Davis346red"
    assert len(header.lines) == data.count(b"\n") == 12
    with pytest.raises(DataError, match="recorded by a Davis346red"):
        read_aedat2(path)


def test_many_events_survive_a_round_trip():
    random = np.random.default_rng(0)
    x, y = random.integers(0, 128, (2, 500))
    off, t = random.integers(0, 2, 500), np.sort(random.integers(0, 10**6, 500))
    body = b"".join(
        event(int(a), int(b), int(p), int(s)) for a, b, p, s in zip(x, y, off, t, strict=True)
    )
    stream = decode_aedat2(HEADER + body, "a.aedat")
    np.testing.assert_array_equal(127 - stream.x, x)
    np.testing.assert_array_equal(127 - stream.y, y)
    np.testing.assert_array_equal(1 - stream.polarity, off)
    np.testing.assert_array_equal(stream.t_us, t - t[0])
