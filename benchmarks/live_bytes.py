"""How much memory an operation leaves in use: storages it made that outlive it.

Every tensor that comes out of an operation of torch is seen by a dispatch mode; afterwards those
storages are counted that something still holds, be it Python or autograd. Which hooks, functions or
frameworks hold them does not matter.
"""

import gc
from collections.abc import Callable, Iterable
from typing import Any

from torch import Tensor
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves


class _Storages(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Remembers, without holding them, the storages of all results."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.found: dict[int, tuple[StorageWeakRef, int]] = {}

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        results = func(*args, **(kwargs or {}))
        for result in tree_leaves(results):
            if isinstance(result, Tensor):
                storage = result.untyped_storage()
                reference = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
                self.found[_key(result)] = reference, storage.nbytes()
        return results


def live_bytes(run: Callable[[], Tensor], existing: Iterable[Tensor] = ()) -> tuple[Tensor, int]:
    """Return the result of ``run`` and the bytes it left in use, those of the result not counted.

    Args:
        run: makes all it needs by itself but for ``existing``.
        existing: tensors that were there before, which do not count.
    """
    with _Storages() as storages:
        result = run()
    gc.collect()
    left_out = {_key(result), *map(_key, existing)}
    return result, sum(
        size
        for key, (reference, size) in storages.found.items()
        if key not in left_out and not reference.expired()
    )


def _key(tensor: Tensor) -> int:
    # A weak reference keeps the address from being used again.
    return int(tensor.untyped_storage()._cdata)
