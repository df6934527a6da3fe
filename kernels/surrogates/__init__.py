"""Derivatives of the surrogate steps: in plain torch, and as compiled kernels use them."""

from neuro.kernels.surrogates.reference import DERIVATIVES, coefficients

__all__ = ["DERIVATIVES", "coefficients"]
