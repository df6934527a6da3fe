"""Recordings kept in a folder, a zip or a tar: read in place, nothing is unpacked on disk."""

import tarfile
import zipfile
import zlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from neuro.errors import DataError

Wanted = Callable[[str], bool]


class Archive(ABC):
    """Files by their path inside ``path``, with ``/`` between folders.

    Args:
        path: the folder or the packed file.
        remedy: a sentence for error messages: how to get the right file.
    """

    def __init__(self, path: Path, remedy: str = "") -> None:
        self.path = path
        self.remedy = remedy

    @abstractmethod
    def names(self) -> list[str]:
        """Names of all files, sorted."""

    @abstractmethod
    def read(self, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
        """Yield name and contents of every file whose name is wanted, in the archive's order.

        Raises:
            DataError: a file cannot be read or the archive is damaged.
        """

    @abstractmethod
    def fingerprint(self) -> dict[str, Any]:
        """JSON values that change when the files do."""

    def source(self, name: str) -> str:
        """How messages call the file ``name``."""
        return f"{self.path}/{name}"

    def damaged(self, error: BaseException) -> DataError:
        """The error for an archive that cannot be read."""
        return DataError(f"{self.path}: cannot be read ({error}). {self.remedy}".rstrip())


class FolderArchive(Archive):
    """A folder and all below it."""

    def names(self) -> list[str]:
        return sorted(
            path.relative_to(self.path).as_posix()
            for path in self.path.rglob("*")
            if path.is_file()
        )

    def read(self, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
        for name in self.names():
            if wanted(name):
                try:
                    data = (self.path / name).read_bytes()
                except OSError as error:
                    raise DataError(
                        f"{self.source(name)}: cannot be read ({error}). {self.remedy}".rstrip()
                    ) from error
                yield name, data

    def fingerprint(self) -> dict[str, Any]:
        facts = [path.stat() for path in self.path.rglob("*") if path.is_file()]
        return {
            "path": str(self.path.resolve()),
            "files": len(facts),
            "bytes": sum(fact.st_size for fact in facts),
            "newest": max((fact.st_mtime_ns for fact in facts), default=0),
        }


class _PackedArchive(Archive):
    def fingerprint(self) -> dict[str, Any]:
        facts = self.path.stat()
        return {
            "path": str(self.path.resolve()),
            "bytes": facts.st_size,
            "newest": facts.st_mtime_ns,
        }


class ZipArchive(_PackedArchive):
    """A zip file."""

    def names(self) -> list[str]:
        try:
            with zipfile.ZipFile(self.path) as packed:
                return sorted(name for name in packed.namelist() if not name.endswith("/"))
        except (zipfile.BadZipFile, OSError) as error:
            raise self.damaged(error) from error

    def read(self, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
        try:
            with zipfile.ZipFile(self.path) as packed:
                for name in sorted(packed.namelist()):
                    if not name.endswith("/") and wanted(name):
                        yield name, packed.read(name)
        except (zipfile.BadZipFile, zlib.error, EOFError, OSError) as error:
            raise self.damaged(error) from error


class TarArchive(_PackedArchive):
    """A tar file, plain or compressed; each call reads it from its start."""

    def names(self) -> list[str]:
        try:
            with tarfile.open(self.path, "r|*") as packed:
                return sorted(member.name for member in packed if member.isfile())
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise self.damaged(error) from error

    def read(self, wanted: Wanted) -> Iterator[tuple[str, bytes]]:
        try:
            with tarfile.open(self.path, "r|*") as packed:
                for member in packed:
                    if member.isfile() and wanted(member.name):
                        stream = packed.extractfile(member)
                        if stream is not None:
                            yield member.name, stream.read()
        except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
            raise self.damaged(error) from error


def open_archive(path: Path, remedy: str = "") -> Archive:
    """Choose by what ``path`` is: a folder, a ``.zip``, else a tar."""
    if path.is_dir():
        return FolderArchive(path, remedy)
    return ZipArchive(path, remedy) if path.suffix == ".zip" else TarArchive(path, remedy)
