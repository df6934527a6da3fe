"""The LIF sequence on a GPU with Triton: one program per block of neurons, its state in registers.

The compiler may not fuse a product and a sum into one rounding (``enable_fp_fusion=False``): spikes
must equal the reference's.
"""

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from neuro.kernels.lif.fields import rows_by_neuron
from neuro.kernels.lif.variant import PARAMETERS, Gradients, Outputs, Variant
from neuro.kernels.surrogates import coefficients
from neuro.kernels.surrogates.gpu import KINDS, derivative

_BLOCK = 256


@triton.jit
def parameter(parameters, row, index, mask, PERIOD, ACC: tl.constexpr):
    """Load a row of parameters for neurons ``index``."""
    return tl.load(parameters + row * PERIOD + index % PERIOD, mask=mask, other=0.0).to(ACC)


@triton.jit
def _forward(
    currents,
    potential,
    current,
    adaptation,
    parameters,
    spikes,
    steps,
    neurons,
    PERIOD,
    SYNAPTIC: tl.constexpr,
    ADAPTIVE: tl.constexpr,
    SOFT: tl.constexpr,
    INCLUSIVE: tl.constexpr,
    SUBTRACT: tl.constexpr,
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = index < neurons
    threshold = parameter(parameters, 0, index, mask, PERIOD, ACC)
    reset_value = parameter(parameters, 1, index, mask, PERIOD, ACC)
    decay = parameter(parameters, 2, index, mask, PERIOD, ACC)
    gain = parameter(parameters, 3, index, mask, PERIOD, ACC)
    v = tl.load(potential + index, mask=mask, other=0.0).to(ACC)
    if SYNAPTIC:
        j = tl.load(current + index, mask=mask, other=0.0).to(ACC)
        current_decay = parameter(parameters, 4, index, mask, PERIOD, ACC)
    if ADAPTIVE:
        a = tl.load(adaptation + index, mask=mask, other=0.0).to(ACC)
        beta = parameter(parameters, 5, index, mask, PERIOD, ACC)
        fade = parameter(parameters, 6, index, mask, PERIOD, ACC)
        weight = parameter(parameters, 7, index, mask, PERIOD, ACC)
    offset = index
    for _ in range(steps):
        drive = gain * tl.load(currents + offset, mask=mask, other=0.0).to(ACC)
        if SYNAPTIC:
            j = current_decay * j + drive
            drive = j
        u = decay * v + drive
        bar = threshold
        if ADAPTIVE:
            bar = threshold + beta * a
        fired = u - bar >= 0 if INCLUSIVE else u - bar > 0
        spike = fired.to(ACC)
        tl.store(spikes + offset, spike, mask=mask)
        if SOFT:
            height = bar if SUBTRACT else threshold
            v = tl.where(fired, u - height, u)
        else:
            v = tl.where(fired, reset_value, u)
        if ADAPTIVE:
            a = fade * a + weight * spike
        offset += neurons
    tl.store(potential + index, v, mask=mask)
    if SYNAPTIC:
        tl.store(current + index, j, mask=mask)
    if ADAPTIVE:
        tl.store(adaptation + index, a, mask=mask)


@triton.jit
def _backward(
    of_spikes,
    of_potential,
    of_current,
    of_adaptation,
    currents,
    potential,
    current,
    adaptation,
    parameters,
    to_currents,
    to_parameters,
    charges,  # scratch [T, N]: u
    befores,  # scratch [T, N]: v before the step
    filtered,  # scratch [T, N]: j before the step, if synaptic
    adapted,  # scratch [T, N]: a before the step, if adaptive
    steps,
    neurons,
    sharp,
    peak,
    PERIOD,
    SYNAPTIC: tl.constexpr,
    ADAPTIVE: tl.constexpr,
    SOFT: tl.constexpr,
    INCLUSIVE: tl.constexpr,
    SUBTRACT: tl.constexpr,
    DETACH: tl.constexpr,
    KIND: tl.constexpr,
    OF_PARAMETERS: tl.constexpr,
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):
    index = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = index < neurons
    threshold = parameter(parameters, 0, index, mask, PERIOD, ACC)
    reset_value = parameter(parameters, 1, index, mask, PERIOD, ACC)
    decay = parameter(parameters, 2, index, mask, PERIOD, ACC)
    gain = parameter(parameters, 3, index, mask, PERIOD, ACC)
    v = tl.load(potential + index, mask=mask, other=0.0).to(ACC)
    to_v = tl.load(of_potential + index, mask=mask, other=0.0).to(ACC)
    g0 = tl.full([BLOCK], 0.0, ACC)
    g1 = tl.full([BLOCK], 0.0, ACC)
    g2 = tl.full([BLOCK], 0.0, ACC)
    g3 = tl.full([BLOCK], 0.0, ACC)
    g4 = tl.full([BLOCK], 0.0, ACC)
    g5 = tl.full([BLOCK], 0.0, ACC)
    g6 = tl.full([BLOCK], 0.0, ACC)
    g7 = tl.full([BLOCK], 0.0, ACC)
    if SYNAPTIC:
        j = tl.load(current + index, mask=mask, other=0.0).to(ACC)
        to_j = tl.load(of_current + index, mask=mask, other=0.0).to(ACC)
        current_decay = parameter(parameters, 4, index, mask, PERIOD, ACC)
    if ADAPTIVE:
        a = tl.load(adaptation + index, mask=mask, other=0.0).to(ACC)
        to_a = tl.load(of_adaptation + index, mask=mask, other=0.0).to(ACC)
        beta = parameter(parameters, 5, index, mask, PERIOD, ACC)
        fade = parameter(parameters, 6, index, mask, PERIOD, ACC)
        weight = parameter(parameters, 7, index, mask, PERIOD, ACC)

    # Forward again; each program reads back only what it wrote itself.
    offset = index
    for _ in range(steps):
        if OF_PARAMETERS:
            tl.store(befores + offset, v, mask=mask)
        drive = gain * tl.load(currents + offset, mask=mask, other=0.0).to(ACC)
        if SYNAPTIC:
            if OF_PARAMETERS:
                tl.store(filtered + offset, j, mask=mask)
            j = current_decay * j + drive
            drive = j
        u = decay * v + drive
        tl.store(charges + offset, u, mask=mask)
        bar = threshold
        if ADAPTIVE:
            tl.store(adapted + offset, a, mask=mask)
            bar = threshold + beta * a
        fired = u - bar >= 0 if INCLUSIVE else u - bar > 0
        if SOFT:
            height = bar if SUBTRACT else threshold
            v = tl.where(fired, u - height, u)
        else:
            v = tl.where(fired, reset_value, u)
        if ADAPTIVE:
            a = fade * a + weight * fired.to(ACC)
        offset += neurons

    for _ in range(steps):
        offset -= neurons
        u = tl.load(charges + offset, mask=mask, other=0.0).to(ACC)
        bar = threshold
        if ADAPTIVE:
            a = tl.load(adapted + offset, mask=mask, other=0.0).to(ACC)
            bar = threshold + beta * a
        height = bar if SUBTRACT else threshold
        distance = u - bar
        fired = distance >= 0 if INCLUSIVE else distance > 0
        spike = fired.to(ACC)
        # reset
        to_spike = tl.load(of_spikes + offset, mask=mask, other=0.0).to(ACC)
        if ADAPTIVE:
            to_spike = to_spike + weight * to_a
        if SOFT:
            to_u = to_v
            if not DETACH:
                to_spike = to_spike - height * to_v
        else:
            to_u = tl.where(fired, 0.0, to_v)
            if not DETACH:
                to_spike = to_spike + (reset_value - u) * to_v
        # fire
        to_distance = to_spike * derivative(distance, sharp, peak, KIND)
        to_u = to_u + to_distance
        to_bar = -to_distance
        to_height = to_v * spike
        if SOFT:
            g0 += to_bar - to_height
            if ADAPTIVE and SUBTRACT:
                to_bar = to_bar - to_height
        else:
            g0 += to_bar
            g1 += to_height
        # charge
        to_drive = to_u
        if SYNAPTIC:
            to_drive = to_j + to_u
            to_j = current_decay * to_drive
        tl.store(to_currents + offset, gain * to_drive, mask=mask)
        if OF_PARAMETERS:
            g2 += to_u * tl.load(befores + offset, mask=mask, other=0.0).to(ACC)
            g3 += to_drive * tl.load(currents + offset, mask=mask, other=0.0).to(ACC)
            if SYNAPTIC:
                g4 += to_drive * tl.load(filtered + offset, mask=mask, other=0.0).to(ACC)
            if ADAPTIVE:
                g5 += to_bar * a
                g6 += to_a * a
                g7 += to_a * spike
        # to the step before
        to_v = decay * to_u
        if ADAPTIVE:
            to_a = fade * to_a + beta * to_bar

    tl.store(of_potential + index, to_v, mask=mask)
    if SYNAPTIC:
        tl.store(of_current + index, to_j, mask=mask)
    if ADAPTIVE:
        tl.store(of_adaptation + index, to_a, mask=mask)
    if OF_PARAMETERS:
        tl.store(to_parameters + index, g0, mask=mask)
        tl.store(to_parameters + neurons + index, g1, mask=mask)
        tl.store(to_parameters + 2 * neurons + index, g2, mask=mask)
        tl.store(to_parameters + 3 * neurons + index, g3, mask=mask)
        tl.store(to_parameters + 4 * neurons + index, g4, mask=mask)
        tl.store(to_parameters + 5 * neurons + index, g5, mask=mask)
        tl.store(to_parameters + 6 * neurons + index, g6, mask=mask)
        tl.store(to_parameters + 7 * neurons + index, g7, mask=mask)


def _rows(parameters: Tensor, state: Tensor) -> tuple[Tensor, int]:
    """Lay parameters out as ``(8, period)``: neuron i takes column ``i % period``."""
    if parameters.dim() == 1:
        return parameters.contiguous(), 1
    return rows_by_neuron(parameters, state.shape)


def _flags(variant: Variant, working: torch.dtype) -> dict[str, Any]:
    return {
        "SYNAPTIC": variant.synaptic,
        "ADAPTIVE": variant.adaptive,
        "SOFT": variant.soft_reset,
        "INCLUSIVE": variant.inclusive,
        "SUBTRACT": variant.subtract_adaptation,
        "BLOCK": _BLOCK,
        "ACC": tl.float64 if working == torch.float64 else tl.float32,
        "enable_fp_fusion": False,
    }


def forward(
    currents: Tensor,
    potential: Tensor,
    synaptic: Tensor,
    adaptation: Tensor,
    parameters: Tensor,
    variant: Variant,
) -> Outputs:
    """Run all steps; the states given are left as they were."""
    currents = currents.contiguous()
    spikes = torch.empty_like(currents)
    after = [
        each.clone(memory_format=torch.contiguous_format)
        for each in (potential, synaptic, adaptation)
    ]
    rows, period = _rows(parameters, potential)
    neurons = potential.numel()
    if neurons:
        _forward[(triton.cdiv(neurons, _BLOCK),)](
            currents,
            *after,
            rows,
            spikes,
            len(currents),
            neurons,
            period,
            **_flags(variant, parameters.dtype),
        )
    return Outputs(spikes, *after)


def backward(
    gradients: Outputs,
    currents: Tensor,
    potential: Tensor,
    synaptic: Tensor,
    adaptation: Tensor,
    parameters: Tensor,
    variant: Variant,
    of_parameters: bool,
) -> Gradients:
    """Run each block forward again, then back through it."""
    currents = currents.contiguous()
    states = [each.contiguous() for each in (potential, synaptic, adaptation)]
    to_currents = torch.empty_like(currents)
    to_state = [each.clone(memory_format=torch.contiguous_format) for each in gradients[1:]]
    absent = currents.new_empty(0)
    to_parameters = absent
    if of_parameters:
        to_parameters = parameters.new_empty((len(PARAMETERS), *potential.shape))
    rows, period = _rows(parameters, potential)
    neurons = potential.numel()
    # charged potentials, and what came before each step: potential, synaptic current, adaptation
    kept = (True, of_parameters, of_parameters and variant.synaptic, variant.adaptive)

    def scratch(wanted: bool) -> Tensor:
        return torch.empty_like(currents, dtype=parameters.dtype) if wanted else absent

    if neurons:
        _backward[(triton.cdiv(neurons, _BLOCK),)](
            gradients.spikes.contiguous(),
            *to_state,
            currents,
            *states,
            rows,
            to_currents,
            to_parameters,
            *(scratch(wanted) for wanted in kept),
            len(currents),
            neurons,
            *coefficients(variant.surrogate, variant.sharpness),
            period,
            DETACH=variant.detach_reset,
            KIND=KINDS[variant.surrogate],
            OF_PARAMETERS=of_parameters,
            **_flags(variant, parameters.dtype),
        )
    return Gradients(to_currents, to_state[0], to_state[1], to_state[2], to_parameters)
