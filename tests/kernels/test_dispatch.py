"""Which implementation is chosen, and that the choice is never silent."""

import subprocess
import sys
from importlib.util import find_spec

import pytest
import torch

from neuro import kernels
from neuro.kernels import KernelError, choose, explain
from neuro.kernels.dispatch import Implementation, Op

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def fast() -> str:
    return "fast"


def plain() -> str:
    return "plain"


def make_op(unavailable: str | None = None) -> Op:
    """Two implementations: the faster one serves float32 on the CPU unless unavailable."""
    return Op(
        "example",
        (
            Implementation("numba", lambda: fast, ("cpu",), (torch.float32,), lambda: unavailable),
            Implementation("reference", lambda: plain),
        ),
    )


@pytest.fixture(autouse=True)
def _no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NEURO_KERNELS", raising=False)


def test_the_fastest_implementation_that_serves_the_call_is_chosen():
    choice = choose(make_op(), CPU, torch.float32)
    assert (choice.implementation.name, choice.function(), choice.declined) == ("numba", "fast", ())


@pytest.mark.parametrize(
    ("device", "dtype", "unavailable", "reason"),
    [
        (CUDA, torch.float32, None, "numba: serves cpu tensors, not cuda"),
        (CPU, torch.float16, None, "numba: serves float32, not float16"),
        (CPU, torch.float32, "it is not there", "numba: it is not there"),
    ],
)
def test_declining_falls_to_the_reference_and_says_why(device, dtype, unavailable, reason):
    choice = choose(make_op(unavailable), device, dtype)
    assert (choice.function(), choice.declined) == ("plain", (reason,))


def test_asked_by_name_is_read_at_call_time(monkeypatch):
    op = make_op()
    assert choose(op, CPU, torch.float32).function() == "fast"
    monkeypatch.setenv("NEURO_KERNELS", "reference")
    assert choose(op, CPU, torch.float32).function() == "plain"
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    assert choose(op, CPU, torch.float32).function() == "fast"


@pytest.mark.parametrize(
    ("asked", "message"),
    [
        ("numba", "numba: it is not there"),
        ("triton", "example has no triton implementation"),
        ("fortran", "expected one of reference, numba, triton"),
    ],
)
def test_asked_by_name_works_or_raises(monkeypatch, asked, message):
    monkeypatch.setenv("NEURO_KERNELS", asked)
    with pytest.raises(KernelError, match=message):
        choose(make_op("it is not there"), CPU, torch.float32)


def test_an_op_without_a_reference_last_is_refused():
    op = make_op()
    with pytest.raises(ValueError, match="reference last"):
        Op("example", op.implementations[::-1])


def test_explain_covers_every_op_on_both_devices():
    rows = {(row.op, row.device): row for row in explain()}
    assert set(rows) == {(name, device) for name in kernels.OPS for device in ("cpu", "cuda")}
    for name, op in kernels.OPS.items():
        assert rows[name, "cpu"].implementation == "numba"
        has_triton = any(each.name == "triton" for each in op.implementations)
        by_density = name in ("event_linear", "event_conv2d")  # unmeasured on a GPU
        served = "triton" if has_triton and find_spec("triton") and not by_density else "reference"
        assert rows[name, "cuda"].implementation == served
        assert any("not cuda" in reason for reason in rows[name, "cuda"].reasons)


def test_explain_reports_an_impossible_request_instead_of_raising(monkeypatch):
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    (row,) = [row for row in explain() if (row.op, row.device) == ("lif", "cuda")]
    assert row.implementation is None
    assert "serves cpu tensors, not cuda" in row.reasons[0]


def test_importing_kernels_imports_no_compiler():
    code = "import sys, neuro.kernels; print('numba' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
