"""The loop of ``fused_lif.cpp`` as a differentiable function: what a compiler makes of one LIF.

Compiled when first asked for, into a temporary folder, with the compiler that ``CXX`` names or g++.
"""

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from neuro.errors import NeuroError

SOURCE = Path(__file__).with_suffix(".cpp")
# The freedoms of -ffast-math one by one: linked with that name, the library would make every
# subnormal number of the process that loads it zero.
FAST_MATH = (
    "-fassociative-math",
    "-fno-signed-zeros",
    "-fno-trapping-math",
    "-freciprocal-math",
    "-ffinite-math-only",
    "-fno-math-errno",
)
FLAGS = ("-std=c++17", "-O3", "-march=native", *FAST_MATH, "-fopenmp", "-shared", "-fPIC")


@cache
def library() -> ctypes.CDLL:
    """Compile and load the loop. It shares the OpenMP runtime that torch has loaded.

    Raises:
        NeuroError: the compiler is missing or fails.
    """
    compiler = os.environ.get("CXX", "g++")
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "fused_lif.so"
        command = [compiler, *FLAGS, str(SOURCE), "-o", str(target)]
        try:
            subprocess.run(command, check=True, capture_output=True, text=True)
        except OSError as error:
            raise NeuroError(f"no C++ compiler: {compiler} cannot be run ({error}).") from None
        except subprocess.CalledProcessError as error:
            reason = error.stderr.strip().splitlines() or [f"exit code {error.returncode}"]
            raise NeuroError(f"{compiler} cannot compile {SOURCE.name}: {reason[-1]}") from None
        loaded = ctypes.CDLL(str(target))
    for function in (loaded.lif_forward, loaded.lif_backward):
        function.argtypes = [ctypes.c_void_p] * 3 + [ctypes.c_long] * 2 + [ctypes.c_int]
        function.restype = None
    return loaded


def layer() -> Callable[[Tensor], Tensor]:
    """Return the layer: float32 currents ``[T, ...]`` to spikes of that shape."""
    library()
    run: Callable[[Tensor], Tensor] = _FusedLIF.apply
    return run


class _FusedLIF(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, currents: Tensor) -> Tensor:
        currents = currents.contiguous()
        spikes = torch.empty_like(currents)
        charged = torch.empty_like(currents) if ctx.needs_input_grad[0] else None
        _call(library().lif_forward, currents, spikes, charged)
        if charged is not None:
            ctx.save_for_backward(charged)
        return spikes

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        (charged,) = ctx.saved_tensors
        of_currents = torch.empty_like(charged)
        _call(library().lif_backward, gradients[0].contiguous(), charged, of_currents)
        return of_currents


def _call(function: Any, first: Tensor, second: Tensor, third: Tensor | None) -> None:
    addresses = [each.data_ptr() if each is not None else None for each in (first, second, third)]
    steps = len(first)
    function(*addresses, steps, first.numel() // max(steps, 1), torch.get_num_threads())
