"""The LIF step on the CPU with Numba: one pass over memory in blocks that stay in the L1 cache.

Not ``fastmath``: a reordered or contracted sum could move a potential across the threshold, and
spikes must equal the reference's. The inner loops run over 1-D slices with unit stride and select
instead of branching, so that they vectorise.
"""

from typing import Any

import numba
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro.kernels.compiled import flat, share_out

Array = NDArray[np.floating[Any]]

_BLOCK = 4096


@numba.njit(nogil=True, cache=True)
def _block(
    current: Array,
    potential: Array,
    trace: Array,
    noise: Array,
    emitted: Array,
    distance: Array,
    parameters: Array,
    soft_reset: bool,
    inclusive: bool,
) -> int:
    # Parameters in the tensors' own dtype: a float64 scalar would promote every product.
    decay, threshold, reset_value, scale, noise_scale, zero, one = parameters
    fired = 0
    for i in range(current.size):
        charged = decay * potential[i] + current[i]
        above = charged - threshold
        spike = (above > zero) | (inclusive & (above == zero))
        distance[i] = above
        emitted[i] = one if spike else zero
        potential[i] = (above if soft_reset else reset_value) if spike else charged
    for i in range(current.size):
        fired += int(emitted[i] > zero)
    if trace.size:
        for i in range(current.size):
            trace[i] = decay * trace[i] + emitted[i]
    if noise.size:
        for i in range(current.size):
            emitted[i] = scale * (emitted[i] + noise_scale * noise[i])
    elif scale != one:
        for i in range(current.size):
            emitted[i] = scale * emitted[i]
    return fired


@numba.njit(nogil=True, cache=True)
def _blocks(
    current: Array,
    potential: Array,
    trace: Array,
    noise: Array,
    emitted: Array,
    distance: Array,
    parameters: Array,
    soft_reset: bool,
    inclusive: bool,
) -> int:
    fired = 0
    for start in range(0, current.size, _BLOCK):
        stop = min(current.size, start + _BLOCK)
        fired += _block(
            current[start:stop],
            potential[start:stop],
            trace[start:stop],  # an absent operand has no elements, nor have its slices
            noise[start:stop],
            emitted[start:stop],
            distance[start:stop],
            parameters,
            soft_reset,
            inclusive,
        )
    return fired


def lif_step(
    current: Tensor,
    membrane_potential: Tensor,
    trace: Tensor | None,
    noise: Tensor | None,
    emitted: Tensor,
    distance: Tensor,
    *,
    decay: float,
    threshold: float,
    soft_reset: bool,
    reset_value: float,
    inclusive: bool,
    scale: float,
    noise_scale: float,
) -> Tensor:
    """Fill ``emitted`` and ``distance``, update the state in place, return the spike count."""
    absent = flat(current.new_empty(0))
    currents, potentials = flat(current), flat(membrane_potential)
    traces = absent if trace is None else flat(trace)
    noises = absent if noise is None else flat(noise)
    sent, distances = flat(emitted), flat(distance)
    parameters = np.array(
        [decay, threshold, reset_value, scale, noise_scale, 0, 1], dtype=currents.dtype
    )

    def work(start: int, stop: int) -> int:
        share = slice(start, stop)
        return _blocks(
            currents[share],
            potentials[share],
            traces[share],
            noises[share],
            sent[share],
            distances[share],
            parameters,
            soft_reset,
            inclusive,
        )

    return torch.tensor(share_out(work, current.numel(), current.numel()))
