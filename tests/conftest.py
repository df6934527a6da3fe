"""What every test shares: where the real data lie, and threads that leave idle cores alone."""

import os
import signal
from pathlib import Path

import pytest

# Read when torch is loaded, here and in every process a test starts. Waiting threads otherwise
# spin, and on cores that anything else uses each small operation can stall for tens of ms.
os.environ.setdefault("OMP_WAIT_POLICY", "passive")

import torch

# Without a GPU Triton kernels are tested in their interpreter; Triton asks when it is loaded.
if not torch.cuda.is_available():
    os.environ.setdefault("TRITON_INTERPRET", "1")

# A shell's background job ignores SIGINT, and so would every process a test starts and interrupts.
signal.signal(signal.SIGINT, signal.default_int_handler)

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
