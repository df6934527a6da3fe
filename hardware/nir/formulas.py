"""Conversions between the numbers of a NIR file and factors per time step, both ways.

A NIR neuron is an ordinary differential equation; an Euler step of length ``dt`` makes of it::

    LIF      tau v' = (v_leak - v) + r I       v[t] = b v[t-1] + r dt/tau I[t] + v_leak dt/tau
    IF       v' = r I                          v[t] = v[t-1] + r dt I[t]
    CubaLIF  tau_syn i' = -i + w_in S          i[t] = a i[t-1] + w_in dt/tau_syn S[t]
             tau_mem v' = (v_leak - v) + r i   v[t] = b v[t-1] + r dt/tau_mem i[t] + ...

with decays ``b = 1 - dt/tau``. Every function takes numbers or arrays and computes in double
precision.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from neuro.errors import UsageError

Numbers = NDArray[np.float64]

LOIHI_DECAY = 4096
"""What a decay register counts in: 12 bits."""

WHOLE_STEPS = 1e-3
"""How far a delay may lie from a whole number of steps, in steps."""


def tau_from_decay(decay: ArrayLike, dt: float) -> Numbers:
    """Return ``tau = dt / (1 - decay)``, the time constant whose Euler step keeps ``decay``.

    Raises:
        UsageError: a decay of 1 or more: no leak has no finite time constant.
    """
    decays = _numbers(decay)
    if np.any(decays >= 1):
        raise UsageError(
            f"a decay of {decays.max():g} has no finite time constant; integrate-and-fire neurons "
            "(IF) do not leak."
        )
    return dt / (1 - decays)


def decay_from_tau(tau: ArrayLike, dt: float) -> Numbers:
    """Return ``1 - dt / tau``, what an Euler step of length ``dt`` keeps."""
    return 1 - dt / _numbers(tau)


def gain_from_resistance(r: ArrayLike, tau: ArrayLike, dt: float) -> Numbers:
    """Return ``r dt / tau``, the rise of the potential per unit of input in one step.

    The same holds of a synaptic current, of ``w_in`` and ``tau_syn``.
    """
    return _numbers(r) * dt / _numbers(tau)


def resistance_from_gain(gain: ArrayLike, tau: ArrayLike, dt: float) -> Numbers:
    """Return ``gain tau / dt``, the resistance (or ``w_in``) with that rise per step."""
    return _numbers(gain) * _numbers(tau) / dt


def weight_factor(decay: ArrayLike, gain: ArrayLike = 1.0) -> Numbers:
    """Return ``gain / (1 - decay)``, by which weights grow where a LIF node has ``r = 1``.

    ``v = decay v + gain W x`` is ``v = decay v + (1 - decay) W' x`` for ``W' = factor W``.
    """
    return _numbers(gain) / (1 - _numbers(decay))


def tau_in_steps(decay: ArrayLike) -> Numbers:
    """Return ``-1 / ln(decay)``, the time constant, in steps, of an exponential reader."""
    return -1 / np.log(_numbers(decay))


def decay_from_steps(tau: ArrayLike) -> Numbers:
    """Return ``exp(-1 / tau)``, the decay of a reader that solves its leak exactly."""
    return np.exp(-1 / _numbers(tau))


def taus_from_loihi(du: ArrayLike, dv: ArrayLike, dt: float) -> tuple[Numbers, Numbers]:
    """Return ``(tau_syn, tau_mem)`` of Loihi's decay registers.

    ``1 - current decay = (du + 1) / 4096``, ``1 - voltage decay = dv / 4096``.

    Raises:
        UsageError: ``dv = 0``: a potential without leak has no finite time constant.
    """
    current, voltage = _numbers(du) + 1, _numbers(dv)
    if np.any(voltage == 0):
        raise UsageError("dv = 0 is a potential without leak, which has no finite time constant.")
    return dt * LOIHI_DECAY / current, dt * LOIHI_DECAY / voltage


def loihi_from_taus(tau_syn: ArrayLike, tau_mem: ArrayLike, dt: float) -> tuple[Numbers, Numbers]:
    """Return the registers ``(du, dv)``, not rounded, of time constants."""
    return (
        LOIHI_DECAY * dt / _numbers(tau_syn) - 1,
        LOIHI_DECAY * dt / _numbers(tau_mem),
    )


def delay_steps(delay: ArrayLike, dt: float) -> NDArray[np.int64]:
    """Return ``round(delay / dt)``.

    Raises:
        UsageError: a negative delay, or one that is no whole number of steps.
    """
    exact = _numbers(delay) / dt
    steps = np.rint(exact)
    if np.any(steps < 0):
        raise UsageError(f"a delay of {_numbers(delay).min():g} s lies in the future.")
    off = np.abs(exact - steps)
    if np.any(off > WHOLE_STEPS):
        worst = exact.flat[int(off.argmax())]
        raise UsageError(
            f"a delay of {worst * dt:g} s is {worst:g} steps of {dt:g} s, no whole number."
        )
    return steps.astype(np.int64)


def _numbers(value: ArrayLike) -> Numbers:
    return np.asarray(value, np.float64)
