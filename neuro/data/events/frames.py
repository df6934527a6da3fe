"""From an event stream to frames: how many events each pixel gave in each of T spans."""

from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from neuro.data.events.stream import EventStream
from neuro.errors import DataError, UsageError, nearest

Framing = Literal["time", "count"]
MOST_EVENTS = 255


def make_frames(
    stream: EventStream, timesteps: int, framing: Framing, *, duration_us: int | None = None
) -> npt.NDArray[np.uint8]:
    """Cut ``stream`` by :func:`frames_by_time` or :func:`frames_by_count`.

    ``duration_us`` is the span of ``frames_by_time`` from time 0; None = from the first event to
    the last one. Frames of equal count do not use it.
    """
    if framing == "count":
        return frames_by_count(stream, timesteps)
    if duration_us is None:
        return frames_by_time(stream, timesteps)
    return frames_by_time(stream, timesteps, start_us=0, duration_us=duration_us)


def frames_by_time(
    stream: EventStream,
    timesteps: int,
    *,
    start_us: int | None = None,
    duration_us: int | None = None,
) -> npt.NDArray[np.uint8]:
    """Count events in ``timesteps`` spans of equal time.

    ``frame(event) = floor((t - start_us) * timesteps / duration_us)`` in whole numbers.

    Args:
        stream: the events.
        timesteps: number of frames T, > 0.
        start_us: where the first frame starts; None = at the first event.
        duration_us: length of all frames together, > 0; None = up to the last event. Events
            before ``start_us`` or after the last frame belong to no frame.

    Returns:
        Counts ``[T, 2, height, width]``, uint8, OFF before ON; more than 255 events of one pixel
        in one frame count as 255.

    Raises:
        DataError: ``timesteps`` or ``duration_us`` is not positive.
    """
    _check_timesteps(timesteps)
    start = (int(stream.t_us[0]) if len(stream) else 0) if start_us is None else start_us
    if duration_us is None:
        duration = int(stream.t_us[-1]) - start + 1 if len(stream) else 1
    else:
        duration = duration_us
    if duration <= 0:
        raise DataError(f"Frames need a duration > 0, got {duration} us.")
    frame = (stream.t_us - start) * timesteps // duration
    inside = (frame >= 0) & (frame < timesteps)
    return _count(stream, frame, inside, timesteps)


def frames_by_count(stream: EventStream, timesteps: int) -> npt.NDArray[np.uint8]:
    """Count events in ``timesteps`` spans that hold equally many events.

    Event ``i`` of ``n`` goes to frame ``floor(i * timesteps / n)``: spans differ by at most one
    event.

    Args:
        stream: the events.
        timesteps: number of frames T, > 0.

    Returns:
        Counts ``[T, 2, height, width]``, uint8, as in :func:`frames_by_time`.

    Raises:
        DataError: ``timesteps`` is not positive.
    """
    _check_timesteps(timesteps)
    frame = np.arange(len(stream), dtype=np.int64) * timesteps // max(len(stream), 1)
    return _count(stream, frame, np.ones(len(stream), dtype=np.bool_), timesteps)


def check_framing(framing: str) -> None:
    """Raise UsageError unless ``framing`` is one of the known ways to cut a stream."""
    choices = get_args(Framing)
    if framing not in choices:
        raise UsageError(
            f'framing must be one of {", ".join(choices)}, got "{framing}".'
            f"{nearest(framing, choices)}"
        )


def _check_timesteps(timesteps: int) -> None:
    if timesteps < 1:
        raise DataError(f"Frames need timesteps >= 1, got {timesteps}.")


def _count(
    stream: EventStream,
    frame: npt.NDArray[np.int64],
    inside: npt.NDArray[np.bool_],
    timesteps: int,
) -> npt.NDArray[np.uint8]:
    height, width = stream.sensor_size
    shape = (timesteps, 2, height, width)
    # int64 before multiplying: 8- and 16-bit coordinates would wrap around
    columns: npt.NDArray[Any] = stream.x.astype(np.int64)
    cell = ((frame * 2 + stream.polarity) * height + stream.y) * width + columns
    counts = np.bincount(cell[inside], minlength=timesteps * 2 * height * width)
    return np.minimum(counts, MOST_EVENTS).astype(np.uint8).reshape(shape)
