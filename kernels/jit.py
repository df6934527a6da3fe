"""How kernels are compiled with Numba: free of the interpreter's lock, and kept on disk.

Numba keeps what it compiled until the file of the function changes. What a kernel calls lies in
other files, so a new release, or an edit, would go on running the old code of those. Here the
sources of all kernels count.
"""

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, overload

import numba

F = TypeVar("F", bound=Callable[..., Any])


@overload
def jit(function: F) -> F: ...
@overload
def jit(**options: Any) -> Callable[[F], F]: ...
def jit(function: Any = None, **options: Any) -> Any:
    """Compile a function at its first call, or load it; options are those of ``numba.njit``."""
    if function is None:
        return lambda found: jit(found, **options)
    dispatcher = numba.njit(nogil=True, cache=True, **options)(function)
    kept = dispatcher._cache._cache_file
    kept._source_stamp = (kept._source_stamp, _sources())
    return dispatcher


@overload
def borrowing_jit(function: F) -> F: ...
@overload
def borrowing_jit(**options: Any) -> Callable[[F], F]: ...
def borrowing_jit(function: Any = None, **options: Any) -> Any:
    """:func:`jit`, for a function that makes no array: it only borrows those it is given.

    It counts no references to them. For one that is called at every node or edge, counting takes
    as long as the work, and threads that share an array wait for each other's counts.
    """
    compiled = jit(_nrt=False, **options)
    return compiled if function is None else compiled(function)


@cache
def _sources() -> bytes:
    """Return a digest of the sources of all kernels."""
    digest = hashlib.sha256()
    folder = Path(__file__).parent
    for path in sorted(folder.rglob("*.py")):
        digest.update(path.relative_to(folder).as_posix().encode())
        digest.update(path.read_bytes())
    return digest.digest()
