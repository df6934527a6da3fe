"""Fused operations, each with a plain torch reference; knows nothing of networks or training.

Importing this package is cheap: a compiled implementation is imported when first chosen.
"""

from typing import Any

from neuro.kernels.dispatch import Choice, Explanation, KernelError, Op, choose
from neuro.kernels.dispatch import explain as _explain
from neuro.kernels.lif.op import LIF, lif
from neuro.kernels.lif_step.op import LIF_STEP, LIFStep, lif_step
from neuro.kernels.three_factor.op import SIGMOID_FACTOR, sigmoid_factor

OPS: dict[str, Op[Any]] = {op.name: op for op in (LIF, LIF_STEP, SIGMOID_FACTOR)}


def explain() -> list[Explanation]:
    """Tell for every op and device which implementation serves it, and why the others do not."""
    return _explain(OPS.values())


__all__ = [
    "OPS",
    "Choice",
    "Explanation",
    "KernelError",
    "LIFStep",
    "Op",
    "choose",
    "explain",
    "lif",
    "lif_step",
    "sigmoid_factor",
]
