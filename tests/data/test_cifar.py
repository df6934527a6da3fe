import io
import pickle
import tarfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from neuro.data import LoadRequest, load_dataset
from neuro.data.cifar import CIFAR10, CIFAR100, CifarSet, find, load, present
from neuro.data.python_batches import BatchSet
from neuro.errors import DataError, UsageError

# Small sets in the published layout: 10 classes; 2 batches of 10 training and 1 of 10 test images.
SMALL10 = replace(
    CIFAR10,
    batches=replace(
        CIFAR10.batches,
        train=(("data_batch_1", 10), ("data_batch_2", 10)),
        test=(("test_batch", 10),),
    ),
)
SMALL100 = replace(
    CIFAR100,
    batches=replace(CIFAR100.batches, train=(("train", 200),), test=(("test", 100),)),
)


def batch(batches: BatchSet, number: int, count: int) -> bytes:
    random = np.random.default_rng(number)
    labels = (np.arange(count) + number) % batches.classes
    images = random.integers(0, 256, (count, 3072), dtype=np.uint8)
    fields = {b"data": images, batches.label_key.encode(): labels.tolist()}
    return pickle.dumps(fields, protocol=2)


def write_batches(folder: Path, cifar: CifarSet) -> Path:
    folder.mkdir(parents=True)
    for number, (name, count) in enumerate((*cifar.batches.train, *cifar.batches.test)):
        (folder / name).write_bytes(batch(cifar.batches, number, count))
    (folder / "batches.meta").write_bytes(b"not needed")
    return folder


def pack(folder: Path, archive: Path) -> Path:
    archive.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, folder.name)
    return archive


def write_images(folder: Path, cifar: CifarSet) -> Path:
    for split, count in cifar.tree.per_class.items():
        for label, name in enumerate(cifar.class_names):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                image = Image.new("RGB", (32, 32), (label, number, 7))
                image.save(folder / split / name / f"{number:04d}.png")
    return folder


@pytest.fixture
def root(tmp_path) -> Path:
    folder = tmp_path / "root"
    folder.mkdir()
    return folder


@pytest.fixture
def request_for(tmp_path, root):
    return LoadRequest(data_dir=root, cache_dir=tmp_path / "cache")


@pytest.mark.parametrize(
    "layout",
    ["cifar-10-batches-py", "cifar10/cifar-10-batches-py", "cifar10", "anything/below"],
)
def test_batch_folder_in_the_usual_places(root, tmp_path, layout):
    write_batches(root / layout, SMALL10)
    folder = root / layout if layout == "anything/below" else root
    data = load(LoadRequest(folder, tmp_path / "cache"), cifar=SMALL10)
    assert data.train.inputs.shape == (20, 3, 32, 32)
    assert data.train.inputs.dtype == torch.uint8
    assert data.train.targets.tolist() == [*range(10), *range(1, 10), 0]
    assert data.source == f"batch folder {root / layout}"
    first = np.random.default_rng(0).integers(0, 256, (10, 3072), dtype=np.uint8)
    assert np.array_equal(data.train.inputs[3].flatten().numpy(), first[3])
    assert not (tmp_path / "cache").exists()


def test_cifar100_reads_fine_labels(root, request_for):
    write_batches(root / "cifar-100-python", SMALL100)
    data = load(request_for, cifar=SMALL100)
    assert data.train.targets.bincount().tolist() == [2] * 100
    assert len(data.class_names) == 100
    assert list(data.class_names) == sorted(data.class_names)


def test_archive_is_decoded_once_and_equals_the_folder(root, request_for, tmp_path):
    folder = write_batches(tmp_path / "unpacked" / "cifar-10-batches-py", SMALL10)
    archive = pack(folder, root / "cifar10" / CIFAR10.archive.name)
    from_folder = load(LoadRequest(folder.parent, tmp_path / "unused"), cifar=SMALL10)
    for _ in range(2):
        data = load(request_for, cifar=SMALL10)
        assert data.source == f"batch archive {archive}"
        assert torch.equal(data.train.inputs, from_folder.train.inputs)
        assert torch.equal(data.test.targets, from_folder.test.targets)
    copies = list((tmp_path / "cache" / "decoded").iterdir())
    assert len(copies) == 1
    # The second load reads the copy: a changed copy shows.
    np.save(copies[0] / "test_targets.npy", np.full(10, 4))
    assert load(request_for, cifar=SMALL10).test.targets.tolist() == [4] * 10


def test_image_folder_and_its_archive(root, request_for, tmp_path):
    folder = write_images(tmp_path / "cifar10-jpg", SMALL10)
    images = load(LoadRequest(folder, tmp_path / "cache"), cifar=SMALL10)
    assert images.source == f"image folder {folder}"
    assert images.train.targets.tolist() == [*range(10), *range(10)]
    # Red is the class, green the number of the file.
    assert images.train.inputs[:, 0, 0, 0].tolist() == [*range(10), *range(10)]
    assert images.train.inputs[:, 1, 31, 31].tolist() == [0] * 10 + [1] * 10
    with tarfile.open(root / "cifar10-jpg.tar.xz", "w:xz") as tar:
        for split in ("train", "test"):
            tar.add(folder / split, split)
    packed = load(request_for, cifar=SMALL10)
    assert packed.source == f"image archive {root / 'cifar10-jpg.tar.xz'}"
    assert torch.equal(packed.train.inputs, images.train.inputs)


def test_published_pixels_go_before_images_unless_asked(root, request_for, tmp_path):
    assert find(root, SMALL10) is None
    write_images(root / "cifar10-jpg", SMALL10)
    with tarfile.open(root / "cifar10-jpg.tar.xz", "w:xz") as tar:
        tar.add(root / "cifar10-jpg" / "train", "train")
    assert load(request_for, cifar=SMALL10).source.startswith("image folder")
    batches = write_batches(tmp_path / "cifar-10-batches-py", SMALL10)
    pack(batches, root / CIFAR10.archive.name)
    assert load(request_for, cifar=SMALL10).source.startswith("batch archive")
    batches.rename(root / batches.name)
    assert load(request_for, cifar=SMALL10).source.startswith("batch folder")
    assert load(request_for, cifar=SMALL10, source="images").source.startswith("image folder")
    assert load(request_for, cifar=SMALL10, source="batches").source.startswith("batch folder")


def test_normalisation_and_augmentation_are_stated(root, request_for):
    write_batches(root / "cifar-10-batches-py", SMALL10)
    data = load(request_for, cifar=SMALL10)
    assert (data.scale, data.augment) == (255, "crop-flip")
    assert data.mean == (0.4914, 0.4822, 0.4465)
    assert data.std == (0.2470, 0.2435, 0.2616)


def test_a_missing_batch_is_named(root, request_for):
    (write_batches(root / "cifar-10-batches-py", SMALL10) / "data_batch_2").unlink()
    with pytest.raises(DataError, match=r"data_batch_2 is missing .*cs\.toronto\.edu"):
        load(request_for, cifar=SMALL10)


def test_an_archive_that_lacks_a_batch_is_named(root, request_for, tmp_path):
    folder = write_batches(tmp_path / "cifar-10-batches-py", SMALL10)
    (folder / "test_batch").unlink()
    pack(folder, root / CIFAR10.archive.name)
    with pytest.raises(DataError, match=r"cifar-10-python\.tar\.gz: lacks test_batch"):
        load(request_for, cifar=SMALL10)
    assert not (tmp_path / "cache" / "decoded").exists()


def test_a_truncated_archive_states_sizes_and_source(root, request_for, tmp_path):
    folder = write_batches(tmp_path / "cifar-10-batches-py", SMALL10)
    archive = pack(folder, root / CIFAR10.archive.name)
    archive.write_bytes(archive.read_bytes()[:20000])
    with pytest.raises(DataError) as raised:
        load(request_for, cifar=SMALL10)
    message = str(raised.value)
    assert str(archive) in message
    assert "expected 170,498,071 bytes, got 20,000" in message
    assert CIFAR10.archive.url in message
    assert "md5:c58f30108f718f92721af3b95e74349a" in message
    assert not (tmp_path / "cache" / "decoded").exists()


def test_a_damaged_batch_names_file_and_batch(root, request_for):
    folder = write_batches(root / "cifar-10-batches-py", SMALL10)
    path = folder / "data_batch_1"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DataError, match=r"cifar-10-batches-py: data_batch_1: not a readable"):
        load(request_for, cifar=SMALL10)


@pytest.mark.parametrize("source", ["auto", "batches", "images"])
def test_nothing_found_says_what_was_looked_for(root, request_for, source):
    with pytest.raises(DataError) as raised:
        load(request_for, cifar=SMALL100, source=source)
    message = str(raised.value)
    assert f"under {root}" in message
    assert CIFAR100.archive.url in message
    assert ("cifar-100-python.tar.gz)" in message) == (source != "images")
    assert not present(root, cifar=SMALL100)


def test_an_unknown_source_is_refused(root, request_for):
    with pytest.raises(UsageError, match="source cannot be 'jpg': Input should be 'auto'"):
        load_dataset("cifar10", data_dir=root, source="jpg")


def test_real_cifar10_images_in_the_archive(test_data):
    """A few of the real files, without decoding all."""
    archive = test_data / "cifar10-jpg" / "cifar10-jpg.tar.xz"
    found = find(test_data, CIFAR10)
    assert found is not None
    assert found.path == archive
    assert present(test_data / "cifar10-jpg", cifar=CIFAR10)
    with tarfile.open(archive, "r|xz") as tar:
        member = next(member for member in tar if member.isfile())
        stream = tar.extractfile(member)
        assert stream is not None
        image = Image.open(io.BytesIO(stream.read()))
    assert member.name == "train/airplane/0000.jpg"
    assert image.size == (32, 32)


@pytest.mark.slow
def test_real_cifar10_decodes_whole_and_once(test_data, tmp_path, monkeypatch):
    monkeypatch.setenv("NEURO_DATA_DIR", str(tmp_path))
    data = load_dataset("cifar10", data_dir=test_data)
    assert data.train.inputs.shape == (50000, 3, 32, 32)
    assert data.test.inputs.shape == (10000, 3, 32, 32)
    assert data.train.targets.bincount().tolist() == [5000] * 10
    assert data.test.targets.bincount().tolist() == [1000] * 10
    assert data.train.targets[:12].tolist() == [*range(10), 0, 1]
    # JPEG decoders may differ in the last bit of a pixel.
    assert int(data.train.inputs.sum(dtype=torch.int64)) == pytest.approx(18537712937, rel=1e-4)
    assert int(data.test.inputs.sum(dtype=torch.int64)) == pytest.approx(3732740007, rel=1e-4)
    for channel in range(3):
        scaled = data.train.inputs[:, channel].double() / data.scale
        assert data.mean is not None
        assert data.std is not None
        assert float(scaled.mean()) == pytest.approx(data.mean[channel], abs=5e-4)
        assert float(scaled.std()) == pytest.approx(data.std[channel], abs=3e-3)
    (copy,) = (tmp_path / "decoded").iterdir()
    written = {path.name: path.stat().st_mtime_ns for path in copy.iterdir()}
    again = load_dataset("cifar10", data_dir=test_data)
    assert torch.equal(again.train.inputs, data.train.inputs)
    assert {path.name: path.stat().st_mtime_ns for path in copy.iterdir()} == written
    assert sorted(path.name for path in tmp_path.iterdir()) == ["decoded"]
