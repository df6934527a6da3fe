"""The sigmoid factor on the CPU with Numba, in one pass."""

from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from neuro.kernels.compiled import flat, share_out
from neuro.kernels.exponential import exp_negative

Array = NDArray[np.floating[Any]]


# error_model: Python's division raises on zero, and that branch would keep the loop from
# vectorising (here the divisor is at least 1).
@numba.njit(nogil=True, cache=True, error_model="numpy")
def _rows(feedback: Array, distance: Array, delta: Array, slope: Any, gain: Any, one: Any) -> None:
    """One feedback value per run of ``width`` neighbouring neurons."""
    width = distance.size // feedback.size
    if width == 1:
        for i in range(distance.size):
            e = exp_negative(abs(slope * distance[i]))
            share = one / (one + e)
            delta[i] = gain * feedback[i] * (e * share * share)
        return
    for row in range(feedback.size):
        factor = gain * feedback[row]
        run = distance[row * width : (row + 1) * width]
        result = delta[row * width : (row + 1) * width]
        for i in range(width):
            e = exp_negative(abs(slope * run[i]))
            share = one / (one + e)
            result[i] = factor * (e * share * share)


def sigmoid_factor(
    feedback: Tensor, distance: Tensor, delta: Tensor, *, slope: float, gain: float
) -> None:
    """Fill ``delta``."""
    per_row, per_neuron, result = flat(feedback), flat(distance), flat(delta)
    if not per_row.size:
        return
    width = per_neuron.size // per_row.size
    number = per_row.dtype.type
    scalars = (number(slope), number(gain * slope), number(1))

    def work(start: int, stop: int) -> int:
        run = slice(start * width, stop * width)
        _rows(per_row[start:stop], per_neuron[run], result[run], *scalars)
        return 0

    share_out(work, per_row.size, per_neuron.size)
