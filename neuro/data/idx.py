"""The IDX format of MNIST: a magic number, big-endian sizes, then unsigned bytes."""

import gzip
import hashlib
import struct
import zlib
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import numpy.typing as npt

from neuro.errors import DataError

UNSIGNED_BYTE = 0x08


def read_idx(
    path: Path, shape: tuple[int, ...], *, remedy: str, md5: str | None = None
) -> npt.NDArray[np.uint8]:
    """Read one IDX file of unsigned bytes, plain or gzip (by its ending ``.gz``).

    Layout: bytes ``0, 0, 8, D``; then D sizes as 32-bit big-endian integers; then
    ``prod(sizes)`` bytes in C order, and nothing after.

    Args:
        path: the file.
        shape: the sizes the header must state.
        remedy: a sentence for the error message: how to get the right file.
        md5: hex digest of the whole unpacked file, if it is to be checked.

    Returns:
        Array of ``shape``, uint8, writable.

    Raises:
        DataError: wrong magic number, other sizes, too few or too many bytes, a damaged gzip
            stream, another checksum, or an unreadable file.
    """
    header_bytes = 4 + 4 * len(shape)
    expected = header_bytes + int(np.prod(shape))
    digest = hashlib.md5(usedforsecurity=False)
    got = 0

    def damaged(problem: str) -> DataError:
        return DataError(f"{path}: {problem}. {remedy}")

    opener = gzip.open if path.suffix == ".gz" else open
    try:
        with cast(BinaryIO, opener(path, "rb")) as stream:
            header = stream.read(header_bytes)
            got = len(header)
            _check_header(header, shape, damaged_prefix=f"{path}: ", remedy=remedy)
            digest.update(header)
            values = np.empty(shape, dtype=np.uint8)
            view = values.data.cast("B")
            while got < expected:
                count = stream.readinto(view[got - header_bytes :])  # type: ignore[attr-defined]
                if not count:
                    raise damaged(f"truncated: expected {expected:,} bytes, got {got:,}")
                got += count
            if stream.read(1):
                raise damaged(f"expected {expected:,} bytes, got more")
    except EOFError as error:
        raise damaged(
            f"truncated gzip: expected {expected:,} unpacked bytes, got {got:,}"
        ) from error
    except (gzip.BadGzipFile, zlib.error) as error:
        raise damaged(f"not an intact gzip file ({error})") from error
    except OSError as error:
        raise damaged(f"cannot be read ({error})") from error
    if md5 is not None:
        digest.update(values.data)
        if digest.hexdigest() != md5:
            raise damaged(
                "is not the published file: expected md5 "
                f"{md5} of the unpacked bytes, got {digest.hexdigest()}"
            )
    return values


def _check_header(
    header: bytes, shape: tuple[int, ...], *, damaged_prefix: str, remedy: str
) -> None:
    magic = bytes((0, 0, UNSIGNED_BYTE, len(shape)))
    if header[:4] != magic:
        raise DataError(
            f"{damaged_prefix}not this IDX file: expected magic number {magic.hex()}, "
            f"got {header[:4].hex() or 'an empty file'}. {remedy}"
        )
    if len(header) < 4 + 4 * len(shape):
        raise DataError(
            f"{damaged_prefix}truncated in its header: expected "
            f"{4 + 4 * len(shape)} bytes, got {len(header)}. {remedy}"
        )
    sizes = struct.unpack(f">{len(shape)}I", header[4:])
    if sizes != shape:
        raise DataError(
            f"{damaged_prefix}the header states sizes {list(sizes)}, expected {list(shape)}. "
            f"{remedy}"
        )
