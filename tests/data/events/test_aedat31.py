import struct

import pytest

from neuro.data.events.aedat31 import decode_aedat31, read_aedat31
from neuro.errors import DataError

HEADER = (
    b"#!AER-DAT3.1\r\n"
    b"#Format: RAW\r\n"
    b"#Source 1: DVS128\r\n"
    b"#Start-Time: 2016-09-30 10:52:54 (TZ+0200)\r\n"
    b"#!END-HEADER\r\n"
)
SIZE = (128, 128)


def polarity_event(x, y, on, t, valid=1):
    """Bits 0 valid, 1 polarity, 2-16 y, 17-31 x; then the time; low byte first."""
    return struct.pack("<II", x << 17 | y << 2 | on << 1 | valid, t)


def packet(events, kind=1, size=8, overflow=0, spare=0):
    """28 bytes of header, then room for ``spare`` events more than there are."""
    number = len(events)
    header = struct.pack("<hhiiiiii", kind, 1, size, 4, overflow, number + spare, number, number)
    return header + b"".join(events) + b"\xff" * (size * spare)


def test_fields_come_back_as_encoded():
    data = HEADER + packet([polarity_event(5, 127, 1, 10), polarity_event(127, 0, 0, 11)])
    stream = decode_aedat31(data, "a.aedat", SIZE)
    assert stream.x.tolist() == [5, 127]
    assert stream.y.tolist() == [127, 0]
    assert stream.polarity.tolist() == [1, 0]
    assert stream.t_us.tolist() == [10, 11]


def test_packets_follow_each_other_and_overflow_counts_2_to_the_31():
    data = (
        HEADER
        + packet([polarity_event(1, 1, 0, 2**31 - 1)])
        + packet([polarity_event(2, 2, 1, 3)], overflow=1)
    )
    assert decode_aedat31(data, "a.aedat", SIZE).t_us.tolist() == [2**31 - 1, 2**31 + 3]


def test_other_event_types_invalid_events_and_spare_room_are_passed_over():
    data = (
        HEADER
        + packet([b"\1" * 36], kind=3, size=36)
        + packet([polarity_event(1, 1, 0, 7, valid=0), polarity_event(2, 1, 0, 8)], spare=3)
        + packet([b"\1" * 8], kind=0)
        + packet([polarity_event(3, 1, 0, 9)])
    )
    assert decode_aedat31(data, "a.aedat", SIZE).x.tolist() == [2, 3]


def test_events_out_of_order_are_put_in_order():
    data = HEADER + packet([polarity_event(1, 1, 0, 7), polarity_event(2, 1, 0, 6)])
    assert decode_aedat31(data, "a.aedat", SIZE).x.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (HEADER + packet([polarity_event(1, 1, 0, 7)])[:-3], "8 bytes, but 5 follow"),
        (HEADER + packet([polarity_event(1, 1, 0, 7)]) + b"123", "3 bytes at byte .* of 28"),
        (HEADER + packet([], size=0), "impossible packet"),
        (HEADER + struct.pack("<hhiiiiii", 1, 1, 8, 4, 0, 1, 2, 2), "2 of 1 events"),
        (HEADER + packet([b"\1" * 12], size=12), "polarity events of 12 bytes"),
        (HEADER + packet([polarity_event(1, 1, 0, 7, valid=0)]), "no polarity events"),
        (HEADER, "no polarity events"),
        (HEADER + packet([polarity_event(128, 1, 0, 7)]), "128 x 128 sensor"),
        (HEADER[:-16], "truncated in its header"),
        (HEADER.replace(b"RAW", b"Serial-TS"), "Format: Serial-TS"),
        (b"#!AER-DAT2.0\r\n", 'got "#!AER-DAT2.0"'),
        (b"\x1f\x8b\x08\x00", "got 1f8b0800"),
        (b"", "an empty file"),
    ],
)
def test_a_damaged_or_wrong_file_is_an_error_that_names_it_and_says_how_to_mend_it(data, problem):
    with pytest.raises(DataError, match=f"bad.aedat: .*{problem}.*Get it again.$"):
        decode_aedat31(data, "bad.aedat", SIZE, remedy="Get it again.")


def test_reading_a_file(tmp_path):
    path = tmp_path / "a.aedat"
    path.write_bytes(HEADER + packet([polarity_event(5, 6, 1, 10)]))
    assert len(read_aedat31(path, SIZE)) == 1
    with pytest.raises(DataError, match=r"none\.aedat: cannot be read"):
        read_aedat31(tmp_path / "none.aedat", SIZE)
