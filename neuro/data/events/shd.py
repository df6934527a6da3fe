"""Spiking Heidelberg Digits: spoken digits, as spikes of 700 units of a cochlea model."""

import io
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from neuro.data.dataset import Dataset, Split
from neuro.data.download import fetch
from neuro.data.entry import DatasetEntry, LoadRequest, RemoteFile
from neuro.data.events.frame_cache import FrameCache, Frames
from neuro.data.events.frames import frames_by_time
from neuro.data.events.progress import show_progress
from neuro.data.events.stream import ON, EventStream, sorted_stream
from neuro.data.locate import existing_folders, first_file, how_to_get, not_found
from neuro.errors import DataError, UsageError

if TYPE_CHECKING:
    import h5py

NAME = "shd"
LICENCE = "CC BY 4.0"
UNITS = 700
CLASSES = 20
DEFAULT_TIMESTEPS = 100
PARTS = ("train", "test")
LAYOUTS = ("shd", "SHD", "")
FILES = (
    RemoteFile(
        "shd_train.h5.zip",
        "https://zenkelab.org/datasets/shd_train.h5.zip",
        checksum="md5:f3252aeb598ac776c1b526422d90eecb",
    ),
    RemoteFile(
        "shd_test.h5.zip",
        "https://zenkelab.org/datasets/shd_test.h5.zip",
        checksum="md5:1503a5064faa34311c398fb0a1ed0a6f",
    ),
)


def find_files(root: Path) -> dict[str, Path]:
    """Return ``train`` and ``test`` -> HDF5 file or zip of it, from the first folder with any."""
    for folder in existing_folders(root, LAYOUTS):
        found = {
            part: path
            for part in PARTS
            if (path := first_file(folder, (f"shd_{part}.h5", f"shd_{part}.h5.zip"))) is not None
        }
        if found:
            return found
    return {}


def read_shd(path: Path, *, remedy: str = "") -> tuple[list[EventStream], npt.NDArray[np.int64]]:
    """Read the recordings: ``spikes/times`` in seconds, ``spikes/units``, ``labels``.

    Args:
        path: the HDF5 file, or a zip that holds just it.
        remedy: a sentence for the error message: how to get the right file.

    Returns:
        Recordings of a 1 x 700 sensor (x is the unit, all events are ON), and labels ``[N]``.

    Raises:
        DataError: no HDF5 file, another structure, a unit outside 0..699, a label outside 0..19,
            or a time that is negative or no number.
    """
    with _opened(path, remedy) as file:
        labels = np.asarray(file["labels"], dtype=np.int64)
        times, units = file["spikes/times"][:], file["spikes/units"][:]
    if not 0 < len(times) == len(units) == len(labels):
        raise _wrong(
            path, f"{len(times)} times, {len(units)} units and {len(labels)} labels", remedy
        )
    if not 0 <= labels.min() <= labels.max() < CLASSES:
        raise _wrong(
            path,
            f"expected labels 0..{CLASSES - 1}, got {labels.min()}..{labels.max()}",
            remedy,
        )
    streams = []
    for number, (seconds, unit) in enumerate(zip(times, units, strict=True)):
        t = np.asarray(seconds, dtype=np.float64)
        if not np.all(np.isfinite(t)) or (len(t) and t.min() < 0):
            raise _wrong(
                path, f"recording {number} has a time that is negative or no number", remedy
            )
        try:
            streams.append(
                sorted_stream(
                    np.asarray(unit, dtype=np.int64),
                    np.zeros(len(unit), dtype=np.int64),
                    np.rint(t * 1e6).astype(np.int64),
                    np.full(len(unit), ON, dtype=np.uint8),
                    (1, UNITS),
                )
            )
        except DataError as error:
            raise _wrong(path, f"recording {number}: {error}", remedy) from error
    return streams, labels


def read_class_names(path: Path, *, remedy: str = "") -> tuple[str, ...]:
    """Read the names of the 20 classes: ``extra/keys``.

    Raises:
        DataError: no HDF5 file, or other than 20 names.
    """
    with _opened(path, remedy) as file:
        keys = file["extra/keys"][:]
    names = tuple(key.decode() if isinstance(key, bytes) else str(key) for key in keys)
    if len(names) != CLASSES:
        raise _wrong(path, f"expected {CLASSES} class names, got {len(names)}", remedy)
    return names


def _wrong(path: Path, problem: str, remedy: str) -> DataError:
    return DataError(f"{path}: {problem}. {remedy}".rstrip())


@contextmanager
def _opened(path: Path, remedy: str) -> Iterator["h5py.File"]:
    import h5py  # a third of a second that only readers of this set need to wait for

    try:
        with h5py.File(_unpacked(path), "r") as file:
            yield file
    except KeyError as error:
        raise _wrong(
            path,
            "not an SHD file: expected spikes/times, spikes/units, labels and extra/keys "
            f"({error.args[0]})",
            remedy,
        ) from error
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError) as error:
        raise _wrong(path, f"not an intact HDF5 file ({error})", remedy) from error


def _unpacked(path: Path) -> Path | io.BytesIO:
    if path.suffix != ".zip":
        return path
    with zipfile.ZipFile(path) as packed:
        inside = [name for name in packed.namelist() if name.endswith(".h5")]
        if len(inside) != 1:
            raise zipfile.BadZipFile(f"expected one .h5 file inside, got {len(inside)}")
        return io.BytesIO(packed.read(inside[0]))


def load(request: LoadRequest, *, duration_ms: int = 1400) -> Dataset:
    """Load the training and test recordings as frames ``[N, T, 700]``, uint8.

    Reads ``shd_train.h5`` and ``shd_test.h5``, or the published zips. The frames are kept in
    ``request.cache_dir``.

    Args:
        request: ``timesteps`` T, 100 by default.
        duration_ms: length of all frames together, > 0; they start at time 0, are equally long,
            and later spikes belong to none.

    Raises:
        DataError: a file is missing or damaged.
        UsageError: ``duration_ms`` is not positive.
    """
    if duration_ms < 1:
        raise UsageError(f"{NAME}: duration_ms must be at least 1, got {duration_ms}.")
    found = find_files(request.search_root)
    missing = [file for part, file in zip(PARTS, FILES, strict=True) if part not in found]
    if missing and request.data_dir is None and request.download:
        fetch(NAME, LICENCE, missing, request.cache_dir / NAME)
        found = find_files(request.search_root)
    elif missing:
        names = " and ".join(file.name.removesuffix(".zip") for file in missing)
        raise not_found(NAME, request, f"{names} (or its zip)", missing)
    timesteps = request.timesteps or DEFAULT_TIMESTEPS

    train, test = (
        _load_part(found[part], part, timesteps, duration_ms, request.cache_dir) for part in PARTS
    )
    return Dataset(
        name=NAME,
        kind="events",
        class_names=read_class_names(found["train"], remedy=_remedy("train", request.cache_dir)),
        train=train,
        test=test,
        source=f"{found['train']} and {found['test']}; {timesteps} frames in {duration_ms} ms",
    )


def _remedy(part: str, cache_dir: Path) -> str:
    return how_to_get([FILES[PARTS.index(part)]], cache_dir / NAME)


def _load_part(path: Path, part: str, timesteps: int, duration_ms: int, cache_dir: Path) -> Split:
    facts = path.stat()
    cache = FrameCache(
        cache_dir / "decoded",
        f"{NAME}-{part}",
        {
            "source": [str(path.resolve()), facts.st_size, facts.st_mtime_ns],
            "timesteps": timesteps,
            "duration_ms": duration_ms,
        },
    )
    stored = cache.load()
    if stored is not None:
        return stored
    streams, labels = read_shd(path, remedy=_remedy(part, cache_dir))
    report = show_progress(f"Cutting {path.name} into frames")

    def fill(frames: Frames) -> None:
        for row, stream in enumerate(streams):
            counts = frames_by_time(stream, timesteps, start_us=0, duration_us=1000 * duration_ms)
            frames[row] = counts[:, ON, 0]
            report(row + 1, len(streams))

    return cache.store((len(streams), timesteps, UNITS), labels, fill)


def present(root: Path) -> bool:
    """Whether both files are found under ``root``."""
    return len(find_files(root)) == len(PARTS)


ENTRY = DatasetEntry(
    name=NAME,
    kind="events",
    description="Spoken English and German digits as spikes of 700 units, 8,156 training and "
    "2,264 test recordings",
    licence=LICENCE,
    citation="Cramer, Stradmann, Schemmel, Zenke: The Heidelberg spiking data sets for the "
    "systematic evaluation of spiking neural networks, IEEE TNNLS 33, 2022",
    files=FILES,
    load=load,
    present=present,
)
