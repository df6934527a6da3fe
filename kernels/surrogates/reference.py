"""Derivatives of the surrogate steps in plain torch, by name: what every kernel must match.

``psi(x)`` of a tensor ``x`` (membrane potential minus threshold) and one positive number each: a
slope, an alpha, a width or a sigma.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor


def sigmoid(x: Tensor, slope: float) -> Tensor:
    """``k sig(k x) (1 - sig(k x))``."""
    step = (slope * x).sigmoid_()
    # Four passes over memory: scale, sigmoid, step - step^2, scale.
    return torch.addcmul(step, step, step, value=-1.0).mul_(slope)


def atan(x: Tensor, alpha: float) -> Tensor:
    """``(a/2) / (1 + (pi a x / 2)^2)``."""
    # 1 / (2/a + (pi^2 a / 2) x^2): the same fraction with one pass fewer.
    return (x * x).mul_(math.pi**2 * alpha / 2).add_(2 / alpha).reciprocal_()


def triangle(x: Tensor, width: float) -> Tensor:
    """``max(0, 1 - |x|/w) / w``."""
    return x.abs().mul_(-1 / width**2).add_(1 / width).relu_()


def rectangle(x: Tensor, width: float) -> Tensor:
    """``1/w`` where ``|x| < w/2``, else 0."""
    return x.detach().abs().lt_(width / 2).mul_(1 / width)


def fast_sigmoid(x: Tensor, slope: float) -> Tensor:
    """``1 / (1 + k |x|)^2``."""
    root = x.abs().mul_(slope).add_(1.0).reciprocal_()
    return root * root


def gaussian(x: Tensor, sigma: float) -> Tensor:
    """``exp(-x^2 / (2 s^2)) / (s sqrt(2 pi))``."""
    # The factor in front goes into the exponent: one pass fewer.
    log_peak = -math.log(sigma * math.sqrt(2 * math.pi))
    return (x * x).mul_(-0.5 / sigma**2).add_(log_peak).exp_()


DERIVATIVES: dict[str, Callable[[Tensor, float], Tensor]] = {
    "sigmoid": sigmoid,
    "atan": atan,
    "triangle": triangle,
    "rectangle": rectangle,
    "fast_sigmoid": fast_sigmoid,
    "gaussian": gaussian,
}


def coefficients(surrogate: str, sharpness: float) -> tuple[float, float]:
    """Return the two numbers from which a kernel computes a derivative.

    ============= =================== ====================== ===========================
    name          first               second                 psi(x)
    ============= =================== ====================== ===========================
    sigmoid       ``k``               ``k``                  ``c2 e/(1+e)^2``, e = exp(-c1 abs x)
    atan          ``pi^2 a / 2``      ``2 / a``              ``1 / (c1 x^2 + c2)``
    triangle      ``1 / w^2``         ``1 / w``              ``max(0, c2 - c1 abs x)``
    rectangle     ``w / 2``           ``1 / w``              ``c2 [abs x < c1]``
    fast_sigmoid  ``k``               1                      ``1 / (c1 abs x + c2)^2``
    gaussian      ``1 / (2 s^2)``     ``1/(s sqrt(2 pi))``   ``c2 exp(-c1 x^2)``
    ============= =================== ====================== ===========================
    """
    match surrogate:
        case "sigmoid":
            return sharpness, sharpness
        case "atan":
            return math.pi**2 * sharpness / 2, 2 / sharpness
        case "triangle":
            return 1 / sharpness**2, 1 / sharpness
        case "rectangle":
            return sharpness / 2, 1 / sharpness
        case "fast_sigmoid":
            return sharpness, 1.0
        case "gaussian":
            return 0.5 / sharpness**2, 1 / (sharpness * math.sqrt(2 * math.pi))
    raise ValueError(f"no kernel has surrogate {surrogate!r}; they have {', '.join(DERIVATIVES)}")
