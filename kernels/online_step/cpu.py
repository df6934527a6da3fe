"""The online step on the CPU with Numba: one pass over memory in runs that stay in the L1 cache.

Noise is drawn run by run into scratch of the same cache, a quarter of the sample at a time (see
:mod:`neuro.kernels.noise.stream`). Not ``fastmath``: spikes must equal the reference's.
"""

from functools import cache
from typing import Any

import numpy as np
import torch
from numba.np.numpy_support import carray
from numpy.typing import NDArray
from torch import Tensor

from neuro.kernels.compiled import constants, flat, nothing, share_out
from neuro.kernels.jit import jit
from neuro.kernels.lif.cpu_fields import at, part
from neuro.kernels.lif.fields import rows_by_neuron
from neuro.kernels.lif.variant import Variant
from neuro.kernels.noise.cpu import COST, RUN, draw, keys_of
from neuro.kernels.noise.stream import NoiseStream
from neuro.kernels.online_step.operands import Injection, Layer, OnlineStep
from neuro.kernels.surrogates import coefficients
from neuro.kernels.surrogates.cpu import KINDS, derivative
from neuro.kernels.team import spread
from neuro.kernels.vectors import pointer

Array = NDArray[Any]

_NO_KEYS = np.empty((0, 2), np.uint64)


@cache
def _kernel(
    synaptic: bool,
    adaptive: bool,
    soft: bool,
    inclusive: bool,
    sub: bool,
    kind: int,
    traced: bool,
    noisy: bool,
    drawing: bool,
    before_firing: bool,
    keep_spikes: bool,
    double: bool,
) -> Any:
    dtype = np.float64 if double else np.float32
    after_firing = noisy and not before_firing
    moved = noisy and before_firing
    quarters = 4 if drawing else 1
    longest = RUN if drawing else 4 * RUN

    @jit(error_model="numpy")
    def run(
        current_at: int,  # address of [B * n], and so all down to `kept_at`; states change in place
        potential_at: int,
        synaptic_at: int,
        adaptation_at: int,
        trace_at: int,
        filtered_at: int,  # the first stage of a trace of two
        emitted_at: int,
        factor_at: int,
        kept_at: int,
        size: int,
        parameters: Any,
        period: int,
        given: Array,  # [B * n], noise that is not drawn here
        strength: Array,  # [B]
        step: int,
        layer: int,
        keys: Array,
        gaussian: bool,
        neurons: int,
        scale: Any,
        gain: Any,
        sharp: Any,
        peak: Any,
        zero: Any,
        one: Any,
        first: int,  # of the samples
        last: int,
        parallel: int,
        threads: int,
    ) -> int:
        if threads > 1:
            return spread(parallel, threads)
        currents = carray(pointer(current_at), (size,), dtype)
        potential = carray(pointer(potential_at), (size,), dtype)
        synaptic_current = carray(pointer(synaptic_at), (size,), dtype)
        adaptation = carray(pointer(adaptation_at), (size,), dtype)
        trace = carray(pointer(trace_at), (size,), dtype)
        filtered = carray(pointer(filtered_at), (size,), dtype)
        emitted = carray(pointer(emitted_at), (size,), dtype)
        factor = carray(pointer(factor_at), (size,), dtype)
        kept = carray(pointer(kept_at), (size,), dtype)
        words = np.empty((4, RUN), np.uint32)
        drawn = np.empty((4, RUN), np.float32)
        distance = np.empty(longest, dtype)
        fired = np.empty(longest, dtype)
        count = 0
        length = (neurons + quarters - 1) // quarters
        for sample in range(first, last):
            alpha = strength[sample] if noisy else zero
            for counter in range(0, length, longest):
                some = min(longest, length - counter)
                if drawing:
                    draw(drawn, words, counter, some, sample, step, layer, keys, gaussian)
                for quarter in range(quarters):
                    begin = quarter * length + counter
                    end = min(begin + some, neurons)
                    n = end - begin
                    start = sample * neurons + begin
                    stop = start + n
                    cut = start % period
                    z = drawn[quarter] if drawing else given[start : start + (n if noisy else 0)]
                    x = currents[start:stop]
                    v = potential[start:stop]
                    threshold = part(parameters, 0, cut, cut + n)
                    reset_value = part(parameters, 1, cut, cut + n)
                    decay = part(parameters, 2, cut, cut + n)
                    input_gain = part(parameters, 3, cut, cut + n)
                    current_decay = part(parameters, 4, cut, cut + n)
                    if synaptic:
                        j = synaptic_current[start:stop]
                        for i in range(n):
                            drive = at(current_decay, i) * j[i] + at(input_gain, i) * x[i]
                            j[i] = drive
                            fired[i] = at(decay, i) * v[i] + drive
                    else:
                        for i in range(n):
                            fired[i] = at(decay, i) * v[i] + at(input_gain, i) * x[i]
                    if moved:
                        for i in range(n):
                            fired[i] = fired[i] + alpha * z[i]
                    if adaptive:
                        beta = part(parameters, 5, cut, cut + n)
                        fade = part(parameters, 6, cut, cut + n)
                        weight = part(parameters, 7, cut, cut + n)
                        a = adaptation[start:stop]
                        for i in range(n):
                            u = fired[i]
                            bar = at(threshold, i) + at(beta, i) * a[i]
                            height = bar if sub else at(threshold, i)
                            d = u - bar
                            spike = d >= zero if inclusive else d > zero
                            distance[i] = d
                            fired[i] = one if spike else zero
                            if soft:
                                v[i] = u - height if spike else u
                            else:
                                v[i] = at(reset_value, i) if spike else u
                            a[i] = at(fade, i) * a[i] + at(weight, i) * fired[i]
                    else:
                        for i in range(n):
                            u = fired[i]
                            d = u - at(threshold, i)
                            spike = d >= zero if inclusive else d > zero
                            distance[i] = d
                            fired[i] = one if spike else zero
                            if soft:
                                v[i] = d if spike else u
                            else:
                                v[i] = at(reset_value, i) if spike else u
                    to_current = factor[start:stop]
                    for i in range(n):
                        psi = derivative(kind, distance[i], sharp, peak, zero, one)
                        to_current[i] = gain * psi
                    for i in range(n):
                        count += int(fired[i] > zero)
                    if keep_spikes:
                        s = kept[start:stop]
                        for i in range(n):
                            s[i] = fired[i]
                    if traced:
                        outer = trace[start:stop]
                        if synaptic:
                            inner = filtered[start:stop]
                            for i in range(n):
                                inner[i] = at(current_decay, i) * inner[i] + fired[i]
                                outer[i] = at(decay, i) * outer[i] + inner[i]
                        else:
                            for i in range(n):
                                outer[i] = at(decay, i) * outer[i] + fired[i]
                    sent = emitted[start:stop]
                    if after_firing:
                        for i in range(n):
                            sent[i] = scale * (fired[i] + alpha * z[i])
                    else:
                        for i in range(n):
                            sent[i] = scale * fired[i]
        return count

    return run


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
    kept = torch.empty_like(current) if keep_spikes else current.new_empty(0)
    neurons = current.shape[1:].numel()
    rows, period = layer.parameters, max(neurons, 1)
    if rows.dim() > 1:
        rows, period = rows_by_neuron(rows, current.shape)
    stages = layer.traces
    kernel = _kernel(
        variant.synaptic,
        variant.adaptive,
        variant.soft_reset,
        variant.inclusive,
        variant.subtract_adaptation,
        KINDS[variant.surrogate],
        bool(stages),
        injection is not None,
        injection is not None and isinstance(injection.noise, NoiseStream),
        injection is not None and injection.before_firing,
        keep_spikes,
        current.dtype == torch.float64,
    )
    tensors = (
        current,
        layer.membrane_potential,
        layer.synaptic_current,
        layer.adaptation,
        stages[-1] if stages else None,
        stages[0] if len(stages) > 1 else None,
        emitted,
        factor,
        kept,
    )
    addresses = (0 if each is None else each.data_ptr() for each in tensors)
    none = nothing(current.dtype)
    where: tuple[Any, ...] = (none, none, 0, 0, _NO_KEYS, True)
    size = cost = current.numel()
    if injection is not None:
        noise, strength = injection.noise, flat(injection.strength)
        if isinstance(noise, NoiseStream):
            cost *= COST
            keys, gaussian = keys_of(noise), noise.kind == "gaussian"
            where = (none, strength, noise.step, noise.layer, keys, gaussian)
        else:
            where = (flat(noise), strength, 0, 0, _NO_KEYS, True)
    sharpness = coefficients(variant.surrogate, variant.sharpness)
    numbers = constants(current.dtype, scale, gain, *sharpness, 0, 1)
    operands = (*addresses, size, rows.numpy(), period, *where, neurons, *numbers)
    total = share_out(kernel, operands, current.shape[0], cost) if cost else 0
    return OnlineStep(emitted, factor, kept, torch.tensor(total))
