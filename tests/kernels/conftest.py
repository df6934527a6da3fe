"""Kernel tests see uninitialised memory as NaN: an element a kernel forgets then fails the test."""

from collections.abc import Iterator

import pytest
import torch


@pytest.fixture(autouse=True)
def _empty_is_nan() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    torch.utils.deterministic.fill_uninitialized_memory = True
    yield
    torch.use_deterministic_algorithms(False)


@pytest.fixture(params=["reference", "numba"])
def implementation(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each implementation for the CPU in turn, asked for by name."""
    name: str = request.param
    monkeypatch.setenv("NEURO_KERNELS", name)
    return name


@pytest.fixture
def triton_device(monkeypatch: pytest.MonkeyPatch) -> str:
    """Triton, asked for by name: on a GPU, or in its interpreter on the CPU."""
    pytest.importorskip("triton", reason="triton is not installed; it has wheels for Linux only")
    monkeypatch.setenv("NEURO_KERNELS", "triton")
    return "cuda" if torch.cuda.is_available() else "cpu"
