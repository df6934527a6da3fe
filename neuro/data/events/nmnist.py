"""N-MNIST: the MNIST digits, seen by an ATIS camera that makes three small saccades."""

import re
from pathlib import Path

import numpy as np

from neuro.data.dataset import Dataset, Split
from neuro.data.download import fetch
from neuro.data.entry import DatasetEntry, LoadRequest, RemoteFile
from neuro.data.events.archive import Archive, open_archive
from neuro.data.events.atis import decode_atis
from neuro.data.events.frame_cache import FrameCache, Frames
from neuro.data.events.frames import Framing, check_framing, make_frames
from neuro.data.events.progress import show_progress
from neuro.data.locate import existing_folders, how_to_get, not_found
from neuro.errors import DataError

NAME = "nmnist"
LICENCE = "CC BY-SA 4.0"
SENSOR_SIZE = (34, 34)
DEFAULT_TIMESTEPS = 10
PARTS = ("Train", "Test")
RECORDINGS = {"Train": 60_000, "Test": 10_000}
LAYOUTS = ("nmnist", "N-MNIST", "NMNIST", "")
_RECORDING = re.compile(r"(?:^|/)([0-9])/([^/.]+)\.bin$")
_MENDELEY = "https://data.mendeley.com/public-files/datasets/468j46mzdv/files"
FILES = (
    RemoteFile(
        "Train.zip",
        f"{_MENDELEY}/39c25547-014b-4137-a934-9d29fa53c7a0/file_downloaded",
        checksum="md5:20959b8e626244a1b502305a9e6e2031",
    ),
    RemoteFile(
        "Test.zip",
        f"{_MENDELEY}/05a4d654-7e03-4c15-bdfa-9bb2bcbea494/file_downloaded",
        checksum="md5:69ca8762b2fe404d9b9bad1103e97832",
    ),
)


def find_parts(root: Path) -> dict[str, Path]:
    """Return ``Train`` and ``Test`` -> folder or zip, from the first folder that holds any."""
    for folder in existing_folders(root, LAYOUTS):
        found = {
            part: path
            for part in PARTS
            for path in (folder / part, folder / part.lower())
            if (path / "0").is_dir()
        }
        for part in PARTS:
            for path in (folder / f"{part}.zip", folder / f"{part.lower()}.zip"):
                if path.is_file():
                    found.setdefault(part, path)
        if found:
            return found
    return {}


def load(request: LoadRequest, *, framing: Framing = "time") -> Dataset:
    """Load 60,000 training and 10,000 test recordings as frames ``[N, T, 2, 34, 34]``, uint8.

    Reads ``Train`` and ``Test``, each a folder with the folders ``0`` to ``9``, or the published
    zip of it. Samples come in the order of their file names, as in MNIST. The frames are kept in
    ``request.cache_dir``.

    Args:
        request: ``timesteps`` T, 10 by default.
        framing: ``"time"`` cuts a recording into T spans of equal time, ``"count"`` into T spans
            of equally many events.

    Raises:
        DataError: recordings are missing or damaged.
        UsageError: an unknown ``framing``.
    """
    check_framing(framing)
    found = find_parts(request.search_root)
    missing = [file for file in FILES if file.name.removesuffix(".zip") not in found]
    if missing and request.data_dir is None and request.download:
        fetch(NAME, LICENCE, missing, request.cache_dir / NAME)
        found = find_parts(request.search_root)
    elif missing:
        names = " and ".join(file.name.removesuffix(".zip") for file in missing)
        raise not_found(NAME, request, f"{names} (a folder or a zip)", missing)
    timesteps = request.timesteps or DEFAULT_TIMESTEPS
    train, test = (
        _load_part(found[part], part, timesteps, framing, request.cache_dir) for part in PARTS
    )
    return Dataset(
        name=NAME,
        kind="events",
        class_names=tuple(str(digit) for digit in range(10)),
        train=train,
        test=test,
        source=f"{found['Train']} and {found['Test']}; {timesteps} frames of equal {framing}",
    )


def _load_part(path: Path, part: str, timesteps: int, framing: Framing, cache_dir: Path) -> Split:
    file = FILES[PARTS.index(part)]
    remedy = how_to_get([file], cache_dir / NAME)
    archive = open_archive(path, remedy)
    cache = FrameCache(
        cache_dir / "decoded",
        f"{NAME}-{part.lower()}",
        {"source": archive.fingerprint(), "timesteps": timesteps, "framing": framing},
    )
    stored = cache.load()
    return _decode(archive, part, timesteps, framing, cache) if stored is None else stored


def _decode(
    archive: Archive, part: str, timesteps: int, framing: Framing, cache: FrameCache
) -> Split:
    matches = [(name, _RECORDING.search(name)) for name in archive.names()]
    recordings = sorted(
        (match.group(2), int(match.group(1)), name) for name, match in matches if match
    )
    if len(recordings) != RECORDINGS[part]:
        raise DataError(
            f"{archive.path}: expected {RECORDINGS[part]:,} recordings <digit>/<number>.bin, got "
            f"{len(recordings):,}. {archive.remedy}"
        )
    index = {name: i for i, (_, _, name) in enumerate(recordings)}
    report = show_progress(f"Cutting {archive.path.name} into frames")

    def fill(frames: Frames) -> None:
        for done, (name, data) in enumerate(archive.read(index.__contains__), start=1):
            stream = decode_atis(data, archive.source(name), SENSOR_SIZE, remedy=archive.remedy)
            frames[index[name]] = make_frames(stream, timesteps, framing)
            report(done, len(index))

    targets = np.array([digit for _, digit, _ in recordings], dtype=np.int64)
    return cache.store((len(index), timesteps, 2, *SENSOR_SIZE), targets, fill)


def present(root: Path) -> bool:
    """Whether both parts are found under ``root``."""
    return len(find_parts(root)) == len(PARTS)


ENTRY = DatasetEntry(
    name=NAME,
    kind="events",
    description="MNIST seen by a moving event camera, 34 x 34, 60,000 training and 10,000 test "
    "recordings",
    licence=LICENCE,
    citation="Orchard, Jayawant, Cohen, Thakor: Converting static image datasets to spiking "
    "neuromorphic datasets using saccades, Front. Neurosci. 9:437, 2015",
    files=FILES,
    load=load,
    present=present,
)
