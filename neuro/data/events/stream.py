"""A recording of an event camera: who changed, when, and which way."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.errors import DataError

OFF, ON = 0, 1

IntArray = npt.NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class EventStream:
    """Events ``(x, y, t, polarity)`` in order of time.

    Args:
        x: column ``[N]``, 0 at the left, in ``0..width-1``.
        y: row ``[N]``, 0 at the top, in ``0..height-1``.
        t_us: time ``[N]`` in microseconds, int64, never falling.
        polarity: ``[N]`` uint8, 1 = ON (brighter), 0 = OFF (darker).
        sensor_size: ``(height, width)`` in pixels.

    Raises:
        DataError: arrays of unequal length, an event outside the sensor, a polarity other than 0
            and 1, or time that runs backwards.
    """

    x: IntArray
    y: IntArray
    t_us: npt.NDArray[np.int64]
    polarity: npt.NDArray[np.uint8]
    sensor_size: tuple[int, int]

    def __post_init__(self) -> None:
        sizes = [array.shape for array in (self.x, self.y, self.t_us, self.polarity)]
        if len(set(sizes)) != 1 or len(sizes[0]) != 1:
            raise DataError(
                f"x, y, t_us and polarity must be vectors of one length, got shapes {sizes}."
            )
        if not len(self):
            return
        height, width = self.sensor_size
        for name, values, limit in (("x", self.x, width), ("y", self.y, height)):
            low, high = int(values.min()), int(values.max())
            if low < 0 or high >= limit:
                raise DataError(
                    f"Events lie outside the {height} x {width} sensor: {name} spans "
                    f"{low}..{high}, expected 0..{limit - 1}."
                )
        if int(self.polarity.max()) > ON:
            raise DataError(f"Polarity must be 0 or 1, got {int(self.polarity.max())}.")
        if np.any(self.t_us[1:] < self.t_us[:-1]):
            first = int(np.argmax(self.t_us[1:] < self.t_us[:-1])) + 1
            raise DataError(
                f"Time runs backwards at event {first}: {int(self.t_us[first - 1])} us, then "
                f"{int(self.t_us[first])} us."
            )

    def __len__(self) -> int:
        return len(self.t_us)

    @property
    def duration_us(self) -> int:
        """Microseconds from the first event to just after the last one; 0 without events."""
        return int(self.t_us[-1] - self.t_us[0]) + 1 if len(self) else 0

    def between(self, start_us: int, end_us: int) -> "EventStream":
        """The events with ``start_us <= t < end_us``; times stay as they are."""
        first, last = (int(i) for i in np.searchsorted(self.t_us, (start_us, end_us), side="left"))
        chosen = slice(first, last)
        return EventStream(
            self.x[chosen],
            self.y[chosen],
            self.t_us[chosen],
            self.polarity[chosen],
            self.sensor_size,
        )

    def resized(self, sensor_size: tuple[int, int]) -> "EventStream":
        """Move every event to the pixel of a smaller sensor that covers its place.

        ``x' = floor(x * width' / width)``, rows likewise: no event is lost, so a frame of the
        result holds the sums over the pixels that fell together.

        Raises:
            DataError: the new sensor is larger, or has no pixels.
        """
        (height, width), (new_height, new_width) = self.sensor_size, sensor_size
        if not (0 < new_height <= height and 0 < new_width <= width):
            raise DataError(
                f"A {height} x {width} recording cannot be resized to "
                f"{new_height} x {new_width}: choose 1..{height} rows and 1..{width} columns."
            )
        return EventStream(
            self.x.astype(np.int32) * new_width // width,
            self.y.astype(np.int32) * new_height // height,
            self.t_us,
            self.polarity,
            sensor_size,
        )


def sorted_stream(
    x: IntArray,
    y: IntArray,
    t_us: npt.NDArray[np.int64],
    polarity: npt.NDArray[np.uint8],
    sensor_size: tuple[int, int],
) -> EventStream:
    """Make a stream of events in any order; events of one time keep the order they came in."""
    if np.any(t_us[1:] < t_us[:-1]):
        order = np.argsort(t_us, kind="stable")
        x, y, t_us, polarity = x[order], y[order], t_us[order], polarity[order]
    return EventStream(x, y, t_us, polarity, sensor_size)
