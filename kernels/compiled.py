"""What compiled kernels share: whether they run here, flat views, and sharing out the work.

Work is shared among the threads of torch's own OpenMP runtime. Numba's ``parallel=True`` would
bring a second one beside it: the idle workers of each keep spinning on the cores the other wants,
and on two cores every torch operation after such a kernel stalled for 70 ms.
"""

import ctypes
import importlib.util
import itertools
import os
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from neuro.kernels.dispatch import asked_by_name

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
    array: NDArray[np.floating] = tensor.detach().view(-1).numpy()
    return array


def share_out(work: Callable[[int, int], int], rows: int, elements: int) -> int:
    """Run ``work(start, stop)`` over ``range(rows)``, shared among threads; return the sum.

    As many threads as torch uses, none but the caller's for small work. ``work`` must release the
    GIL.
    """
    team = _team()
    # Beside workers of another runtime, waiting busily for torch's next operation, half are left.
    threads = torch.get_num_threads() if team else torch.get_num_threads() // 2
    count = min(threads, elements // _SMALLEST_SHARE, rows)
    if count <= 1:
        return work(0, rows)
    edges = [rows * share // count for share in range(count + 1)]
    if team:
        return sum(team(lambda share: work(edges[share], edges[share + 1]), count))
    others = [_pool().submit(work, *edges[share : share + 2]) for share in range(1, count)]
    return work(edges[0], edges[1]) + sum(other.result() for other in others)


@cache
def _team() -> Callable[[Callable[[int], int], int], list[int]] | None:
    """Return a way to run shares of work on the threads of torch's own OpenMP, if it is GNU's.

    The workers that wait for torch's next operation then do the work; threads of one's own would
    have to take the cores from them.
    """
    maps = Path("/proc/self/maps")
    found = re.search(r"/\S*libgomp\S*", maps.read_text()) if maps.exists() else None
    if not found:
        return None
    gomp = ctypes.CDLL(found[0])
    entry = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
    gomp.GOMP_parallel.argtypes = [entry, ctypes.c_void_p, ctypes.c_uint, ctypes.c_uint]
    gomp.GOMP_parallel.restype = None

    def run(work: Callable[[int], int], count: int) -> list[int]:
        results = [0] * count
        errors: list[BaseException] = []
        taken = itertools.count()  # the runtime may grant fewer threads than asked for

        def body(_: int | None) -> None:
            try:
                for share in taken:
                    if share >= count:
                        return
                    results[share] = work(share)
            except BaseException as error:  # nothing may unwind through the C frames
                errors.append(error)

        gomp.GOMP_parallel(entry(body), None, count, 0)
        if errors:
            raise errors[0]
        return results

    return run


@cache
def _pool() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(os.cpu_count(), thread_name_prefix="neuro-kernel")


# A forked child inherits the pool but none of its threads.
os.register_at_fork(after_in_child=_pool.cache_clear)
