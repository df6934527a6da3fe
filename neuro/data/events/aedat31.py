"""AEDAT 3.1 recordings: the files of DVS-Gesture.

Text lines that begin with ``#``, the first ``#!AER-DAT3.1``, the last ``#!END-HEADER``; then
packets, all numbers with the low byte first. A packet is a header of 28 bytes

    int16 type, source; int32 event size, time offset, time overflow, capacity, number, valid

and ``capacity`` events. Polarity events (type 1) have 8 bytes: 32 bits of which bit 0 says that
the event is valid, bit 1 is the polarity (1 = ON), bits 2-16 are y and bits 17-31 x, from the
upper left; then the time, ``t = overflow * 2^31 + int32``, in microseconds.

Source: docs.inivation.com, file formats, AEDAT 3.1; README of DVS-Gesture.
"""

import struct
from pathlib import Path

import numpy as np

from neuro.data.events.stream import EventStream, sorted_stream
from neuro.errors import DataError

VERSION_LINE = b"#!AER-DAT3.1"
END_LINE = b"#!END-HEADER"
PACKET_HEADER = struct.Struct("<hhiiiiii")
POLARITY_TYPE = 1
POLARITY_BYTES = 8


def decode_aedat31(
    data: bytes, source: str, sensor_size: tuple[int, int], *, remedy: str = ""
) -> EventStream:
    """Decode the valid polarity events of a recording; packets of other types are passed over.

    Args:
        data: the whole file.
        source: the file's name, for messages.
        sensor_size: ``(height, width)``; 128 x 128 for DVS-Gesture.
        remedy: a sentence for the error message: how to get the right file.

    Raises:
        DataError: not AEDAT 3.1, a compressed format, a truncated or impossible packet, no
            polarity event, or an event outside the sensor.
    """

    def wrong(problem: str) -> DataError:
        return DataError(f"{source}: {problem}. {remedy}".rstrip())

    position = _header_size(data, source, remedy)
    words: list[np.ndarray] = []
    times: list[np.ndarray] = []
    while position < len(data):
        if len(data) - position < PACKET_HEADER.size:
            raise wrong(
                f"truncated: {len(data) - position} bytes at byte {position:,}, expected a "
                f"packet header of {PACKET_HEADER.size}"
            )
        kind, _, size, _, overflow, capacity, number, _ = PACKET_HEADER.unpack_from(data, position)
        if size <= 0 or not 0 <= number <= capacity or overflow < 0:
            raise wrong(
                f"impossible packet at byte {position:,}: {number} of {capacity} events of "
                f"{size} bytes, time overflow {overflow}"
            )
        position += PACKET_HEADER.size
        if len(data) - position < size * capacity:
            raise wrong(
                f"truncated: the packet before byte {position:,} holds {size * capacity:,} bytes, "
                f"but {len(data) - position:,} follow"
            )
        if kind == POLARITY_TYPE:
            if size != POLARITY_BYTES:
                raise wrong(f"polarity events of {size} bytes, expected {POLARITY_BYTES}")
            pairs = np.frombuffer(data, "<u4", 2 * number, position).reshape(-1, 2)
            words.append(pairs[:, 0])
            times.append(pairs[:, 1].astype(np.int64) + (overflow << 31))
        position += size * capacity
    event = np.concatenate(words) if words else np.empty(0, np.uint32)
    t_us = np.concatenate(times) if times else np.empty(0, np.int64)
    valid = (event & 1) == 1
    event, t_us = event[valid], t_us[valid]
    if not len(event):
        raise wrong("holds no polarity events")
    try:
        return sorted_stream(
            (event >> 17).astype(np.int16),
            ((event >> 2) & 0x7FFF).astype(np.int16),
            t_us,
            ((event >> 1) & 1).astype(np.uint8),
            sensor_size,
        )
    except DataError as error:
        raise wrong(f"{error} Wrong or damaged file") from error


def read_aedat31(path: Path, sensor_size: tuple[int, int], *, remedy: str = "") -> EventStream:
    """Read one ``.aedat`` file; see :func:`decode_aedat31`.

    Raises:
        DataError: also when the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}). {remedy}".rstrip()) from error
    return decode_aedat31(data, str(path), sensor_size, remedy=remedy)


def _header_size(data: bytes, source: str, remedy: str) -> int:
    first = data[: data.find(b"\n") + 1].rstrip()
    if first != VERSION_LINE:
        got = f'"{first.decode("latin-1")}"' if first[:1] == b"#" else data[:12].hex()
        raise DataError(
            f'{source}: not an AEDAT 3.1 file: expected the first line "{VERSION_LINE.decode()}", '
            f"got {got or 'an empty file'}. {remedy}".rstrip()
        )
    position = 0
    while data[position : position + 1] == b"#":
        end = data.find(b"\n", position)
        line = data[position : end if end >= 0 else len(data)].rstrip()
        if line.startswith(b"#Format:") and line.split(b":", 1)[1].strip() != b"RAW":
            raise DataError(
                f'{source}: packets are stored as "{line.decode("latin-1")}", but only '
                f'"#Format: RAW" can be read. {remedy}'.rstrip()
            )
        if end < 0:
            break
        position = end + 1
        if line == END_LINE:
            return position
    raise DataError(
        f'{source}: truncated in its header: no line "{END_LINE.decode()}". {remedy}'.rstrip()
    )
