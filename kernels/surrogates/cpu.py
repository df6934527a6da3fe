"""Derivatives of the surrogate steps for Numba kernels."""

from typing import Any

from numba.extending import overload

from neuro.kernels.exponential import exp_negative
from neuro.kernels.surrogates import DERIVATIVES

KINDS = {name: kind for kind, name in enumerate(DERIVATIVES)}
_SIGMOID, _ATAN, _TRIANGLE, _RECTANGLE, _FAST_SIGMOID, _GAUSSIAN = KINDS.values()


def derivative(kind: int, distance: Any, sharp: Any, peak: Any, zero: Any, one: Any) -> Any:
    """Return psi(distance) of a surrogate, from its two coefficients; ``kind`` is a constant."""
    raise NotImplementedError("compiled code only")


@overload(derivative, inline="always")
def _derivative_for(kind: Any, distance: Any, sharp: Any, peak: Any, zero: Any, one: Any) -> Any:
    def psi(kind: Any, distance: Any, sharp: Any, peak: Any, zero: Any, one: Any) -> Any:
        far = abs(distance)
        if kind == _SIGMOID:
            e = exp_negative(sharp * far)
            share = one / (one + e)
            value = peak * (e * share * share)
        elif kind == _ATAN:
            value = one / (sharp * (distance * distance) + peak)
        elif kind == _TRIANGLE:
            value = max(peak - sharp * far, zero)
        elif kind == _RECTANGLE:
            value = peak if far < sharp else zero
        elif kind == _FAST_SIGMOID:
            share = one / (sharp * far + peak)
            value = share * share
        else:
            value = peak * exp_negative(sharp * (distance * distance))
        return value

    return psi
