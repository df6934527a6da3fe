"""What every test shares: where the real data lies, and determinism."""

import os
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def test_data() -> Path:
    """Folder of real data sets: $NEURO_TEST_DATA, or ../shared/data beside the checkout."""
    asked = os.environ.get("NEURO_TEST_DATA")
    folder = Path(asked) if asked else REPOSITORY.parent / "shared" / "data"
    if not folder.is_dir():
        if asked:
            pytest.fail(f"NEURO_TEST_DATA={asked} is not a folder")
        pytest.skip(f"no real data at {folder}; set NEURO_TEST_DATA to the folder that holds it")
    return folder
