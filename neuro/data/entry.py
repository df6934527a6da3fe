"""What a data set declares about itself: where it comes from, and how it is loaded.

A loader is called as ``entry.load(request, **options)``; its keyword-only parameters are the
options a user may set. It reads ``request.data_dir`` when one is given (and never writes there),
else ``request.cache_dir``, where downloads and decoded copies go.
"""

import inspect
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import platformdirs

from neuro.data.dataset import Dataset, Kind
from neuro.errors import DataError, UsageError, nearest

DATA_DIR_VARIABLE = "NEURO_DATA_DIR"


def default_data_dir() -> Path:
    """``$NEURO_DATA_DIR`` if set, else the user's cache folder for ``neuro``."""
    chosen = os.environ.get(DATA_DIR_VARIABLE)
    if chosen:
        return Path(chosen).expanduser()
    return Path(platformdirs.user_cache_dir("neuro"))


@dataclass(frozen=True)
class RemoteFile:
    """A published file.

    Args:
        name: file name in the data set's folder.
        url: where it is downloaded from.
        size: bytes, or None where the publisher names none.
        checksum: ``"md5:<hex>"`` or ``"sha256:<hex>"``, or None where none is published.
        direct: False when ``url`` is a page that a person must visit (registration, a form).
    """

    name: str
    url: str
    size: int | None = None
    checksum: str | None = None
    direct: bool = True


@dataclass(frozen=True)
class LoadRequest:
    """What a user asked for.

    Args:
        data_dir: the only place to look for files, never written to; None = ``cache_dir``.
        cache_dir: downloads go to ``cache_dir/<name>``, decoded copies to ``cache_dir/decoded``.
        timesteps: frames per sample of event data; None = the data set's default.
        download: whether missing files may be downloaded (only when ``data_dir`` is None).
    """

    data_dir: Path | None
    cache_dir: Path
    timesteps: int | None = None
    download: bool = True

    @property
    def search_root(self) -> Path:
        """The folder to look for files in.

        Raises:
            DataError: the user named a folder that does not exist.
        """
        if self.data_dir is None:
            return self.cache_dir
        if not self.data_dir.is_dir():
            raise DataError(
                f"Data folder {self.data_dir} does not exist or is not a folder. "
                "Give an existing one, or leave it out to use the download folder."
            )
        return self.data_dir


@dataclass(frozen=True, kw_only=True)
class DatasetEntry:
    """One data set of the registry.

    Args:
        name: the name users ask for.
        kind: static images or event recordings.
        description: one line: what it is, how many samples, what shape.
        licence: licence of the data.
        citation: authors, title, year.
        files: what is downloaded; empty for embedded and generated sets.
        load: ``load(request, **options) -> Dataset``.
        present: ``present(root)`` is True when ``root`` (a ``data_dir`` or the cache folder)
            holds all files; never raises for a missing folder.
    """

    name: str
    kind: Kind
    description: str
    licence: str
    citation: str
    files: tuple[RemoteFile, ...] = ()
    load: Callable[..., Dataset]
    present: Callable[[Path], bool]

    @property
    def options(self) -> tuple[str, ...]:
        """Names of the options ``load`` takes: its keyword-only parameters."""
        return tuple(self._option_types())

    def checked_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return ``options`` converted to the types that ``load`` declares for them.

        Raises:
            UsageError: an option that ``load`` does not take, or a value of another type.
        """
        # Only those who set options wait for pydantic.
        from pydantic import TypeAdapter, ValidationError

        types = self._option_types()
        checked = {}
        for option, value in options.items():
            if option not in types:
                raise UsageError(
                    f'{self.name} has no option "{option}".{nearest(option, types)} '
                    f"It has: {', '.join(types) or 'none'}."
                )
            try:
                checked[option] = TypeAdapter(types[option]).validate_python(value)
            except ValidationError as error:
                reason = "; ".join(detail["msg"] for detail in error.errors())
                raise UsageError(
                    f"{self.name}: option {option} cannot be {value!r}: {reason}."
                ) from error
        return checked

    def _option_types(self) -> dict[str, Any]:
        parameters = inspect.signature(self.load, eval_str=True).parameters.values()
        return {p.name: p.annotation for p in parameters if p.kind is p.KEYWORD_ONLY}
