import shutil
import struct
import zipfile

import numpy as np
import pytest

from neuro.data.entry import LoadRequest
from neuro.data.events import nmnist
from neuro.data.events.atis import decode_atis
from neuro.data.events.frames import frames_by_count, frames_by_time
from neuro.errors import DataError, UsageError

TRAIN = {"00001": 5, "00002": 0, "00003": 5, "00007": 9}
TEST = {"00001": 7, "00002": 2}


def recording(number, events=60):
    """Sixty events of the 5-byte format, another pattern for each number."""
    random = np.random.default_rng(number)
    x, y = random.integers(0, 34, (2, events))
    t = np.sort(random.integers(0, 300_000, events))
    on = random.integers(0, 2, events)
    words = zip(x.tolist(), y.tolist(), on.tolist(), t.tolist(), strict=True)
    return b"".join(struct.pack(">Q", a << 32 | b << 24 | p << 23 | c)[3:] for a, b, p, c in words)


@pytest.fixture(autouse=True)
def small_set(monkeypatch):
    monkeypatch.setattr(nmnist, "RECORDINGS", {"Train": len(TRAIN), "Test": len(TEST)})


def write(folder):
    for part, samples in (("Train", TRAIN), ("Test", TEST)):
        for digit in range(10):
            (folder / part / str(digit)).mkdir(parents=True)
        for name, digit in samples.items():
            data = recording(int(name) + 100 * (part == "Test"))
            (folder / part / str(digit) / f"{name}.bin").write_bytes(data)
    return folder


def pack(folder):
    """Replace the two folders by zips, as they are published."""
    for part in ("Train", "Test"):
        with zipfile.ZipFile(folder / f"{part}.zip", "w") as packed:
            for path in sorted((folder / part).rglob("*")):
                packed.write(path, path.relative_to(folder))
        shutil.rmtree(folder / part)
    return folder


def request(tmp_path, folder=None, **options):
    return LoadRequest(folder, tmp_path / "cache", download=False, **options)


@pytest.mark.parametrize("packed", [False, True])
def test_folders_and_zips_give_the_recordings_in_order_of_their_names(tmp_path, packed):
    folder = write(tmp_path / "root" / "N-MNIST")
    if packed:
        pack(folder)
    data = nmnist.load(request(tmp_path, folder.parent, timesteps=4))
    assert (data.name, data.kind, data.input_shape) == ("nmnist", "events", (2, 34, 34))
    assert data.train.targets.tolist() == list(TRAIN.values())
    assert data.test.targets.tolist() == list(TEST.values())
    for split, samples, offset in ((data.train, TRAIN, 0), (data.test, TEST, 100)):
        for frames, name in zip(split.inputs.numpy(), samples, strict=True):
            stream = decode_atis(recording(int(name) + offset), name, (34, 34))
            np.testing.assert_array_equal(frames, frames_by_time(stream, 4))


def test_frames_of_equal_count(tmp_path):
    folder = write(tmp_path / "data")
    data = nmnist.load(request(tmp_path, folder), framing="count")
    assert data.timesteps == 10
    assert np.all(data.train.inputs.sum((2, 3, 4)).numpy() == 6)
    stream = decode_atis(recording(1), "1", (34, 34))
    np.testing.assert_array_equal(data.train.inputs[0], frames_by_count(stream, 10))


def test_frames_are_kept_per_framing_and_the_data_folder_is_not_written_to(tmp_path, monkeypatch):
    folder = write(tmp_path / "data")
    before = sorted(folder.rglob("*"))
    first = nmnist.load(request(tmp_path, folder))
    assert sorted(folder.rglob("*")) == before
    monkeypatch.setattr(nmnist, "decode_atis", None)
    again = nmnist.load(request(tmp_path, folder))
    np.testing.assert_array_equal(first.train.inputs, again.train.inputs)
    with pytest.raises(TypeError):
        nmnist.load(request(tmp_path, folder), framing="count")


def test_changed_files_are_read_again(tmp_path):
    folder = write(tmp_path / "data")
    first = nmnist.load(request(tmp_path, folder))
    (folder / "Train" / "0" / "00002.bin").write_bytes(recording(55, events=70))
    second = nmnist.load(request(tmp_path, folder))
    assert (first.train.inputs[1].sum(), second.train.inputs[1].sum()) == (60, 70)


def test_a_missing_part_says_what_to_get_from_where(tmp_path):
    folder = write(tmp_path / "data")
    shutil.rmtree(folder / "Test")
    with pytest.raises(DataError, match=r"no Test .*(?s:.*)Test\.zip  from https://.*md5:69ca"):
        nmnist.load(request(tmp_path, folder))
    assert not nmnist.present(folder)


def test_missing_recordings_are_counted(tmp_path):
    folder = write(tmp_path / "data")
    (folder / "Train" / "9" / "00007.bin").unlink()
    with pytest.raises(DataError, match=r"Train: expected 4 recordings .*, got 3\."):
        nmnist.load(request(tmp_path, folder))
    assert not any((tmp_path / "cache").rglob("*.npy"))


def test_a_truncated_recording_is_named_and_nothing_is_kept(tmp_path):
    folder = write(tmp_path / "data")
    (folder / "Train" / "9" / "00007.bin").write_bytes(recording(7)[:-2])
    with pytest.raises(DataError, match=r"Train/9/00007\.bin: truncated(?s:.*)Train\.zip"):
        nmnist.load(request(tmp_path, folder))
    assert not any((tmp_path / "cache").rglob("*.npy"))


def test_an_unknown_framing_is_an_error(tmp_path):
    with pytest.raises(UsageError, match="framing must be one of time, count"):
        nmnist.load(request(tmp_path, write(tmp_path / "data")), framing="number")


def test_presence_is_found_in_the_usual_layouts(tmp_path):
    assert not nmnist.present(tmp_path / "nowhere")
    assert not nmnist.present(tmp_path)
    write(tmp_path / "nmnist")
    assert nmnist.present(tmp_path)
    assert nmnist.present(tmp_path / "nmnist")


def test_the_real_sample_becomes_ten_frames(test_data, tmp_path, monkeypatch):
    monkeypatch.setattr(nmnist, "RECORDINGS", {"Train": 1, "Test": 1})
    sample = test_data / "events" / "tonic-samples" / "sample_nmnist.bin"
    for part in ("Train", "Test"):
        for digit in range(10):
            (tmp_path / part / str(digit)).mkdir(parents=True)
        shutil.copy(sample, tmp_path / part / "4" / "00003.bin")
    data = nmnist.load(request(tmp_path, tmp_path))
    assert data.train.inputs.shape == (1, 10, 2, 34, 34)
    assert data.train.inputs.sum() == 4325
    assert data.test.targets.tolist() == [4]
