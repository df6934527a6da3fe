"""The simulated event camera: its parameters, its motion, and what its pixels see.

The model, for a pixel at place ``p`` and an image of luminance ``I`` in 0..1 that the camera's
motion displaces by ``d(t)``:

    L(p, t) = ln(black_level + I)(p - d(t))     log luminance, bilinear between pixels

``L`` is computed at the ends of short sub-steps and runs straight between them. The pixel
remembers a level ``M``, at first ``L(p, 0)``. When ``L - M`` reaches its ON threshold it emits an
ON event, when ``M - L`` reaches its OFF threshold an OFF event, at the exact time of the crossing.
It then is blind for the refractory period, and remembers ``L`` at the end of it.

* Thresholds are ``threshold * (1 + threshold_mismatch * z)``, ``z`` standard normal, drawn once
  per pixel and polarity: a fixed pattern of the sensor, the same in all recordings of a seed.
* Noise events come as a Poisson process of ``noise_rate_hz`` per pixel, ``noise_on_fraction`` of
  them ON, drawn anew for each recording. They are added; they do not move a pixel's memory.
* Motion: three saccades of ``saccade_us`` each along an isosceles triangle with a level base: down
  to the right, up to the right, and back to the left, centred on the image. Along a side, the
  distance covered at the share ``u`` of its time is ``u - v sin(2 pi u) / (2 pi)`` with
  ``v = velocity_swing``: slow, fast, slow.

Source: Orchard et al. 2015 (three saccades along a triangle before a static image); Lichtsteiner,
Posch, Delbruck, IEEE JSSC 43, 2008 (contrast threshold, refractory period, mismatch). The numbers
were fitted to one recording of N-MNIST (a 4 of 4,325 events): base and height are those that make
its events sharpest when the motion is undone; ``saccade_us``, ``velocity_swing``, the refractory
period and the noise were read from its event times and from the pixels far from the digit;
``threshold`` and its mismatch give the number of events, and how it spreads over pixels, on the
eight MNIST images whose simulated frames correlate most with the recording.
"""

from dataclasses import dataclass, fields
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from neuro.errors import UsageError

SACCADES = 3
# One sub-step of 3 ms moves the image by at most 0.35 of its pixels.
STEPS_PER_SACCADE = 35
# N-MNIST: 28 x 28 images on 34 x 34 pixels.
BORDER_PER_PIXEL = 3 / 28

FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class EventCamera:
    """Parameters of the model.

    Args:
        threshold: contrast (change of log luminance) for an event, > 0.
        threshold_mismatch: standard deviation of a pixel's threshold, relative, >= 0.
        black_level: luminance of black relative to white, > 0: the screen's glow.
        refractory_us: blind time after an event in microseconds, >= 0.
        noise_rate_hz: noise events per pixel and second, >= 0.
        noise_on_fraction: share of noise events that are ON, 0..1.
        saccade_us: duration of one saccade in microseconds, > 0.
        saccade_base: base of the triangle, in widths of the image, >= 0.
        saccade_height: height of the triangle, in widths of the image, >= 0.
        velocity_swing: 0 = constant speed, 1 = at rest at each corner.

    Raises:
        UsageError: a parameter out of range.
    """

    threshold: float = 0.285
    threshold_mismatch: float = 0.15
    black_level: float = 0.1
    refractory_us: int = 1500
    noise_rate_hz: float = 0.4
    noise_on_fraction: float = 0.94
    saccade_us: int = 105_000
    saccade_base: float = 5.0 / 28
    saccade_height: float = 6.25 / 28
    velocity_swing: float = 0.8

    def __post_init__(self) -> None:
        above_zero = ("threshold", "black_level", "saccade_us")
        at_most_one = ("noise_on_fraction", "velocity_swing")
        for field in fields(self):
            value = getattr(self, field.name)
            if not np.isfinite(value) or value < 0 or (field.name in above_zero and value == 0):
                least = "> 0" if field.name in above_zero else ">= 0"
                raise UsageError(f"Event camera: {field.name} must be {least}, got {value}.")
            if field.name in at_most_one and value > 1:
                raise UsageError(f"Event camera: {field.name} must be <= 1, got {value}.")

    @property
    def duration_us(self) -> int:
        """Length of a recording."""
        return SACCADES * self.saccade_us

    def border(self, width: int) -> int:
        """Pixels around an image of ``width`` columns: 3 for 28, in proportion, at least 1."""
        return max(1, round(width * BORDER_PER_PIXEL))

    def path(self, width: int) -> FloatArray:
        """Displacement of an image of ``width`` columns at the ends of all sub-steps.

        Returns:
            ``[3 * STEPS_PER_SACCADE + 1, 2]``: columns to the right, rows down, in pixels.
        """
        base, height = self.saccade_base * width, self.saccade_height * width
        corners = np.array(
            [
                (-base / 2, -height / 2),
                (0.0, height / 2),
                (base / 2, -height / 2),
                (-base / 2, -height / 2),
            ]
        )
        u = np.arange(1, STEPS_PER_SACCADE + 1) / STEPS_PER_SACCADE
        covered = u - self.velocity_swing * np.sin(2 * np.pi * u) / (2 * np.pi)
        sides = [start + covered[:, None] * (end - start) for start, end in pairwise(corners)]
        return np.concatenate([corners[:1], *sides])

    def thresholds(self, shape: tuple[int, int], seed: int) -> FloatArray:
        """Thresholds ``[2, height, width]`` of the OFF and the ON side of every pixel.

        None is below a tenth of ``threshold``: a pixel at 0 would fire without end.
        """
        # RandomState, unlike Generator, promises the same stream in every numpy release.
        z = np.random.RandomState(seed).standard_normal((2, *shape))
        return self.threshold * np.maximum(1 + self.threshold_mismatch * z, 0.1)
