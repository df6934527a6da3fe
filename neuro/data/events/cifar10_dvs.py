"""CIFAR10-DVS: 1,000 images of each CIFAR-10 class, moved before a DVS128 camera."""

import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from neuro.data.dataset import Dataset, Split
from neuro.data.download import fetch
from neuro.data.entry import DatasetEntry, LoadRequest, RemoteFile
from neuro.data.events.aedat2 import SIDE, decode_aedat2
from neuro.data.events.archive import Archive, open_archive
from neuro.data.events.frame_cache import FrameCache, Frames
from neuro.data.events.frames import Framing, check_framing, make_frames
from neuro.data.events.progress import show_progress
from neuro.data.events.stream import EventStream
from neuro.data.locate import existing_folders, how_to_get, not_found
from neuro.errors import DataError, UsageError

NAME = "cifar10-dvs"
LICENCE = "CC BY 4.0"
DEFAULT_TIMESTEPS = 10
LAYOUTS = ("cifar10-dvs", "CIFAR10DVS", "CIFAR10-DVS", "cifar10_dvs", "")
RECORDINGS_PER_CLASS = 1000
TRAINING_PER_CLASS = 900
_PUBLISHED = (
    ("airplane", 7712788, "0afd5c4bf9ae06af762a77b180354fdd"),
    ("automobile", 7712791, "8438dfeba3bc970c94962d995b1b9bdd"),
    ("bird", 7712794, "a9c207c91c55b9dc2002dc21c684d785"),
    ("cat", 7712812, "52c63c677c2b15fa5146a8daf4d56687"),
    ("deer", 7712815, "b6bf21f6c04d21ba4e23fc3e36c8a4a3"),
    ("dog", 7712818, "f379ebdf6703d16e0a690782e62639c3"),
    ("frog", 7712842, "cad6ed91214b1c7388a5f6ee56d08803"),
    ("horse", 7712851, "e7cbbf77bec584ffbf913f00e682782a"),
    ("ship", 7712836, "41c7bd7d6b251be82557c6cce9a7d5c9"),
    ("truck", 7712839, "89f3922fd147d9aeff89e76a2b0b70a7"),
)
CLASS_NAMES = tuple(name for name, _, _ in _PUBLISHED)
FILES = tuple(
    RemoteFile(
        f"{name}.zip", f"https://ndownloader.figshare.com/files/{number}", None, f"md5:{md5}"
    )
    for name, number, md5 in _PUBLISHED
)


def find_classes(root: Path) -> dict[str, Path]:
    """Return class -> folder or zip, from the first folder that holds any."""
    for folder in existing_folders(root, LAYOUTS):
        found = {name: folder / name for name in CLASS_NAMES if (folder / name).is_dir()}
        for name in CLASS_NAMES:
            if (folder / f"{name}.zip").is_file():
                found.setdefault(name, folder / f"{name}.zip")
        if found:
            return found
    return {}


def load(request: LoadRequest, *, framing: Framing = "count", size: int = 48) -> Dataset:
    """Load 9,000 training and 1,000 test recordings as frames ``[N, T, 2, size, size]``, uint8.

    Reads one folder or one published zip per class, files ``cifar10_<class>_<number>.aedat``.
    The publisher has no split: of each class the recordings numbered 0-899 train and 900-999
    test. Samples come in the order of their numbers, the classes in turn. The frames are kept in
    ``request.cache_dir``.

    Args:
        request: ``timesteps`` T, 10 by default.
        framing: ``"count"`` cuts a recording into T spans of equally many events, ``"time"`` into
            T spans of equal time.
        size: pixels per side, 1..128: events of the 128 x 128 camera are summed over the pixels
            that fall together.

    Raises:
        DataError: recordings are missing or damaged.
        UsageError: an unknown ``framing`` or a ``size`` out of range.
    """
    check_framing(framing)
    if not 1 <= size <= SIDE:
        raise UsageError(f"{NAME}: size must be in 1..{SIDE}, got {size}.")
    found = find_classes(request.search_root)
    missing = [file for file in FILES if file.name.removesuffix(".zip") not in found]
    if missing and request.data_dir is None and request.download:
        fetch(NAME, LICENCE, missing, request.cache_dir / NAME)
        found = find_classes(request.search_root)
    elif missing:
        names = ", ".join(file.name.removesuffix(".zip") for file in missing)
        raise not_found(NAME, request, f"folders or zips {names}", missing)
    archives = [
        open_archive(found[name], how_to_get([file], request.cache_dir / NAME))
        for name, file in zip(CLASS_NAMES, FILES, strict=True)
    ]
    timesteps = request.timesteps or DEFAULT_TIMESTEPS
    key = {
        "sources": [archive.fingerprint() for archive in archives],
        "timesteps": timesteps,
        "framing": framing,
        "size": size,
    }
    numbers = {
        "train": range(TRAINING_PER_CLASS),
        "test": range(TRAINING_PER_CLASS, RECORDINGS_PER_CLASS),
    }

    def split(part: str) -> Split:
        cache = FrameCache(request.cache_dir / "decoded", f"{NAME}-{part}", key)
        stored = cache.load()
        if stored is not None:
            return stored
        return _decode(archives, numbers[part], timesteps, framing, size, cache)

    return Dataset(
        name=NAME,
        kind="events",
        class_names=CLASS_NAMES,
        train=split("train"),
        test=split("test"),
        source=f"{archives[0].path.parent}; {timesteps} frames of equal {framing}",
    )


def _decode(
    archives: list[Archive],
    numbers: range,
    timesteps: int,
    framing: Framing,
    size: int,
    cache: FrameCache,
) -> Split:
    classes = len(archives)
    shape = (classes * len(numbers), timesteps, 2, size, size)
    report = show_progress(f"Cutting {cache.name} into frames")

    def fill(frames: Frames) -> None:
        done = 0
        for label, archive in enumerate(archives):
            for number, stream in _recordings(archive, CLASS_NAMES[label], numbers):
                smaller = stream.resized((size, size))
                row = numbers.index(number) * classes + label
                frames[row] = make_frames(smaller, timesteps, framing)
                done += 1
                report(done, len(frames))

    return cache.store(shape, np.tile(np.arange(classes, dtype=np.int64), len(numbers)), fill)


def _recordings(
    archive: Archive, class_name: str, numbers: range
) -> Iterator[tuple[int, EventStream]]:
    pattern = re.compile(rf"(?:^|/)cifar10_{class_name}_(\d+)\.aedat$")
    chosen = {
        name: int(match.group(1))
        for name in archive.names()
        if (match := pattern.search(name)) and int(match.group(1)) in numbers
    }
    absent = sorted(set(numbers) - set(chosen.values()))
    if absent or len(chosen) != len(numbers):
        raise DataError(
            f"{archive.path}: expected cifar10_{class_name}_{numbers[0]}.aedat to "
            f"cifar10_{class_name}_{numbers[-1]}.aedat, once each; got {len(chosen)} of "
            f"{len(numbers)}"
            + (f", number {absent[0]} is missing" if absent else "")
            + f". {archive.remedy}"
        )
    for name, data in archive.read(chosen.__contains__):
        stream = decode_aedat2(data, archive.source(name), remedy=archive.remedy)
        # The camera stood on its side: other readers of this set swap rows and columns too.
        yield (
            chosen[name],
            EventStream(stream.y, stream.x, stream.t_us, stream.polarity, stream.sensor_size),
        )


def present(root: Path) -> bool:
    """Whether all ten classes are found under ``root``."""
    return len(find_classes(root)) == len(CLASS_NAMES)


ENTRY = DatasetEntry(
    name=NAME,
    kind="events",
    description="CIFAR-10 images moved before an event camera, 128 x 128, 9,000 training and "
    "1,000 test recordings",
    licence=LICENCE,
    citation="Li, Liu, Ji, Li, Shi: CIFAR10-DVS: an event-stream dataset for object "
    "classification, Front. Neurosci. 11:309, 2017",
    files=FILES,
    load=load,
    present=present,
)
