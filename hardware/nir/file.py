"""``.nir`` files: HDF5 with ``/version``, and ``/node`` holding nodes, edges and metadata."""

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import h5py
import nir

from neuro.errors import DataError, UsageError, nearest

NODE_TYPES = (
    "Affine",
    "AvgPool2d",
    "Conv1d",
    "Conv2d",
    "CubaLI",
    "CubaLIF",
    "Delay",
    "Flatten",
    "I",
    "IF",
    "Input",
    "LI",
    "LIF",
    "Linear",
    "NIRGraph",
    "Output",
    "Scale",
    "SumPool2d",
    "Threshold",
)
"""The primitives a file may hold."""


def write_nir(graph: nir.NIRGraph, path: str | os.PathLike[str]) -> None:
    """Write a graph to a ``.nir`` file, whole or not at all.

    Raises:
        UsageError: metadata that a file cannot hold, or a place that cannot be written.
    """
    _check_metadata("the graph", graph)
    target = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name}.", dir=target.parent)
        os.close(handle)
    except OSError as error:
        raise UsageError(f"cannot write {target}: {error.strerror}.") from error
    try:
        nir.write(temporary, graph)
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read_nir(path: str | os.PathLike[str]) -> nir.NIRGraph:
    """Read a ``.nir`` file, unknown metadata included.

    Types are not checked here, for many writers leave them out: :func:`neuro.hardware.nir.from_nir`
    finds them again.

    Raises:
        DataError: no file, not HDF5, truncated, or a node that NIR does not define.
    """
    try:
        with h5py.File(path, "r") as file:
            if "node" not in file or "version" not in file:
                raise DataError(f"{path}: an HDF5 file, but not of NIR: no /node or no /version.")
            _check_types(str(path), "/node", file["node"])
        graph = nir.read(path, type_check=False)
    except (OSError, KeyError, TypeError, ValueError, AssertionError, RuntimeError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise DataError(
            f"{path}: cannot be read as NIR ({reason}). It is truncated, or no .nir file."
        ) from error
    if not isinstance(graph, nir.NIRGraph):
        raise DataError(f"{path}: holds a single {type(graph).__name__}, expected a NIRGraph.")
    return graph


def nir_version(path: str | os.PathLike[str]) -> str:
    """Return the version of the format that a file says it was written with."""
    with h5py.File(path, "r") as file:
        return str(file["version"][()].decode("utf-8"))


def _check_types(path: str, place: str, group: Any) -> None:
    """Raise an error for a node without a type, or of a type that is none."""
    if not isinstance(group, h5py.Group) or "type" not in group:
        raise DataError(f"{path}: {place} has no type; the file is damaged, or no .nir file.")
    stored = group["type"][()]
    kind = stored.decode("utf-8", "replace") if isinstance(stored, bytes) else str(stored)
    if kind not in NODE_TYPES:
        raise DataError(
            f"{path}: {place} is of the unknown type {kind!r}.{nearest(kind, NODE_TYPES)} "
            f"NIR {nir.version} has {', '.join(NODE_TYPES)}."
        )
    if kind == "NIRGraph":
        if "nodes" not in group or "edges" not in group:
            raise DataError(f"{path}: the graph {place} lacks its nodes or its edges.")
        for name, node in group["nodes"].items():
            _check_types(path, f"{place}/nodes/{name}", node)


def _check_metadata(place: str, node: nir.NIRNode) -> None:
    """Raise an error for what HDF5 cannot hold, before anything is written."""
    _check_value(f"the metadata of {place}", node.metadata)
    if isinstance(node, nir.NIRGraph):
        for name, inner in node.nodes.items():
            _check_metadata(f"node {name!r}", inner)


def _check_value(place: str, value: Any) -> None:
    if value is None:
        raise UsageError(f"{place} holds None, which a .nir file cannot; leave the key out.")
    if isinstance(value, Mapping):
        for key, inner in value.items():
            if not isinstance(key, str) or not key or "/" in key:
                raise UsageError(f"{place} has the key {key!r}; a key is a text without '/'.")
            _check_value(f"{place}, {key!r}", inner)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
