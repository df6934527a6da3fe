"""Parameters as Numba kernels read them: numbers for all neurons, or one number per neuron.

Both are written ``at(part(parameters, row, start, stop), i)``; Numba compiles one function for
each.
"""

from typing import Any

import numba
import numpy as np
from numba.extending import overload


def part(parameters: Any, row: int, start: int, stop: int) -> Any:
    """Return a parameter for neurons ``start`` to ``stop``."""
    return parameters[row] if isinstance(parameters, tuple) else parameters[row][start:stop]


@overload(part, inline="always")
def _part_for(parameters: Any, row: Any, start: Any, stop: Any) -> Any:
    def number(parameters: Any, row: Any, start: Any, stop: Any) -> Any:
        return parameters[row]

    def field(parameters: Any, row: Any, start: Any, stop: Any) -> Any:
        return parameters[row][start:stop]

    return number if isinstance(parameters, numba.types.UniTuple) else field


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
