import gzip
import hashlib
import struct
from pathlib import Path

import numpy as np
import pytest

from neuro.data.idx import read_idx
from neuro.errors import DataError

SHAPE = (5, 4, 3)
REMEDY = "Fetch it again."


def idx_bytes(values: np.ndarray) -> bytes:
    header = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


@pytest.fixture
def values() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, SHAPE, dtype=np.uint8)


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(gzip.compress(content) if path.suffix == ".gz" else content)
    return path


@pytest.mark.parametrize("name", ["images", "images.gz"])
def test_reads_plain_and_gzip(tmp_path, values, name):
    path = write(tmp_path / name, idx_bytes(values))
    read = read_idx(path, SHAPE, remedy=REMEDY)
    assert np.array_equal(read, values)
    assert read.flags.writeable


def test_checks_the_digest_of_the_unpacked_bytes(tmp_path, values):
    content = idx_bytes(values)
    path = write(tmp_path / "images.gz", content)
    good = hashlib.md5(content).hexdigest()
    assert np.array_equal(read_idx(path, SHAPE, remedy=REMEDY, md5=good), values)
    with pytest.raises(DataError, match=f"expected md5 {'0' * 32}.*got {good}"):
        read_idx(path, SHAPE, remedy=REMEDY, md5="0" * 32)


@pytest.mark.parametrize("name", ["images", "images.gz"])
@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda content: b"", "expected magic number 00000803, got an empty file"),
        (lambda content: b"\x00\x00\x08\x01" + content[4:], "got 00000801"),
        (lambda content: b"\x00\x00\x0d\x03" + content[4:], "got 00000d03"),
        (lambda content: content[:9], "truncated in its header: expected 16 bytes, got 9"),
        (lambda content: content[:7] + b"\x06" + content[8:], r"sizes \[6, 4, 3\], expected \[5"),
        (lambda content: content[:-1], "truncated: expected 76 bytes, got 75"),
        (lambda content: content + b"x", "expected 76 bytes, got more"),
    ],
)
def test_damage_is_named_with_the_file_and_the_remedy(tmp_path, values, name, damage, message):
    path = write(tmp_path / name, damage(idx_bytes(values)))
    with pytest.raises(DataError, match=message) as raised:
        read_idx(path, SHAPE, remedy=REMEDY)
    assert str(raised.value).startswith(str(path))
    assert str(raised.value).endswith(REMEDY)


def test_truncated_gzip_says_how_much_came_out(tmp_path):
    values = np.random.default_rng(1).integers(0, 256, (100, 28, 28), dtype=np.uint8)
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(idx_bytes(values))[:40000])
    with pytest.raises(DataError, match=r"truncated gzip: expected 78,416 unpacked bytes, got \d"):
        read_idx(path, values.shape, remedy=REMEDY)


def test_gzip_cut_inside_its_header(tmp_path):
    path = tmp_path / "images.gz"
    path.write_bytes(gzip.compress(b"abc")[:5])
    with pytest.raises(DataError, match="truncated gzip"):
        read_idx(path, SHAPE, remedy=REMEDY)


def test_plain_bytes_named_gz_and_flipped_bits_are_not_intact_gzip(tmp_path, values):
    path = tmp_path / "images.gz"
    path.write_bytes(idx_bytes(values))
    with pytest.raises(DataError, match="not an intact gzip file"):
        read_idx(path, SHAPE, remedy=REMEDY)
    packed = bytearray(gzip.compress(idx_bytes(values)))
    packed[-6] ^= 1  # in the CRC
    path.write_bytes(packed)
    with pytest.raises(DataError, match="not an intact gzip file"):
        read_idx(path, SHAPE, remedy=REMEDY)


def test_a_missing_file_is_a_data_error(tmp_path):
    with pytest.raises(DataError, match="cannot be read"):
        read_idx(tmp_path / "absent", SHAPE, remedy=REMEDY)
