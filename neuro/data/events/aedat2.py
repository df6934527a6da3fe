"""AEDAT 2.0 recordings of a DVS128 camera: the files of CIFAR10-DVS.

Text lines that begin with ``#`` and end with CR LF, the first ``#!AER-DAT2.0``; then events of 8
bytes: address and time in microseconds, 32 bits each, the high byte first. In a DVS128 address
bit 0 is the polarity, bits 1-7 are x, bits 8-14 are y, and bit 15 marks a pulse on the input pin,
which is no pixel. jAER, the program that writes these files, takes polarity bit 0 as ON, and its
x runs from right to left, its y from bottom to top; the stream has both the usual way.

Source: docs.inivation.com, file formats, AEDAT 2.0 and 1.0 (its table says polarity bit 1 is ON;
the readers that jAER and the authors of CIFAR10-DVS publish say bit 0, and they are followed).
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from neuro.data.events.stream import EventStream, sorted_stream
from neuro.errors import DataError

VERSION_LINE = "#!AER-DAT2.0"
EVENT_BYTES = 8
SIDE = 128
EXTERNAL_EVENT = 1 << 15
CHIP_KEY = "# AEChip:"


@dataclass(frozen=True)
class Aedat2Header:
    """The text before the events.

    Args:
        lines: without line ends.
        chip: the camera class that the writer named (its last dotted part), or None.
        size: bytes; the events start here.
    """

    lines: tuple[str, ...]
    chip: str | None
    size: int


def decode_aedat2_header(data: bytes, source: str, *, remedy: str = "") -> Aedat2Header:
    """Decode the header; ``source`` and ``remedy`` are for messages.

    Raises:
        DataError: the first line is not that of AEDAT 2.0, or a line does not end.
    """
    lines: list[str] = []
    position = 0
    while data[position : position + 1] == b"#":
        end = data.find(b"\n", position)
        if end < 0:
            raise DataError(
                f"{source}: truncated in its header: line {len(lines) + 1} has no end. "
                f"{remedy}".rstrip()
            )
        lines.append(data[position:end].decode("latin-1").rstrip("\r"))
        position = end + 1
    first = lines[0] if lines else ""
    if first != VERSION_LINE:
        got = f'"{first}"' if first else (data[:12].hex() or "an empty file")
        raise DataError(
            f'{source}: not an AEDAT 2.0 file: expected the first line "{VERSION_LINE}", '
            f"got {got}. {remedy}".rstrip()
        )
    named = [line.removeprefix(CHIP_KEY) for line in lines if line.startswith(CHIP_KEY)]
    chip = named[0].strip().rpartition(".")[2] if named else None
    return Aedat2Header(tuple(lines), chip, position)


def decode_aedat2(data: bytes, source: str, *, remedy: str = "") -> EventStream:
    """Decode a DVS128 recording; times count from its first event.

    A step of the 32-bit clock from its end to its start is unwrapped. Other events that are out
    of order (old cameras made some) are put in order of time.

    Args:
        data: the whole file.
        source: the file's name, for messages.
        remedy: a sentence for the error message: how to get the right file.

    Returns:
        Stream of a 128 x 128 sensor.

    Raises:
        DataError: not AEDAT 2.0, another camera, a truncated event, or no events.
    """
    header = decode_aedat2_header(data, source, remedy=remedy)

    def wrong(problem: str) -> DataError:
        return DataError(f"{source}: {problem}. {remedy}".rstrip())

    if header.chip is not None and header.chip.upper() != "DVS128":
        raise wrong(f"recorded by a {header.chip}, expected a DVS128")
    body = len(data) - header.size
    if body % EVENT_BYTES:
        raise wrong(f"truncated: {body:,} bytes follow the header, not a multiple of {EVENT_BYTES}")
    words = np.frombuffer(data, dtype=">u4", offset=header.size).reshape(-1, 2)
    address, clock = words[:, 0].astype(np.int64), words[:, 1].astype(np.int64)
    if np.any(address >> 16):
        odd = int(address[np.argmax(address >> 16 != 0)])
        raise wrong(f"address {odd:#010x} is none of a DVS128, whose addresses have 16 bits")
    pixel = (address & EXTERNAL_EVENT) == 0
    address, clock = address[pixel], clock[pixel]
    if not len(address):
        raise wrong("holds no events")
    step = np.diff(clock, prepend=clock[0])
    rounds = np.cumsum((step < -(1 << 31)).astype(np.int64) - (step > (1 << 31)))
    t_us = clock + (rounds << 32)
    return sorted_stream(
        (SIDE - 1 - ((address >> 1) & 0x7F)).astype(np.int16),
        (SIDE - 1 - ((address >> 8) & 0x7F)).astype(np.int16),
        t_us - t_us.min(),
        (1 - (address & 1)).astype(np.uint8),
        (SIDE, SIDE),
    )


def read_aedat2(path: Path, *, remedy: str = "") -> EventStream:
    """Read one ``.aedat`` file; see :func:`decode_aedat2`.

    Raises:
        DataError: also when the file cannot be read.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error}). {remedy}".rstrip()) from error
    return decode_aedat2(data, str(path), remedy=remedy)
