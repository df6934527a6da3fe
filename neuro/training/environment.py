"""On what a run was made: versions, machine, commit, threads; written beside its results."""

import contextlib
import os
import platform
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

import neuro
from neuro.training.seeds import seed_for

PACKAGES = ("torch", "numpy", "numba", "safetensors", "pydantic", "scikit-learn", "h5py")


def describe_environment(device: torch.device) -> dict[str, Any]:
    """Return versions, machine and commit as plain values."""
    return {
        "time": datetime.now(UTC).isoformat(timespec="seconds"),
        "neuro": neuro.__version__,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "packages": {name: package_version(name) for name in PACKAGES},
        "platform": platform.platform(),
        "machine": platform.machine(),
        "cpu": cpu_model(),
        "cpus": os.cpu_count(),
        "device": str(device),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "threads": torch.get_num_threads(),
        "command": sys.argv,
    }


def package_version(name: str) -> str | None:
    """Return the installed version of a distribution, None if it is not installed."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def cpu_model() -> str:
    """Return the name of the processor, as far as the system tells."""
    table = Path("/proc/cpuinfo")
    if table.exists():
        for line in table.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def git_commit() -> str | None:
    """Return the commit neuro runs from, with ``+changes`` if edited; None if installed."""
    folder = Path(neuro.__file__).resolve().parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(folder), *arguments]
        done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=True)
        return done.stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        changed = git("status", "--porcelain", "--untracked-files=no")
        return git("rev-parse", "HEAD") + ("+changes" if changed else "")
    except (OSError, subprocess.SubprocessError):
        return None


@contextlib.contextmanager
def computing(
    device: torch.device, *, seed: int, deterministic: bool, threads: int | None
) -> Iterator[None]:
    """Within ``with``, torch computes as the configuration asks; afterwards as before.

    Nothing of neuro draws from torch's global generators, but a module of a user may: they are
    seeded here, and put back at the end.
    """
    fill: Any = torch.utils.deterministic  # a module whose attributes torch leaves untyped
    before = (
        torch.are_deterministic_algorithms_enabled(),
        fill.fill_uninitialized_memory,
        torch.get_num_threads(),
    )
    if deterministic and device.type == "cuda":
        # cuBLAS reads this when its first handle is made, and repeats its sums only if it is set
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    torch.use_deterministic_algorithms(deterministic)
    fill.fill_uninitialized_memory = False
    if threads is not None:
        torch.set_num_threads(threads)
    try:
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed_for(seed, "global"))
            yield
    finally:
        torch.use_deterministic_algorithms(before[0])
        fill.fill_uninitialized_memory = before[1]
        torch.set_num_threads(before[2])
