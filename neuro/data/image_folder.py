"""Images sorted into ``train/<class>/`` and ``test/<class>/``, unpacked or in a tar archive."""

import hashlib
import io
import lzma
import os
import tarfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
import numpy.typing as npt
from PIL import Image

from neuro.data.decoded import Arrays
from neuro.errors import DataError

SPLITS = ("train", "test")
# split, class, file name
Key = tuple[str, str, str]
SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp")


@dataclass(frozen=True)
class ImageTree:
    """What an image folder must hold.

    Args:
        class_names: folder names; the label is the index.
        per_class: images in each class folder, by split.
        size: width and height in pixels.
        remedy: a sentence for error messages: how to get the right images.
    """

    class_names: tuple[str, ...]
    per_class: Mapping[str, int]
    size: tuple[int, int]
    remedy: str

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the decoded arrays, by name."""
        width, height = self.size
        shapes: dict[str, tuple[int, ...]] = {}
        for split in SPLITS:
            count = self.per_class[split] * len(self.class_names)
            shapes[f"{split}_inputs"] = (count, 3, height, width)
            shapes[f"{split}_targets"] = (count,)
        return shapes


def is_image_folder(folder: Path, tree: ImageTree) -> bool:
    """Whether ``folder`` has a training folder of any of the classes."""
    return any((folder / "train" / name).is_dir() for name in tree.class_names)


def folder_fingerprint(folder: Path) -> str:
    """Digest of the names, sizes and times of all images: changes when any file does."""
    digest = hashlib.sha256(str(folder.resolve()).encode())
    for key, file in _folder_images(folder):
        status = file.stat()
        digest.update(f"{'/'.join(key)} {status.st_size} {status.st_mtime_ns}\n".encode())
    return digest.hexdigest()[:16]


def file_fingerprint(path: Path) -> str:
    """Digest of a file's bytes."""
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()[:16]


def decode_folder(folder: Path, tree: ImageTree) -> Arrays:
    """Decode an unpacked tree; see :func:`decode_images` for the result.

    Raises:
        DataError: images are missing, too many, undecodable or of another size.
    """
    images = {key: Path(file.path).read_bytes() for key, file in _folder_images(folder)}
    return decode_images(images, tree, where=str(folder))


def decode_archive(archive: Path, tree: ImageTree) -> Arrays:
    """Decode a tar archive (plain, gzip, bzip2 or xz); folders above ``train`` are ignored.

    Raises:
        DataError: as :func:`decode_folder`, or the archive is truncated or damaged.
    """
    images: dict[Key, bytes] = {}
    total = sum(tree.per_class[split] for split in SPLITS) * len(tree.class_names)
    try:
        # A stream is read once, front to back; nothing is written to disk.
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                key = _key(PurePosixPath(member.name).parts)
                content = tar.extractfile(member) if member.isfile() and key else None
                if content is not None and key is not None:
                    images[key] = content.read()
    except (tarfile.TarError, lzma.LZMAError, zlib.error, EOFError, OSError) as error:
        raise DataError(
            f"{archive}: truncated or damaged after {len(images):,} of {total:,} images "
            f"({archive.stat().st_size:,} bytes; {error}). {tree.remedy}"
        ) from error
    return decode_images(images, tree, where=str(archive))


def decode_images(images: Mapping[Key, bytes], tree: ImageTree, *, where: str) -> Arrays:
    """Decode ``(split, class, file name) -> file content``.

    Returns:
        ``<split>_inputs`` uint8 ``[N, 3, H, W]`` and ``<split>_targets`` int64 ``[N]``, ordered
        by file name, then class: the first file of every class, the second of every class, ...,
        so that any long prefix has all classes.

    Raises:
        DataError: images are missing, too many, undecodable or of another size.
    """
    labels = {name: label for label, name in enumerate(tree.class_names)}
    arrays: Arrays = {}
    for split in SPLITS:
        keys = [key for key in images if key[0] == split]
        _check_counts(keys, split, tree, where)
        keys.sort(key=lambda key: (key[2], labels[key[1]]))
        shape = tree.shapes()[f"{split}_inputs"]
        inputs = np.empty(shape, dtype=np.uint8)
        for index, key in enumerate(keys):
            inputs[index] = _decode(images[key], f"{where}: {'/'.join(key)}", tree)
        arrays[f"{split}_inputs"] = inputs
        arrays[f"{split}_targets"] = np.array([labels[key[1]] for key in keys], dtype=np.int64)
    return arrays


def _check_counts(keys: Sequence[Key], split: str, tree: ImageTree, where: str) -> None:
    counts = dict.fromkeys(tree.class_names, 0)
    for _, class_name, _ in keys:
        if class_name not in counts:
            raise DataError(
                f"{where}: {split}/{class_name} is not a class; expected folders "
                f"{', '.join(tree.class_names)}. {tree.remedy}"
            )
        counts[class_name] += 1
    for class_name, count in counts.items():
        if count != tree.per_class[split]:
            raise DataError(
                f"{where}: expected {tree.per_class[split]} images in {split}/{class_name}, "
                f"got {count}. {tree.remedy}"
            )


def _decode(content: bytes, where: str, tree: ImageTree) -> npt.NDArray[np.uint8]:
    try:
        with Image.open(io.BytesIO(content)) as image:
            if image.size != tree.size:
                raise DataError(
                    f"{where}: expected {tree.size} pixels, got {image.size}. {tree.remedy}"
                )
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    # A broken PNG header is a SyntaxError to pillow.
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise DataError(f"{where}: not a readable image ({error}). {tree.remedy}") from error


def _key(parts: Sequence[str]) -> Key | None:
    """``(..., split, class, file)`` of an image's path, or None if it is no image of the tree."""
    if len(parts) < 3:
        return None
    split, class_name, name = parts[-3:]
    is_image = not name.startswith(".") and PurePosixPath(name).suffix.lower() in SUFFIXES
    return (split, class_name, name) if split in SPLITS and is_image else None


def _folder_images(folder: Path) -> Iterator[tuple[Key, os.DirEntry[str]]]:
    """Images of the tree in a fixed order. Scanned, not globbed: there may be 60,000."""
    for split in SPLITS:
        for class_folder in _entries(folder / split):
            if class_folder.is_dir():
                for file in _entries(class_folder.path):
                    key = _key((split, class_folder.name, file.name))
                    if key is not None and file.is_file():
                        yield key, file


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    if not os.path.isdir(folder):
        return []
    with os.scandir(folder) as entries:
        return sorted(entries, key=lambda entry: entry.name)
