"""Lets Lava 0.10.0 run on Python 3.11 and later, and with numpy 2.4 and later.

Two things stand in its way there. A dataclass no longer takes a default that cannot be hashed, and
Lava gives some of its fields such defaults: plain dataclasses, which compare by value and hence
have no hash. And ``numpy.reshape`` has no parameter ``newshape`` any more, by whose name Lava's
reshaped ports call it.

Nothing installed is changed. :func:`install` must run before anything of Lava is imported.
"""

import dataclasses
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np


def install() -> None:
    """Mend what is broken under this interpreter; does nothing where nothing is."""
    if sys.version_info < (3, 11):  # noqa: UP036  (it runs in Lava's Python, not in neuro's)
        return
    with _hashable_defaults():
        import lava.magma.compiler.var_model  # noqa: F401  (holds all those defaults)
    from lava.magma.core.process.ports.ports import ReshapePort

    ReshapePort.get_transform_func_fwd = lambda port: partial(_reshape, port.shape)
    ReshapePort.get_transform_func_bwd = lambda port: partial(_reshape, port.old_shape)


def _reshape(shape: tuple[int, ...], array: Any) -> Any:
    return np.reshape(array, shape)


@contextmanager
def _hashable_defaults() -> Iterator[None]:
    """Within it, defaults of Lava's dataclasses are hashed by identity, as they once were."""
    original = dataclasses.dataclass

    def dataclass(cls: type | None = None, /, **options: Any) -> Any:
        if cls is None:
            return partial(_dataclass, original, options)
        return _dataclass(original, options, cls)

    dataclasses.dataclass = dataclass
    try:
        yield
    finally:
        dataclasses.dataclass = original


def _dataclass(original: Callable[..., Any], options: dict[str, Any], cls: type) -> Any:
    if cls.__module__.split(".")[0] == "lava":
        for default in vars(cls).values():
            kind = type(default)
            if dataclasses.is_dataclass(kind) and vars(kind).get("__hash__", object) is None:
                setattr(kind, "__hash__", object.__hash__)  # noqa: B010
    return original(cls, **options)
