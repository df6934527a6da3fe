"""Hidden names for what is being written, and clearing what a killed process left of it."""

import shutil
import time
from pathlib import Path

PREFIX = ".partial-"
# A writer touches its file every few seconds; an hour without a change means that it is gone.
STALE_AFTER_S = 3600


def remove_stale(folder: Path) -> None:
    """Remove files and folders in ``folder`` that were being written and have been given up."""
    for path in folder.glob(f"{PREFIX}*"):
        if time.time() - path.stat().st_mtime < STALE_AFTER_S:
            continue
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
