"""Turn images into event recordings with the simulated camera of ``camera.py``.

Measured with the default camera and seed 0, beside a real recording of N-MNIST (a 4):

| recording                             | events     | ON     | % of events in frames 0..9 |
|---------------------------------------|------------|--------|----------------------------|
| N-MNIST, the real 4                   | 4325       | 49.6 % | 5 18 9 5 16 8 4 12 19 5    |
| mean of 8 MNIST 4s that resemble it   | 4337       | 52.0 % | 8 19 13 3 11 11 3 10 16 7  |
| mean of 60,000 MNIST training images  | 4916       | 51.7 % | 8 18 13 3 13 13 4 9 13 6   |
| their 5th and 95th percentile         | 2698, 6571 |        |                            |

No pixel has more than 10 events of one polarity in one of ten frames. One thing differs: in the
real recording OFF events lead a moving stroke and ON events follow, as if the digit were dark on
a light ground; here the image is taken as it is, and the leading edge of a bright stroke is ON.
"""

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from neuro.data.dataset import Dataset, Split
from neuro.data.entry import DatasetEntry, LoadRequest
from neuro.data.events.camera import EventCamera
from neuro.data.events.frame_cache import FrameCache, Frames
from neuro.data.events.progress import Progress, show_progress
from neuro.data.events.stream import EventStream, sorted_stream
from neuro.errors import DataError, UsageError

PREFIX = "events:"
DEFAULT_TIMESTEPS = 10
CHUNK = 256
# Rec. 601 luma, the weights of the grey conversion in common image tools.
LUMINANCE = (0.299, 0.587, 0.114)
# Part of every cache key: to be raised when the model's events change.
MODEL_VERSION = 1

Events = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64], npt.NDArray[np.uint8]]


class _Recorder:
    """One camera before images of one size: everything that is the same for all of them."""

    def __init__(
        self, camera: EventCamera, image_size: tuple[int, int], seed: int, replicate: bool
    ) -> None:
        if not 0 <= seed < 2**32:
            raise UsageError(f"The seed of the event camera must be in 0..2^32-1, got {seed}.")
        self.camera = camera
        self.seed = seed
        self.replicate = replicate
        self.border = camera.border(image_size[1])
        self.sensor_size = (image_size[0] + 2 * self.border, image_size[1] + 2 * self.border)
        self.path = camera.path(image_size[1])
        self.margin = int(np.ceil(np.abs(self.path).max())) + 1
        self.thresholds = camera.thresholds(self.sensor_size, seed)
        pixels = self.sensor_size[0] * self.sensor_size[1]
        self.noise_per_us = camera.noise_rate_hz * pixels * 1e-6

    def record(self, luminance: npt.NDArray[np.float32], index: int) -> Events:
        """Events of recording ``index`` of an image ``[H, W]`` in 0..1, in no order of time."""
        from neuro.data.events.pixel import image_events  # numba: only recording waits for it

        around = self.border + self.margin
        # in float64: the last bit of a float32 logarithm differs between processors
        level = np.log(self.camera.black_level + luminance.astype(np.float64)).astype(np.float32)
        if self.replicate:
            scene = np.pad(level, around, mode="edge")
        else:
            black = np.float32(np.log(self.camera.black_level))
            scene = np.pad(level, around, constant_values=black)
        return image_events(
            scene,
            self.path,
            self.margin,
            self.camera.duration_us,
            self.thresholds,
            float(self.camera.refractory_us),
            self.noise_per_us,
            self.camera.noise_on_fraction,
            _random_stream(self.seed, index),
        )


def _random_stream(seed: int, index: int) -> np.uint64:
    """A random stream of its own for every recording of every seed."""
    digest = hashlib.blake2b(f"{seed}/{index}".encode(), digest_size=8).digest()
    return np.uint64(int.from_bytes(digest, "little"))


def simulate_events(
    image: npt.NDArray[np.floating[Any]],
    *,
    camera: EventCamera | None = None,
    seed: int = 0,
    index: int = 0,
    replicate_border: bool = False,
) -> EventStream:
    """Record one image as events at their exact times.

    Args:
        image: luminance ``[H, W]`` in 0..1.
        camera: parameters; None = the default ones.
        seed: draws the sensor's threshold pattern and, with ``index``, the noise; 0..2^32-1.
        index: which recording this is: the noise of each is its own.
        replicate_border: what lies around the image: its edge pixels, repeated, or black.

    Returns:
        Events of a sensor with ``camera.border(W)`` more pixels on every side, times from 0 to
        ``camera.duration_us - 1``. Equals :func:`simulate_frames` when cut into equal times.

    Raises:
        DataError: the image is no matrix of numbers in 0..1.
        UsageError: the seed is out of range.
    """
    _check_images(image, image.ndim == 2)
    size = (image.shape[0], image.shape[1])
    recorder = _Recorder(camera or EventCamera(), size, seed, replicate_border)
    when, where, which = recorder.record(image.astype(np.float32), index)
    width = recorder.sensor_size[1]
    # by time, then pixel, then as emitted: the order must not depend on how pixels are visited
    order = np.lexsort((where, when))
    return sorted_stream(
        where[order] % width,
        where[order] // width,
        when[order],
        which[order],
        recorder.sensor_size,
    )


def simulate_frames(
    images: npt.NDArray[np.floating[Any]],
    timesteps: int,
    *,
    camera: EventCamera | None = None,
    seed: int = 0,
    first_index: int = 0,
    replicate_border: bool = False,
    out: Frames | None = None,
    progress: Progress | None = None,
) -> Frames:
    """Record many images and count their events in ``timesteps`` frames of equal time.

    Args:
        images: luminance ``[N, H, W]`` in 0..1.
        timesteps: number of frames T, > 0.
        camera, seed, replicate_border: as for :func:`simulate_events`.
        first_index: image ``i`` is recording ``first_index + i``.
        out: written to and returned if given: zeros, uint8, ``[N, T, 2, H', W']``.
        progress: called with the number of images done and N.

    Returns:
        Counts ``[N, T, 2, H', W']``, uint8, OFF before ON; equal to
        ``frames_by_time(simulate_events(image, index=...), T, start_us=0, duration_us=...)``.

    Raises:
        DataError: the images are no numbers in 0..1 of that shape, or ``timesteps`` is not
            positive.
        UsageError: the seed is out of range.
    """
    from neuro.data.events.pixel import add_counts

    _check_images(images, images.ndim == 3)
    if timesteps < 1:
        raise DataError(f"Frames need timesteps >= 1, got {timesteps}.")
    camera = camera or EventCamera()
    recorder = _Recorder(camera, (images.shape[1], images.shape[2]), seed, replicate_border)
    count = len(images)
    frames = (
        np.zeros((count, timesteps, 2, *recorder.sensor_size), np.uint8) if out is None else out
    )

    def record_chunk(start: int) -> int:
        stop = min(start + CHUNK, count)
        for i in range(start, stop):
            events = recorder.record(images[i].astype(np.float32), first_index + i)
            flat = frames[i].reshape(timesteps, 2, -1)
            add_counts(flat, *events, camera.duration_us)
        return stop - start

    done = 0
    pool = ThreadPoolExecutor(max_workers=max(1, torch.get_num_threads()))
    try:
        for finished in pool.map(record_chunk, range(0, count, CHUNK)):
            done += finished
            if progress is not None:
                progress(done, count)
    finally:
        # after an interrupt, do not record the rest first
        pool.shutdown(cancel_futures=True)
    return frames


def _check_images(images: npt.NDArray[np.floating[Any]], right_rank: bool) -> None:
    if not right_rank or 0 in images.shape[-2:]:
        raise DataError(
            f"The event camera records images [H, W] or [N, H, W], got shape {list(images.shape)}."
        )
    if images.size:
        low, high = float(images.min()), float(images.max())
        if not (low >= 0 and high <= 1):
            raise DataError(
                f"The event camera needs luminance in 0..1, got values in {low}..{high}."
            )


def luminance(split: Split, scale: float) -> npt.NDArray[np.float32]:
    """Images ``[N, C, H, W]`` as luminance ``[N, H, W]`` in 0..1: grey, or ``LUMINANCE`` of RGB.

    Raises:
        DataError: the inputs are no images of 1 or 3 channels.
    """
    inputs = split.inputs
    if inputs.dim() != 4 or inputs.shape[1] not in (1, 3):
        raise DataError(
            "The event camera needs images [N, C, H, W] with 1 or 3 channels, got inputs of "
            f"shape {list(inputs.shape)}."
        )
    grey = np.empty((len(split), *inputs.shape[2:]), np.float32)
    weights = torch.tensor(LUMINANCE if inputs.shape[1] == 3 else (1.0,))[:, None, None] / scale
    for start in range(0, len(split), 1024):
        chunk = inputs[start : start + 1024].to(torch.float32)
        # weights rounded to float32 may sum to a little more than 1
        grey[start : start + len(chunk)] = (chunk * weights).sum(1).clamp(max=1.0).numpy()
    return grey


def simulate_dataset(
    base: Dataset,
    *,
    timesteps: int | None = None,
    cache_dir: Path,
    seed: int = 0,
    camera: EventCamera | None = None,
) -> Dataset:
    """Record every image of a static data set.

    Args:
        base: images ``[N, C, H, W]`` of 1 or 3 channels. Grey images stand before black, colour
            photographs are continued by their edge pixels.
        timesteps: frames T of equal time; None = 10: the three saccades cover 3.3 frames each.
        cache_dir: frames are kept in ``cache_dir/decoded``.
        seed: see :func:`simulate_events`; test recordings are numbered on from training ones.
        camera: parameters; None = the default ones.

    Returns:
        Data set ``events:<base.name>`` of frames ``[N, T, 2, H', W']``, uint8.

    Raises:
        DataError: ``base`` holds no images, or the frames cannot be stored.
        UsageError: the seed is out of range.
    """
    if base.kind != "static":
        raise DataError(f"{base.name} holds event recordings already, no images to record.")
    camera = camera or EventCamera()
    steps = DEFAULT_TIMESTEPS if timesteps is None else timesteps

    def record(split: Split, part: str, first_index: int) -> Split:
        cache = FrameCache(
            cache_dir / "decoded",
            f"events-{base.name}-{part}",
            {
                "images": _content_hash(split),
                "scale": base.scale,
                "model": MODEL_VERSION,
                "camera": asdict(camera),
                "seed": seed,
                "first_index": first_index,
                "timesteps": steps,
            },
        )
        stored = cache.load()
        if stored is not None:
            return stored
        grey = luminance(split, base.scale)
        sides = _Recorder(camera, grey.shape[1:], seed, False).sensor_size

        def fill(frames: Frames) -> None:
            simulate_frames(
                grey,
                steps,
                camera=camera,
                seed=seed,
                first_index=first_index,
                replicate_border=split.inputs.shape[1] == 3,
                out=frames,
                progress=show_progress(f"Recording {base.name} ({part}) with the event camera"),
            )

        return cache.store((len(split), steps, 2, *sides), split.targets.numpy(), fill)

    return Dataset(
        name=f"{PREFIX}{base.name}",
        kind="events",
        class_names=base.class_names,
        train=record(base.train, "train", 0),
        test=record(base.test, "test", len(base.train)),
        source=f"event camera simulation (seed {seed}) of: {base.source}",
    )


def _content_hash(split: Split) -> str:
    digest = hashlib.sha256(f"{split.inputs.dtype} {list(split.inputs.shape)}".encode())
    digest.update(np.ascontiguousarray(split.inputs.numpy()).data)
    digest.update(split.targets.numpy().data)
    return digest.hexdigest()


def simulated_entry(base: DatasetEntry) -> DatasetEntry:
    """Return the registry entry ``events:<base.name>``.

    Its options are the parameters of the camera that a user may set, and the seed.
    """
    default = EventCamera()

    def load(
        request: LoadRequest,
        *,
        seed: int = 0,
        threshold: float = default.threshold,
        threshold_mismatch: float = default.threshold_mismatch,
        refractory_us: int = default.refractory_us,
        noise_rate_hz: float = default.noise_rate_hz,
    ) -> Dataset:
        camera = replace(
            default,
            threshold=threshold,
            threshold_mismatch=threshold_mismatch,
            refractory_us=refractory_us,
            noise_rate_hz=noise_rate_hz,
        )
        return simulate_dataset(
            base.load(replace(request, timesteps=None)),
            timesteps=request.timesteps,
            cache_dir=request.cache_dir,
            seed=seed,
            camera=camera,
        )

    return DatasetEntry(
        name=f"{PREFIX}{base.name}",
        kind="events",
        description=f"{base.name} before a simulated event camera that makes three saccades",
        licence=base.licence,
        citation=base.citation,
        files=base.files,
        load=load,
        present=base.present,
    )
