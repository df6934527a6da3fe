"""Errors a user can cause or mend; each message says what, where, and what to do about it."""

from collections.abc import Iterable
from difflib import get_close_matches


class NeuroError(Exception):
    """A failure with a clear cause. ``exit_code`` is what the command line returns for it."""

    exit_code = 1


class UsageError(NeuroError):
    """The request itself is wrong: an unknown name, an option that does not fit."""

    exit_code = 2


class ConfigError(UsageError):
    """A configuration key or value is wrong."""


class DataError(NeuroError):
    """A data file is missing, truncated, or not what it should be."""


class CheckpointError(NeuroError):
    """A checkpoint or run folder cannot be read, or belongs to another configuration."""


class DivergedError(NeuroError):
    """Training produced NaN or infinity; the message names the step and the layer."""


class MissingPackageError(NeuroError):
    """An optional package is needed and absent."""

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(
            f'{package} is not installed. Install it with: pip install "neuro-snn[{extra}]"'
        )
        self.package = package
        self.extra = extra


def nearest(name: str, choices: Iterable[str]) -> str:
    """Return ``' Did you mean "x"?'`` for the choice closest to ``name``, or an empty string."""
    close = get_close_matches(name, list(choices), n=1, cutoff=0.5)
    return f' Did you mean "{close[0]}"?' if close else ""
