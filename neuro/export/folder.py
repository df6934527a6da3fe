"""An export is a folder that stands by itself: what was made, of what, and samples to prove it.

manifest.json            what it is, the SHA-256 of every other file, and the report
graph.json  graph.npz    the integer graph                  (all but NIR)
placement.json           cores, and what each uses          (all but NIR)
samples.npz              test samples as the chip receives them, with targets
network.net              for netx
network.nir              for readers of NIR
lava/                    a job for Lava: `python lava/runner.py lava`
"""

import hashlib
import json
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuro import __version__
from neuro.errors import DataError, UsageError
from neuro.hardware.integer_graph import IntegerGraph, read_graph

Form = Literal["loihi", "lava", "netx", "nir"]
FORMS: tuple[Form, ...] = ("loihi", "lava", "netx", "nir")
VERSION = 1
MANIFEST = "manifest.json"
SAMPLES = "samples.npz"
_TARGETS = "targets"
_INPUT = "input."


@dataclass(frozen=True, eq=False)
class Samples:
    """Test samples.

    Args:
        inputs: by source, ``[T, B, *shape]``: messages of an integer graph, real numbers for NIR.
        targets: ``[B]``, what each shows.
    """

    inputs: Mapping[str, NDArray[Any]]
    targets: NDArray[np.int64]

    def first(self, count: int | None) -> "Samples":
        """Return the first so many; all for None."""
        inputs = {name: array[:, :count] for name, array in self.inputs.items()}
        return Samples(inputs, self.targets[:count])

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True, eq=False)
class Export:
    """An export folder that was read and found whole.

    Args:
        folder: where it lies.
        manifest: all it says.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @property
    def form(self) -> Form:
        """What it was made for."""
        form: Form = self.manifest["to"]
        return form

    def graph(self) -> IntegerGraph:
        """Read the integer graph."""
        return read_graph(self.folder)

    def samples(self) -> Samples:
        """Read the test samples."""
        with np.load(self.folder / SAMPLES, allow_pickle=False) as stored:
            inputs = {
                name.removeprefix(_INPUT): stored[name]
                for name in stored.files
                if name.startswith(_INPUT)
            }
            return Samples(inputs, stored[_TARGETS])


def check_place(folder: Path) -> None:
    """Check that an export may be written to a folder.

    Raises:
        UsageError: something is there already.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UsageError(f"{folder} exists and is not empty. Name another with --output.")


def write_samples(samples: Samples, folder: Path) -> None:
    """Write test samples into an export folder."""
    arrays: dict[str, Any] = {_TARGETS: samples.targets}
    arrays |= {f"{_INPUT}{name}": array for name, array in samples.inputs.items()}
    with (folder / SAMPLES).open("wb") as file:
        np.savez_compressed(file, **arrays)


class Folder:
    """A folder that is there, whole, when its block ends, and not at all if that fails."""

    def __init__(self, folder: Path) -> None:
        check_place(folder)
        self._folder = folder
        folder.parent.mkdir(parents=True, exist_ok=True)
        self.path = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        self.record: dict[str, Any] = {}
        """What the manifest says besides checksums."""

    def __enter__(self) -> "Folder":
        return self

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is not None:
            shutil.rmtree(self.path, ignore_errors=True)
            return
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        checksums = {str(path.relative_to(self.path)): _sha256(path) for path in files}
        manifest = {"version": VERSION, "neuro": __version__, **self.record, "files": checksums}
        text = json.dumps(manifest, indent=2, allow_nan=False) + "\n"
        (self.path / MANIFEST).write_text(text, encoding="utf-8")
        self.path.chmod(0o755)
        if self._folder.exists():
            self._folder.rmdir()
        self.path.rename(self._folder)


def read_export(folder: Path) -> Export:
    """Open an export folder and check every file of it.

    Raises:
        DataError: it is no export, of another version, or a file is missing or was changed.
    """
    path = folder / MANIFEST
    try:
        manifest = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{folder} is no export: it has no {MANIFEST}. `neuro export RUN --output {folder}` "
            "makes one."
        ) from None
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: cannot be read: {error}.") from error
    if not isinstance(manifest, dict) or manifest.get("version") != VERSION:
        raise DataError(f"{path}: not an export of version {VERSION}; export again.")
    if manifest.get("to") not in FORMS or not isinstance(manifest.get("files"), dict):
        raise DataError(f"{path}: incomplete; export again.")
    for name, checksum in manifest["files"].items():
        file = folder / name
        if not file.is_file():
            raise DataError(f"{file} is missing; export again.")
        if _sha256(file) != checksum:
            raise DataError(
                f"{file} is damaged or was changed: its checksum is not that of {MANIFEST}. "
                "Export again."
            )
    return Export(folder, manifest)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
