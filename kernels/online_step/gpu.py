"""The online step on a GPU with Triton: one program per block of neurons, one pass over memory.

The compiler may not fuse a product and a sum into one rounding (``enable_fp_fusion=False``): spikes
must equal the reference's.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from neuro.kernels.lif.fields import rows_by_neuron
from neuro.kernels.lif.gpu import parameter
from neuro.kernels.lif.variant import Variant
from neuro.kernels.noise.gpu import counters, draw
from neuro.kernels.noise.stream import NoiseStream
from neuro.kernels.online_step.operands import Injection, Layer, OnlineStep
from neuro.kernels.surrogates import coefficients
from neuro.kernels.surrogates.gpu import KINDS, derivative

_BLOCK = 256


@triton.jit
def _run(
    currents,
    potential,
    current,
    adaptation,
    trace,
    filtered,
    emitted,
    factor,
    kept,
    counts,  # int64, one per program
    parameters,
    given,  # noise that is not drawn here
    strength,
    size,
    neurons,
    PERIOD,
    QUARTER,
    step,
    layer,
    low,
    high,
    numbers,  # scale, gain and the two of the surrogate, in the working dtype
    GAUSSIAN: tl.constexpr,
    SYNAPTIC: tl.constexpr,
    ADAPTIVE: tl.constexpr,
    SOFT: tl.constexpr,
    INCLUSIVE: tl.constexpr,
    SUBTRACT: tl.constexpr,
    KIND: tl.constexpr,
    TRACED: tl.constexpr,
    NOISY: tl.constexpr,
    DRAWING: tl.constexpr,
    BEFORE_FIRING: tl.constexpr,
    KEEP_SPIKES: tl.constexpr,
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = index < size
    scale = tl.load(numbers)
    gain = tl.load(numbers + 1)
    sharp = tl.load(numbers + 2)
    peak = tl.load(numbers + 3)
    threshold = parameter(parameters, 0, index, mask, PERIOD, ACC)
    decay = parameter(parameters, 2, index, mask, PERIOD, ACC)
    input_gain = parameter(parameters, 3, index, mask, PERIOD, ACC)
    current_decay = parameter(parameters, 4, index, mask, PERIOD, ACC)
    if NOISY:
        sample = index // neurons
        if DRAWING:
            z = draw(
                index % neurons,
                sample,
                QUARTER,
                step,
                layer,
                low.to(tl.uint32),
                high.to(tl.uint32),
                GAUSSIAN,
            )
        else:
            z = tl.load(given + index, mask=mask, other=0.0)
        injected = tl.load(strength + sample, mask=mask, other=0.0).to(ACC) * z.to(ACC)
    drive = input_gain * tl.load(currents + index, mask=mask, other=0.0).to(ACC)
    if SYNAPTIC:
        drive = current_decay * tl.load(current + index, mask=mask, other=0.0).to(ACC) + drive
        tl.store(current + index, drive, mask=mask)
    u = decay * tl.load(potential + index, mask=mask, other=0.0).to(ACC) + drive
    if NOISY and BEFORE_FIRING:
        u = u + injected
    bar = threshold
    if ADAPTIVE:
        a = tl.load(adaptation + index, mask=mask, other=0.0).to(ACC)
        bar = threshold + parameter(parameters, 5, index, mask, PERIOD, ACC) * a
    distance = u - bar
    fired = distance >= 0 if INCLUSIVE else distance > 0
    fired = fired & mask
    spike = fired.to(ACC)
    if SOFT:
        height = bar if SUBTRACT else threshold
        v = tl.where(fired, u - height, u)
    else:
        v = tl.where(fired, parameter(parameters, 1, index, mask, PERIOD, ACC), u)
    tl.store(potential + index, v, mask=mask)
    if ADAPTIVE:
        fade = parameter(parameters, 6, index, mask, PERIOD, ACC)
        weight = parameter(parameters, 7, index, mask, PERIOD, ACC)
        tl.store(adaptation + index, fade * a + weight * spike, mask=mask)
    tl.store(factor + index, gain * derivative(distance, sharp, peak, KIND), mask=mask)
    if KEEP_SPIKES:
        tl.store(kept + index, spike, mask=mask)
    if TRACED:
        inner = spike
        if SYNAPTIC:
            before = tl.load(filtered + index, mask=mask, other=0.0).to(ACC)
            inner = current_decay * before + spike
            tl.store(filtered + index, inner, mask=mask)
        outer = tl.load(trace + index, mask=mask, other=0.0).to(ACC)
        tl.store(trace + index, decay * outer + inner, mask=mask)
    if NOISY and not BEFORE_FIRING:
        spike = spike + injected
    tl.store(emitted + index, scale * spike, mask=mask)
    tl.store(counts + tl.program_id(0), tl.sum(fired.to(tl.int64), 0))


def online_step(
    current: Tensor,
    layer: Layer,
    variant: Variant,
    injection: Injection | None,
    *,
    scale: float,
    gain: float,
    keep_spikes: bool,
) -> OnlineStep:
    """Advance the layer, whose states change in place."""
    emitted, factor = torch.empty_like(current), torch.empty_like(current)
    absent = current.new_empty(0)
    kept = torch.empty_like(current) if keep_spikes else absent
    size, neurons = current.numel(), max(current.shape[1:].numel(), 1)
    programs = triton.cdiv(size, _BLOCK)
    counts = torch.zeros(programs, dtype=torch.int64, device=current.device)
    if layer.parameters.dim() == 1:
        rows, period = layer.parameters.contiguous(), 1
    else:
        rows, period = rows_by_neuron(layer.parameters, current.shape)
    noise: Any = None if injection is None else injection.noise
    drawing = isinstance(noise, NoiseStream)
    stream = noise if drawing else NoiseStream("gaussian", 0, 0, 0)
    # In a tensor: Triton takes a number in single precision, whatever the kernel computes in.
    sharpness = coefficients(variant.surrogate, variant.sharpness)
    double = layer.parameters.dtype == torch.float64
    if size:
        _run[(programs,)](
            current,
            layer.membrane_potential,
            layer.synaptic_current,
            layer.adaptation,
            layer.traces[-1] if layer.traces else absent,
            layer.traces[0] if len(layer.traces) > 1 else absent,
            emitted,
            factor,
            kept,
            counts,
            rows,
            noise if isinstance(noise, Tensor) else absent,
            injection.strength if injection is not None else absent,
            size,
            neurons,
            period,
            numbers=rows.new_tensor((scale, gain, *sharpness)),
            **counters(stream, neurons),
            **_flags(variant),
            TRACED=bool(layer.traces),
            NOISY=injection is not None,
            DRAWING=drawing,
            BEFORE_FIRING=injection is not None and injection.before_firing,
            KEEP_SPIKES=keep_spikes,
            BLOCK=_BLOCK,
            ACC=tl.float64 if double else tl.float32,
            enable_fp_fusion=False,
        )
    return OnlineStep(emitted, factor, kept, counts.sum())


def _flags(variant: Variant) -> dict[str, Any]:
    return {
        "SYNAPTIC": variant.synaptic,
        "ADAPTIVE": variant.adaptive,
        "SOFT": variant.soft_reset,
        "INCLUSIVE": variant.inclusive,
        "SUBTRACT": variant.subtract_adaptation,
        "KIND": KINDS[variant.surrogate],
    }
