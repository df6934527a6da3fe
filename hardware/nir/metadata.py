"""What a file of ours says besides NIR's parameters, so that nothing is lost on the way back.

Graph: ``dt`` (s), ``format``, ``source``, ``source_version``, ``target`` (dialect), ``reset``, and
``seed`` where given. A node: ``name`` of the network's node; a neuron also its decays as trained,
``inclusive``, ``reset_mode``, ``detach_reset``, ``surrogate`` with its parameters, ``scale`` of
what it emits, and ``input_gain`` where weights were scaled for it; a synapse then has ``factor``
and ``folded_into``. Decays that disagree with the time constants are an error.
"""

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

import neuro
from neuro.errors import DataError
from neuro.neurons import Neuron
from neuro.surrogate import SURROGATES, Surrogate

FORMAT = 1


def graph_metadata(dt: float, target: str, reset: str, seed: int | None) -> dict[str, Any]:
    """Return the metadata of a graph."""
    table: dict[str, Any] = {
        "dt": dt,
        "format": FORMAT,
        "source": "neuro",
        "source_version": neuro.__version__,
        "target": target,
        "reset": reset,
    }
    return table if seed is None else {**table, "seed": seed}


def spiking_metadata(neuron: Neuron[Any]) -> dict[str, Any]:
    """Return what NIR does not say of a spiking neuron, its decays left out."""
    surrogate = type(neuron.surrogate)
    names = [name for name, kind in SURROGATES.items() if kind is surrogate]
    table: dict[str, Any] = {
        "inclusive": neuron.inclusive,
        "reset_mode": neuron.reset_mode,
        "detach_reset": neuron.detach_reset,
    }
    if names:
        table["surrogate"] = names[0]
        table["surrogate_parameters"] = {
            each.name: float(getattr(neuron.surrogate, each.name)) for each in fields(surrogate)
        }
    return table


def spiking_arguments(metadata: Mapping[str, Any], where: str) -> dict[str, Any]:
    """Return arguments of a neuron that :func:`spiking_metadata` noted.

    Raises:
        DataError: a surrogate or a reset that does not exist.
    """
    found: dict[str, Any] = {
        name: bool(metadata[name]) for name in ("inclusive", "detach_reset") if name in metadata
    }
    if "reset_mode" in metadata:
        mode = str(metadata["reset_mode"])
        if mode not in ("soft", "hard"):
            raise DataError(f"{where}: reset_mode is {mode!r}; expected 'soft' or 'hard'.")
        found["reset_mode"] = mode
    if "surrogate" in metadata:
        name = str(metadata["surrogate"])
        parameters = metadata.get("surrogate_parameters", {})
        try:
            kind: type[Surrogate] = SURROGATES[name]
            found["surrogate"] = kind(**{key: float(value) for key, value in parameters.items()})
        except (KeyError, TypeError) as error:
            raise DataError(
                f"{where}: no such surrogate gradient: {name!r} {parameters}."
            ) from error
    return found


def stored_decay(
    metadata: Mapping[str, Any], key: str, euler: np.ndarray[Any, Any], where: str
) -> np.ndarray[Any, Any]:
    """Return the decays as trained, of which the file's time constant keeps 24 bits.

    Raises:
        DataError: they are not those of the time constant.
    """
    if key not in metadata:
        return euler
    decay = np.broadcast_to(np.asarray(metadata[key], np.float64), euler.shape)
    if not np.allclose(1 - decay, 1 - euler, rtol=1e-5, atol=0):
        raise DataError(
            f"{where}: its metadata say {key} {_spread(decay)}, its time constant makes it "
            f"{_spread(euler)}. Pass use_metadata=False to go by the parameters alone."
        )
    return decay


def _spread(values: np.ndarray[Any, Any]) -> str:
    low, high = float(values.min()), float(values.max())
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"
