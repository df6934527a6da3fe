"""Frames on disk: made once, then mapped into memory.

The frames of a split lie in a folder ``<name>-<hash of the key>``: ``frames.npy``,
``targets.npy``, and ``key.json``, which names every parameter they depend on. The folder is
written under a hidden name, synced and renamed, so one with its final name is complete.
"""

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from neuro.data.dataset import Split
from neuro.data.partial import PREFIX, remove_stale
from neuro.errors import DataError

# Part of every key: to be raised when the meaning of stored frames changes.
FORMAT = 1

Frames = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class FrameCache:
    """The stored frames of one split.

    Args:
        folder: where the split's folder lies; created when frames are stored.
        name: the readable part of the split's folder name.
        key: JSON values that name the source and every parameter; other values, other frames.
    """

    folder: Path
    name: str
    key: Mapping[str, Any]

    @property
    def path(self) -> Path:
        """The split's folder."""
        digest = hashlib.sha256(self._key_text.encode()).hexdigest()
        return self.folder / f"{self.name}-{digest[:16]}"

    @property
    def _key_text(self) -> str:
        return json.dumps({"format": FORMAT, **self.key}, indent=1, sort_keys=True) + "\n"

    def load(self) -> Split | None:
        """Map the stored frames into memory.

        Returns:
            None when there are none; also when they are damaged, which is said on stderr.
        """
        if not self.path.is_dir():
            return None
        try:
            # "c", copy on write: torch wants writable memory, and nothing reaches the file
            frames = np.load(self.path / "frames.npy", mmap_mode="c", allow_pickle=False)
            targets = np.load(self.path / "targets.npy", allow_pickle=False)
            return Split(torch.from_numpy(frames), torch.from_numpy(targets))
        except (OSError, ValueError, TypeError, EOFError, DataError) as error:
            print(f"Making frames again: {self.path} is damaged ({error})", file=sys.stderr)
            return None

    def store(
        self,
        shape: tuple[int, ...],
        targets: npt.NDArray[np.int64],
        fill: Callable[[Frames], None],
    ) -> Split:
        """Make frames and store them.

        Args:
            shape: of all frames, ``[N, T, ...]``.
            targets: classes ``[N]``.
            fill: writes every frame into the array it is given (zeros, on disk). When it raises,
                nothing is kept.

        Returns:
            What :meth:`load` returns from now on.

        Raises:
            DataError: the folder cannot be written, or its disk is full.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            remove_stale(self.folder)
            partial = Path(tempfile.mkdtemp(dir=self.folder, prefix=PREFIX))
            try:
                self._write(partial, shape, targets, fill)
                self._publish(partial)
            finally:
                shutil.rmtree(partial, ignore_errors=True)
        except OSError as error:
            raise DataError(
                f"Cannot store frames in {self.folder} ({error}); they take "
                f"{int(np.prod(shape)):,} bytes. Free space there, or set NEURO_DATA_DIR to a "
                "folder with more of it."
            ) from error
        split = self.load()
        if split is None:
            raise DataError(f"{self.path} was removed or changed while it was in use.")
        return split

    def _write(
        self,
        partial: Path,
        shape: tuple[int, ...],
        targets: npt.NDArray[np.int64],
        fill: Callable[[Frames], None],
    ) -> None:
        frames_path = partial / "frames.npy"
        frames = np.lib.format.open_memmap(frames_path, mode="w+", dtype=np.uint8, shape=shape)
        if hasattr(os, "posix_fallocate"):
            # Take the space now: writing to a map of a full disk ends the process by SIGBUS.
            with frames_path.open("r+b") as stream:
                os.posix_fallocate(stream.fileno(), 0, frames_path.stat().st_size)
        fill(frames)
        frames.flush()
        np.save(partial / "targets.npy", targets, allow_pickle=False)
        (partial / "key.json").write_text(self._key_text)
        for path in partial.iterdir():
            with path.open("rb") as stream:
                os.fsync(stream.fileno())

    def _publish(self, partial: Path) -> None:
        # mkdtemp makes folders for the owner alone; a data folder may be shared
        partial.chmod(0o755)
        if self.path.is_dir() and self.load() is None:
            shutil.rmtree(self.path, ignore_errors=True)
        try:
            partial.rename(self.path)
        except OSError:
            # Another process may have been first with the same frames: keep those.
            if not self.path.is_dir():
                raise
