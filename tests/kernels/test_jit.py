import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import neuro

pytest.importorskip("numba")

from numba.core.errors import NumbaError

from neuro.kernels.jit import borrowing_jit, jit

CALLER = """
from neuro.kernels.jit import jit
from neuro.kernels.called import called

@jit
def call():
    return called()

print(call(), sum(call.stats.cache_hits.values()))
"""

CALLED = """
from neuro.kernels.jit import jit

@jit
def called():
    return {value}
"""


def test_a_kernel_is_compiled_anew_when_what_it_calls_changes(tmp_path: Path) -> None:
    package = tmp_path / "neuro"
    source = Path(neuro.__file__).parent
    shutil.copytree(source, package, ignore=shutil.ignore_patterns("__pycache__"))
    (package / "kernels" / "caller.py").write_text(CALLER)

    def answer(value: int) -> list[int]:
        (package / "kernels" / "called.py").write_text(CALLED.format(value=value))
        command = [sys.executable, "-m", "neuro.kernels.caller"]
        environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
        found = subprocess.run(
            command, cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
        )
        return [int(each) for each in found.stdout.split()]

    assert answer(1) == [1, 0]
    assert answer(1) == [1, 1]  # kept on disk
    assert answer(2) == [2, 0]


def test_a_function_that_borrows_computes_as_any_other() -> None:
    def add(to: np.ndarray, numbers: np.ndarray) -> None:
        part = to[1:]
        for k in range(part.size):
            part[k] += numbers[k]

    results = []
    for compile_it in (jit, borrowing_jit):
        to = np.arange(4.0)
        compile_it(add)(to, np.array([1.0, 10.0, 100.0]))
        results.append(to.tolist())
    assert results[0] == results[1] == [0.0, 2.0, 12.0, 103.0]


def test_a_function_that_borrows_makes_no_array() -> None:
    @borrowing_jit
    def make(size: int) -> float:
        return np.zeros(size).sum()

    with pytest.raises(NumbaError):
        make(3)
