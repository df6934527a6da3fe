"""DVS-Gesture: eleven hand and arm gestures of 29 people before a DVS128 camera."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from neuro.data.dataset import Dataset, Split
from neuro.data.download import fetch
from neuro.data.entry import DatasetEntry, LoadRequest, RemoteFile
from neuro.data.events.aedat31 import decode_aedat31
from neuro.data.events.archive import Archive, open_archive
from neuro.data.events.frame_cache import FrameCache, Frames
from neuro.data.events.frames import Framing, check_framing, make_frames
from neuro.data.events.progress import show_progress
from neuro.data.locate import existing_folders, how_to_get, not_found
from neuro.errors import DataError, UsageError

NAME = "dvs-gesture"
LICENCE = "CC BY 4.0"
SIDE = 128
DEFAULT_TIMESTEPS = 20
ARCHIVE_NAME = "DvsGesture.tar.gz"
FOLDER_NAME = "DvsGesture"
LAYOUTS = ("dvs-gesture", "DVSGesture", "DVS128Gesture", "")
TRIAL_LISTS = {"train": "trials_to_train.txt", "test": "trials_to_test.txt"}
CSV_HEADER = ("class", "startTime_usec", "endTime_usec")
CLASS_NAMES = (
    "hand clapping",
    "right hand wave",
    "left hand wave",
    "right arm clockwise",
    "right arm counter clockwise",
    "left arm clockwise",
    "left arm counter clockwise",
    "arm roll",
    "air drums",
    "air guitar",
    "other gestures",
)
FILES = (
    RemoteFile(
        ARCHIVE_NAME,
        "https://ibm.ent.box.com/s/3hiq58ww1pbbjrinh367ykfdf60xsfm8/folder/50167556794",
        checksum="md5:8a5c71fb11e24e5ca5b11866ca6c00a1",
        direct=False,
    ),
)


@dataclass(frozen=True)
class Gesture:
    """One labelled span of a trial: ``start_us <= t < end_us``; labels count from 0."""

    label: int
    start_us: int
    end_us: int


def find_recordings(root: Path) -> Path | None:
    """Return the folder of trials, or the published tar, in the first folder that holds any."""
    for folder in existing_folders(root, LAYOUTS):
        for path in (folder / FOLDER_NAME, folder):
            if (path / TRIAL_LISTS["train"]).is_file():
                return path
        if (folder / ARCHIVE_NAME).is_file():
            return folder / ARCHIVE_NAME
    return None


def read_gestures(text: str, source: str, *, remedy: str = "") -> list[Gesture]:
    """Decode a ``_labels.csv``: a header line, then ``class,startTime_usec,endTime_usec``.

    Args:
        text: the whole file.
        source: the file's name, for messages.
        remedy: a sentence for the error message: how to get the right file.

    Raises:
        DataError: another header, a line that is not three numbers, a class outside 1..11, an
            end that is not after its start, or no gesture.
    """
    lines = [line.strip() for line in text.splitlines()]
    if not lines or tuple(re.split(r"\s*[,\t]\s*", lines[0])) != CSV_HEADER:
        raise DataError(
            f'{source}: expected the first line "{",".join(CSV_HEADER)}", '
            f'got "{lines[0] if lines else ""}". {remedy}'.rstrip()
        )
    gestures = []
    for number, line in enumerate(lines[1:], start=2):
        if not line:
            continue
        fields = re.split(r"\s*[,\t]\s*", line)
        if len(fields) != 3 or not all(field.isdecimal() for field in fields):
            raise DataError(
                f'{source}, line {number}: expected three whole numbers, got "{line}". '
                f"{remedy}".rstrip()
            )
        label, start, end = (int(field) for field in fields)
        if not 1 <= label <= len(CLASS_NAMES) or end <= start:
            raise DataError(
                f"{source}, line {number}: expected a class in 1..{len(CLASS_NAMES)} and an end "
                f'after its start, got "{line}". {remedy}'.rstrip()
            )
        gestures.append(Gesture(label - 1, start, end))
    if not gestures:
        raise DataError(f"{source}: lists no gesture. {remedy}".rstrip())
    return gestures


def load(request: LoadRequest, *, framing: Framing = "count", downsample: int = 1) -> Dataset:
    """Load the gestures as frames ``[N, T, 2, 128 / downsample, 128 / downsample]``, uint8.

    Reads the published tar, or the folder it unpacks to: ``trials_to_train.txt`` and
    ``trials_to_test.txt`` list the trials; a trial is ``<name>.aedat`` and ``<name>_labels.csv``,
    whose lines each give one sample (1,176 training and 288 test samples in the published set).
    The frames are kept in ``request.cache_dir``.

    Args:
        request: ``timesteps`` T, 20 by default.
        framing: ``"count"`` cuts a gesture into T spans of equally many events, ``"time"`` into T
            spans of equal time.
        downsample: 1, 2, 4, ... 128: events of squares of this many pixels per side are summed.

    Raises:
        DataError: a file is missing or damaged.
        UsageError: an unknown ``framing``, or a ``downsample`` that does not divide 128.
    """
    check_framing(framing)
    if downsample < 1 or SIDE % downsample:
        raise UsageError(
            f"{NAME}: downsample must divide {SIDE} (1, 2, 4, ... {SIDE}), got {downsample}."
        )
    found = find_recordings(request.search_root)
    if found is None and request.data_dir is None and request.download:
        fetch(NAME, LICENCE, FILES, request.cache_dir / NAME)
        found = find_recordings(request.search_root)
    if found is None:
        raise not_found(NAME, request, f"{TRIAL_LISTS['train']} or {ARCHIVE_NAME}", FILES)
    archive = open_archive(found, how_to_get(FILES, request.cache_dir / NAME))
    timesteps = request.timesteps or DEFAULT_TIMESTEPS
    key = {
        "source": archive.fingerprint(),
        "timesteps": timesteps,
        "framing": framing,
        "downsample": downsample,
    }
    splits: dict[str, Split] = {}
    trials: dict[str, dict[str, list[Gesture]]] = {}
    for part in TRIAL_LISTS:
        cache = FrameCache(request.cache_dir / "decoded", f"{NAME}-{part}", key)
        stored = cache.load()
        if stored is None:
            trials = trials or _read_labels(archive)
            side = SIDE // downsample
            stored = _decode(archive, trials[part], timesteps, framing, side, cache)
        splits[part] = stored
    return Dataset(
        name=NAME,
        kind="events",
        class_names=CLASS_NAMES,
        train=splits["train"],
        test=splits["test"],
        source=f"{found}; {timesteps} frames of equal {framing}",
    )


def _base(name: str) -> str:
    return PurePosixPath(name).name


def _read_labels(archive: Archive) -> dict[str, dict[str, list[Gesture]]]:
    """Return part -> trial -> gestures, in the order of the trial lists."""
    texts = {
        _base(name): data.decode("utf-8", errors="replace")
        for name, data in archive.read(
            lambda name: name.endswith("_labels.csv") or _base(name) in TRIAL_LISTS.values()
        )
    }

    def text(name: str) -> str:
        if name not in texts:
            raise DataError(f"{archive.path}: {name} is missing. {archive.remedy}")
        return texts[name]

    trials: dict[str, dict[str, list[Gesture]]] = {}
    for part, list_name in TRIAL_LISTS.items():
        listed = [line.strip() for line in text(list_name).splitlines() if line.strip()]
        if not listed:
            raise DataError(f"{archive.source(list_name)}: lists no trial. {archive.remedy}")
        trials[part] = {}
        for trial in listed:
            labels = f"{trial.removesuffix('.aedat')}_labels.csv"
            trials[part][trial] = read_gestures(
                text(labels), archive.source(labels), remedy=archive.remedy
            )
    return trials


def _decode(
    archive: Archive,
    trials: dict[str, list[Gesture]],
    timesteps: int,
    framing: Framing,
    side: int,
    cache: FrameCache,
) -> Split:
    first_row: dict[str, int] = {}
    targets: list[int] = []
    for trial, gestures in trials.items():
        first_row[trial] = len(targets)
        targets += [gesture.label for gesture in gestures]
    report = show_progress(f"Cutting {cache.name} into frames")

    def fill(frames: Frames) -> None:
        pending = set(trials)
        for name, data in archive.read(lambda name: _base(name) in trials):
            trial = _base(name)
            recording = decode_aedat31(
                data, archive.source(name), (SIDE, SIDE), remedy=archive.remedy
            )
            smaller = recording.resized((side, side))
            for row, gesture in enumerate(trials[trial], start=first_row[trial]):
                span = smaller.between(gesture.start_us, gesture.end_us)
                if not len(span):
                    raise DataError(
                        f"{archive.source(name)}: no event from {gesture.start_us} to "
                        f"{gesture.end_us} us, where its labels have a gesture; the recording "
                        f"spans {recording.t_us[0]}..{recording.t_us[-1]} us. {archive.remedy}"
                    )
                frames[row] = make_frames(span, timesteps, framing)
            pending.discard(trial)
            report(len(trials) - len(pending), len(trials))
        if pending:
            raise DataError(
                f"{archive.path}: {min(pending)} is missing "
                f"({len(pending)} of {len(trials)} trials). {archive.remedy}"
            )

    shape = (len(targets), timesteps, 2, side, side)
    return cache.store(shape, np.array(targets, dtype=np.int64), fill)


def present(root: Path) -> bool:
    """Whether the folder of trials or the published tar is found under ``root``."""
    return find_recordings(root) is not None


ENTRY = DatasetEntry(
    name=NAME,
    kind="events",
    description="11 hand and arm gestures before an event camera, 128 x 128, 1,176 training and "
    "288 test samples",
    licence=LICENCE,
    citation="Amir et al.: A low power, fully event-based gesture recognition system, CVPR 2017",
    files=FILES,
    load=load,
    present=present,
)
