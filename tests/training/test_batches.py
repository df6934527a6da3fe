"""Which samples come when, and what is done to them."""

from dataclasses import replace

import pytest
import torch

from neuro.config import TrainConfig
from neuro.data import Dataset, Split
from neuro.errors import ConfigError
from neuro.training.batches import Feeder, crop_and_flip, epoch_order, partition
from neuro.training.seeds import generator_for


def dataset(shape=(2, 3, 3), samples=6, kind="static", **fields) -> Dataset:
    inputs = torch.arange(samples * torch.Size(shape).numel()).reshape(samples, *shape) % 256
    split = Split(inputs.to(torch.uint8), torch.arange(samples) % 3)
    return Dataset(
        name="made", kind=kind, class_names=("a", "b", "c"), train=split, test=split, **fields
    )


def feeder(data: Dataset, **settings) -> Feeder:
    return Feeder(data, TrainConfig(rule={"name": "dfa"}, **settings), torch.device("cpu"))


def test_training_and_validation_samples_make_up_the_training_set():
    parts = partition(100, 0.13, seed=3)
    assert len(parts.validation) == 13
    assert sorted([*parts.train.tolist(), *parts.validation.tolist()]) == list(range(100))
    assert parts.validation.tolist() == partition(100, 0.13, seed=3).validation.tolist()
    assert parts.validation.tolist() != partition(100, 0.13, seed=4).validation.tolist()


def test_no_validation_leaves_every_sample_for_training():
    parts = partition(7, 0.0, seed=0)
    assert parts.train.tolist() == list(range(7))
    assert len(parts.validation) == 0


def test_nothing_left_to_train_on_is_an_error():
    with pytest.raises(ConfigError, match="validation_fraction"):
        partition(1, 0.9, seed=0)


def test_each_epoch_has_an_order_of_its_own():
    indices = torch.arange(50, 90)
    first = epoch_order(indices, 0, 1)
    assert sorted(first.tolist()) == indices.tolist()
    assert first.tolist() == epoch_order(indices, 0, 1).tolist()
    assert first.tolist() != epoch_order(indices, 0, 2).tolist()
    assert first.tolist() != epoch_order(indices, 1, 1).tolist()


def test_inputs_are_scaled_and_standardised_per_channel():
    data = dataset(scale=10.0, mean=(1.0, 2.0), std=(0.5, 4.0))
    batch = feeder(data).take(data.train, torch.tensor([4, 1]))
    raw = data.train.inputs[[4, 1]].float() / 10
    expected = torch.stack([(raw[:, 0] - 1) / 0.5, (raw[:, 1] - 2) / 4], dim=1)
    torch.testing.assert_close(batch.inputs, expected)
    assert batch.targets.tolist() == [1, 1]


def test_codes_of_intensity_get_scaled_but_not_standardised_inputs():
    data = dataset(scale=255.0, mean=(0.5, 0.5), std=(0.5, 0.5))
    batch = feeder(data, encoding={"name": "rate"}).take(data.train, torch.tensor([0, 5]))
    torch.testing.assert_close(batch.inputs, data.train.inputs[[0, 5]].float() / 255)


def test_inputs_lie_on_a_grid_where_samples_are_whole_numbers():
    data = dataset(scale=10.0, mean=(1.0, 2.0), std=(0.5, 4.0))
    given = feeder(data)
    inputs, _ = given.take(data.train, torch.arange(2))
    assert given.grid is not None
    grain, offset = given.grid
    whole = ((inputs - offset) / grain).double()
    # inputs are in single precision
    torch.testing.assert_close(whole, data.train.inputs[:2].double(), atol=1e-5, rtol=0)
    assert feeder(data, encoding={"name": "rate"}).grid is None
    plain = feeder(replace(data, mean=None, std=None)).grid
    assert plain is not None
    assert (float(plain[0]), float(plain[1])) == (0.1, 0.0)


def test_frames_are_standardised_per_channel_and_fed_one_by_one():
    data = dataset((4, 2, 3, 3), kind="events", mean=(1.0, 2.0), std=(1.0, 2.0))
    feed = feeder(data)
    inputs = feed.take(data.train, torch.tensor([3, 2, 0])).inputs
    steps = list(feed.over_time(inputs, generator_for(0, "encode")))
    assert feed.timesteps == 4
    assert len(steps) == 4
    raw = data.train.inputs[[3, 2, 0]].float()
    torch.testing.assert_close(steps[2][:, 1], (raw[:, 2, 1] - 2) / 2)


def test_a_static_input_enters_as_the_same_tensor_every_step():
    data = dataset()
    feed = feeder(data, timesteps=5)
    inputs = feed.take(data.train, torch.tensor([0])).inputs
    steps = list(feed.over_time(inputs, generator_for(0, "encode")))
    assert len(steps) == 5
    assert all(step is inputs for step in steps)


def test_delta_modulation_reads_features_as_a_series():
    data = dataset((8,), scale=1.0)
    feed = feeder(data, encoding={"name": "delta", "threshold": 1.0}, timesteps=8)
    inputs = feed.take(data.train, torch.tensor([0, 1])).inputs
    steps = list(feed.over_time(inputs, generator_for(0, "encode")))
    assert feed.network_input_shape == (2,)
    assert [tuple(step.shape) for step in steps] == [(2, 2)] * 8
    assert steps[1][:, 0].tolist() == [1.0, 1.0]  # values rise by one a step: ON spikes


def test_delta_modulation_of_an_image_is_refused():
    with pytest.raises(ConfigError, match="delta"):
        feeder(dataset(), encoding={"name": "delta"})


def test_augmentation_is_for_those_who_ask_for_it():
    data = dataset((1, 8, 8), augment="crop-flip")
    indices = torch.tensor([0, 1, 2])
    plain = feeder(data).take(data.train, indices).inputs
    moved = feeder(data).take(data.train, indices, generator_for(0, "augment")).inputs
    kept = feeder(data, augment=False).take(data.train, indices, generator_for(0, "augment"))
    assert not torch.equal(plain, moved)
    assert torch.equal(plain, kept.inputs)


def test_every_crop_is_a_window_of_the_padded_image_or_its_mirror():
    images = torch.randint(1, 256, (20, 2, 5, 6), dtype=torch.uint8)
    moved = crop_and_flip(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    assert moved.dtype == torch.uint8
    mirrored = 0
    for image, result in zip(images, moved, strict=True):
        padded = torch.zeros(2, 13, 14, dtype=torch.uint8)
        padded[:, 4:9, 4:10] = image
        windows = [padded[:, r : r + 5, c : c + 6] for r in range(9) for c in range(9)]
        straight = any(torch.equal(result, window) for window in windows)
        flipped = any(torch.equal(result, window.flip(-1)) for window in windows)
        assert straight or flipped
        mirrored += flipped and not straight
    assert 0 < mirrored < 20


def test_all_frames_and_channels_of_a_sample_move_together():
    frame = torch.randint(1, 256, (7, 1, 1, 9, 9), dtype=torch.uint8)
    moved = crop_and_flip(frame.expand(7, 3, 2, 9, 9), torch.Generator().manual_seed(1))
    assert torch.equal(moved, moved[:, :1, :1].expand_as(moved))
