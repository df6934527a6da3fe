"""Where the other frameworks' readers are."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="session")
def readers_python() -> str:
    """The interpreter that has the readers: $NEURO_NIR_READERS, or that of `make nir-readers`."""
    asked = os.environ.get("NEURO_NIR_READERS")
    python = Path(asked) if asked else REPOSITORY / ".venv-readers" / "bin" / "python"
    if not python.exists():
        if asked:
            pytest.fail(f"NEURO_NIR_READERS={asked} is no interpreter")
        pytest.skip(f"no NIR readers at {python}; `make nir-readers` installs them")
    return str(python)
