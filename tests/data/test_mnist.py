import gzip
import hashlib
import shutil
import struct
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from neuro.data import LoadRequest, find_entry, load_dataset
from neuro.data.mnist import MNIST, IdxFile, IdxSet, load, present
from neuro.errors import DataError

LABELS = [[5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949],
          [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]]  # fmt: skip


def idx_bytes(values: np.ndarray) -> bytes:
    return struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()


@pytest.fixture
def small() -> tuple[IdxSet, dict[str, bytes]]:
    """A set with MNIST's names, 6 training and 4 test images, and its files' content."""
    random = np.random.default_rng(0)
    arrays = [
        random.integers(0, 256, (6, 28, 28), dtype=np.uint8),
        np.array([0, 1, 2, 3, 4, 9], dtype=np.uint8),
        random.integers(0, 256, (4, 28, 28), dtype=np.uint8),
        np.array([9, 8, 7, 6], dtype=np.uint8),
    ]
    contents = [idx_bytes(array) for array in arrays]
    files = tuple(
        IdxFile(file.remote, array.shape, hashlib.md5(content).hexdigest())
        for file, array, content in zip(MNIST.files, arrays, contents, strict=True)
    )
    by_stem = {file.stem: content for file, content in zip(files, contents, strict=True)}
    return replace(MNIST, files=files), by_stem


def write(folder: Path, contents: dict[str, bytes], packed: bool = False) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for stem, content in contents.items():
        if packed:
            (folder / f"{stem}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / stem).write_bytes(content)


def request(root: Path) -> LoadRequest:
    return LoadRequest(data_dir=root, cache_dir=root / "unused-cache")


@pytest.mark.parametrize(
    "layout",
    ["", "raw", "MNIST/raw", "MNIST", "mnist", "mnist/raw", "mnist/MNIST/raw", "mnist/MNIST"],
)
@pytest.mark.parametrize("packed", [False, True])
def test_usual_layouts_are_found(tmp_path, small, layout, packed):
    idx_set, contents = small
    assert not present(tmp_path, idx_set=idx_set)
    write(tmp_path / layout, contents, packed)
    assert present(tmp_path, idx_set=idx_set)
    data = load(request(tmp_path), idx_set=idx_set)
    assert data.train.inputs.shape == (6, 1, 28, 28)
    assert data.test.targets.tolist() == [9, 8, 7, 6]
    assert data.source == f"IDX files in {tmp_path / layout}"
    assert sorted(path.name for path in tmp_path.iterdir() if "cache" in path.name) == []


def test_a_folder_of_its_name_goes_before_bare_files(tmp_path, small):
    idx_set, contents = small
    write(tmp_path, dict.fromkeys(contents, b"another data set's file"))
    write(tmp_path / "mnist", contents)
    assert load(request(tmp_path), idx_set=idx_set).train.targets.tolist() == [0, 1, 2, 3, 4, 9]


def test_names_with_a_dot_are_accepted(tmp_path, small):
    idx_set, contents = small
    write(tmp_path, {stem.replace("-idx", ".idx"): content for stem, content in contents.items()})
    assert len(load(request(tmp_path), idx_set=idx_set).train) == 6


def test_one_missing_file_is_named(tmp_path, small):
    idx_set, contents = small
    del contents["t10k-labels-idx1-ubyte"]
    write(tmp_path / "MNIST" / "raw", contents)
    with pytest.raises(DataError) as raised:
        load(request(tmp_path), idx_set=idx_set)
    message = str(raised.value)
    assert "no t10k-labels-idx1-ubyte.gz" in message
    assert str(tmp_path / "MNIST" / "raw") in message
    assert idx_set.files[3].remote.url in message
    assert "4,542 bytes, md5:ec29112dd5afa0611ce80d1b7f02629c" in message
    assert "train-images" not in message


def test_nothing_found_names_all_files_and_where_to_put_them(tmp_path, small):
    idx_set, _ = small
    with pytest.raises(DataError) as raised:
        load(request(tmp_path), idx_set=idx_set)
    message = str(raised.value)
    for file in idx_set.files:
        assert file.remote.name in message
        assert file.remote.url in message
    assert str(tmp_path / "unused-cache" / "mnist") in message


def test_download_switched_off_says_so(tmp_path, small):
    idx_set, _ = small
    offline = LoadRequest(data_dir=None, cache_dir=tmp_path, download=False)
    with pytest.raises(DataError, match="Downloading is switched off"):
        load(offline, idx_set=idx_set)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_does_not_exist_is_refused(tmp_path, small):
    with pytest.raises(DataError, match="absent does not exist"):
        load(request(tmp_path / "absent"), idx_set=small[0])
    assert not present(tmp_path / "absent", idx_set=small[0])


def test_files_of_another_set_are_refused(tmp_path, small):
    idx_set, contents = small
    contents["train-labels-idx1-ubyte"] = idx_bytes(np.zeros(6, dtype=np.uint8))
    write(tmp_path, contents)
    with pytest.raises(DataError, match=r"train-labels-idx1-ubyte: is not the published file"):
        load(request(tmp_path), idx_set=idx_set)


def test_fewer_labels_than_images_are_refused(tmp_path, small):
    idx_set, contents = small
    contents["train-labels-idx1-ubyte"] = idx_bytes(np.zeros(5, dtype=np.uint8))
    write(tmp_path, contents)
    with pytest.raises(DataError, match=r"states sizes \[5\], expected \[6\]"):
        load(request(tmp_path), idx_set=idx_set)


def test_labels_beyond_the_classes_are_refused(tmp_path, small):
    idx_set, contents = small
    stem = "t10k-labels-idx1-ubyte"
    contents[stem] = idx_bytes(np.array([1, 2, 10, 3], dtype=np.uint8))
    files = list(idx_set.files)
    files[3] = replace(files[3], unpacked_md5=None)
    write(tmp_path, contents)
    with pytest.raises(DataError, match=r"label 10 is outside 0\.\.9"):
        load(request(tmp_path), idx_set=replace(idx_set, files=tuple(files)))


def test_registered_files_name_size_checksum_and_licence():
    for name in ("mnist", "fashion-mnist"):
        entry = find_entry(name)
        assert len(entry.files) == 4
        assert all(file.size and str(file.checksum).startswith("md5:") for file in entry.files)
        assert entry.licence
        assert entry.citation


def test_real_mnist(test_data):
    data = load_dataset("mnist", data_dir=test_data)
    assert data.train.inputs.shape == (60000, 1, 28, 28)
    assert data.test.inputs.shape == (10000, 1, 28, 28)
    assert data.train.inputs.dtype == torch.uint8
    assert [split.targets.bincount().tolist() for split in (data.train, data.test)] == LABELS
    # The mean pixel 0.1307 that everyone normalises with.
    assert int(data.train.inputs.sum(dtype=torch.int64)) == 1567298545
    assert int(data.test.inputs.sum(dtype=torch.int64)) == 264923200
    assert data.train.targets[:10].tolist() == [5, 0, 4, 1, 9, 2, 1, 3, 1, 4]
    assert data.scale == 255


def test_real_fashion_mnist(test_data):
    data = load_dataset("fashion-mnist", data_dir=test_data)
    assert data.train.inputs.shape == (60000, 1, 28, 28)
    assert data.train.targets.bincount().tolist() == [6000] * 10
    assert data.test.targets.bincount().tolist() == [1000] * 10
    assert int(data.train.inputs.sum(dtype=torch.int64)) == 3431114169
    assert data.class_names[int(data.train.targets[0])] == "ankle boot"


def test_real_fashion_files_are_not_taken_for_mnist(test_data):
    with pytest.raises(DataError, match="is not the published file"):
        load_dataset("mnist", data_dir=test_data / "fashion-mnist" / "FashionMNIST" / "raw")


def test_real_mnist_truncated(test_data, tmp_path):
    for path in (test_data / "mnist" / "MNIST" / "raw").iterdir():
        shutil.copyfile(path, tmp_path / path.name)
    target = tmp_path / "train-images-idx3-ubyte.gz"
    with target.open("r+b") as stream:
        stream.truncate(5_000_000)
    with pytest.raises(DataError) as raised:
        load_dataset("mnist", data_dir=tmp_path)
    message = str(raised.value)
    assert str(target) in message
    assert "expected 47,040,016 unpacked bytes, got" in message
    assert "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz" in message
