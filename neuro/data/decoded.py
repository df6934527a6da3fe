"""Keep decoded arrays, so that a compressed data set is unpacked once.

A copy is a folder ``<cache_dir>/decoded/<key>`` of ``.npy`` files. It is written under a hidden
name and renamed when complete; the key names the source's content, so it never goes stale.
"""

import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt

from neuro.data.partial import PREFIX, remove_stale

Arrays = dict[str, npt.NDArray[np.generic]]
# Part of every key: to be raised when the meaning of stored arrays changes.
FORMAT = 1


def decoded_once(
    cache_dir: Path,
    key: str,
    shapes: Mapping[str, tuple[int, ...]],
    decode: Callable[[], Arrays],
) -> Arrays:
    """Return the arrays kept under ``key``, or ``decode()`` and keep them.

    A copy that cannot be read or lacks an array of the expected shape is decoded anew; a copy
    that cannot be written costs only time. Both are said on stderr.

    Args:
        cache_dir: root of downloads and copies.
        key: unique to the source's content.
        shapes: the arrays that must be there.
        decode: makes them.
    """
    folder = cache_dir / "decoded" / f"{key}-v{FORMAT}"
    if folder.is_dir():
        try:
            return _read(folder, shapes)
        except (OSError, ValueError, EOFError) as error:
            print(f"Decoding again: {folder} is damaged ({error})", file=sys.stderr)
            shutil.rmtree(folder, ignore_errors=True)
    arrays = decode()
    try:
        _write(folder, arrays)
    except OSError as error:
        print(
            f"Could not keep decoded data in {folder} ({error}): they will be decoded again "
            "next time. Set NEURO_DATA_DIR to a folder that you may write to.",
            file=sys.stderr,
        )
    return arrays


def _read(folder: Path, shapes: Mapping[str, tuple[int, ...]]) -> Arrays:
    arrays: Arrays = {}
    for name, shape in shapes.items():
        array = np.load(folder / f"{name}.npy", allow_pickle=False)
        if array.shape != shape:
            raise ValueError(f"{name} has shape {list(array.shape)}, expected {list(shape)}")
        arrays[name] = array
    return arrays


def _write(folder: Path, arrays: Arrays) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    remove_stale(folder.parent)
    partial = Path(tempfile.mkdtemp(dir=folder.parent, prefix=PREFIX))
    try:
        for name, array in arrays.items():
            with (partial / f"{name}.npy").open("wb") as stream:
                np.save(stream, array, allow_pickle=False)
                stream.flush()
                os.fsync(stream.fileno())
        partial.chmod(0o755)
        try:
            partial.rename(folder)
        except OSError:
            # Another process may have been first with the same arrays: keep those.
            if not folder.is_dir():
                raise
    finally:
        shutil.rmtree(partial, ignore_errors=True)
