"""A LIF layer over a whole sequence as one operation of torch, differentiable and compilable."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol, cast

import torch
from torch import Tensor

from neuro.kernels.compiled import (
    DTYPES,
    TRITON_DTYPES,
    numba_unavailable,
    triton_devices,
    triton_unavailable,
)
from neuro.kernels.dispatch import Implementation, Op, choose
from neuro.kernels.lif.fields import Scalar, stack
from neuro.kernels.lif.variant import PARAMETERS, Gradients, Outputs, Variant
from neuro.kernels.surrogates import DERIVATIVES
from neuro.kernels.unrecorded import is_plain_call, is_untraced_call, recorded


class _Forward(Protocol):
    def __call__(
        self,
        currents: Tensor,
        potential: Tensor,
        synaptic: Tensor,
        adaptation: Tensor,
        parameters: Tensor,
        variant: Variant,
    ) -> Outputs: ...


class _Backward(Protocol):
    def __call__(
        self,
        gradients: Outputs,
        currents: Tensor,
        potential: Tensor,
        synaptic: Tensor,
        adaptation: Tensor,
        parameters: Tensor,
        variant: Variant,
        of_parameters: bool,
    ) -> Gradients: ...


class Functions(NamedTuple):
    """Both directions of one implementation."""

    forward: _Forward
    backward: _Backward


def _reference() -> Functions:
    from neuro.kernels.lif.reference import backward, forward

    return Functions(forward, backward)


def _numba() -> Functions:
    from neuro.kernels.lif.cpu import backward, forward

    return Functions(forward, backward)


def _triton() -> Functions:
    from neuro.kernels.lif.gpu import backward, forward

    return Functions(forward, backward)


LIF: Op[Any] = Op(
    "lif",
    (
        Implementation("numba", _numba, ("cpu",), DTYPES, numba_unavailable),
        Implementation("triton", _triton, triton_devices, TRITON_DTYPES, triton_unavailable),
        Implementation("reference", _reference),
    ),
)


def lif(
    currents: Tensor,
    membrane_potential: Tensor,
    synaptic_current: Tensor | None = None,
    adaptation: Tensor | None = None,
    *,
    decay: Scalar,
    threshold: Scalar = 1.0,
    input_gain: Scalar = 1.0,
    reset_value: Scalar = 0.0,
    current_decay: Scalar = 0.0,
    beta: Scalar = 0.0,
    adaptation_decay: Scalar = 0.0,
    adaptation_weight: Scalar = 1.0,
    soft_reset: bool = True,
    inclusive: bool = True,
    detach_reset: bool = True,
    subtract_adaptation: bool = True,
    surrogate: str = "sigmoid",
    sharpness: float = 4.0,
) -> Outputs:
    """Run T time steps of a LIF layer, optionally current-based, optionally adaptive.

    ::

        j[t] = current_decay * j[t-1] + input_gain * I[t]     (with a synaptic current)
        j[t] = input_gain * I[t]                              (without)
        u[t] = decay * v[t-1] + j[t]
        A[t] = threshold + beta * a[t-1]                      (with an adaptation)
        A[t] = threshold                                      (without)
        s[t] = [u[t] >= A[t]]                                 ([u > A] unless inclusive)
        v[t] = u[t] - A[t] where s                            (soft reset; or - threshold)
        v[t] = reset_value where s                            (hard reset)
        a[t] = adaptation_decay * a[t-1] + adaptation_weight * s[t]

    Autograd takes ``ds/du = psi(u - A)`` of the named surrogate and flows to the currents, the
    initial states and every number given as a tensor. Backward repeats the forward run in
    cache, so only the currents and the initial states are kept. Spikes and states are equal bit
    for bit in every implementation.

    Args:
        currents: ``[T, B, ...]``, floating point; T may be 0.
        membrane_potential: v before the first step, ``[B, ...]``.
        synaptic_current: j before the first step, ``[B, ...]``; ``None`` for a layer without.
        adaptation: a before the first step, ``[B, ...]``; ``None`` for a layer without.
        decay: fraction of v kept per step; this and the next seven are numbers, or tensors
            that broadcast to ``[B, ...]``.
        threshold: potential at which a neuron fires.
        input_gain: factor on the input.
        reset_value: potential after a hard reset.
        current_decay: fraction of j kept per step.
        beta: rise of the threshold per unit of adaptation.
        adaptation_decay: fraction of a kept per step.
        adaptation_weight: what a spike adds to a.
        soft_reset: subtract; else set to ``reset_value``.
        inclusive: fire at exactly the threshold.
        detach_reset: take the spike in the reset as a constant in backward.
        subtract_adaptation: a soft reset subtracts ``A``; else ``threshold``.
        surrogate: a name of :data:`neuro.kernels.surrogates.DERIVATIVES`.
        sharpness: its number.

    Returns:
        Outputs(spikes ``[T, B, ...]``, and the states after the last step ``[B, ...]``; those the
        layer lacks are empty).

    Raises:
        ValueError: shapes, dtypes or devices differ, or an unknown surrogate.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    state = (membrane_potential, synaptic_current, adaptation)
    _check(currents, *state, surrogate)
    numbers = (
        threshold,
        reset_value,
        decay,
        input_gain,
        current_decay,
        beta,
        adaptation_decay,
        adaptation_weight,
    )
    absent = currents.new_empty(0)
    parameters = stack(numbers, currents)
    operation: Any = _lif
    if is_plain_call(currents, *state, parameters):
        operation = _run
    elif is_untraced_call(currents, *state, parameters):
        operation = _recorded
    outputs = operation(
        currents,
        membrane_potential,
        absent if synaptic_current is None else synaptic_current,
        absent if adaptation is None else adaptation,
        parameters,
        [
            synaptic_current is not None,
            adaptation is not None,
            soft_reset,
            inclusive,
            detach_reset,
            subtract_adaptation,
        ],
        surrogate,
        float(sharpness),
    )
    return Outputs(*outputs)


def _check(
    currents: Tensor,
    membrane_potential: Tensor,
    synaptic_current: Tensor | None,
    adaptation: Tensor | None,
    surrogate: str,
) -> None:
    if not currents.is_floating_point() or currents.dim() < 1:
        raise ValueError(
            f"lif: currents must be floating [T, B, ...], got {currents.dtype} "
            f"{tuple(currents.shape)}"
        )
    if surrogate not in DERIVATIVES:
        raise ValueError(f"lif: unknown surrogate {surrogate!r}; has {', '.join(DERIVATIVES)}")
    expected = (currents.shape[1:], currents.dtype, currents.device)
    states = {
        "membrane_potential": membrane_potential,
        "synaptic_current": synaptic_current,
        "adaptation": adaptation,
    }
    for name, state in states.items():
        if state is not None and (state.shape, state.dtype, state.device) != expected:
            raise ValueError(
                f"lif: {name} is {tuple(state.shape)} {state.dtype} on {state.device}, currents "
                f"are {tuple(currents.shape)} {currents.dtype} on {currents.device}: a state is "
                f"[B, ...] where currents are [T, B, ...]"
            )


def _run(
    currents: Tensor,
    potential: Tensor,
    synaptic: Tensor,
    adaptation: Tensor,
    parameters: Tensor,
    equations: Sequence[bool],
    surrogate: str,
    sharpness: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    variant = _variant(equations, surrogate, sharpness)
    function = choose(LIF, currents.device, currents.dtype).function.forward
    return tuple(function(currents, potential, synaptic, adaptation, parameters, variant))


_lif = torch.library.custom_op("neuro::lif", _run, mutates_args=())


def _run_back(
    of_spikes: Tensor,
    of_potential: Tensor,
    of_synaptic: Tensor,
    of_adaptation: Tensor,
    currents: Tensor,
    potential: Tensor,
    synaptic: Tensor,
    adaptation: Tensor,
    parameters: Tensor,
    equations: Sequence[bool],
    surrogate: str,
    sharpness: float,
    of_parameters: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    variant = _variant(equations, surrogate, sharpness)
    function = choose(LIF, currents.device, currents.dtype).function.backward
    found = function(
        Outputs(of_spikes, of_potential, of_synaptic, of_adaptation),
        currents,
        potential,
        synaptic,
        adaptation,
        parameters,
        variant,
        of_parameters,
    )
    if not of_parameters:
        return tuple(found)
    return (*found[:-1], _gather(found.parameters, parameters))


_lif_backward = torch.library.custom_op("neuro::lif_backward", _run_back, mutates_args=())


def _variant(equations: Sequence[bool], surrogate: str, sharpness: float) -> Variant:
    synaptic, adaptive, soft_reset, inclusive, detach_reset, subtract_adaptation = equations
    return Variant(
        synaptic,
        adaptive,
        soft_reset,
        inclusive,
        detach_reset,
        subtract_adaptation,
        surrogate,
        sharpness,
    )


def _gather(per_neuron: Tensor, parameters: Tensor) -> Tensor:
    """Sum ``(8, B, ...)`` to the shape of the parameters, in double precision."""
    total = per_neuron.double()
    if parameters.dim() == 1:
        return total.reshape(len(PARAMETERS), -1).sum(1).to(parameters)
    # Field parameters broadcast to [B, ...] from the right, the rows staying in front.
    shape = (len(PARAMETERS), *([1] * (total.dim() - parameters.dim())), *parameters.shape[1:])
    return total.sum_to_size(shape).reshape(parameters.shape).to(parameters)


@_lif.register_fake
def _(currents: Tensor, potential: Tensor, synaptic: Tensor, adaptation: Tensor, *_: Any) -> Any:
    return tuple(
        torch.empty_like(each, memory_format=torch.contiguous_format)
        for each in (currents, potential, synaptic, adaptation)
    )


@_lif_backward.register_fake
def _(*arguments: Any) -> Any:
    found = [
        torch.empty_like(each, memory_format=torch.contiguous_format) for each in arguments[4:9]
    ]
    if not arguments[-1]:
        found[-1] = arguments[8].new_empty(0)
    return tuple(found)


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*inputs[:5])
    ctx.variant = inputs[5:]


def _differentiate(ctx: Any, *gradients: Tensor | None) -> Any:
    of_parameters = ctx.needs_input_grad[4]
    saved = ctx.saved_tensors
    arrived = [
        like.new_zeros(()).expand(like.shape) if each is None else each
        for each, like in zip(gradients, saved, strict=False)
    ]
    operands = (*arrived, *saved)
    back: Any = _run_back if is_plain_call(*operands) else _lif_backward
    found = back(*operands, *ctx.variant, of_parameters)
    found = cast(tuple[Tensor, ...], found)
    return (*found[:4], found[4] if of_parameters else None, *(None for _ in ctx.variant))


_lif.register_autograd(_differentiate, setup_context=_setup)
_recorded = recorded(_run, _setup, _differentiate)
