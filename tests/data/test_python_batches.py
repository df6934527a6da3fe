import os
import pickle
import struct
from pathlib import Path

import numpy as np
import pytest

from neuro.data.python_batches import read_batch
from neuro.errors import DataError

SAMPLES = 3


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (SAMPLES, 3072), dtype=np.uint8)


def python2_batch(images: np.ndarray, labels: list[int], label_key: bytes = b"labels") -> bytes:
    """The bytes that Python 2's cPickle (protocol 2) wrote for a published batch."""

    def text(value: bytes) -> bytes:
        return b"U" + bytes([len(value)]) + value

    def integer(value: int) -> bytes:
        return b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)

    raw = images.tobytes()
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n"
        + b"cnumpy\nndarray\n" + integer(0) + b"\x85" + text(b"b") + b"\x87R"
        + b"(" + integer(1)
        + integer(images.shape[0]) + integer(images.shape[1]) + b"\x86"
        + b"cnumpy\ndtype\n" + text(b"u1") + integer(0) + integer(1) + b"\x87R"
        + b"(" + integer(3) + text(b"|") + b"NNN"
        + b"J\xff\xff\xff\xff" * 2 + integer(0) + b"tb"
        + b"\x89" + b"T" + struct.pack("<I", len(raw)) + raw + b"tb"
    )  # fmt: skip
    return (
        b"\x80\x02}q\x00("
        + text(b"batch_label") + text(b"training batch 1 of 5")
        + text(label_key) + b"](" + b"".join(map(integer, labels)) + b"e"
        + text(b"data") + array
        + b"u."
    )  # fmt: skip


def read(content: bytes, samples: int = SAMPLES, label_key: str = "labels"):
    return read_batch(
        content,
        where="data_batch_1",
        label_key=label_key,
        samples=samples,
        classes=10,
        remedy="Fetch it again.",
    )


def test_the_hand_made_python_2_bytes_are_what_pickle_reads(images):
    batch = pickle.loads(python2_batch(images, [1, 2, 3]), encoding="bytes")
    assert np.array_equal(batch[b"data"], images)
    assert batch[b"labels"] == [1, 2, 3]


def test_reads_a_batch_written_by_python_2(images):
    read_images, labels = read(python2_batch(images, [0, 9, 5]))
    assert np.array_equal(read_images, images.reshape(SAMPLES, 3, 32, 32))
    assert labels.tolist() == [0, 9, 5]
    assert labels.dtype == np.int64


def test_reads_fine_labels(images):
    _, labels = read(python2_batch(images, [7, 7, 1], b"fine_labels"), label_key="fine_labels")
    assert labels.tolist() == [7, 7, 1]


@pytest.mark.parametrize("protocol", [2, 3, 4])
@pytest.mark.parametrize("order", ["C", "F"])
def test_reads_a_batch_pickled_again_by_python_3(images, protocol, order):
    array = np.asarray(images, order=order)
    content = pickle.dumps({b"data": array, b"labels": [1, 2, 3]}, protocol=protocol)
    assert np.array_equal(read(content)[0].reshape(SAMPLES, -1), images)


class Malicious:
    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self):
        return (os.mkdir, (str(self.marker),))


def test_a_pickle_that_calls_anything_else_is_refused_before_it_runs(tmp_path, images):
    marker = tmp_path / "ran"
    content = pickle.dumps({b"data": images, b"labels": [1, 2, 3], b"x": Malicious(marker)}, 2)
    with pytest.raises(DataError, match=r"refers to \w+\.mkdir, which no batch needs"):
        read(content)
    assert not marker.exists()
    pickle.loads(content)
    assert marker.exists()  # the same bytes do run in an ordinary unpickler


@pytest.mark.parametrize(
    "content",
    [
        b"cos\nsystem\n(S'true'\ntR.",
        b"\x80\x02cbuiltins\neval\nU\x031+1\x85R.",
        b"\x80\x02cnumpy\nload\nU\x01x\x85R.",
        # an allowed name under a dotted path
        b"\x80\x04\x8c\x05numpy\x8c\x0dndarray.dumps\x93.",
        # state for an allowed name
        b"\x80\x02cnumpy\ndtype\n}U\x01aK\x01sb.",
        # an allowed name where a class is needed
        b"\x80\x02cnumpy\nndarray\n)\x81.",
        # another codec
        b"\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aU\x05rot13\x86R.",
        # an extension code
        b"\x80\x02\x82\x01.",
        # a persistent id
        b"\x80\x02U\x01aQ.",
    ],
)
def test_other_ways_to_reach_code_are_refused(content):
    with pytest.raises(DataError, match="not a readable CIFAR batch") as raised:
        read(content)
    assert str(raised.value).startswith("data_batch_1: ")
    assert str(raised.value).endswith("Fetch it again.")


def test_truncated_bytes_are_refused(images):
    content = python2_batch(images, [1, 2, 3])
    for end in (0, 1, 10, 200, len(content) - 1):
        with pytest.raises(DataError, match=f"{end:,} bytes"):
            read(content[:end])


def test_wrong_content_is_refused(images):
    with pytest.raises(DataError, match=r"expected images of shape \[4, 3072\], got \[3, 3072\]"):
        read(python2_batch(images, [1, 2, 3]), samples=4)
    with pytest.raises(DataError, match=r"expected 3 labels, got shape \[2\]"):
        read(python2_batch(images, [1, 2]))
    with pytest.raises(DataError, match=r"labels span 1\.\.10, expected 0\.\.9"):
        read(python2_batch(images, [1, 2, 10]))
    with pytest.raises(DataError, match="fine_labels"):
        read(python2_batch(images, [1, 2, 3]), label_key="fine_labels")
    with pytest.raises(DataError, match="list, not a dict"):
        read(pickle.dumps([1, 2], 2))
    with pytest.raises(DataError, match="does not hold unsigned bytes"):
        read(pickle.dumps({b"data": images.astype(np.float32), b"labels": [1, 2, 3]}, 2))
