"""Download published files: announced, checked, and whole or not at all."""

import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pooch

from neuro.data.entry import RemoteFile
from neuro.data.locate import describe_size, how_to_get
from neuro.data.partial import PREFIX, remove_stale
from neuro.errors import DataError

CHUNK_BYTES = 1 << 16
TIMEOUT_S = 30


class _Progress:
    """Percentages on a terminal; silent elsewhere. The interface is the one pooch asks for."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.total = 0
        self.done = 0
        self.shown = -1
        self.on_terminal = sys.stderr.isatty()

    def update(self, count: int) -> None:
        self.done += count
        percent = min(100, 100 * self.done // self.total) if self.total else 0
        if self.on_terminal and percent != self.shown:
            self.shown = percent
            print(f"\r  {self.label} {percent:3d} %", end="", file=sys.stderr, flush=True)

    def reset(self) -> None:
        self.done = 0

    def close(self) -> None:
        if self.on_terminal:
            print(file=sys.stderr)


def fetch(name: str, licence: str, files: Sequence[RemoteFile], folder: Path) -> None:
    """Download those of ``files`` that ``folder`` lacks.

    Before each download its url, size, checksum and the licence are printed on stderr. The bytes
    go to a hidden temporary file in ``folder``, which is renamed only once size and checksum are
    right, and removed on any failure, an interrupt included. What a killed process left behind
    is removed by the next call.

    Args:
        name: the data set, for messages.
        licence: licence of the data.
        files: what to have.
        folder: where; created if absent.

    Raises:
        DataError: the server cannot be reached or refuses, the file is not what was published,
            it must be fetched by hand, or ``folder`` cannot be written.
    """
    missing = [file for file in files if not (folder / file.name).is_file()]
    by_hand = [file for file in missing if not file.direct]
    if by_hand:
        raise DataError(
            f"{name}: the publisher offers no direct download.\n{how_to_get(by_hand, folder)}"
        )
    if not missing:
        return
    try:
        folder.mkdir(parents=True, exist_ok=True)
        remove_stale(folder)
    except OSError as error:
        raise DataError(
            f"{name}: cannot write to {folder} ({error}). "
            "Set NEURO_DATA_DIR to a folder that you may write to."
        ) from error
    for number, file in enumerate(missing):
        print(
            f"Downloading {name} (licence: {licence})\n"
            f"  {file.name}: {describe_size(file.size)}, {file.checksum or 'no checksum'}\n"
            f"  from {file.url}\n"
            f"  to   {folder / file.name}",
            file=sys.stderr,
        )
        _download(name, file, folder, how_to_get(missing[number:], folder))


def _download(name: str, file: RemoteFile, folder: Path, remedy: str) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=folder, prefix=PREFIX)
    partial = Path(temporary)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            downloader = pooch.HTTPDownloader(
                progressbar=_Progress(file.name),
                chunk_size=CHUNK_BYTES,
                timeout=TIMEOUT_S,
                # The bytes as published: sizes and checksums are of these.
                headers={"Accept-Encoding": "identity"},
            )
            downloader(file.url, stream, None)
            stream.flush()
            os.fsync(stream.fileno())
        problem = _mismatch(file, partial)
        if problem:
            raise DataError(
                f"{name}: {file.url} is not the published file: {problem}. "
                f"Nothing was kept. Try again later.\n{remedy}"
            )
        # mkstemp makes files for the owner alone; a data folder may be shared.
        partial.chmod(0o644)
        partial.replace(folder / file.name)
    except OSError as error:  # requests' errors are OSErrors too
        response = getattr(error, "response", None)
        if response is not None:  # pooch leaves a refused connection open
            response.close()
        raise DataError(f"{name}: could not download {file.url}: {error}.\n{remedy}") from error
    finally:
        partial.unlink(missing_ok=True)


def _mismatch(file: RemoteFile, path: Path) -> str | None:
    """Say how ``path`` differs from what was published, or None."""
    size = path.stat().st_size
    if file.size is not None and size != file.size:
        return f"expected {file.size:,} bytes, got {size:,}"
    if file.checksum is not None:
        algorithm, _, expected = file.checksum.partition(":")
        got = pooch.file_hash(str(path), alg=algorithm)
        if got != expected:
            return f"expected {algorithm} {expected}, got {got} ({size:,} bytes)"
    return None
