"""The pixels of the simulated event camera, compiled: one image in, its events out.

:func:`image_events` follows each pixel through one recording; both the stream and the frames of
a recording are made from what it returns, so they cannot disagree.
"""

from collections.abc import Callable
from typing import Any, TypeVar, cast

import numba
import numpy as np
import numpy.typing as npt

_F = TypeVar("_F", bound=Callable[..., Any])

_T = TypeVar("_T", bound=np.generic)

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1 = np.uint64(0xBF58476D1CE4E5B9)
_MIX_2 = np.uint64(0x94D049BB133111EB)
_S11, _S27, _S30, _S31 = (np.uint64(n) for n in (11, 27, 30, 31))


def _compiled(function: _F) -> _F:
    """Compile at the first call, keep the result on disk, and let other threads run meanwhile."""
    return cast(_F, numba.njit(cache=True, nogil=True)(function))


@_compiled
def _mix(value: np.uint64) -> np.uint64:
    """SplitMix64's finaliser: a bijection of 64 bits without visible structure."""
    value = (value ^ (value >> _S30)) * _MIX_1
    value = (value ^ (value >> _S27)) * _MIX_2
    return value ^ (value >> _S31)


@_compiled
def _uniform(stream: np.uint64, counter: int) -> float:
    """Number ``counter`` of the random stream, in the open interval (0, 1)."""
    bits = _mix(stream + np.uint64(counter) * _GOLDEN)
    return (float(bits >> _S11) + 0.5) / 9007199254740992.0  # 2^53


@_compiled
def _longer(array: npt.NDArray[_T], size: int) -> npt.NDArray[_T]:
    longer = np.empty(size, array.dtype)
    longer[: len(array)] = array
    return longer


@_compiled
def substep_events(
    first: float,
    last: float,
    begin_us: float,
    end_us: float,
    memory: float,
    blind_until: float,
    threshold_off: float,
    threshold_on: float,
    refractory_us: float,
    times: npt.NDArray[np.float64],
) -> tuple[int, float, float]:
    """Follow one pixel through one sub-step; see :mod:`neuro.data.events.camera` for the model.

    Args:
        first, last: log luminance at the ends of the sub-step; it runs straight between them.
        begin_us, end_us: times of the ends.
        memory: level that the pixel remembers.
        blind_until: end of its blind time, whose level it will remember; below 0 if it is awake.
        threshold_off, threshold_on: contrast for an event, > 0.
        refractory_us: blind time after an event, >= 0.
        times: the times of the events are written here; room for ``|last - first| / threshold``
            events and two more.

    Returns:
        Number of events (ON if ``last > first``, else OFF), ``memory`` and ``blind_until`` after
        the sub-step.
    """
    if blind_until >= end_us:
        return 0, memory, blind_until
    slope = (last - first) / (end_us - begin_us)
    now = begin_us
    if blind_until >= 0.0:
        now = max(begin_us, blind_until)
        memory = first + slope * (now - begin_us)
        blind_until = -1.0
    count = 0
    while slope != 0.0:
        target = memory + threshold_on if slope > 0.0 else memory - threshold_off
        if last < target if slope > 0.0 else last > target:
            break
        time = min(max(begin_us + (target - first) / slope, now), end_us)
        times[count] = time
        count += 1
        now = time + refractory_us
        if refractory_us == 0.0:
            memory = target
        elif now >= end_us:
            blind_until = now
            break
        else:
            memory = first + slope * (now - begin_us)
    return count, memory, blind_until


@_compiled
def _see(
    scene: npt.NDArray[np.float32],
    across: float,
    down: float,
    margin: int,
    level: npt.NDArray[np.float32],
) -> None:
    """Write what each pixel sees into ``level [H, W]`` when the scene has moved by (across, down).

    The pixel at ``p`` sees what lay at ``p - d``, bilinear between the four points around it.
    """
    height, width = level.shape
    column, row = int(np.floor(margin - across)), int(np.floor(margin - down))
    right, below = np.float32(margin - across - column), np.float32(margin - down - row)
    left, above = np.float32(1.0) - right, np.float32(1.0) - below
    for y in range(height):
        upper, lower = scene[y + row], scene[y + row + 1]
        for x in range(width):
            i = x + column
            level[y, x] = (upper[i] * left + upper[i + 1] * right) * above + (
                lower[i] * left + lower[i + 1] * right
            ) * below


@_compiled
def _any_outside(
    level: npt.NDArray[np.float32],
    low: npt.NDArray[np.float64],
    high: npt.NDArray[np.float64],
) -> bool:
    """Whether any level is not strictly between its bounds; without branches, hence fast."""
    outside = 0
    for x in range(len(level)):
        outside |= int(level[x] <= low[x]) | int(level[x] >= high[x])
    return outside != 0


@_compiled
def image_events(
    scene: npt.NDArray[np.float32],
    path: npt.NDArray[np.float64],
    margin: int,
    duration_us: int,
    thresholds: npt.NDArray[np.float64],
    refractory_us: float,
    noise_per_us: float,
    noise_on_fraction: float,
    stream: np.uint64,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint8]]:
    """Record one image.

    Args:
        scene: log luminance ``[height + 2 margin, width + 2 margin]``.
        path: displacement ``[K + 1, 2]`` (columns, rows), less than ``margin`` each way.
        margin: pixels of the scene beyond the sensor on every side.
        duration_us: length of the recording, K equal sub-steps.
        thresholds: ``[2, height, width]``, OFF before ON.
        refractory_us: blind time after an event.
        noise_per_us: noise events of the whole sensor per microsecond.
        noise_on_fraction: share of them that are ON.
        stream: the random stream of this recording's noise.

    Returns:
        Time in whole microseconds, pixel (row * width + column) and polarity of each event: the
        pixels' sub-step by sub-step, then the noise.
    """
    off, on = thresholds[0], thresholds[1]
    height, width = off.shape
    steps = len(path) - 1
    least = thresholds.min()
    shape = (height, width)
    before, after = np.empty(shape, np.float32), np.empty(shape, np.float32)
    _see(scene, path[0, 0], path[0, 1], margin, before)
    memory = before.astype(np.float64)
    blind_until = np.full((height, width), -1.0)
    # Levels between these two are no event; a blind pixel has none such.
    low, high = memory - off, memory + on
    times = np.empty(64)
    room, total = 8192, 0
    when, where = np.empty(room, np.int64), np.empty(room, np.int64)
    which = np.empty(room, np.uint8)
    for k in range(steps):
        begin, end = k * duration_us / steps, (k + 1) * duration_us / steps
        _see(scene, path[k + 1, 0], path[k + 1, 1], margin, after)
        for y in range(height):
            if not _any_outside(after[y], low[y], high[y]):
                continue
            for x in range(width):
                first, last = float(before[y, x]), float(after[y, x])
                if low[y, x] < last and last < high[y, x]:
                    continue
                most = int((abs(last - first) + abs(last - memory[y, x])) / least) + 3
                if most > len(times):
                    times = np.empty(2 * most)
                n, memory[y, x], blind_until[y, x] = substep_events(
                    first,
                    last,
                    begin,
                    end,
                    memory[y, x],
                    blind_until[y, x],
                    off[y, x],
                    on[y, x],
                    refractory_us,
                    times,
                )
                blind = blind_until[y, x] >= 0.0
                low[y, x] = np.inf if blind else memory[y, x] - off[y, x]
                high[y, x] = memory[y, x] + on[y, x]
                if total + n > room:
                    room = 2 * (total + n)
                    when, where = _longer(when, room), _longer(where, room)
                    which = _longer(which, room)
                for e in range(n):
                    when[total] = min(int(times[e]), duration_us - 1)
                    where[total] = y * width + x
                    which[total] = 1 if last > first else 0
                    total += 1
        before, after = after, before

    time, drawn = 0.0, 0
    while noise_per_us > 0.0:
        time -= np.log(_uniform(stream, drawn)) / noise_per_us
        if time >= duration_us:
            break
        if total == room:
            room *= 2
            when, where = _longer(when, room), _longer(where, room)
            which = _longer(which, room)
        when[total] = int(time)
        where[total] = int(_uniform(stream, drawn + 1) * height * width)
        which[total] = 1 if _uniform(stream, drawn + 2) < noise_on_fraction else 0
        total += 1
        drawn += 3
    return when[:total], where[:total], which[:total]


@_compiled
def add_counts(
    frames: npt.NDArray[np.uint8],
    when: npt.NDArray[np.int64],
    where: npt.NDArray[np.int64],
    which: npt.NDArray[np.uint8],
    duration_us: int,
) -> None:
    """Count events in ``frames [T, 2, height * width]``: frame ``floor(t T / duration_us)``.

    A count stops at 255, as in :func:`neuro.data.events.frames.frames_by_time`.
    """
    for e in range(len(when)):
        t = when[e] * len(frames) // duration_us
        if frames[t, which[e], where[e]] < 255:
            frames[t, which[e], where[e]] += 1
