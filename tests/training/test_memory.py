"""Peak memory and the allocator's setting."""

import mmap
import platform
import sys

import pytest
import torch

from neuro.training.memory import malloc_plan, peak_memory_mb, reset_peak_memory, tune_malloc

CPU = torch.device("cpu")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the peak is reset on Linux only")
def test_the_peak_follows_what_is_held():
    reset_peak_memory(CPU)
    before = peak_memory_mb(CPU)
    # Straight from the system: the allocator may hold as much in freed blocks.
    held = mmap.mmap(-1, 100 * 2**20)
    held.write(b"1" * len(held))
    grown = peak_memory_mb(CPU) - before
    assert 90 < grown < 230
    held.close()
    assert peak_memory_mb(CPU) - before > 90


def test_the_user_decides_about_malloc(monkeypatch):
    monkeypatch.setenv("NEURO_MALLOC", "default")
    assert not malloc_plan().tuned
    assert "NEURO_MALLOC=default" in tune_malloc().reason
    monkeypatch.setenv("NEURO_MALLOC", "fast")
    assert '"fast" is neither' in malloc_plan().reason


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="mallopt is of glibc")
def test_glibc_takes_the_thresholds(monkeypatch):
    monkeypatch.delenv("NEURO_MALLOC", raising=False)
    assert tune_malloc() == malloc_plan()
    assert malloc_plan().tuned


def test_another_c_library_is_left_alone(monkeypatch):
    monkeypatch.delenv("NEURO_MALLOC", raising=False)
    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    assert tune_malloc() == (False, "left alone: the C library is not glibc")
