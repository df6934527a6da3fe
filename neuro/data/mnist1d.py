"""MNIST-1D, generated: ten 12-point templates, moved and disturbed until 40 points are hard.

Source: Greydanus, Kobak: Scaling down deep learning with MNIST-1D, arXiv 2011.14439, section 2;
the constants are those of its published generator. The random numbers are our own, so single
samples differ from the published file while the distribution is the same. One difference: we
standardise with the mean and deviation of the training split, the published one with all samples.
"""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from neuro.data.dataset import Dataset, Split
from neuro.data.entry import DatasetEntry, LoadRequest
from neuro.errors import UsageError

Floats = npt.NDArray[np.float64]

LENGTH = 40
TRAIN_SHARE = 0.8
PADDING = (36, 60)
CANVAS = 72  # template points + the largest padding
SCALE_SPREAD = 0.4
LARGEST_SHIFT = 47
CORRELATED_NOISE = 0.25
CORRELATION_SIGMA = 2
INDEPENDENT_NOISE = 0.02
SHEAR_SPREAD = 0.75

_STROKES = (
    (5, 6, 6.5, 6.75, 7, 7, 7, 7, 6.75, 6.5, 6, 5),
    (5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5),
    (5, 6, 6.5, 6.5, 6, 5.25, 4.75, 4, 3.5, 3.5, 4, 5),
    (5, 6, 6.5, 6.5, 6, 5, 5, 6, 6.5, 6.5, 6, 5),
    (5, 4.4, 3.8, 3.2, 2.6, 2.6, 5, 5, 5, 5, 5, 5),
    (5, 3, 3, 3, 3, 5, 6, 6.5, 6.5, 6, 4.5, 5),
    (5, 4, 3.5, 3.25, 3, 3, 3, 3, 3.25, 3.5, 4, 5),
    (5, 7, 7, 6.6, 6.2, 5.8, 5.4, 5, 4.6, 4.2, 5, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 4, 3.5, 3.5, 4, 5),
    (5, 4, 3.5, 3.5, 4, 5, 5, 5, 5, 4.7, 4.3, 5),
)
CLASSES = len(_STROKES)


def templates() -> Floats:
    """Return the ten templates ``[10, 12]``: standardised, starting at 0, divided by 6."""
    strokes = np.array(_STROKES, dtype=np.float64)
    strokes = strokes - strokes.mean(axis=1, keepdims=True)
    strokes = strokes / strokes.std(axis=1, keepdims=True)
    return np.asarray((strokes - strokes[:, :1]) / 6.0)


def _read_between(signals: Floats, positions: Floats) -> Floats:
    """Interpolate linearly: row n of ``signals [N, L]`` at fractional indices ``[N, P]``."""
    left = np.minimum(positions.astype(np.int64), signals.shape[1] - 2)
    share = positions - left
    low = np.take_along_axis(signals, left, axis=1)
    high = np.take_along_axis(signals, left + 1, axis=1)
    return np.asarray(low + share * (high - low))


def _smooth(noise: Floats) -> Floats:
    """Filter rows with a normalised Gaussian cut at 4 sigma, mirrored at the ends."""
    radius = 4 * CORRELATION_SIGMA
    offsets = np.arange(-radius, radius + 1)
    weights = np.exp(-0.5 * (offsets / CORRELATION_SIGMA) ** 2)
    weights = weights / weights.sum()
    mirrored = np.pad(noise, ((0, 0), (radius, radius)), mode="symmetric")
    smooth = np.zeros_like(noise)
    # A sum in fixed order, not a matrix product: the same bits whatever the BLAS.
    for offset, weight in enumerate(weights):
        smooth += weight * mirrored[:, offset : offset + noise.shape[1]]
    return smooth


def generate(samples: int, seed: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Draw ``samples`` signals, equally many of each class, in random order.

    A template is followed by 36 to 60 zeros and stretched to 72 points; multiplied by a factor
    in [0.8, 1.2]; rotated by 0 to 47 points; where the padding is, Gaussian noise of deviation
    0.25 smoothed with sigma 2 points is put in; everywhere independent noise of deviation 0.02 is
    added; a line of slope in [-0.375, 0.375] is subtracted; 40 points are read off. Then the
    whole set is shifted and scaled so that the first 80 % have mean 0 and deviation 1.

    Args:
        samples: a positive multiple of 10.
        seed: 0 <= seed < 2**32; the same seed gives the same samples.

    Returns:
        Signals ``[samples, 40]`` and classes ``[samples]``.
    """
    # RandomState, unlike Generator, promises the same stream in every numpy release.
    random = np.random.RandomState(seed)
    targets = random.permutation(np.repeat(np.arange(CLASSES), samples // CLASSES))
    digits = templates()
    points = digits.shape[1]
    padding = random.randint(PADDING[0], PADDING[1] + 1, size=(samples, 1))
    padded = np.pad(digits, ((0, 0), (0, PADDING[1])))[targets]
    stretch = (points + padding - 1) / (CANVAS - 1)
    positions = np.arange(CANVAS) * stretch
    signals = _read_between(padded, positions)
    is_padding = positions >= points
    signals *= 1 + SCALE_SPREAD * (random.random_sample((samples, 1)) - 0.5)

    shift = random.randint(0, LARGEST_SHIFT + 1, size=(samples, 1))
    rotated = (np.arange(CANVAS) - shift) % CANVAS
    signals = np.take_along_axis(signals, rotated, axis=1)
    is_padding = np.take_along_axis(is_padding, rotated, axis=1)

    correlated = _smooth(CORRELATED_NOISE * random.standard_normal((samples, CANVAS)))
    signals = np.where(is_padding, correlated, signals)
    signals += INDEPENDENT_NOISE * random.standard_normal((samples, CANVAS))

    slope = SHEAR_SPREAD * (random.random_sample((samples, 1)) - 0.5)
    signals -= slope * np.linspace(-0.5, 0.5, CANVAS)
    read_at = np.broadcast_to(np.linspace(0, CANVAS - 1, LENGTH), (samples, LENGTH))
    signals = _read_between(signals, np.asarray(read_at))

    train = signals[: int(samples * TRAIN_SHARE)]
    signals = (signals - train.mean()) / train.std()
    return signals.astype(np.float32), targets.astype(np.int64)


def load(request: LoadRequest, *, samples: int = 12000, seed: int = 0) -> Dataset:
    """Generate signals ``[N, 40]``, float32, mean 0 and deviation 1; 80 % train, 20 % test.

    Args:
        request: not used: nothing is read.
        samples: total, a multiple of 50, so that the 80 % is a whole number.
        seed: which draw, 0 <= seed < 2**32.

    Raises:
        UsageError: samples or seed out of range.
    """
    if samples < 50 or samples % 50:
        raise UsageError(f"mnist1d: samples must be a positive multiple of 50, got {samples}.")
    if not 0 <= seed < 2**32:
        raise UsageError(f"mnist1d: seed must be in 0..{2**32 - 1}, got {seed}.")
    signals, targets = (torch.from_numpy(array) for array in generate(samples, seed))
    border = int(samples * TRAIN_SHARE)
    return Dataset(
        name="mnist1d",
        kind="static",
        class_names=tuple(str(digit) for digit in range(CLASSES)),
        train=Split(signals[:border], targets[:border]),
        test=Split(signals[border:], targets[border:]),
        source=f"generated: {samples} samples, seed {seed}",
    )


def _present(root: Path) -> bool:
    return True


ENTRY = DatasetEntry(
    name="mnist1d",
    kind="static",
    description="40-point signals of ten shapes, 9,600 training and 2,400 test, generated",
    licence="Apache-2.0",
    citation="Greydanus, Kobak: Scaling down deep learning with MNIST-1D, arXiv 2011.14439, 2020",
    load=load,
    present=_present,
)
