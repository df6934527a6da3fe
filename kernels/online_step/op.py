"""One online time step of a spiking layer as an operation of torch."""

from collections.abc import Sequence
from typing import Any, Literal, Protocol, cast

import torch
from torch import Tensor

from neuro.kernels.compiled import (
    DTYPES,
    numba_unavailable,
    triton_devices,
    triton_unavailable,
)
from neuro.kernels.dispatch import Implementation, Op, choose
from neuro.kernels.lif.fields import Scalar, stack
from neuro.kernels.lif.variant import Variant
from neuro.kernels.noise.op import check_stream
from neuro.kernels.noise.stream import Kind, NoiseStream
from neuro.kernels.online_step.operands import Injection, Layer, OnlineStep, trace_rows
from neuro.kernels.surrogates import DERIVATIVES
from neuro.kernels.unrecorded import UnrecordedOp

NoiseSite = Literal["post", "pre"]


class _Function(Protocol):
    def __call__(
        self,
        current: Tensor,
        layer: Layer,
        variant: Variant,
        injection: Injection | None,
        *,
        scale: float,
        gain: float,
        keep_spikes: bool,
    ) -> OnlineStep: ...


def _reference() -> _Function:
    from neuro.kernels.online_step.reference import online_step

    return online_step


def _numba() -> _Function:
    from neuro.kernels.online_step.cpu import online_step

    return online_step


def _triton() -> _Function:
    from neuro.kernels.online_step.gpu import online_step

    return online_step


ONLINE_STEP: Op[_Function] = Op(
    "online_step",
    (
        Implementation("numba", _numba, ("cpu",), DTYPES, numba_unavailable),
        Implementation("triton", _triton, triton_devices, DTYPES, triton_unavailable),
        Implementation("reference", _reference, None, DTYPES),
    ),
)


def online_step(
    current: Tensor,
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
    subtract_adaptation: bool = True,
    surrogate: str = "sigmoid",
    sharpness: float = 4.0,
    traces: Sequence[Tensor] = (),
    noise: NoiseStream | Tensor | None = None,
    strength: Tensor | None = None,
    noise_at: NoiseSite = "post",
    scale: float = 1.0,
    gain: float = 1.0,
    keep_spikes: bool = False,
) -> OnlineStep:
    """Advance a LIF layer by one time step, in one pass over memory, for learning without a graph.

    The equations are those of :func:`neuro.kernels.lif` at one step, with a potential ``u`` that
    the noise may move, and further::

        u       = decay * v + j [+ strength * z                   noise at "pre"]
        a1     <- current_decay * a1 + s                          (with a synaptic current)
        a      <- decay * a + a1        (or + s, without)         trace: the spikes as the neuron
                                                                  would filter its input
        factor  = gain * psi(u - A)                               surrogate derivative
        emitted = scale * (s [+ strength * z                      noise at "post"])

    Given a stream, the noise ``z`` is drawn run by run and is never held; :func:`noise` of the same
    stream writes it out, and what it wrote can be given as well. States and traces change in
    place. Nothing is recorded for autograd. Spikes, states, traces and what is emitted are equal
    bit for bit in every implementation;
    ``factor`` up to the rounding of its exponential.

    Args:
        current: input current ``[B, ...]``, contiguous, single or double precision; and so all
            states and traces.
        membrane_potential: v after the last reset.
        synaptic_current: j of the last step; ``None`` for a layer without.
        adaptation: the adaptation; ``None`` for a layer without.
        decay, threshold, input_gain, reset_value, current_decay, beta, adaptation_decay,
            adaptation_weight, soft_reset, inclusive, subtract_adaptation, surrogate, sharpness:
            as for :func:`neuro.kernels.lif`.
        traces: the stages of the eligibility trace: one tensor, or two (a1, a) with a synaptic
            current; empty to keep none.
        noise: where the perturbation comes from: a stream, or the perturbation itself; or ``None``.
        strength: factor on the noise, one number per sample ``(B,)``.
        noise_at: "post" adds it to the spikes that go on, "pre" to the membrane potential.
        scale: factor on what is emitted.
        gain: factor on ``factor``; the gain of the input current on the membrane potential.
        keep_spikes: return the spikes too, without noise and scale.

    Returns:
        OnlineStep(emitted, factor, spikes, spike_count).

    Raises:
        ValueError: shapes, dtypes or devices differ, a tensor is not contiguous or needs a
            gradient, the number of traces does not fit, or the noise is out of range.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    drawn = noise if isinstance(noise, Tensor) else None
    _check(
        current,
        [current, membrane_potential, synaptic_current, adaptation, drawn, *traces],
        surrogate,
    )
    stages = 1 if synaptic_current is None else 2
    if len(traces) not in (0, stages):
        raise ValueError(f"online_step: {len(traces)} traces, this layer has {stages} or none")
    if noise is not None:
        _check_noise(noise, strength, noise_at, current)
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
    absent = current.new_empty(0)
    found = _ONLINE_STEP(
        current,
        membrane_potential,
        absent if synaptic_current is None else synaptic_current,
        absent if adaptation is None else adaptation,
        traces[-1] if traces else absent,
        traces[0] if len(traces) > 1 else absent,
        stack(numbers, current),
        [
            synaptic_current is not None,
            adaptation is not None,
            soft_reset,
            inclusive,
            subtract_adaptation,
            noise_at == "pre",
            keep_spikes,
        ],
        surrogate,
        float(sharpness),
        absent if strength is None or noise is None else strength,
        absent if drawn is None else drawn,
        noise.kind if isinstance(noise, NoiseStream) else "",
        list(noise[1:]) if isinstance(noise, NoiseStream) else [],
        float(scale),
        float(gain),
    )
    return OnlineStep(*cast(tuple[Tensor, Tensor, Tensor, Tensor], found))


_TOLD = ("current", "membrane_potential", "synaptic_current", "adaptation", "noise", "traces")


def _check(current: Tensor, tensors: Sequence[Tensor | None], surrogate: str) -> None:
    """Check tensors, which are those of ``_TOLD``."""
    shape, dtype, device = current.shape, current.dtype, current.device
    if dtype not in DTYPES or current.dim() < 1:
        raise ValueError(
            f"online_step: current must be float32 or float64 [B, ...], got {dtype} {tuple(shape)}"
        )
    if surrogate not in DERIVATIVES:
        raise ValueError(
            f"online_step: unknown surrogate {surrogate!r}; has {', '.join(DERIVATIVES)}"
        )
    for place, tensor in enumerate(tensors):
        if tensor is None:
            continue
        fits = tensor.shape == shape and tensor.dtype == dtype and tensor.device == device
        if fits and tensor.is_contiguous() and not tensor.requires_grad:
            continue
        last = len(_TOLD) - 1
        name = _TOLD[place] if place < last else f"{_TOLD[last]}[{place - last}]"
        if not fits:
            raise ValueError(
                f"online_step: {name} is {tuple(tensor.shape)} {tensor.dtype} on {tensor.device}, "
                f"current is {tuple(shape)} {dtype} on {device}"
            )
        if not tensor.is_contiguous():
            raise ValueError(f"online_step: {name} is not contiguous; call .contiguous() on it")
        raise ValueError(f"online_step: {name} needs a gradient, but nothing is recorded here")


def _check_noise(
    noise: NoiseStream | Tensor, strength: Tensor | None, site: NoiseSite, current: Tensor
) -> None:
    if isinstance(noise, NoiseStream):
        check_stream(noise, "online_step")
    if site not in ("post", "pre"):
        raise ValueError(f'online_step: noise_at is "post" or "pre", got {site!r}')
    expected = (current.shape[:1], current.dtype, current.device)
    if strength is None or (strength.shape, strength.dtype, strength.device) != expected:
        found = None if strength is None else (tuple(strength.shape), strength.dtype)
        raise ValueError(
            f"online_step: strength of the noise must be ({len(current)},) {current.dtype} on "
            f"{current.device}, got {found}"
        )


def _online_step(
    current: Tensor,
    potential: Tensor,
    synaptic: Tensor,
    adaptation: Tensor,
    trace: Tensor,
    filtered: Tensor,
    parameters: Tensor,
    flags: Sequence[bool],
    surrogate: str,
    sharpness: float,
    strength: Tensor,
    drawn: Tensor,
    noise_kind: str,
    noise_at: Sequence[int],
    scale: float,
    gain: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    is_synaptic, adaptive, soft_reset, inclusive, subtract, before_firing, keep_spikes = flags
    variant = Variant(
        is_synaptic, adaptive, soft_reset, inclusive, True, subtract, surrogate, sharpness
    )
    stages = (filtered, trace)[-len(trace_rows(variant)) :]
    traced = trace.shape == current.shape
    layer = Layer(parameters, potential, synaptic, adaptation, stages if traced else ())
    injection = None
    if noise_kind or strength.numel():
        noise = NoiseStream(cast(Kind, noise_kind), *noise_at) if noise_kind else drawn
        injection = Injection(noise, strength.contiguous(), before_firing)
    function = choose(ONLINE_STEP, current.device, current.dtype).function
    return function(
        current, layer, variant, injection, scale=scale, gain=gain, keep_spikes=keep_spikes
    )


def _shapes(current: Tensor, *arguments: Any) -> Any:
    keep_spikes = arguments[6][-1]
    return (
        torch.empty_like(current),
        torch.empty_like(current),
        torch.empty_like(current) if keep_spikes else current.new_empty(0),
        current.new_empty((), dtype=torch.int64),
    )


_ONLINE_STEP = UnrecordedOp(
    "neuro::online_step",
    _online_step,
    _shapes,
    mutates_args=("potential", "synaptic", "adaptation", "trace", "filtered"),
)
