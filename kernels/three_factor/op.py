"""Feedback times the surrogate's derivative: the error of a layer's neurons, in one pass."""

from typing import Protocol

import torch
from torch import Tensor

from neuro.kernels.compiled import DTYPES, numba_unavailable
from neuro.kernels.dispatch import Implementation, Op, choose


class _Function(Protocol):
    def __call__(
        self, feedback: Tensor, distance: Tensor, delta: Tensor, *, slope: float, gain: float
    ) -> None: ...


def _reference() -> _Function:
    from neuro.kernels.three_factor.reference import sigmoid_factor

    return sigmoid_factor


def _numba() -> _Function:
    from neuro.kernels.three_factor.cpu import sigmoid_factor

    return sigmoid_factor


SIGMOID_FACTOR: Op[_Function] = Op(
    "sigmoid_factor",
    (
        Implementation("numba", _numba, ("cpu",), DTYPES, numba_unavailable),
        Implementation("reference", _reference),
    ),
)


def sigmoid_factor(
    feedback: Tensor,
    distance: Tensor,
    *,
    slope: float,
    gain: float = 1.0,
    out: Tensor | None = None,
) -> Tensor:
    """Multiply the feedback by the derivative of the sigmoid surrogate.

    ::

        delta = gain * feedback * slope * sig(x) * (1 - sig(x)),    x = slope * distance
        sig(x) * (1 - sig(x)) = e / (1 + e)^2,                      e = exp(-|x|)

    The second form is the one computed: it keeps full relative precision far from the threshold.

    Args:
        feedback: error fed back to each neuron, of ``distance``'s shape; or with every trailing
            dimension 1 after the leading ones agree, such as (B, C, 1, 1) for (B, C, H, W).
        distance: membrane potential minus threshold, any shape, contiguous.
        slope: slope of the sigmoid, > 0.
        gain: factor on the result.
        out: buffer for the result, of ``distance``'s shape.

    Returns:
        delta, of ``distance``'s shape.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, a tensor is not contiguous, or needs a
            gradient.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    delta = torch.empty_like(distance) if out is None else out
    _check(feedback, distance, delta)
    function = choose(SIGMOID_FACTOR, distance.device, distance.dtype).function
    function(feedback, distance, delta, slope=slope, gain=gain)
    return delta


def _check(feedback: Tensor, distance: Tensor, delta: Tensor) -> None:
    if not distance.is_floating_point():
        raise ValueError(f"sigmoid_factor: distance must be floating, got {distance.dtype}")
    if delta.shape != distance.shape:
        raise ValueError(
            f"sigmoid_factor: out is {tuple(delta.shape)}, distance {tuple(distance.shape)}"
        )
    leading = feedback.dim()
    while leading and feedback.shape[leading - 1] == 1:
        leading -= 1
    if feedback.dim() != distance.dim() or feedback.shape[:leading] != distance.shape[:leading]:
        raise ValueError(
            f"sigmoid_factor: feedback {tuple(feedback.shape)} does not spread over distance "
            f"{tuple(distance.shape)}: equal leading dimensions, then ones"
        )
    for name, tensor in {"feedback": feedback, "distance": distance, "out": delta}.items():
        if (tensor.dtype, tensor.device) != (distance.dtype, distance.device):
            raise ValueError(
                f"sigmoid_factor: {name} is {tensor.dtype} on {tensor.device}, "
                f"distance is {distance.dtype} on {distance.device}"
            )
        if not tensor.is_contiguous():
            raise ValueError(f"sigmoid_factor: {name} is not contiguous; call .contiguous() on it")
        if tensor.requires_grad:
            raise ValueError(
                f"sigmoid_factor: {name} needs a gradient, but nothing is recorded here"
            )
