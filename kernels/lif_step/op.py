"""The fused forward step of a LIF layer, for learning without autograd."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from neuro.kernels.compiled import DTYPES, numba_unavailable
from neuro.kernels.dispatch import Implementation, Op, choose


class LIFStep(NamedTuple):
    """What a step sends on: ``emitted`` and ``distance`` (shape of the current), and the number
    of neurons that fired (0-d int64)."""

    emitted: Tensor
    distance: Tensor
    spike_count: Tensor


class _Function(Protocol):
    def __call__(
        self,
        current: Tensor,
        membrane_potential: Tensor,
        trace: Tensor | None,
        noise: Tensor | None,
        emitted: Tensor,
        distance: Tensor,
        *,
        decay: float,
        threshold: float,
        soft_reset: bool,
        reset_value: float,
        inclusive: bool,
        scale: float,
        noise_scale: float,
    ) -> Tensor: ...


def _reference() -> _Function:
    from neuro.kernels.lif_step.reference import lif_step

    return lif_step


def _numba() -> _Function:
    from neuro.kernels.lif_step.cpu import lif_step

    return lif_step


LIF_STEP: Op[_Function] = Op(
    "lif_step",
    (
        Implementation("numba", _numba, ("cpu",), DTYPES, numba_unavailable),
        Implementation("reference", _reference),
    ),
)


def lif_step(
    current: Tensor,
    membrane_potential: Tensor,
    trace: Tensor | None,
    noise: Tensor | None,
    *,
    decay: float,
    threshold: float,
    soft_reset: bool = True,
    reset_value: float = 0.0,
    inclusive: bool = True,
    scale: float = 1.0,
    noise_scale: float = 1.0,
    out: tuple[Tensor, Tensor] | None = None,
) -> LIFStep:
    """Advance a LIF layer by one time step, in one pass over memory.

    ::

        u        = decay * v + current
        distance = u - threshold
        s        = [distance >= 0]               ([distance > 0] unless inclusive)
        v       <- u - threshold * s             (soft reset)
        v       <- reset_value where s, else u   (hard reset)
        a       <- decay * a + s                 (trace, if given)
        emitted  = scale * (s + noise_scale * noise)

    ``membrane_potential`` (v) and ``trace`` (a) are changed in place. Nothing is recorded for
    autograd. Spikes, potentials and traces are equal bit for bit in every implementation.

    Args:
        current: input current of any shape, contiguous.
        membrane_potential: v after the last reset; shape, dtype and device of ``current``.
        trace: eligibility trace of the layer's own spikes, or ``None`` to keep none.
        noise: perturbation added to the spikes that are sent on, or ``None``.
        decay: fraction of the membrane potential and of the trace kept per step.
        threshold: firing threshold, unit of the membrane potential.
        soft_reset: subtract the threshold; else set to ``reset_value``.
        reset_value: membrane potential after a hard reset.
        inclusive: fire at exactly the threshold.
        scale: factor on what is sent on.
        noise_scale: factor on the noise.
        out: buffers for ``emitted`` and ``distance``. Buffers reused from step to step spare the
            page faults of fresh memory, which cost more than the arithmetic.

    Returns:
        LIFStep(emitted, distance, spike_count).

    Raises:
        ValueError: shapes, dtypes or devices differ, a tensor is not contiguous, or needs a
            gradient.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    emitted, distance = out or (torch.empty_like(current), torch.empty_like(current))
    _check(
        current,
        membrane_potential=membrane_potential,
        trace=trace,
        noise=noise,
        emitted=emitted,
        distance=distance,
    )
    function = choose(LIF_STEP, current.device, current.dtype).function
    spike_count = function(
        current,
        membrane_potential,
        trace,
        noise,
        emitted,
        distance,
        decay=decay,
        threshold=threshold,
        soft_reset=soft_reset,
        reset_value=reset_value,
        inclusive=inclusive,
        scale=scale,
        noise_scale=noise_scale,
    )
    return LIFStep(emitted, distance, spike_count)


def _check(current: Tensor, **others: Tensor | None) -> None:
    expected = (current.shape, current.dtype, current.device)
    if not current.is_floating_point():
        raise ValueError(f"lif_step: current must be a floating dtype, got {current.dtype}")
    for name, tensor in {"current": current, **others}.items():
        if tensor is None:
            continue
        if (tensor.shape, tensor.dtype, tensor.device) != expected:
            raise ValueError(
                f"lif_step: {name} is {tuple(tensor.shape)} {tensor.dtype} on {tensor.device}, "
                f"current is {tuple(current.shape)} {current.dtype} on {current.device}"
            )
        if not tensor.is_contiguous():
            raise ValueError(f"lif_step: {name} is not contiguous; call .contiguous() on it")
        if tensor.requires_grad:
            raise ValueError(f"lif_step: {name} needs a gradient, but nothing is recorded here")
