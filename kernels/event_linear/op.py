"""A dense synapse driven by spikes, as one operation of torch, differentiable and compilable."""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from neuro.kernels.compiled import (
    DTYPES,
    TRITON_DTYPES,
    numba_unavailable,
    triton_devices,
    triton_unavailable,
)
from neuro.kernels.density import (
    Cost,
    Ways,
    by_density,
    note_by_density,
    unmeasured_on_gpu,
)
from neuro.kernels.dispatch import Implementation, Op, request
from neuro.kernels.unrecorded import UnrecordedOp, is_plain_call

_VECTOR = 16
"""Numbers in a vector of 64 bytes; twice the bytes cost twice as much in either way."""


class _Forward(Protocol):
    def __call__(self, spikes: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor: ...


class _WeightGradient(Protocol):
    def __call__(self, of_currents: Tensor, spikes: Tensor) -> Tensor: ...


class _AddWeightGradient(Protocol):
    def __call__(self, total: Tensor, of_currents: Tensor, spikes: Tensor) -> None: ...


class Functions(NamedTuple):
    """What one implementation computes."""

    forward: _Forward
    weight_gradient: _WeightGradient
    add_weight_gradient: _AddWeightGradient


def forward_cost(rows: int, inputs: int, outputs: int) -> Cost:
    """Return the expected cost of the currents of so many rows."""
    vectors = -(-outputs // _VECTOR)
    return Cost(
        dense=rows * inputs * (0.25 + 0.021 * outputs),
        fixed=50e3 + 0.3 * rows * inputs + 0.35 * inputs * outputs + 0.8 * rows * outputs,
        full=rows * inputs * (2.5 + 0.95 * vectors),
    )


def weight_cost(rows: int, inputs: int, outputs: int) -> Cost:
    """Return the expected cost of the gradient of the weight."""
    vectors = -(-outputs // _VECTOR)
    return Cost(
        dense=rows * inputs * (0.25 + 0.021 * outputs),
        fixed=50e3 + 0.3 * rows * inputs + 0.5 * inputs * outputs + 0.8 * rows * outputs,
        full=rows * inputs * (2.5 + 1.35 * vectors),
    )


def _reference() -> Functions:
    from neuro.kernels.event_linear.reference import add_weight_gradient, forward, weight_gradient

    return Functions(forward, weight_gradient, add_weight_gradient)


def _numba() -> Functions:
    from neuro.kernels.event_linear.cpu import add_weight_gradient, forward, weight_gradient

    return Functions(forward, weight_gradient, add_weight_gradient)


def _triton() -> Functions:
    from neuro.kernels.event_linear.gpu import forward
    from neuro.kernels.event_linear.reference import add_weight_gradient, weight_gradient

    return Functions(forward, weight_gradient, add_weight_gradient)


def _examples() -> dict[str, Cost]:
    sizes = ((128, 800, 800), (4096, 800, 800), (1024, 2312, 800), (1024, 784, 10))
    return {f"{b} x {n} -> {m}": forward_cost(b, n, m) for b, n, m in sizes}


EVENT_LINEAR: Op[Any] = Op(
    "event_linear",
    (
        Implementation("numba", _numba, ("cpu",), DTYPES, numba_unavailable),
        Implementation(
            "triton", _triton, triton_devices, TRITON_DTYPES, unmeasured_on_gpu(triton_unavailable)
        ),
        Implementation("reference", _reference),
    ),
    note_by_density(_examples),
)


def event_linear(spikes: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return the currents that spikes drive through a dense synapse.

    ::

        I[b, o] = bias[o] + sum over i with s[b, i] != 0 of s[b, i] * W[o, i]

    On events the cost goes with the number of spikes, not of inputs. Above a density that goes
    with the sizes (``neuro doctor --kernels`` tells it) the dense product serves; an implementation
    named by ``NEURO_KERNELS`` serves at any density.

    Where all operands are finite the two differ by rounding alone, and not at all where every sum
    is exact, as of integers. On events a zero contributes nothing, also where the weight is NaN or
    infinite; in the dense product it then makes a NaN.

    Autograd gives the gradient of spikes (``g W``, dense: a neuron that was silent has one too), of
    the weight (``sum_b g_b s_b^T``, on events where that pays) and of the bias; once, not twice.

    Args:
        spikes: ``[..., N_in]``, floating: 0 and 1, or any scaled or graded spikes.
        weight: ``[N_out, N_in]``.
        bias: ``[N_out]`` or none.

    Returns:
        ``[..., N_out]``.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    _check(spikes, weight, bias)
    product = _currents if is_plain_call(spikes, weight, bias) else _event_linear
    if spikes.dim() == 2:
        only: Tensor = product(spikes, weight, bias)
        return only
    rows = spikes.reshape(math.prod(spikes.shape[:-1]), weight.shape[1])
    currents: Tensor = product(rows, weight, bias)
    return currents.reshape(*spikes.shape[:-1], len(weight))


def event_gradient(of_currents: Tensor, spikes: Tensor) -> Tensor:
    """Return the gradient of a dense synapse's weight, from spikes; for online learning.

    ::

        sum_b of_currents_b spikes_b^T

    On events or densely as :func:`event_linear`; nothing is recorded.

    Args:
        of_currents: gradient of the currents, ``[B, N_out]``.
        spikes: ``[B, N_in]``.

    Returns:
        ``[N_out, N_in]``.

    Raises:
        ValueError: shapes, dtypes or devices do not fit.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    if spikes.dim() != 2 or of_currents.dim() != 2 or len(spikes) != len(of_currents):
        raise ValueError(
            f"event_gradient: gradient of the currents {tuple(of_currents.shape)} and spikes "
            f"{tuple(spikes.shape)} do not fit"
        )
    check_kinds("event_gradient", spikes, of_currents=of_currents)
    gradient: Tensor = _GRADIENT(of_currents, spikes)
    return gradient


def add_event_gradient(total: Tensor, of_currents: Tensor, spikes: Tensor) -> None:
    """Add what :func:`event_gradient` returns, in place::

        total += sum_b of_currents_b spikes_b^T

    Args:
        total: ``[N_out, N_in]``, contiguous.
        of_currents: gradient of the currents, ``[B, N_out]``.
        spikes: ``[B, N_in]``.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or ``total`` is not contiguous.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    shapes = total.dim() == spikes.dim() == of_currents.dim() == 2
    if not shapes or total.shape != (of_currents.shape[1], spikes.shape[1]):
        raise ValueError(
            f"add_event_gradient: total {tuple(total.shape)}, gradient of the currents "
            f"{tuple(of_currents.shape)} and spikes {tuple(spikes.shape)} do not fit"
        )
    if len(spikes) != len(of_currents) or not total.is_contiguous():
        raise ValueError(
            f"add_event_gradient: {len(spikes)} rows of spikes, {len(of_currents)} of gradients; "
            "total must be contiguous"
        )
    check_kinds("add_event_gradient", spikes, total=total, of_currents=of_currents)
    _ADD_GRADIENT(total, of_currents, spikes)


def _check(spikes: Tensor, weight: Tensor, bias: Tensor | None) -> None:
    if weight.dim() != 2 or not spikes.dim() or spikes.shape[-1] != weight.shape[1]:
        raise ValueError(
            f"event_linear: spikes are [..., N_in] and the weight is [N_out, N_in], got "
            f"{tuple(spikes.shape)} and {tuple(weight.shape)}"
        )
    if bias is not None and bias.shape != weight.shape[:1]:
        raise ValueError(
            f"event_linear: bias is {tuple(bias.shape)}, expected ({len(weight)},), one number "
            "for each row of the weight"
        )
    check_kinds("event_linear", spikes, weight=weight, bias=bias)


def check_kinds(op: str, spikes: Tensor, **others: Tensor | None) -> None:
    """Check that all operands are floating, of one dtype and on one device."""
    if not spikes.is_floating_point():
        raise ValueError(f"{op}: spikes must be floating, got {spikes.dtype}; call .float() on it")
    for name, each in others.items():
        if each is not None and (each.dtype != spikes.dtype or each.device != spikes.device):
            raise ValueError(
                f"{op}: {name} is {each.dtype} on {each.device}, spikes are {spikes.dtype} on "
                f"{spikes.device}: give both alike"
            )


_RuleOfCost = Callable[[int, int, int], Cost]


@lru_cache(maxsize=1024)
def _ways(
    rule: _RuleOfCost,
    spikes: torch.Size,
    outputs: int,
    device: torch.device,
    dtype: torch.dtype,
    requested: Any,  # decides, see by_density
) -> Ways[Any]:
    rows, inputs = spikes
    return by_density(EVENT_LINEAR, device, dtype, rule(rows, inputs, outputs))


def _serving(rule: _RuleOfCost, spikes: Tensor, outputs: int) -> Functions:
    ways = _ways(rule, spikes.shape, outputs, spikes.device, spikes.dtype, request())
    functions: Functions = ways.serving(spikes)
    return functions


def _currents(spikes: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return _serving(forward_cost, spikes, weight.shape[0]).forward(spikes, weight, bias)


@torch.library.custom_op("neuro::event_linear", mutates_args=())
def _event_linear(spikes: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return _currents(spikes, weight, bias)


def _gradient(of_currents: Tensor, spikes: Tensor) -> Tensor:
    functions = _serving(weight_cost, spikes, of_currents.shape[1])
    return functions.weight_gradient(of_currents, spikes)


def _like_weight(of_currents: Tensor, spikes: Tensor) -> Tensor:
    return spikes.new_empty(of_currents.shape[1], spikes.shape[1])


# The one has no derivative and says so, the other takes place where none is asked for.
_weight_gradient = torch.library.custom_op(
    "neuro::event_linear_weight_gradient", _gradient, mutates_args=()
)
_weight_gradient.register_fake(_like_weight)
_GRADIENT = UnrecordedOp("neuro::event_gradient", _gradient, _like_weight)


def _add_gradient(total: Tensor, of_currents: Tensor, spikes: Tensor) -> None:
    functions = _serving(weight_cost, spikes, of_currents.shape[1])
    functions.add_weight_gradient(total, of_currents, spikes)


def _nothing(*_: Any) -> None:
    return None


_ADD_GRADIENT = UnrecordedOp(
    "neuro::add_event_gradient", _add_gradient, _nothing, mutates_args=("total",)
)


@_event_linear.register_fake
def _(spikes: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    return spikes.new_empty(len(spikes), len(weight))


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    spikes, weight, _ = inputs
    of_spikes, of_weight = ctx.needs_input_grad[:2]
    ctx.save_for_backward(spikes if of_weight else None, weight if of_spikes else None)


def _differentiate(ctx: Any, of_currents: Tensor) -> Any:
    spikes, weight = ctx.saved_tensors
    return (
        None if weight is None else of_currents @ weight,
        None if spikes is None else _weight_gradient(of_currents, spikes),
        of_currents.sum(0) if ctx.needs_input_grad[2] else None,
    )


_event_linear.register_autograd(_differentiate, setup_context=_setup)
