"""Which Python has the frameworks that read NIR: it need not be the one that runs neuro."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

READERS = ("norse", "snntorch", "spikingjelly", "sinabs")
VARIABLE = "NEURO_NIR_READERS"
HOW = (
    "Run `make nir-readers` in a checkout of neuro, which makes an environment of its own for "
    f"them, or name a Python that has them: {VARIABLE}=PATH."
)

_ASK = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
def of(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None
print(json.dumps({name: of(name) for name in sys.argv[1:]}))
"""


@dataclass(frozen=True, kw_only=True)
class Readers:
    """A Python, and which readers it has.

    Args:
        path: of the executable.
        chosen_by: why it is this one.
        versions: of every reader; None where it is missing.
    """

    path: Path
    chosen_by: str
    versions: Mapping[str, str | None]

    @property
    def missing(self) -> tuple[str, ...]:
        """The readers it does not have."""
        return tuple(name for name, version in self.versions.items() if version is None)


def find_readers(named: Path | str | None = None) -> Readers:
    """Return the Python to read NIR with, and what it has.

    The one that is named, else that of the environment variable, else the first that is there of
    ``.venv-readers`` beside the environment of neuro, ``.venv-readers`` in the checkout, and the
    Python that runs neuro.
    """
    asked = [(named, "as named"), (os.environ.get(VARIABLE) or None, f"by {VARIABLE}")]
    for path, chosen_by in asked:
        if path is not None:
            return _described(Path(path), chosen_by)
    for candidate, chosen_by in _candidates():
        if candidate.exists():
            return _described(candidate, chosen_by)
    return _described(Path(sys.executable), "the Python that runs neuro")


def _candidates() -> Iterator[tuple[Path, str]]:
    checkout = Path(__file__).resolve().parents[2]
    yield Path(f"{sys.prefix}-readers") / "bin" / "python", "beside the environment of neuro"
    yield checkout / ".venv-readers" / "bin" / "python", "in the checkout of neuro"


def _described(path: Path, chosen_by: str) -> Readers:
    none: dict[str, str | None] = dict.fromkeys(READERS)
    try:
        told = subprocess.run(
            [path, "-c", _ASK, *READERS],
            capture_output=True,
            text=True,
            timeout=60,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        versions = {name: json.loads(told.stdout)[name] for name in READERS}
    except (OSError, ValueError, KeyError, TypeError, subprocess.SubprocessError):
        versions = none
    return Readers(path=path, chosen_by=chosen_by, versions=versions)
