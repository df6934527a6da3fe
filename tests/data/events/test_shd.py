import zipfile

import h5py
import numpy as np
import pytest

from neuro.data.entry import LoadRequest
from neuro.data.events import shd
from neuro.data.events.shd import read_class_names, read_shd
from neuro.errors import DataError, UsageError

NAMES = [f"word {k}" for k in range(20)]
# seconds, units, label
RECORDINGS = [
    ([0.0, 0.05, 0.6999], [0, 699, 5], 3),
    ([1.3999, 1.4, 0.7], [10, 11, 12], 19),
    ([0.1, 0.1, 0.1], [7, 7, 7], 0),
]


def write(path, recordings=RECORDINGS, names=NAMES, without=None):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, column, kind in (("times", 0, np.float64), ("units", 1, np.uint16)):
            rows = file.create_dataset(
                f"spikes/{name}", (len(recordings),), dtype=h5py.vlen_dtype(kind)
            )
            for i, recording in enumerate(recordings):
                rows[i] = np.array(recording[column], kind)
        file["labels"] = np.array([label for _, _, label in recordings], np.uint16)
        file["extra/keys"] = np.array(names, dtype="S")
        if without:
            del file[without]
    return path


def write_set(folder):
    write(folder / "shd_train.h5")
    write(folder / "shd_test.h5", RECORDINGS[:2])
    return folder


def request(tmp_path, folder, **options):
    return LoadRequest(folder, tmp_path / "cache", download=False, **options)


def test_recordings_labels_and_names_come_back_in_order_of_time(tmp_path):
    path = write(tmp_path / "shd_train.h5")
    streams, labels = read_shd(path)
    assert labels.tolist() == [3, 19, 0]
    assert streams[0].t_us.tolist() == [0, 50_000, 699_900]
    assert streams[0].x.tolist() == [0, 699, 5]
    assert streams[1].x.tolist() == [12, 10, 11]
    assert streams[0].sensor_size == (1, 700)
    assert read_class_names(path) == tuple(NAMES)


@pytest.mark.parametrize("packed", [False, True])
def test_frames_count_the_spikes_of_each_unit_in_each_span(tmp_path, packed):
    folder = write_set(tmp_path / "root" / "SHD")
    if packed:
        for part in ("train", "test"):
            with zipfile.ZipFile(folder / f"shd_{part}.h5.zip", "w") as archive:
                archive.write(folder / f"shd_{part}.h5", f"shd_{part}.h5")
            (folder / f"shd_{part}.h5").unlink()
    data = shd.load(request(tmp_path, folder.parent, timesteps=2))
    assert (data.name, data.kind, data.input_shape) == ("shd", "events", (700,))
    assert data.class_names == tuple(NAMES)
    assert data.train.targets.tolist() == [3, 19, 0]
    expected = np.zeros((3, 2, 700), np.uint8)
    expected[0, 0, [0, 699, 5]] = 1
    expected[1, 1, [12, 10]] = 1  # the spike at 1.4 s is after the last frame
    expected[2, 0, 7] = 3
    np.testing.assert_array_equal(data.train.inputs, expected)
    np.testing.assert_array_equal(data.test.inputs, expected[:2])


def test_a_longer_duration_keeps_later_spikes(tmp_path):
    folder = write_set(tmp_path / "data")
    data = shd.load(request(tmp_path, folder), duration_ms=2000)
    assert data.timesteps == 100
    assert data.train.inputs[1].sum() == 3
    assert data.train.inputs[1, 70, 11] == 1  # 1.4 s of 2 s


def test_frames_are_read_back_and_depend_on_the_duration(tmp_path, monkeypatch):
    folder = write_set(tmp_path / "data")
    first = shd.load(request(tmp_path, folder))
    monkeypatch.setattr(shd, "frames_by_time", None)
    np.testing.assert_array_equal(
        shd.load(request(tmp_path, folder)).train.inputs, first.train.inputs
    )
    with pytest.raises(TypeError):
        shd.load(request(tmp_path, folder), duration_ms=1000)


@pytest.mark.parametrize(
    ("recordings", "problem"),
    [
        ([([0.1], [700], 0)], "recording 0: .*x spans 700..700, expected 0..699"),
        ([([0.1], [1], 20)], r"expected labels 0\.\.19, got 20\.\.20"),
        ([([0.1, 0.2], [1], 0)], "recording 0: .*one length"),
        ([([-0.1], [1], 0)], "recording 0 has a time that is negative"),
        ([([float("nan")], [1], 0)], "recording 0 has a time"),
        ([], "0 times, 0 units and 0 labels"),
    ],
)
def test_impossible_contents_are_an_error_that_names_the_recording(tmp_path, recordings, problem):
    path = write(tmp_path / "shd_train.h5", recordings)
    with pytest.raises(DataError, match=rf"shd_train\.h5: {problem}.*Get it again\."):
        read_shd(path, remedy="Get it again.")


@pytest.mark.parametrize("name", ["spikes/times", "spikes/units", "labels"])
def test_another_structure_is_an_error(tmp_path, name):
    path = write(tmp_path / "shd_train.h5", without=name)
    with pytest.raises(DataError, match="not an SHD file: expected spikes/times, spikes/units"):
        read_shd(path)


def test_class_names_must_be_twenty(tmp_path):
    with pytest.raises(DataError, match="expected 20 class names, got 19"):
        read_class_names(write(tmp_path / "a.h5", names=NAMES[1:]))
    with pytest.raises(DataError, match="not an SHD file"):
        read_class_names(write(tmp_path / "b.h5", without="extra/keys"))


def test_what_is_no_hdf5_file_is_an_error(tmp_path):
    path = write(tmp_path / "shd_train.h5")
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"shd_train\.h5: not an intact HDF5 file"):
        read_shd(path)
    packed = tmp_path / "shd_train.h5.zip"
    packed.write_bytes(b"no zip")
    with pytest.raises(DataError, match=r"shd_train\.h5\.zip: not an intact HDF5 file"):
        read_shd(packed)
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("readme.txt", "nothing")
    with pytest.raises(DataError, match=r"expected one \.h5 file inside, got 0"):
        read_shd(packed)


def test_a_missing_file_says_where_it_is_published(tmp_path):
    folder = write_set(tmp_path / "data")
    (folder / "shd_test.h5").unlink()
    with pytest.raises(DataError, match=r"no shd_test\.h5 (?s:.*)zenkelab\.org.*md5:1503"):
        shd.load(request(tmp_path, folder))
    assert not shd.present(folder)
    write_set(tmp_path / "whole" / "shd")
    assert shd.present(tmp_path / "whole")


def test_a_duration_of_nothing_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="duration_ms must be at least 1, got 0"):
        shd.load(request(tmp_path, write_set(tmp_path / "data")), duration_ms=0)
