import io
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from neuro.data.image_folder import (
    ImageTree,
    decode_archive,
    decode_folder,
    file_fingerprint,
    folder_fingerprint,
    is_image_folder,
)
from neuro.errors import DataError

TREE = ImageTree(("cat", "dog"), {"train": 3, "test": 1}, size=(6, 4), remedy="Fetch it again.")


def pixels(split: str, label: int, number: int) -> np.ndarray:
    seed = (split == "test") * 100 + label * 10 + number
    return np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)


def encode(image: np.ndarray, kind: str = "PNG") -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind)
    return stream.getvalue()


def write_tree(folder: Path) -> Path:
    for split, count in TREE.per_class.items():
        for label, name in enumerate(TREE.class_names):
            (folder / split / name).mkdir(parents=True)
            for number in range(count):
                path = folder / split / name / f"{number:04d}.png"
                path.write_bytes(encode(pixels(split, label, number)))
    return folder


def pack(folder: Path, archive: Path, prefix: str = "") -> Path:
    mode = {".xz": "w:xz", ".gz": "w:gz", ".tar": "w"}[archive.suffix]
    with tarfile.open(archive, mode) as tar:
        for split in ("test", "train"):
            tar.add(folder / split, f"{prefix}{split}")
    return archive


@pytest.fixture
def folder(tmp_path) -> Path:
    return write_tree(tmp_path / "images")


def expect_tree(arrays: dict[str, np.ndarray]) -> None:
    assert arrays["train_inputs"].shape == (6, 3, 4, 6)
    assert arrays["train_targets"].tolist() == [0, 1, 0, 1, 0, 1]
    assert arrays["test_targets"].tolist() == [0, 1]
    for index in range(6):
        expected = pixels("train", index % 2, index // 2).transpose(2, 0, 1)
        assert np.array_equal(arrays["train_inputs"][index], expected)


def test_folder_is_ordered_by_file_then_class(folder):
    assert is_image_folder(folder, TREE)
    assert not is_image_folder(folder / "train", TREE)
    expect_tree(decode_folder(folder, TREE))


@pytest.mark.parametrize("name", ["a.tar.xz", "a.tar.gz", "a.tar"])
@pytest.mark.parametrize("prefix", ["", "images-main/"])
def test_archive_reads_like_the_folder(folder, tmp_path, name, prefix):
    expect_tree(decode_archive(pack(folder, tmp_path / name, prefix), TREE))


def test_files_that_are_no_images_are_passed_over(folder):
    (folder / "train" / "cat" / "Thumbs.db").write_bytes(b"x")
    (folder / "train" / "cat" / "._0000.png").write_bytes(b"x")
    (folder / "README.md").write_text("x")
    expect_tree(decode_folder(folder, TREE))


def test_grey_and_palette_images_become_three_channels(folder):
    grey = np.full((4, 6), 7, dtype=np.uint8)
    (folder / "test" / "cat" / "0000.png").write_bytes(encode(grey))
    assert (decode_folder(folder, TREE)["test_inputs"][0] == 7).all()


def test_a_missing_image_is_counted(folder):
    (folder / "train" / "dog" / "0001.png").unlink()
    with pytest.raises(DataError, match=r"expected 3 images in train/dog, got 2\. Fetch it again"):
        decode_folder(folder, TREE)


def test_an_unknown_class_folder_is_named(folder):
    (folder / "train" / "dog").rename(folder / "train" / "hound")
    with pytest.raises(DataError, match="train/hound is not a class; expected folders cat, dog"):
        decode_folder(folder, TREE)


def test_an_image_of_another_size_is_named(folder):
    path = folder / "test" / "dog" / "0000.png"
    path.write_bytes(encode(np.zeros((5, 6, 3), dtype=np.uint8)))
    with pytest.raises(DataError, match=r"test/dog/0000.png: expected \(6, 4\) pixels, got \(6, 5"):
        decode_folder(folder, TREE)


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
@pytest.mark.parametrize("cut", [0, 3, 20, 60])
def test_a_truncated_image_is_named(folder, kind, cut):
    path = folder / "test" / "dog" / "0000.png"
    path.write_bytes(encode(pixels("test", 1, 0), kind)[:cut])
    with pytest.raises(DataError, match=r"test/dog/0000.png: not a readable image"):
        decode_folder(folder, TREE)


@pytest.mark.parametrize("name", ["a.tar.xz", "a.tar.gz", "a.tar"])
def test_a_truncated_archive_says_how_far_it_got(folder, tmp_path, name):
    archive = pack(folder, tmp_path / name)
    whole = archive.read_bytes()
    # Most of a tar of tiny files is padding: cut where images are lost in every packing.
    archive.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError) as raised:
        decode_archive(archive, TREE)
    assert str(archive) in str(raised.value)
    assert "Fetch it again." in str(raised.value)


def test_bytes_that_are_no_archive_are_refused(tmp_path):
    archive = tmp_path / "a.tar.xz"
    archive.write_bytes(b"<html>not found</html>")
    with pytest.raises(DataError, match=r"after 0 of 8 images \(22 bytes"):
        decode_archive(archive, TREE)


def test_links_in_an_archive_are_not_followed(folder, tmp_path):
    secret = tmp_path / "secret.png"
    secret.write_bytes(encode(pixels("test", 1, 0)))
    target = folder / "test" / "dog" / "0000.png"
    target.unlink()
    target.symlink_to(secret)
    with pytest.raises(DataError, match="expected 1 images in test/dog, got 0"):
        decode_archive(pack(folder, tmp_path / "a.tar"), TREE)


def test_fingerprints_follow_the_content(folder, tmp_path):
    before = folder_fingerprint(folder)
    assert folder_fingerprint(folder) == before
    path = folder / "train" / "cat" / "0000.png"
    os.utime(path, ns=(1, 1))
    assert folder_fingerprint(folder) != before
    one, two = tmp_path / "one", tmp_path / "two"
    one.write_bytes(b"a")
    two.write_bytes(b"b")
    assert file_fingerprint(one) != file_fingerprint(two)
    two.write_bytes(b"a")
    assert file_fingerprint(one) == file_fingerprint(two)
