"""What compiled kernels share: whether they run here, flat views, and sharing out the work.

Threads are plain Python ones around kernels that release the GIL. Numba's own ``parallel=True``
would bring a second OpenMP pool beside torch's: the idle workers of each keep spinning on the
cores the other wants, and on two cores every torch operation after such a kernel stalled for 70 ms.
"""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np
import torch
from numpy.typing import NDArray

DTYPES = (torch.float32, torch.float64)
TRITON_DTYPES = (*DTYPES, torch.float16, torch.bfloat16)

# A share below this many elements takes less time than handing it to another thread.
_SMALLEST_SHARE = 1 << 19


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
    try:
        import triton  # noqa: F401
    except ImportError as error:
        return f"triton cannot be imported ({error}); pip install triton"
    return None


def triton_devices() -> tuple[str, ...]:
    """Return the devices Triton serves: also the CPU where its interpreter is switched on."""
    return ("cuda", "cpu") if os.environ.get("TRITON_INTERPRET") == "1" else ("cuda",)


def flat(tensor: torch.Tensor) -> NDArray[np.floating]:
    """View a contiguous CPU tensor as a 1-D array that shares its memory."""
    array: NDArray[np.floating] = tensor.detach().view(-1).numpy()
    return array


def share_out(work: Callable[[int, int], int], rows: int, elements: int) -> int:
    """Run ``work(start, stop)`` over ``range(rows)``, shared among threads; return the sum.

    Half of torch's threads at most (its own workers stay busy waiting between operations), and
    none but the caller's for small work. ``work`` must release the GIL.
    """
    count = min(torch.get_num_threads() // 2, elements // _SMALLEST_SHARE, rows)
    if count <= 1:
        return work(0, rows)
    edges = [rows * share // count for share in range(count + 1)]
    others = [_pool().submit(work, *edges[share : share + 2]) for share in range(1, count)]
    return work(edges[0], edges[1]) + sum(other.result() for other in others)


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="neuro-kernel")


# A forked child inherits the pool but none of its threads.
os.register_at_fork(after_in_child=_pool.cache_clear)
