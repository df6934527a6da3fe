"""One layer in plain numpy, after Loihi's equations: an oracle that shares no code with neuro.

Everything is ``[T, neurons]``. A synapse takes one step, plus its delay.
"""

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.int64]


def arriving(weight: Any, spikes: Any, delay: Any = 0, exponent: int = 0) -> Array:
    """Return ``[T, targets]``, what arrives of ``[T, sources]``; the sum is shifted."""
    steps = len(spikes)
    weight, delay = np.asarray(weight, np.int64), np.broadcast_to(delay, np.shape(weight))
    total = np.zeros((steps, len(weight)), np.int64)
    for late in range(1, steps):
        some = np.where(delay == late - 1, weight, 0) @ spikes[: steps - late].T.astype(np.int64)
        total[late:] += (some << exponent if exponent > 0 else some >> -exponent).T
    return total


def lif(
    arrived: Array,
    du: Any,
    dv: Any,
    vth: Any,
    bias: Any = 0,
    *,
    low: Any = None,
    zeroed: tuple[int, ...] = (),
) -> tuple[Array, Array, Array]:
    """Return spikes, u and v; ``zeroed`` are the steps before which u and v are."""
    u = v = np.zeros(arrived.shape[1], np.int64)
    history = []
    for step, row in enumerate(arrived):
        if step in zeroed:
            u, v = np.zeros_like(u), np.zeros_like(v)
        u = _kept(u, np.asarray(du) + 1) + (row << 6)
        u = u - (u > 2**23) * 2**24 + (u <= -(2**23)) * 2**24
        v = np.clip(_kept(v, dv) + u + bias, 1 - 2**23, 2**23 - 1)
        spikes = (v > np.asarray(vth) << 6).astype(np.int64)
        if low is not None:
            spikes -= v < np.asarray(low) << 6
        v = np.where(spikes == 0, v, 0)
        history.append((spikes, u, v))
    s, u, v = (np.array(each) for each in zip(*history, strict=True))
    return s, u, v


def _kept(x: Array, decay: Any) -> Array:
    return np.trunc(x * (4096 - np.asarray(decay, np.int64)) / 4096).astype(np.int64)


def digest(history: Any) -> str:
    """Return 16 hex digits of SHA-256 over ``[neurons, T]`` in 32 bits."""
    data = np.ascontiguousarray(history.T.astype("<i4")).tobytes()
    return hashlib.sha256(data).hexdigest()[:16]
