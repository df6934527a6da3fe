"""Find a data set's files in the layouts people keep them in."""

from collections.abc import Iterable, Sequence
from pathlib import Path

from neuro.data.entry import LoadRequest, RemoteFile
from neuro.errors import DataError


def existing_folders(root: Path, layouts: Sequence[str]) -> list[Path]:
    """Folders ``root/<layout>`` that exist, in the order of ``layouts`` (``""`` is root)."""
    return [folder for layout in layouts if (folder := root / layout).is_dir()]


def first_file(folder: Path, names: Iterable[str]) -> Path | None:
    """The first of ``names`` that is a file in ``folder``, or None."""
    return next((path for name in names if (path := folder / name).is_file()), None)


def describe_size(size: int | None) -> str:
    """``12345`` -> ``"12,345 bytes"``; None -> ``"size not published"``."""
    return "size not published" if size is None else f"{size:,} bytes"


def how_to_get(files: Sequence[RemoteFile], folder: Path) -> str:
    """Sentences that tell a user which files to put where, one line per file."""
    lines = [f"To get it, put into {folder} (or name their folder with --data-dir):"]
    lines += [
        f"  {file.name}  from {file.url}  ({describe_size(file.size)}"
        + (f", {file.checksum})" if file.checksum else ")")
        for file in files
    ]
    return "\n".join(lines)


def not_found(
    name: str, request: LoadRequest, looked_for: str, files: Sequence[RemoteFile]
) -> DataError:
    """The error for a data set of which nothing was found."""
    if request.data_dir is not None:
        remedy = (
            f"Nothing is downloaded into a folder that you name: leave --data-dir out to "
            f"download to {request.cache_dir / name}."
        )
    else:
        remedy = "Downloading is switched off."
    return DataError(
        f"{name}: no {looked_for} under {request.search_root}. {remedy}\n"
        + how_to_get(files, request.cache_dir / name)
    )
