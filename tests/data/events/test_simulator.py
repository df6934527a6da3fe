from dataclasses import replace

import numpy as np
import pytest
import torch

from neuro.data.dataset import Dataset, Split
from neuro.data.digits import ENTRY as DIGITS
from neuro.data.entry import LoadRequest
from neuro.data.events.atis import read_atis
from neuro.data.events.camera import STEPS_PER_SACCADE, EventCamera
from neuro.data.events.frames import frames_by_count, frames_by_time
from neuro.data.events.simulator import (
    luminance,
    simulate_dataset,
    simulate_events,
    simulate_frames,
    simulated_entry,
)
from neuro.data.idx import read_idx
from neuro.errors import DataError, UsageError

QUIET = EventCamera(noise_rate_hz=0, threshold_mismatch=0, refractory_us=0)


def stroke(size=28):
    """A bright ring and bar on black, soft at the edges."""
    y, x = np.mgrid[:size, :size] / size - 0.5
    ring = np.clip(1.5 - 20 * abs(np.hypot(x, y) - 0.25), 0, 1)
    bar = np.clip(1.5 - 20 * abs(x + 0.1), 0, 1) * (abs(y) < 0.3)
    return np.maximum(ring, bar).astype(np.float32)


def brute_force(image, camera):
    """The model of camera.py for R = 0, pixel by pixel and in the plainest way."""
    border = camera.border(image.shape[1])
    height, width = image.shape[0] + 2 * border, image.shape[1] + 2 * border
    log_image = np.log(camera.black_level + image.astype(np.float64))

    def level(x, y):
        i, j = int(np.floor(y)), int(np.floor(x))
        total = 0.0
        for row, share_y in ((i, 1 - (y - i)), (i + 1, y - i)):
            for column, share_x in ((j, 1 - (x - j)), (j + 1, x - j)):
                inside = 0 <= row < image.shape[0] and 0 <= column < image.shape[1]
                value = log_image[row, column] if inside else np.log(camera.black_level)
                total += share_y * share_x * value
        return total

    counts = np.zeros((2, height, width), int)
    path = camera.path(image.shape[1])
    thresholds = camera.thresholds((height, width), seed=0)
    for y in range(height):
        for x in range(width):
            levels = [level(x - border - dx, y - border - dy) for dx, dy in path]
            memory = levels[0]
            for now in levels[1:]:
                while now - memory >= thresholds[1, y, x]:
                    memory += thresholds[1, y, x]
                    counts[1, y, x] += 1
                while memory - now >= thresholds[0, y, x]:
                    memory -= thresholds[0, y, x]
                    counts[0, y, x] += 1
    return counts


def test_events_equal_a_pixel_by_pixel_evaluation_of_the_model():
    image = stroke(12)
    # Unequal thresholds: with equal ones a level that comes back stops just at the last event's.
    camera = replace(QUIET, threshold_mismatch=0.2)
    stream = simulate_events(image, camera=camera)
    counts = frames_by_time(stream, 1, start_us=0, duration_us=camera.duration_us)[0]
    expected = brute_force(image, camera)
    assert expected.sum() > 1000
    # float32 against float64: one pixel may miss an event at a turning point of its level
    assert np.abs(counts.astype(int) - expected).sum() <= 1


@pytest.mark.parametrize("camera", [QUIET, EventCamera(), EventCamera(noise_rate_hz=30)])
@pytest.mark.parametrize("timesteps", [1, 7, 10, 320])
def test_the_stream_cut_into_equal_times_equals_the_frames(camera, timesteps):
    images = np.stack([stroke(), stroke().T, stroke()])
    frames = simulate_frames(images, timesteps, camera=camera, seed=5, first_index=40)
    for i, image in enumerate(images):
        stream = simulate_events(image, camera=camera, seed=5, index=40 + i)
        expected = frames_by_time(stream, timesteps, start_us=0, duration_us=camera.duration_us)
        np.testing.assert_array_equal(frames[i], expected)


def test_the_same_seed_gives_the_same_events_and_another_does_not():
    images = np.stack([stroke()] * 2)
    frames = simulate_frames(images, 4, seed=1)
    np.testing.assert_array_equal(frames, simulate_frames(images, 4, seed=1))
    assert not np.array_equal(frames, simulate_frames(images, 4, seed=2))
    # noise is the recording's own, also for one image shown twice
    assert not np.array_equal(frames[0], frames[1])


def test_frames_do_not_depend_on_threads_or_chunks(monkeypatch):
    images = np.stack([stroke()] * 5)
    whole = simulate_frames(images, 3)
    monkeypatch.setattr("neuro.data.events.simulator.CHUNK", 2)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    done = []
    parts = simulate_frames(images, 3, progress=lambda n, total: done.append((n, total)))
    np.testing.assert_array_equal(whole, parts)
    assert done == [(2, 5), (4, 5), (5, 5)]


def test_an_image_without_contrast_gives_noise_only():
    flat = np.full((28, 28), 0.5, np.float32)
    assert len(simulate_events(flat, camera=QUIET, replicate_border=True)) == 0
    assert len(simulate_events(flat, camera=QUIET)) > 100  # its edge before black


def test_noise_has_the_stated_rate_polarity_and_spread():
    camera = EventCamera(noise_rate_hz=20, noise_on_fraction=0.75)
    flat = np.zeros((28, 28), np.float32)
    streams = [simulate_events(flat, camera=camera, index=i) for i in range(40)]
    pixels = 34 * 34
    expected = 40 * 20 * pixels * 0.315
    total = sum(len(stream) for stream in streams)
    assert abs(total - expected) < 4 * expected**0.5
    on = np.mean([stream.polarity.mean() for stream in streams])
    assert abs(on - 0.75) < 0.01
    times = np.concatenate([stream.t_us for stream in streams])
    where = np.concatenate([stream.y * 34 + stream.x for stream in streams])
    for share in (
        np.histogram(times, 5, (0, 315_000))[0],
        np.histogram(where, 5, (0, pixels))[0],
    ):
        assert np.abs(share / total - 0.2).max() < 0.01


def test_a_bright_edge_that_arrives_is_on_and_one_that_leaves_is_off():
    # third saccade: the image moves left, so the left edge of a bar arrives at new pixels
    image = np.zeros((28, 28), np.float32)
    image[8:20, 12:16] = 1
    third = simulate_frames(image[None], 3, camera=QUIET)[0, 2]
    columns = third[:, 12:22].sum(1)  # [2, W]
    on_centre = (columns[1] * np.arange(34)).sum() / columns[1].sum()
    off_centre = (columns[0] * np.arange(34)).sum() / columns[0].sum()
    assert off_centre - on_centre == pytest.approx(4, abs=0.5)  # the width of the bar


def test_saccades_are_active_between_corners_and_quiet_at_them():
    stream = simulate_events(stroke(), camera=EventCamera(noise_rate_hz=0))
    rate = np.histogram(stream.t_us, 63, (0, 315_000))[0].reshape(3, 21)
    assert np.all(rate[:, 8:13].mean(1) > 4 * rate[:, [0, 20]].mean(1))


def test_a_long_refractory_period_leaves_fewer_events():
    counts = [
        len(simulate_events(stroke(), camera=replace(QUIET, refractory_us=r)))
        for r in (0, 1500, 20_000)
    ]
    assert counts[0] > counts[1] > 2 * counts[2] > 0


def test_many_events_of_one_pixel_are_all_kept():
    camera = replace(QUIET, threshold=0.001)
    stream = simulate_events(stroke(12), camera=camera)
    coarse = simulate_events(stroke(12), camera=replace(QUIET, threshold=0.01))
    assert len(stream) == pytest.approx(10 * len(coarse), rel=0.02)


def test_equal_count_frames_of_a_simulated_stream():
    stream = simulate_events(stroke())
    sums = frames_by_count(stream, 6).sum((1, 2, 3))
    assert sums.max() - sums.min() <= 1
    assert sums.sum() == len(stream)


@pytest.mark.parametrize(
    ("images", "problem"),
    [
        (np.zeros((28, 28, 1)), "shape"),
        (np.full((28, 28), 1.5), r"in 1\.5\.\.1\.5"),
        (np.full((28, 28), np.nan), "nan"),
        (np.zeros((0, 28)), "shape"),
    ],
)
def test_what_is_no_image_is_an_error(images, problem):
    with pytest.raises(DataError, match=problem):
        simulate_events(images)


def test_a_seed_out_of_range_is_an_error():
    with pytest.raises(UsageError, match=r"seed .* got -1"):
        simulate_events(stroke(), seed=-1)


def test_no_frames_is_an_error():
    with pytest.raises(DataError, match="timesteps >= 1"):
        simulate_frames(stroke()[None], 0)


def split(images, scale=255):
    values = torch.as_tensor(images)
    return Split((values * scale).round().to(torch.uint8), torch.arange(len(values)) % 3)


def image_set(channels=1, name="shapes"):
    images = np.stack([stroke(), stroke().T, stroke()[::-1]])[:, None].repeat(channels, 1)
    return Dataset(
        name=name,
        kind="static",
        class_names=("a", "b", "c"),
        train=split(images),
        test=split(images[:2]),
        scale=255.0,
        source="drawn",
    )


def test_a_data_set_is_recorded_once_and_then_read(tmp_path, monkeypatch):
    recorded = simulate_dataset(image_set(), cache_dir=tmp_path, timesteps=6, seed=2)
    assert (recorded.name, recorded.kind) == ("events:shapes", "events")
    assert recorded.input_shape == (2, 34, 34)
    assert recorded.timesteps == 6
    assert recorded.class_names == ("a", "b", "c")
    assert recorded.train.targets.tolist() == [0, 1, 2]
    images = luminance(image_set().test, 255.0)
    np.testing.assert_array_equal(
        recorded.test.inputs.numpy(), simulate_frames(images, 6, seed=2, first_index=3)
    )

    def not_again(*args, **kwargs):
        raise AssertionError("recorded again")

    monkeypatch.setattr("neuro.data.events.simulator.simulate_frames", not_again)
    again = simulate_dataset(image_set(), cache_dir=tmp_path, timesteps=6, seed=2)
    np.testing.assert_array_equal(again.train.inputs, recorded.train.inputs)
    with pytest.raises(AssertionError, match="recorded again"):
        simulate_dataset(image_set(), cache_dir=tmp_path, timesteps=6, seed=3)
    camera = EventCamera(threshold=0.3)
    with pytest.raises(AssertionError, match="recorded again"):
        simulate_dataset(image_set(), cache_dir=tmp_path, timesteps=6, seed=2, camera=camera)


def test_other_images_under_the_same_name_are_recorded_anew(tmp_path):
    first = simulate_dataset(image_set(), cache_dir=tmp_path)
    changed = image_set()
    changed.train.inputs[0, 0, 3, 3] = 200
    second = simulate_dataset(changed, cache_dir=tmp_path)
    assert first.timesteps == 10
    assert not np.array_equal(first.train.inputs[0], second.train.inputs[0])


def test_colour_becomes_luminance_and_is_continued_at_the_border(tmp_path):
    colour = torch.zeros(1, 3, 4, 4, dtype=torch.uint8)
    colour[0, 0], colour[0, 1], colour[0, 2] = 255, 51, 102
    grey = luminance(Split(colour, torch.zeros(1, dtype=torch.int64)), 255.0)
    np.testing.assert_allclose(grey, 0.299 + 0.587 * 0.2 + 0.114 * 0.4, rtol=1e-6)
    white = torch.full((1, 3, 4, 4), 255, dtype=torch.uint8)
    assert luminance(Split(white, torch.zeros(1, dtype=torch.int64)), 255.0).max() <= 1
    flat = split(np.full((3, 3, 8, 8), 0.5))
    base = replace(image_set(3), train=flat, test=flat, name="flat")
    recorded = simulate_dataset(base, cache_dir=tmp_path, camera=QUIET)
    assert recorded.train.inputs.sum() == 0


def test_what_holds_no_images_cannot_be_recorded(tmp_path):
    vectors = replace(
        image_set(),
        train=Split(torch.zeros(2, 40), torch.zeros(2, dtype=torch.int64)),
        test=Split(torch.zeros(2, 40), torch.zeros(2, dtype=torch.int64)),
    )
    with pytest.raises(DataError, match=r"needs images \[N, C, H, W\]"):
        simulate_dataset(vectors, cache_dir=tmp_path)
    recorded = simulate_dataset(image_set(), cache_dir=tmp_path)
    with pytest.raises(DataError, match="event recordings already"):
        simulate_dataset(recorded, cache_dir=tmp_path)


def test_the_registry_entry_loads_and_its_options_reach_the_camera(tmp_path):
    entry = simulated_entry(DIGITS)
    assert (entry.name, entry.kind) == ("events:digits", "events")
    assert set(entry.options) == {
        "seed",
        "threshold",
        "threshold_mismatch",
        "refractory_us",
        "noise_rate_hz",
    }
    request = LoadRequest(None, tmp_path, timesteps=5)
    data = entry.load(request, noise_rate_hz=0.0, threshold=0.4)
    assert data.input_shape == (2, 10, 10)
    assert data.timesteps == 5
    assert (len(data.train), len(data.test)) == (1500, 297)
    plain = DIGITS.load(LoadRequest(None, tmp_path))
    expected = simulate_frames(
        luminance(plain.train, plain.scale)[:50],
        5,
        camera=EventCamera(noise_rate_hz=0.0, threshold=0.4),
    )
    np.testing.assert_array_equal(data.train.inputs[:50].numpy(), expected)
    # strokes differ, so recordings do: classes can be told apart by their mean frames alone
    frames = data.train.inputs.float().flatten(1)
    means = torch.stack([frames[data.train.targets == k].mean(0) for k in range(10)])
    guess = torch.cdist(data.test.inputs.float().flatten(1), means).argmin(1)
    assert (guess == data.test.targets).float().mean() > 0.8


def test_simulated_digits_resemble_the_real_n_mnist_recording(test_data):
    recording = read_atis(test_data / "events" / "tonic-samples" / "sample_nmnist.bin", (34, 34))
    real = frames_by_time(recording, 10, start_us=0, duration_us=315_000)
    images = read_idx(
        test_data / "mnist" / "MNIST" / "raw" / "train-images-idx3-ubyte.gz",
        (60000, 28, 28),
        remedy="",
    )
    # the eight training 4s whose frames, with ON and OFF exchanged, correlate most with it
    alike = [11955, 58684, 11783, 6733, 21119, 6271, 52277, 9025]
    frames = simulate_frames(images[alike] / 255, 10)
    events = frames.sum((1, 2, 3, 4))
    assert events.mean() == pytest.approx(len(recording), rel=0.02)
    assert abs(frames[:, :, 1].sum() / frames.sum() - recording.polarity.mean()) < 0.04
    # in the recording OFF leads, and the digit stands one pixel lower
    shifted = np.roll(frames[:, :, ::-1], 1, axis=3)
    correlations = [np.corrcoef(f.ravel(), real.ravel())[0, 1] for f in shifted]
    assert min(correlations) > 0.6
    profile = frames.mean(0).sum((1, 2, 3))
    assert np.corrcoef(profile, real.sum((1, 2, 3)))[0, 1] > 0.85
    assert frames.max() <= 10


def test_sub_steps_are_short_enough():
    path = EventCamera().path(28)
    assert len(path) == 3 * STEPS_PER_SACCADE + 1
    fine = simulate_events(stroke(), camera=QUIET)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("neuro.data.events.camera.STEPS_PER_SACCADE", 350)
        finer = simulate_events(stroke(), camera=QUIET)
    assert len(fine) == pytest.approx(len(finer), rel=0.03)
