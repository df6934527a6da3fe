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
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuro import __version__
from neuro.errors import DataError, NeuroError, UsageError
from neuro.hardware.integer_graph import IntegerGraph, read_graph

Form = Literal["loihi", "lava", "netx", "nir"]
FORMS: tuple[Form, ...] = ("loihi", "lava", "netx", "nir")
VERSION = 1
MANIFEST = "manifest.json"
SAMPLES = "samples.npz"
NET = "network.net"
NIR = "network.nir"
_INTEGERS = ("graph.json", "graph.npz", "placement.json", SAMPLES)
NEEDED: dict[Form, tuple[str, ...]] = {
    "loihi": _INTEGERS,
    "lava": (
        *_INTEGERS,
        *(f"lava/{name}" for name in ("graph.json", "graph.npz", "inputs.npz", "job.json")),
        *(f"lava/{name}" for name in ("runner.py", "shim.py")),
    ),
    "netx": (*_INTEGERS, NET),
    "nir": (NIR, SAMPLES),
}
"""Every file of an export, by form; the manifest besides."""
_TARGETS = "targets"
_INPUT = "input."


@dataclass(frozen=True, eq=False)
class Samples:
    """Test samples.

    Args:
        inputs: by source, ``[T, B, *shape]``: messages of an integer graph, real numbers for NIR;
            none where a graph has no sources.
        targets: ``[B]``, what each shows.
    """

    inputs: Mapping[str, NDArray[Any]]
    targets: NDArray[np.int64]

    def first(self, count: int | None) -> "Samples":
        """Return the first so many; all for None.

        Raises:
            UsageError: there are not so many.
        """
        if count is not None and not 1 <= count <= len(self):
            raise UsageError(
                f"--samples {count}: the export holds 1 to {len(self)}; `neuro export --samples N` "
                "keeps more."
            )
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
        """Read the test samples.

        Raises:
            DataError: they are damaged.
        """
        path = self.folder / SAMPLES
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                arrays = {name: stored[name] for name in stored.files}
            targets = arrays.pop(_TARGETS)
        except (OSError, EOFError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: damaged: {error}. Export again.") from error
        except (zipfile.BadZipFile, zlib.error) as error:
            raise DataError(f"{path}: damaged: {error}. Export again.") from error
        inputs = {name.removeprefix(_INPUT): array for name, array in arrays.items()}
        if any(x.ndim < 2 or x.shape[1] != len(targets) for x in inputs.values()):
            raise DataError(f"{path}: not as many inputs as targets. Export again.")
        return Samples(inputs, targets)


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
    """A folder that is there, whole, when its block ends, and not at all if that fails.

    Args:
        folder: to be made; empty, if it is there.

    Raises:
        UsageError: something is there already, or it cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        check_place(folder)
        self._shown, self._folder = folder, folder.resolve()
        self.record: dict[str, Any] = {}
        """What the manifest says besides checksums."""

    def __enter__(self) -> "Folder":
        parent = self._folder.parent
        self._made = [each for each in (parent, *parent.parents) if not each.exists()]
        try:
            parent.mkdir(parents=True, exist_ok=True)
            self._scratch = tempfile.TemporaryDirectory(prefix=f".{self._folder.name}.", dir=parent)
            self.path = Path(self._scratch.name) / self._folder.name
            self.path.mkdir()
        except OSError as error:
            self._remove_parents()
            raise UsageError(
                f"cannot write {self._shown}: {error.strerror}. Name another with --output."
            ) from error
        return self

    def __exit__(self, kind: object, error: object, _: object) -> None:
        try:
            if kind is None:
                self._finish()
        except OSError as failure:
            error = failure
        finally:
            self._scratch.cleanup()
            if not self._folder.exists():
                self._remove_parents()
        if isinstance(error, OSError):
            raise NeuroError(
                f"cannot write {self._shown}: {error.strerror or error}. Nothing of it was left."
            ) from error

    def _finish(self) -> None:
        files = sorted(path for path in self.path.rglob("*") if path.is_file())
        checksums = {path.relative_to(self.path).as_posix(): _sha256(path) for path in files}
        manifest = {"version": VERSION, "neuro": __version__, **self.record, "files": checksums}
        text = json.dumps(manifest, indent=2, allow_nan=False) + "\n"
        (self.path / MANIFEST).write_text(text, encoding="utf-8")
        self.path.rename(self._folder)

    def _remove_parents(self) -> None:
        for parent in self._made:
            if parent.is_dir() and not any(parent.iterdir()):
                parent.rmdir()


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
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise DataError(f"{path}: damaged, not JSON: {error}. Export again.") from error
    if not isinstance(manifest, dict) or "version" not in manifest:
        raise DataError(f"{path}: not the manifest of an export; export again.")
    if manifest["version"] != VERSION:
        raise DataError(
            f"{path}: an export of version {manifest['version']}; this neuro reads version "
            f"{VERSION}. Export again."
        )
    _check_manifest(manifest, path)
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


def _check_manifest(manifest: Mapping[str, Any], path: Path) -> None:
    form, files = manifest.get("to"), manifest.get("files")
    if form not in FORMS:
        raise DataError(f"{path}: made for {form!r}; expected one of {', '.join(FORMS)}.")
    if not isinstance(files, dict):
        raise DataError(f"{path}: incomplete: it lists no files; export again.")
    for name in NEEDED[form]:
        if name not in files:
            raise DataError(f"{path}: incomplete: it does not list {name}; export again.")
    for key in ("dialect",) if form == "nir" else ("profile",):
        if not isinstance(manifest.get(key), str):
            raise DataError(f"{path}: incomplete: it does not say its {key}; export again.")


def _sha256(path: Path) -> str:
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}.") from error
