"""What compiled kernels share: whether they run here, flat views, and sharing out the work.

Work is shared among the threads of torch's own OpenMP runtime. Numba's ``parallel=True`` would
bring a second one beside it: the idle workers of each keep spinning on the cores the other wants,
and on two cores every torch operation after such a kernel stalled for 70 ms.
"""

import ctypes
import importlib.util
import os
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from neuro.kernels.dispatch import asked_by_name

DTYPES = (torch.float32, torch.float64)
TRITON_DTYPES = (*DTYPES, torch.float16, torch.bfloat16)

# A share of fewer elements takes less time than handing it to another thread.
_SMALLEST_SHARE = 1 << 17
_SMALLEST_SHARE_OF_POOL = 1 << 19


@cache
def numba_unavailable() -> str | None:
    """Return why Numba cannot be used on this machine, or ``None``."""
    try:
        import numba  # noqa: F401  (heavy: only when a kernel is about to be chosen)
    except ImportError as error:
        return f"numba cannot be imported ({error}); pip install numba"
    return None


@cache
def triton_unavailable() -> str | None:
    """Return why Triton cannot be used on this machine, or ``None``."""
    if importlib.util.find_spec("triton") is None:
        return "triton is not installed; pip install triton (Linux only)"
    return None


def triton_devices() -> tuple[str, ...]:
    """Return the devices Triton serves: also the CPU, if asked for by name where its interpreter
    is switched on."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1" and asked_by_name()
    return ("cuda", "cpu") if interpreted else ("cuda",)


def flat(tensor: torch.Tensor) -> NDArray[np.floating]:
    """View a contiguous CPU tensor as a 1-D array that shares its memory."""
    if tensor.requires_grad:
        tensor = tensor.detach()
    array: NDArray[np.floating] = tensor.view(-1).numpy()
    return array


@cache
def nothing(dtype: torch.dtype) -> NDArray[np.floating]:
    """Return the empty array that stands for a tensor a kernel does without."""
    return flat(torch.empty(0, dtype=dtype))


@lru_cache(maxsize=256)
def constants(dtype: torch.dtype, *numbers: float) -> tuple[Any, ...]:
    """Return numbers as a kernel of this dtype takes them: of its own precision."""
    number = np.float32 if dtype == torch.float32 else np.float64
    return tuple(number(each) for each in numbers)


def share_out(kernel: Callable[..., Any], operands: Sequence[Any], rows: int, elements: int) -> int:
    """Run ``kernel(*operands, 0, rows, ...)``, its rows shared among threads; return the sum.

    As many threads as torch uses, none but the caller's for small work. The kernel's last arguments
    are ``first``, ``last``, ``parallel`` and ``threads``, see :func:`neuro.kernels.team.spread`.
    """
    parallel = _parallel()
    # Beside workers of another runtime, waiting busily for torch's next operation, half are left.
    threads = torch.get_num_threads() if parallel else torch.get_num_threads() // 2
    smallest = _SMALLEST_SHARE if parallel else _SMALLEST_SHARE_OF_POOL
    count = min(threads, elements // smallest, rows)
    if count <= 1:
        return kernel(*operands, 0, rows, 0, 1) or 0
    if parallel:
        return kernel(*operands, 0, rows, parallel, count) or 0
    edges = [rows * share // count for share in range(count + 1)]
    others = [
        _pool().submit(kernel, *operands, *edges[share : share + 2], 0, 1)
        for share in range(1, count)
    ]
    mine = kernel(*operands, *edges[:2], 0, 1) or 0
    return mine + sum(other.result() or 0 for other in others)


@cache
def _parallel() -> int:
    """Return the address that starts a team of torch's own OpenMP, if that is GNU's; else 0.

    The workers that wait for torch's next operation then do the work; threads of one's own would
    have to take the cores from them.
    """
    maps = Path("/proc/self/maps")
    found = re.search(r"/\S*libgomp\S*", maps.read_text()) if maps.exists() else None
    if not found:
        return 0
    entry = ctypes.CDLL(found[0]).GOMP_parallel
    return ctypes.cast(entry, ctypes.c_void_p).value or 0


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="neuro-kernel")


# A forked child inherits the pool but none of its threads.
os.register_at_fork(after_in_child=_pool.cache_clear)
