from typing import Any

import pytest
import torch

from neuro.data import Dataset, Split
from neuro.errors import DataError


def split(samples: int = 4, shape: tuple[int, ...] = (3, 8, 8), classes: int = 2) -> Split:
    return Split(torch.zeros(samples, *shape, dtype=torch.uint8), torch.arange(samples) % classes)


def dataset(**changes: Any) -> Dataset:
    fields: dict[str, Any] = {
        "name": "toy",
        "kind": "static",
        "class_names": ("a", "b"),
        "train": split(),
        "test": split(2),
    }
    return Dataset(**(fields | changes))


def test_input_shape_leaves_out_samples_and_time():
    assert dataset().input_shape == (3, 8, 8)
    frames = split(shape=(5, 2, 34, 34))
    events = dataset(kind="events", train=frames, test=frames)
    assert events.input_shape == (2, 34, 34)
    assert events.timesteps == 5
    assert dataset().timesteps is None


def test_split_length_is_its_number_of_samples():
    assert len(split(7)) == 7


@pytest.mark.parametrize(
    ("inputs", "targets", "message"),
    [
        (torch.zeros(3, 2), torch.zeros(2, dtype=torch.int64), "3 inputs but 2 targets"),
        (torch.zeros(2, 2), torch.zeros(2), r"int64 of shape \[N\], got torch.float32"),
        (torch.zeros(2, 2), torch.zeros(2, 1, dtype=torch.int64), r"of shape \[2, 1\]"),
        (torch.zeros(2, 2).double(), torch.zeros(2, dtype=torch.int64), "uint8 or float32"),
    ],
)
def test_split_rejects(inputs, targets, message):
    with pytest.raises(DataError, match=message):
        Split(inputs, targets)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"kind": "events"}, "events inputs have 3 or 5 axes"),
        ({"test": split(shape=(1, 8, 8))}, "test samples"),
        ({"test": split(0)}, "test split is empty"),
        ({"train": split(classes=3)}, r"training targets span 0\.\.2, but there are 2 classes"),
        ({"scale": 0.0}, "scale must be > 0"),
        ({"mean": (0.5, 0.5, 0.5)}, "both mean and std"),
        ({"mean": (0.5,), "std": (1.0,)}, r"one number per channel \(3\)"),
        ({"mean": (0.5,) * 3, "std": (1.0, 0.0, 1.0)}, "std must be > 0"),
    ],
)
def test_dataset_rejects(changes, message):
    with pytest.raises(DataError, match=message):
        dataset(**changes)
