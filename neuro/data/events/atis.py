"""The 5-byte events of the ATIS camera: the files of N-MNIST and N-Caltech101.

An event is 40 bits, the first byte first: x (8 bits), y (8 bits), polarity (1 bit, 1 = ON), time
in microseconds (23 bits, the high byte first). A row of 240, below the last row of the ATIS
(0..239), is no pixel: it says that the camera's 13-bit clock went round once more, so later
events are 2^13 us later than they say.

Source: www.garrickorchard.com/datasets/n-mnist (format); the reader that its author publishes
with the data (rows of 240).
"""

from pathlib import Path

import numpy as np

from neuro.data.events.stream import EventStream, sorted_stream
from neuro.errors import DataError

EVENT_BYTES = 5
OVERFLOW_ROW = 240
OVERFLOW_US = 1 << 13


def decode_atis(
    data: bytes, source: str, sensor_size: tuple[int, int], *, remedy: str = ""
) -> EventStream:
    """Decode the bytes of one recording.

    Events that are out of order are put in order of time.

    Args:
        data: the whole file.
        source: the file's name, for messages.
        sensor_size: ``(height, width)`` of the recordings: 34 x 34 for N-MNIST, 180 x 240 for
            N-Caltech101.
        remedy: a sentence for the error message: how to get the right file.

    Raises:
        DataError: no events, a size that is not a multiple of 5 bytes, or an event outside the
            sensor.
    """
    expected = f"expected 5-byte ATIS events. {remedy}".rstrip()
    if not data:
        raise DataError(f"{source}: the file is empty; {expected}")
    if len(data) % EVENT_BYTES:
        raise DataError(
            f"{source}: truncated or no event file: {len(data):,} bytes are not a multiple of "
            f"{EVENT_BYTES}; {expected}"
        )
    raw = np.frombuffer(data, dtype=np.uint8).reshape(-1, EVENT_BYTES)
    high, middle, low = (raw[:, i].astype(np.int64) for i in (2, 3, 4))
    overflow = raw[:, 1] == OVERFLOW_ROW
    t_us = ((high & 0x7F) << 16) + (middle << 8) + low + OVERFLOW_US * np.cumsum(overflow)
    pixel = ~overflow
    try:
        return sorted_stream(
            raw[pixel, 0], raw[pixel, 1], t_us[pixel], raw[pixel, 2] >> 7, sensor_size
        )
    except DataError as error:
        raise DataError(f"{source}: {error} Wrong or damaged file; {expected}") from error


def read_atis(path: Path, sensor_size: tuple[int, int], *, remedy: str = "") -> EventStream:
    """Read one ``.bin`` file; see :func:`decode_atis`.

    Raises:
        DataError: also when the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}). {remedy}".rstrip()) from error
    return decode_atis(data, str(path), sensor_size, remedy=remedy)
