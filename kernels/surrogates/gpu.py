"""Derivatives of the surrogate steps for Triton kernels."""

import triton
import triton.language as tl

from neuro.kernels.surrogates import DERIVATIVES

KINDS = {name: kind for kind, name in enumerate(DERIVATIVES)}


@triton.jit
def derivative(distance, sharp, peak, KIND: tl.constexpr):
    far = tl.abs(distance)
    if KIND == 0:  # sigmoid
        e = tl.exp(-sharp * far)
        share = 1.0 / (1.0 + e)
        return peak * (e * share * share)
    elif KIND == 1:  # atan
        return 1.0 / (sharp * (distance * distance) + peak)
    elif KIND == 2:  # triangle
        return tl.maximum(peak - sharp * far, 0.0)
    elif KIND == 3:  # rectangle
        return tl.where(far < sharp, peak, 0.0)
    elif KIND == 4:  # fast sigmoid
        share = 1.0 / (sharp * far + peak)
        return share * share
    else:  # gaussian
        return peak * tl.exp(-sharp * (distance * distance))
