"""Three-factor products as operations of torch."""

from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor

from neuro.kernels.compiled import DTYPES, triton_devices, triton_unavailable
from neuro.kernels.dispatch import Implementation, Op, choose
from neuro.kernels.unrecorded import UnrecordedOp


class _Delta(Protocol):
    def __call__(
        self, projection: Tensor, error: Tensor, factor: Tensor, gain: float
    ) -> Tensor: ...


class _Into(Protocol):
    def __call__(
        self,
        delta: Tensor,
        projection: Tensor,
        error: Tensor,
        factor: Tensor,
        gain: float,
        add: bool,
    ) -> None: ...


class _Gradient(Protocol):
    def __call__(
        self,
        projection: Tensor,
        error: Tensor,
        factor: Tensor,
        trace: Tensor,
        weight_sum: Tensor,
        bias_sum: Tensor,
        gain: float,
    ) -> None: ...


class Functions(NamedTuple):
    """What one implementation offers."""

    delta: _Delta
    into: _Into
    gradient: _Gradient


def _reference() -> Functions:
    from neuro.kernels.three_factor.reference import into, three_factor, three_factor_gradient

    return Functions(three_factor, into, three_factor_gradient)


def _numba() -> Functions:
    from neuro.kernels.three_factor.cpu import into, three_factor, three_factor_gradient

    return Functions(three_factor, into, three_factor_gradient)


def _triton() -> Functions:
    from neuro.kernels.three_factor.gpu import into, three_factor, three_factor_gradient

    return Functions(three_factor, into, three_factor_gradient)


THREE_FACTOR: Op[Any] = Op(
    "three_factor",
    (
        Implementation("numba", _numba, ("cpu",), DTYPES),
        Implementation("triton", _triton, triton_devices, DTYPES, triton_unavailable),
        Implementation("reference", _reference, None, DTYPES),
    ),
)


def three_factor(projection: Tensor, error: Tensor, factor: Tensor, *, gain: float = 1.0) -> Tensor:
    """Send the output error to a layer and through its surrogate.

    ::

        delta = gain * (M e) * factor               factor = psi(u - threshold) * du/dI

    Args:
        projection: ``M^T``, ``(m, n)``, as all operands contiguous and single or double precision.
        error: e, ``(B, m)``.
        factor: of the layer's neurons, ``(B, ...)`` with n of them a sample.
        gain: factor on the result.

    Returns:
        delta, of ``factor``'s shape.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or a tensor is not contiguous.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    _check("three_factor", projection, error, factor)
    delta = cast(Tensor, _DELTA(projection, error, factor.flatten(1), float(gain)))
    return delta.view(factor.shape)


def three_factor_into(
    delta: Tensor,
    projection: Tensor,
    error: Tensor,
    factor: Tensor,
    *,
    gain: float = 1.0,
    add: bool = False,
) -> None:
    """Write what :func:`three_factor` returns where it is wanted, or add it to what is there.

    Args:
        delta: of ``factor``'s shape, contiguous; changed in place.
        projection, error, factor, gain: as for :func:`three_factor`.
        add: add, else overwrite.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or a tensor is not contiguous.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    _check("three_factor_into", projection, error, factor)
    kind = (delta.dtype, delta.device) == (factor.dtype, factor.device)
    if delta.shape != factor.shape or not kind or not delta.is_contiguous():
        raise ValueError(
            f"three_factor_into: delta {tuple(delta.shape)} {delta.dtype} on {delta.device} must "
            f"be contiguous and like factor, {tuple(factor.shape)} {factor.dtype} on "
            f"{factor.device}"
        )
    _INTO(delta.flatten(1), projection, error, factor.flatten(1), float(gain), add)


def three_factor_gradient(
    projection: Tensor,
    error: Tensor,
    factor: Tensor,
    trace: Tensor,
    weight_sum: Tensor,
    bias_sum: Tensor | None = None,
    *,
    gain: float = 1.0,
) -> None:
    """Add a dense synapse's three-factor gradient for one time step, in place.

    ::

        weight_sum += delta^T a,    bias_sum += sum_b delta,    delta = gain * (M e) * factor

    ``delta`` is never held beyond a tile of neurons.

    Args:
        projection, error, factor, gain: as for :func:`three_factor`; ``factor`` is ``(B, n)``.
        trace: a, the presynaptic activity, ``(B, N_in)``.
        weight_sum: ``(n, N_in)``.
        bias_sum: ``(n,)``, or ``None`` for a synapse without bias.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or a tensor is not contiguous.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    _check("three_factor_gradient", projection, error, factor)
    neurons = projection.shape[1]
    bias = error.new_empty(0) if bias_sum is None else bias_sum
    fits = trace.dim() == 2 and len(trace) == len(error)
    fits = fits and weight_sum.shape == (neurons, trace.shape[1]) and bias.numel() in (0, neurons)
    if not fits or not all(
        each.is_contiguous() and (each.dtype, each.device) == (error.dtype, error.device)
        for each in (trace, weight_sum, bias)
    ):
        raise ValueError(
            f"three_factor_gradient: for {neurons} neurons and an error {tuple(error.shape)} "
            f"{error.dtype}, trace {tuple(trace.shape)}, weight_sum {tuple(weight_sum.shape)} and "
            f"bias_sum {tuple(bias.shape)} do not fit, or are not contiguous"
        )
    _GRADIENT(projection, error, factor, trace, weight_sum, bias, float(gain))


def _check(op: str, projection: Tensor, error: Tensor, factor: Tensor) -> None:
    operands = {"projection": projection, "error": error, "factor": factor}
    for name, each in operands.items():
        if each.dtype not in DTYPES or not each.is_contiguous():
            raise ValueError(
                f"{op}: {name} must be contiguous float32 or float64, got {each.dtype}, strides "
                f"{each.stride()}"
            )
    kinds = {(each.dtype, each.device) for each in operands.values()}
    shaped = projection.dim() == 2 and error.dim() == 2 and factor.dim() >= 2
    if (
        len(kinds) > 1
        or not shaped
        or error.shape[1] != len(projection)
        or factor.shape[0] != len(error)
        or factor.shape[1:].numel() != projection.shape[1]
    ):
        told = ", ".join(f"{name} {tuple(each.shape)}" for name, each in operands.items())
        raise ValueError(f"{op}: {told} do not fit, or differ in dtype or device")


def _delta(projection: Tensor, error: Tensor, factor: Tensor, gain: float) -> Tensor:
    functions = choose(THREE_FACTOR, error.device, error.dtype).function
    found: Tensor = functions.delta(projection, error, factor, gain)
    return found


def _into(
    delta: Tensor, projection: Tensor, error: Tensor, factor: Tensor, gain: float, add: bool
) -> None:
    functions = choose(THREE_FACTOR, error.device, error.dtype).function
    functions.into(delta, projection, error, factor, gain, add)


def _gradient(
    projection: Tensor,
    error: Tensor,
    factor: Tensor,
    trace: Tensor,
    weight_sum: Tensor,
    bias_sum: Tensor,
    gain: float,
) -> None:
    functions = choose(THREE_FACTOR, error.device, error.dtype).function
    functions.gradient(projection, error, factor, trace, weight_sum, bias_sum, gain)


def _like_factor(projection: Tensor, error: Tensor, factor: Tensor, gain: float) -> Tensor:
    return torch.empty_like(factor)


def _nothing(*_: Any) -> None:
    return None


_DELTA = UnrecordedOp("neuro::three_factor", _delta, _like_factor)
_INTO = UnrecordedOp("neuro::three_factor_into", _into, _nothing, mutates_args=("delta",))
_GRADIENT = UnrecordedOp(
    "neuro::three_factor_gradient", _gradient, _nothing, mutates_args=("weight_sum", "bias_sum")
)
