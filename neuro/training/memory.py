"""Peak memory of this process, and the memory allocator of the C library.

A training step frees and asks again for the same few large blocks. By default glibc returns blocks
above 32 MB to the system at once and gets them back zeroed, page fault by page fault; told to keep
them, a step does not touch the system at all.
"""

import ctypes
import os
import platform
import re
import resource
import sys
from pathlib import Path
from typing import NamedTuple

import torch

MALLOC_VARIABLE = "NEURO_MALLOC"
_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_MMAP_THRESHOLD_BYTES = 2**30
_TRIM_THRESHOLD_BYTES = 2**31 - 1
_MEBIBYTE = 2**20
_STATUS = Path("/proc/self/status")


class MallocSetting(NamedTuple):
    """Whether freed memory is kept, and why (not)."""

    tuned: bool
    reason: str


def malloc_plan() -> MallocSetting:
    """Return what :func:`tune_malloc` would do here, without doing it.

    ``NEURO_MALLOC=default`` leaves the allocator alone; unset, or ``NEURO_MALLOC=tuned``, keeps
    freed blocks up to 1 GiB in the process.
    """
    wish = os.environ.get(MALLOC_VARIABLE, "tuned")
    if wish == "default":
        return MallocSetting(False, f"left alone by {MALLOC_VARIABLE}=default")
    if wish != "tuned":
        return MallocSetting(
            False, f'left alone: {MALLOC_VARIABLE}="{wish}" is neither "tuned" nor "default"'
        )
    if platform.libc_ver()[0] != "glibc":
        return MallocSetting(False, "left alone: the C library is not glibc")
    return MallocSetting(True, "`neuro train` keeps freed blocks up to 1 GiB (glibc mallopt)")


def tune_malloc() -> MallocSetting:
    """Tell glibc to keep freed blocks, as :func:`malloc_plan` says."""
    plan = malloc_plan()
    if not plan.tuned:
        return plan
    mallopt = ctypes.CDLL(None).mallopt
    accepted = mallopt(_M_MMAP_THRESHOLD, _MMAP_THRESHOLD_BYTES) and mallopt(
        _M_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES
    )
    if not accepted:
        return MallocSetting(False, "glibc refused the thresholds (mallopt returned 0)")
    return plan


def reset_peak_memory(device: torch.device) -> None:
    """Start a new measurement, so far as the system allows (Linux and CUDA do)."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    elif _STATUS.exists():
        try:
            Path("/proc/self/clear_refs").write_text("5")
        except OSError:  # some containers forbid it; the peak then counts from process start
            return


def peak_memory_mb(device: torch.device) -> float:
    """Return the peak in units of 2^20 bytes: resident memory on a CPU, allocated on a GPU.

    On Linux the peak is ``VmHWM``: unlike ``ru_maxrss`` it does not include what the parent
    process held when it started this one.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / _MEBIBYTE
    if _STATUS.exists():
        found = re.search(r"^VmHWM:\s+(\d+) kB", _STATUS.read_text(), re.MULTILINE)
        if found:
            return int(found[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / _MEBIBYTE if sys.platform == "darwin" else peak / 1024
