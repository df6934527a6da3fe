"""Say on a terminal how far a long decoding or simulation is."""

import sys
from collections.abc import Callable

Progress = Callable[[int, int], None]


def show_progress(label: str) -> Progress:
    """Return ``report(done, total)``: percentages on stderr, silent when it is no terminal."""
    shown = -1

    def report(done: int, total: int) -> None:
        nonlocal shown
        percent = 100 * done // max(total, 1)
        if sys.stderr.isatty() and percent != shown:
            shown = percent
            end = "\n" if done >= total else ""
            print(f"\r  {label} {percent:3d} %", end=end, file=sys.stderr, flush=True)

    return report
