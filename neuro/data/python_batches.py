"""Read CIFAR's Python batches: pickled dicts of one byte array, without running any pickle code.

The only names a batch may refer to are those of a pickled numpy array, and none of them reaches
numpy: stand-ins record the shape and the raw bytes. Every other name is refused.
"""

import io
import pickle
import tarfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import numpy.typing as npt

from neuro.data.decoded import Arrays
from neuro.data.entry import RemoteFile
from neuro.data.locate import describe_size
from neuro.errors import DataError

PIXELS = 3 * 32 * 32


class _PickledType:
    """Stands for a pickled ``numpy.dtype``: keeps its type code only."""

    def __init__(self, code: Any) -> None:
        self.code = code.decode("latin1") if isinstance(code, bytes) else code

    def __setstate__(self, state: Any) -> None:
        """Byte order and field layout: of no meaning for bytes, and nothing else is accepted."""


class _PickledArray:
    """Stands for a pickled ``numpy.ndarray``: keeps shape, type and bytes."""

    state: tuple[Any, ...] = ()

    def __setstate__(self, state: Any) -> None:
        self.state = state

    def as_bytes(self) -> npt.NDArray[np.uint8]:
        _version, shape, dtype, fortran_order, content = self.state
        if not isinstance(dtype, _PickledType) or dtype.code != "u1":
            raise pickle.UnpicklingError("the array does not hold unsigned bytes")
        values = np.frombuffer(content, dtype=np.uint8)
        return values.reshape(shape, order="F" if fortran_order else "C")


class _Name:
    """A global that a pickle may refer to. Refuses to be given state, so it cannot be altered."""

    __slots__ = ()

    def __setstate__(self, state: Any) -> None:
        raise pickle.UnpicklingError("a name cannot be given state")


class _ArrayClass(_Name):
    pass


class _MakeArray(_Name):
    def __call__(self, array_class: Any, shape: Any, code: Any) -> _PickledArray:
        if not isinstance(array_class, _ArrayClass):
            raise pickle.UnpicklingError("not an array")
        return _PickledArray()


class _MakeType(_Name):
    def __call__(self, code: Any, *_align_and_copy: Any) -> _PickledType:
        return _PickledType(code)


class _EncodeLatin1(_Name):
    """Python 3 writes the bytes of an array as text when it pickles for Python 2."""

    def __call__(self, text: str, encoding: str) -> bytes:
        if encoding not in ("latin1", "latin-1"):
            raise pickle.UnpicklingError(f"encoding {encoding!r} is not allowed")
        return text.encode("latin1")


_ALLOWED: dict[tuple[str, str], _Name] = {
    ("numpy", "ndarray"): _ArrayClass(),
    ("numpy", "dtype"): _MakeType(),
    ("numpy.core.multiarray", "_reconstruct"): _MakeArray(),
    ("numpy._core.multiarray", "_reconstruct"): _MakeArray(),
    ("_codecs", "encode"): _EncodeLatin1(),
}


class _BatchUnpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        allowed = _ALLOWED.get((module, name))
        if allowed is None:
            raise pickle.UnpicklingError(f"it refers to {module}.{name}, which no batch needs")
        return allowed


def read_batch(
    content: bytes, *, where: str, label_key: str, samples: int, classes: int, remedy: str
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int64]]:
    """Decode one batch file.

    Args:
        content: the whole file.
        where: its name, for messages.
        label_key: ``"labels"`` or ``"fine_labels"``.
        samples: how many images it must hold.
        classes: labels must be in 0..classes-1.
        remedy: a sentence for the error message: how to get the right file.

    Returns:
        Images ``[samples, 3, 32, 32]`` (a view of the file's bytes) and labels ``[samples]``.

    Raises:
        DataError: not such a batch, or it refers to anything but one plain array.
    """
    try:
        batch = _BatchUnpickler(io.BytesIO(content), encoding="bytes").load()
        if not isinstance(batch, dict):
            raise pickle.UnpicklingError(f"it holds a {type(batch).__name__}, not a dict")
        entries = {
            key.decode("latin1") if isinstance(key, bytes) else key: value
            for key, value in batch.items()
        }
        images = entries["data"].as_bytes()
        labels = np.array(entries[label_key], dtype=np.int64)
    # Damaged or hostile bytes make pickle raise whatever they please.
    except Exception as error:
        raise DataError(
            f"{where}: not a readable CIFAR batch ({type(error).__name__}: {error}; "
            f"{len(content):,} bytes). {remedy}"
        ) from error
    if images.shape != (samples, PIXELS):
        raise DataError(
            f"{where}: expected images of shape {[samples, PIXELS]}, "
            f"got {list(images.shape)}. {remedy}"
        )
    if labels.shape != (samples,):
        raise DataError(
            f"{where}: expected {samples} labels, got shape {list(labels.shape)}. {remedy}"
        )
    if labels.min() < 0 or labels.max() >= classes:
        raise DataError(
            f"{where}: labels span {labels.min()}..{labels.max()}, expected 0..{classes - 1}. "
            f"{remedy}"
        )
    return images.reshape(samples, 3, 32, 32), labels


@dataclass(frozen=True)
class BatchSet:
    """The batch files of a data set.

    Args:
        train, test: file name and number of images of each batch, in order.
        label_key: key of the labels in a batch.
        classes: number of classes.
        published: the archive they come in.
    """

    train: tuple[tuple[str, int], ...]
    test: tuple[tuple[str, int], ...]
    label_key: str
    classes: int
    published: RemoteFile

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in (*self.train, *self.test))

    @property
    def counts(self) -> dict[str, int]:
        """Images per split."""
        return {
            "train": sum(count for _, count in self.train),
            "test": sum(count for _, count in self.test),
        }

    @property
    def remedy(self) -> str:
        return (
            f"Replace it by {self.published.url} ({describe_size(self.published.size)}, "
            f"{self.published.checksum}), or delete it from the download folder to get it again."
        )


def decode_batch_folder(folder: Path, batches: BatchSet) -> Arrays:
    """Read unpacked batches.

    Returns:
        ``<split>_inputs`` uint8 ``[N, 3, 32, 32]`` and ``<split>_targets`` int64 ``[N]``.

    Raises:
        DataError: a batch is missing or damaged.
    """

    def content(name: str) -> bytes:
        path = folder / name
        if not path.is_file():
            raise DataError(
                f"{path} is missing (other batches are there). "
                f"Unpack {batches.published.url} again."
            )
        return path.read_bytes()

    return _decode(content, str(folder), batches)


def decode_batch_archive(archive: Path, batches: BatchSet) -> Arrays:
    """Read batches from the published ``.tar.gz``; see :func:`decode_batch_folder`.

    Raises:
        DataError: the archive is truncated or damaged, or a batch is missing or damaged.
    """
    contents: dict[str, bytes] = {}
    try:
        with tarfile.open(archive, "r|gz") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                wanted = member.isfile() and name in batches.names
                stream = tar.extractfile(member) if wanted else None
                if stream is not None:
                    contents[name] = stream.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(
            f"{archive}: truncated or damaged: expected {describe_size(batches.published.size)}, "
            f"got {archive.stat().st_size:,} ({error}). {batches.remedy}"
        ) from error
    missing = set(batches.names) - contents.keys()
    if missing:
        raise DataError(f"{archive}: lacks {', '.join(sorted(missing))}. {batches.remedy}")
    return _decode(contents.pop, str(archive), batches)


def _decode(content: Callable[[str], bytes], where: str, batches: BatchSet) -> Arrays:
    arrays: Arrays = {}
    for split, files in (("train", batches.train), ("test", batches.test)):
        inputs = np.empty((batches.counts[split], 3, 32, 32), dtype=np.uint8)
        targets = np.empty(batches.counts[split], dtype=np.int64)
        start = 0
        for name, count in files:
            chosen = slice(start, start + count)
            inputs[chosen], targets[chosen] = read_batch(
                content(name),
                where=f"{where}: {name}",
                label_key=batches.label_key,
                samples=count,
                classes=batches.classes,
                remedy=batches.remedy,
            )
            start += count
        arrays[f"{split}_inputs"], arrays[f"{split}_targets"] = inputs, targets
    return arrays
