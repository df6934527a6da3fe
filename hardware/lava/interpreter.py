"""Which Python has Lava: it need not be the one that runs neuro."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from neuro.errors import NeuroError

VARIABLE = "NEURO_LAVA_PYTHON"
HOW = (
    "Run `make lava` in a checkout of neuro, which makes an environment of its own for it, or name "
    f"a Python that has lava-nc and scipy: --lava-python PATH or {VARIABLE}=PATH."
)

_WITHOUT = "has no lava-nc"
_PATIENCE_S = 60
_ASK = """
import json, sys
from importlib.metadata import PackageNotFoundError, version
def of(name):
    try:
        return version(name)
    except PackageNotFoundError:
        return None
names = ("lava-nc", "lava-dl", "numpy")
print(json.dumps([sys.version.split()[0], *map(of, names)]))
"""


class LavaMissingError(NeuroError):
    """No interpreter has Lava, or the one that was named has not."""


@dataclass(frozen=True, kw_only=True)
class Interpreter:
    """A Python that has Lava.

    Args:
        path: of the executable.
        chosen_by: why it is this one.
        python: its version.
        lava: version of lava-nc.
        lava_dl: version of lava-dl, which has netx; None where it is missing.
        numpy: version of its numpy.
    """

    path: Path
    chosen_by: str
    python: str
    lava: str
    lava_dl: str | None
    numpy: str | None


def find_interpreter(named: Path | str | None = None) -> Interpreter:
    """Return the Python to run Lava with.

    The one that is named, else that of the environment variable; one of these must have Lava. Else
    the first that has it of ``.venv-lava`` beside the environment of neuro, ``.venv-lava`` in the
    checkout, and the Python that runs neuro.

    Raises:
        LavaMissingError: there is none; the message says where it was sought, and how to get it.
    """
    asked = [(named, "as named"), (os.environ.get(VARIABLE) or None, f"by {VARIABLE}")]
    for path, chosen_by in asked:
        if path is not None:
            found = _described(Path(path), chosen_by)
            if isinstance(found, str):
                raise LavaMissingError(f"{path}, chosen {chosen_by}, {found}. {HOW}")
            return found
    sought = []
    for candidate, chosen_by in _candidates():
        found = _described(candidate, chosen_by)
        if not isinstance(found, str):
            return found
        sought.append(f"{candidate}, which {found}")
    raise LavaMissingError(f"Lava is not installed (sought in {'; '.join(sought)}). {HOW}")


def _candidates() -> Iterator[tuple[Path, str]]:
    """Yield what could have Lava; the Python that runs neuro only if it has."""
    checkout = Path(__file__).resolve().parents[2]
    beside = Path(f"{sys.prefix}-lava") / "bin" / "python"
    yield beside, "beside the environment of neuro"
    inside = checkout / ".venv-lava" / "bin" / "python"
    if inside != beside:
        yield inside, "in the checkout of neuro"
    yield Path(sys.executable), "the Python that runs neuro"


def _described(path: Path, chosen_by: str) -> Interpreter | str:
    """Return what an executable says of itself, or why it is none to run Lava with."""
    if path == Path(sys.executable) and find_spec("lava") is None:
        return _WITHOUT
    if not path.exists():
        return "is not there"
    try:
        told = subprocess.run(
            [path, "-c", _ASK],
            capture_output=True,
            text=True,
            timeout=_PATIENCE_S,
            check=True,
            stdin=subprocess.DEVNULL,
        )
        python, lava, lava_dl, numpy = json.loads(told.stdout)
    except subprocess.TimeoutExpired:
        return f"did not answer within {_PATIENCE_S} s"
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        return f"does not answer as a Python does ({type(error).__name__})"
    if lava is None:
        return _WITHOUT
    return Interpreter(
        path=path, chosen_by=chosen_by, python=python, lava=lava, lava_dl=lava_dl, numpy=numpy
    )
