"""What each reader needs of a graph, and what it would get wrong. ``DIALECTS`` names them all."""

import nir

from neuro.errors import UsageError, nearest
from neuro.hardware.nir.dialects.base import Dialect
from neuro.hardware.nir.dialects.generic import GENERIC
from neuro.hardware.nir.dialects.norse import NORSE
from neuro.hardware.nir.dialects.sinabs import SINABS
from neuro.hardware.nir.dialects.snntorch import SNNTORCH
from neuro.hardware.nir.dialects.spikingjelly import SPIKINGJELLY

DIALECTS: dict[str, Dialect] = {
    each.name: each for each in (GENERIC, NORSE, SNNTORCH, SPIKINGJELLY, SINABS)
}
"""Every dialect by name."""


def dialect(name: str) -> Dialect:
    """Return the dialect of a name.

    Raises:
        UsageError: there is none.
    """
    if name not in DIALECTS:
        raise UsageError(
            f"no NIR dialect {name!r}; there are {', '.join(DIALECTS)}.{nearest(name, DIALECTS)}"
        )
    return DIALECTS[name]


def convert(graph: nir.NIRGraph, target: str, *, dt: float | None = None) -> nir.NIRGraph:
    """Return a copy of a graph as a target's reader needs it.

    Args:
        graph: any graph, of this package or another writer.
        target: the name of a dialect.
        dt: seconds of a time step; None for what the metadata say.

    Raises:
        UsageError: what that reader would get wrong, each thing by the node's name; or no ``dt``.
    """
    return dialect(target).convert(graph, dt)


__all__ = ["DIALECTS", "Dialect", "convert", "dialect"]
