import shutil
import struct
import zipfile

import numpy as np
import pytest

from neuro.data.entry import LoadRequest
from neuro.data.events import cifar10_dvs
from neuro.errors import DataError, UsageError

PER_CLASS, TRAINING = 4, 3


@pytest.fixture(autouse=True)
def small_set(monkeypatch):
    monkeypatch.setattr(cifar10_dvs, "RECORDINGS_PER_CLASS", PER_CLASS)
    monkeypatch.setattr(cifar10_dvs, "TRAINING_PER_CLASS", TRAINING)


def recording(label, number):
    """20 + number ON events of the pixel whose raw address is x = 10 label, y = number."""
    address = number << 8 | (10 * label) << 1
    events = [struct.pack(">II", address, 1000 + 10 * i) for i in range(20 + number)]
    return b"#!AER-DAT2.0\r\n# This is a raw AE data file - do not edit\r\n" + b"".join(events)


def write(folder):
    for label, name in enumerate(cifar10_dvs.CLASS_NAMES):
        (folder / name).mkdir(parents=True)
        for number in range(PER_CLASS):
            path = folder / name / f"cifar10_{name}_{number}.aedat"
            path.write_bytes(recording(label, number))
    return folder


def pack(folder):
    for name in cifar10_dvs.CLASS_NAMES:
        with zipfile.ZipFile(folder / f"{name}.zip", "w") as packed:
            for path in sorted((folder / name).iterdir()):
                packed.write(path, path.relative_to(folder))
        shutil.rmtree(folder / name)
    return folder


def request(tmp_path, folder, **options):
    return LoadRequest(folder, tmp_path / "cache", download=False, **options)


@pytest.mark.parametrize("packed", [False, True])
def test_recordings_are_split_by_number_with_the_classes_in_turn(tmp_path, packed):
    folder = write(tmp_path / "root" / "cifar10-dvs")
    if packed:
        pack(folder)
    data = cifar10_dvs.load(request(tmp_path, folder.parent, timesteps=4), size=128)
    assert data.input_shape == (2, 128, 128)
    assert data.class_names[:2] == ("airplane", "automobile")
    assert data.train.targets.tolist() == [*range(10)] * TRAINING
    assert data.test.targets.tolist() == [*range(10)]
    for split, first in ((data.train, 0), (data.test, TRAINING)):
        for row, frames in enumerate(split.inputs.numpy()):
            number, label = first + row // 10, row % 10
            # all events ON, at one pixel; rows and columns exchanged, both from the far end
            assert frames[:, 1, 127 - 10 * label, 127 - number].sum() == 20 + number
            assert frames.sum() == 20 + number
            counts = frames.sum((1, 2, 3))
            assert counts.max() - counts.min() <= 1


def test_frames_are_48_pixels_wide_unless_asked_otherwise(tmp_path):
    folder = write(tmp_path / "data")
    data = cifar10_dvs.load(request(tmp_path, folder))
    assert (data.timesteps, data.input_shape) == (10, (2, 48, 48))
    # raw x = 90 of the 9th class: row 37 of 128 is row 13 of 48; number 3: column 124 is 46
    assert data.test.inputs[9, :, 1, 13, 46].sum() == 23
    assert data.test.inputs[9].sum() == 23


def test_equal_times(tmp_path):
    folder = write(tmp_path / "data")
    data = cifar10_dvs.load(request(tmp_path, folder, timesteps=2), framing="time", size=8)
    assert data.train.inputs[0].sum((1, 2, 3)).tolist() == [10, 10]


def test_a_missing_class_names_its_zip(tmp_path):
    folder = write(tmp_path / "data")
    shutil.rmtree(folder / "frog")
    with pytest.raises(DataError, match=r"folders or zips frog (?s:.*)frog\.zip  from https.*cad6"):
        cifar10_dvs.load(request(tmp_path, folder))
    assert not cifar10_dvs.present(folder)


def test_a_missing_recording_is_named(tmp_path):
    folder = write(tmp_path / "data")
    (folder / "ship" / "cifar10_ship_1.aedat").unlink()
    with pytest.raises(DataError, match=r"ship: expected .* got 2 of 3, number 1 is missing"):
        cifar10_dvs.load(request(tmp_path, folder))
    assert not any((tmp_path / "cache").rglob("*.npy"))


def test_a_damaged_recording_is_named(tmp_path):
    folder = write(tmp_path / "data")
    path = folder / "ship" / "cifar10_ship_3.aedat"
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DataError, match=r"ship/cifar10_ship_3\.aedat: truncated(?s:.*)ship\.zip"):
        cifar10_dvs.load(request(tmp_path, folder))


@pytest.mark.parametrize("size", [0, 129])
def test_a_size_out_of_range_is_an_error(tmp_path, size):
    with pytest.raises(UsageError, match=f"size must be in 1..128, got {size}"):
        cifar10_dvs.load(request(tmp_path, write(tmp_path / "data")), size=size)


def test_frames_are_read_back(tmp_path, monkeypatch):
    folder = write(tmp_path / "data")
    first = cifar10_dvs.load(request(tmp_path, folder))
    monkeypatch.setattr(cifar10_dvs, "decode_aedat2", None)
    again = cifar10_dvs.load(request(tmp_path, folder))
    np.testing.assert_array_equal(first.train.inputs, again.train.inputs)
    assert cifar10_dvs.present(folder)
    assert not cifar10_dvs.present(tmp_path / "nowhere")
