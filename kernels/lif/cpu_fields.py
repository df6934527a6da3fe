"""Parameters as Numba kernels read them: numbers for all neurons, or one number per neuron.

Both are written ``at(part(parameters, row, start, stop), i)``; Numba compiles one function for
each. Numbers come as a tuple or as an array of one dimension, fields as one of two.
"""

from typing import Any

import numba
import numpy as np
from numba.extending import overload


def part(parameters: Any, row: int, start: int, stop: int) -> Any:
    """Return a parameter for neurons ``start`` to ``stop``."""
    numbers = isinstance(parameters, tuple) or parameters.ndim == 1
    return parameters[row] if numbers else parameters[row][start:stop]


@overload(part, inline="always")
def _part_for(parameters: Any, row: Any, start: Any, stop: Any) -> Any:
    def number(parameters: Any, row: Any, start: Any, stop: Any) -> Any:
        return parameters[row]

    def field(parameters: Any, row: Any, start: Any, stop: Any) -> Any:
        return parameters[row][start:stop]

    fields = isinstance(parameters, numba.types.Array) and parameters.ndim == 2
    return field if fields else number


def at(value: Any, i: int) -> Any:
    """Return a parameter's value for the i-th neuron of a block."""
    return value[i] if isinstance(value, np.ndarray) else value


@overload(at, inline="always")
def _at_for(value: Any, i: Any) -> Any:
    def number(value: Any, i: Any) -> Any:
        return value

    def element(value: Any, i: Any) -> Any:
        return value[i]

    return element if isinstance(value, numba.types.Array) else number
