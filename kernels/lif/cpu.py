"""The LIF sequence on the CPU with Numba: all T steps of a block of neurons while it is in cache.

A block's states stay in the L2 cache over all T, and its rows are long enough for the prefetcher:
rows of 8 KiB took 1.6 times as long as rows of 128. Every array is cut to a 1-D row with unit
stride before the inner loop, and the loop selects instead of branching, so that it vectorises.
Backward runs the block forward once more into scratch in the same cache, then back.

Each combination of equations is its own compiled function: flags are constants of the closure, and
what they exclude is not there. Not ``fastmath``: a reordered or contracted sum could move a
potential across the threshold, and spikes must equal the reference's.
"""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from math import prod
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro.kernels.compiled import constants, flat, nothing, share_out
from neuro.kernels.jit import jit
from neuro.kernels.lif.cpu_fields import at, part
from neuro.kernels.lif.fields import rows_by_neuron
from neuro.kernels.lif.variant import PARAMETERS, Gradients, Outputs, Variant
from neuro.kernels.surrogates import coefficients
from neuro.kernels.surrogates.cpu import KINDS, derivative
from neuro.kernels.team import spread

Array = NDArray[Any]

_IN_CACHE = 2**18
"""Numbers that a block may keep in cache, in its states or in scratch."""
_WIDEST = 2**15
_NARROWEST = 64


@jit
def _begin(row: Array, state: Array, first: int, last: int) -> None:
    """Copy a state for neurons ``first`` to ``last``; a state of one number is that of all."""
    if state.size == 1:
        row[:] = state[0]
    else:
        row[:] = state[first:last]


@cache
def _forward_kernel(synaptic: bool, adaptive: bool, soft: bool, inclusive: bool, sub: bool) -> Any:
    @jit(error_model="numpy")
    def run(
        currents: Array,  # [T, N]
        first_potential: Array,  # [N] or [1], and so the next two; empty if absent
        first_current: Array,
        first_adaptation: Array,
        potential: Array,  # [N], and so the next two, to be filled; empty if absent
        current: Array,
        adaptation: Array,
        parameters: Any,
        period: int,
        spikes: Array,  # [T, N]
        edges: Array,
        zero: Any,
        one: Any,
        first: int,  # of the blocks between edges
        last: int,
        parallel: int,
        threads: int,
    ) -> None:
        if threads > 1:
            spread(parallel, threads)
            return
        for block in range(first, last):
            lo, hi = edges[block, 0], edges[block, 1]
            cut = lo % period
            end = cut + hi - lo
            threshold = part(parameters, 0, cut, end)
            reset_value = part(parameters, 1, cut, end)
            decay = part(parameters, 2, cut, end)
            gain = part(parameters, 3, cut, end)
            current_decay = part(parameters, 4, cut, end)
            beta = part(parameters, 5, cut, end)
            fade = part(parameters, 6, cut, end)
            weight = part(parameters, 7, cut, end)
            v = potential[lo:hi]
            j = current[lo:hi]
            a = adaptation[lo:hi]
            _begin(v, first_potential, lo, hi)
            if synaptic:
                _begin(j, first_current, lo, hi)
            if adaptive:
                _begin(a, first_adaptation, lo, hi)
            for t in range(currents.shape[0]):
                x = currents[t, lo:hi]
                s = spikes[t, lo:hi]
                for i in range(hi - lo):
                    drive = at(gain, i) * x[i]
                    if synaptic:
                        drive = at(current_decay, i) * j[i] + drive
                        j[i] = drive
                    u = at(decay, i) * v[i] + drive
                    bar = at(threshold, i)
                    height = bar
                    if adaptive:
                        bar = bar + at(beta, i) * a[i]
                        if sub:
                            height = bar
                    distance = u - bar
                    fired = distance >= zero if inclusive else distance > zero
                    s[i] = one if fired else zero
                    if soft:
                        v[i] = u - height if fired else u
                    else:
                        v[i] = at(reset_value, i) if fired else u
                    if adaptive:
                        a[i] = at(fade, i) * a[i] + at(weight, i) * s[i]

    return run


@cache
def _backward_kernel(
    synaptic: bool,
    adaptive: bool,
    soft: bool,
    inclusive: bool,
    sub: bool,
    detach: bool,
    kind: int,
    of_parameters: bool,
) -> Any:
    @jit(error_model="numpy")
    def run(
        of_spikes: Array,  # [T, N]
        last_potential: Array,  # [N] or [1], and so the next two: of the last state
        last_current: Array,
        last_adaptation: Array,
        of_potential: Array,  # [N], and so the next two, to be filled: of the first state
        of_current: Array,
        of_adaptation: Array,
        currents: Array,
        potential: Array,  # [N] or [1], and so the next two
        current: Array,
        adaptation: Array,
        parameters: Any,
        period: int,
        to_currents: Array,  # [T, N]
        to_parameters: Array,  # [8, N], to be added to; empty if not wanted
        edges: Array,
        widest: int,
        sharp: Any,
        peak: Any,
        zero: Any,
        one: Any,
        first: int,
        last: int,
        parallel: int,
        threads: int,
    ) -> None:
        if threads > 1:
            spread(parallel, threads)
            return
        steps = currents.shape[0]
        absent = currents[0:0, 0:0]
        us = np.empty((steps, widest), currents.dtype)
        vs = np.empty((steps + 1, widest), currents.dtype)
        js = np.empty((steps + 1, widest), currents.dtype) if synaptic else absent
        ads = np.empty((steps + 1, widest), currents.dtype) if adaptive else absent
        # Read from memory on purpose: where the compiler knows that t falls, it checks the rows of
        # all steps for overlap at once, gets the bounds the wrong way round, and gives up.
        backwards = np.arange(steps - 1, -1, -1)
        for block in range(first, last):
            lo, hi = edges[block, 0], edges[block, 1]
            n = hi - lo
            cut = lo % period
            end = cut + n
            threshold = part(parameters, 0, cut, end)
            reset_value = part(parameters, 1, cut, end)
            decay = part(parameters, 2, cut, end)
            gain = part(parameters, 3, cut, end)
            current_decay = part(parameters, 4, cut, end)
            beta = part(parameters, 5, cut, end)
            fade = part(parameters, 6, cut, end)
            weight = part(parameters, 7, cut, end)

            # Forward again. The gradients of parameters need every state; without them a state is
            # updated in place: two names for one row would fail the compiler's overlap check,
            # and the loop would run element by element.
            _begin(vs[0, :n], potential, lo, hi)
            if synaptic:
                _begin(js[0, :n], current, lo, hi)
            if adaptive:
                _begin(ads[0, :n], adaptation, lo, hi)
            for t in range(steps):
                x = currents[t, lo:hi]
                charged = us[t, :n]
                v = vs[t if of_parameters else 0, :n]
                if of_parameters:
                    after = vs[t + 1, :n]
                if synaptic:
                    j = js[t if of_parameters else 0, :n]
                    if of_parameters:
                        j_after = js[t + 1, :n]
                if adaptive:
                    a = ads[t, :n]
                    a_after = ads[t + 1, :n]
                for i in range(n):
                    drive = at(gain, i) * x[i]
                    if synaptic:
                        drive = at(current_decay, i) * j[i] + drive
                        if of_parameters:
                            j_after[i] = drive
                        else:
                            j[i] = drive
                    u = at(decay, i) * v[i] + drive
                    charged[i] = u
                    bar = at(threshold, i)
                    height = bar
                    if adaptive:
                        bar = bar + at(beta, i) * a[i]
                        if sub:
                            height = bar
                    distance = u - bar
                    fired = distance >= zero if inclusive else distance > zero
                    if soft:
                        left = u - height if fired else u
                    else:
                        left = at(reset_value, i) if fired else u
                    if of_parameters:
                        after[i] = left
                    else:
                        v[i] = left
                    if adaptive:
                        spike = one if fired else zero
                        a_after[i] = at(fade, i) * a[i] + at(weight, i) * spike

            to_v = of_potential[lo:hi]
            to_j = of_current[lo:hi]
            to_a = of_adaptation[lo:hi]
            _begin(to_v, last_potential, lo, hi)
            if synaptic:
                _begin(to_j, last_current, lo, hi)
            if adaptive:
                _begin(to_a, last_adaptation, lo, hi)
            if of_parameters:
                g0 = to_parameters[0, lo:hi]
                g1 = to_parameters[1, lo:hi]
                g2 = to_parameters[2, lo:hi]
                g3 = to_parameters[3, lo:hi]
                g4 = to_parameters[4, lo:hi]
                g5 = to_parameters[5, lo:hi]
                g6 = to_parameters[6, lo:hi]
                g7 = to_parameters[7, lo:hi]
            for t in backwards:
                charged = us[t, :n]
                of_s = of_spikes[t, lo:hi]
                to_x = to_currents[t, lo:hi]
                x = currents[t, lo:hi]
                if adaptive:
                    a = ads[t, :n]
                if of_parameters:
                    v = vs[t, :n]
                    if synaptic:
                        j = js[t, :n]
                for i in range(n):
                    u = charged[i]
                    bar = at(threshold, i)
                    height = bar
                    if adaptive:
                        bar = bar + at(beta, i) * a[i]
                        if sub:
                            height = bar
                    d = u - bar
                    fired = d >= zero if inclusive else d > zero
                    spike = one if fired else zero
                    psi = derivative(kind, d, sharp, peak, zero, one)
                    # reset
                    to_after = to_v[i]
                    to_spike = of_s[i]
                    if adaptive:
                        to_spike = to_spike + at(weight, i) * to_a[i]
                    if soft:
                        to_u = to_after
                        if not detach:
                            to_spike = to_spike - height * to_after
                    else:
                        to_u = zero if fired else to_after
                        if not detach:
                            to_spike = to_spike + (at(reset_value, i) - u) * to_after
                    # fire
                    to_distance = to_spike * psi
                    to_u = to_u + to_distance
                    to_bar = -to_distance
                    to_height = to_after * spike
                    if of_parameters:
                        if soft:
                            g0[i] += to_bar - to_height
                        else:
                            g0[i] += to_bar
                            g1[i] += to_height
                    if adaptive and soft and sub:
                        to_bar = to_bar - to_height
                    # charge
                    to_drive = to_u
                    if synaptic:
                        to_drive = to_j[i] + to_u
                        to_j[i] = at(current_decay, i) * to_drive
                    to_x[i] = at(gain, i) * to_drive
                    if of_parameters:
                        g2[i] += to_u * v[i]
                        g3[i] += to_drive * x[i]
                        if synaptic:
                            g4[i] += to_drive * j[i]
                        if adaptive:
                            g5[i] += to_bar * a[i]
                            g6[i] += to_a[i] * a[i]
                            g7[i] += to_a[i] * spike
                    # to the step before
                    to_v[i] = at(decay, i) * to_u
                    if adaptive:
                        to_a[i] = at(fade, i) * to_a[i] + at(beta, i) * to_bar

    return run


class _Layout:
    """Arrays as the kernels take them: ``[T, N]``, ``[N]``, and blocks that respect a period."""

    def __init__(self, currents: Tensor, parameters: Tensor, rows_in_cache: int) -> None:
        self.steps = currents.shape[0]
        self.neurons = prod(currents.shape[1:]) if self.steps else 0
        rows = parameters
        self.period = max(self.neurons, 1)
        if parameters.dim() > 1:
            rows, self.period = rows_by_neuron(parameters, currents.shape[1:], shortest=_NARROWEST)
        self.parameters: Array = rows.numpy()
        threads = torch.get_num_threads()
        self.edges, self.widest = _edges(self.neurons, self.period, rows_in_cache, threads)

    def sequence(self, tensor: Tensor) -> Array:
        return flat(tensor.contiguous()).reshape(self.steps, self.neurons)

    def share_out(self, kernel: Callable[..., None], operands: Sequence[Any]) -> None:
        share_out(kernel, operands, len(self.edges), self.steps * self.neurons)


def _flat(tensor: Tensor) -> Array:
    return flat(tensor) if tensor.numel() else nothing(tensor.dtype)


def _states(tensors: Sequence[Tensor]) -> list[Array]:
    """Return states as arrays; one number for all neurons, expanded, as an array of one."""
    arrays = []
    for tensor in tensors:
        one = tensor.numel() > 1 and not any(tensor.stride())
        arrays.append(_flat(tensor.as_strided((1,), (1,)) if one else tensor.contiguous()))
    return arrays


def _like(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [torch.empty_like(each, memory_format=torch.contiguous_format) for each in tensors]


def _two_dimensional(rows: Tensor) -> Array:
    array: Array = rows.reshape(len(rows), -1).contiguous().numpy()
    return array


def _width(neurons: int, rows_in_cache: int, threads: int) -> int:
    """Return how wide a block is: what the cache holds, and equal work for every thread."""
    widest = max(_NARROWEST, min(_WIDEST, _IN_CACHE // max(rows_in_cache, 1)))
    blocks = threads * -(-neurons // (threads * widest))
    return max(_NARROWEST, -(-neurons // max(blocks, 1)))


@lru_cache(maxsize=256)
def _edges(neurons: int, period: int, rows_in_cache: int, threads: int) -> tuple[Array, int]:
    """Cut ``range(neurons)`` into blocks that never cross a multiple of the period.

    Returns them and the width of the widest.
    """
    block = _width(neurons, rows_in_cache, threads)
    starts = [
        start + offset
        for start in range(0, neurons, period)
        for offset in range(0, min(period, neurons - start), block)
    ]
    pairs = [
        (start, min(start + block, (start // period + 1) * period, neurons)) for start in starts
    ]
    edges = np.array(pairs, dtype=np.int64).reshape(-1, 2)
    return edges, int((edges[:, 1] - edges[:, 0]).max(initial=0))


def forward(
    currents: Tensor,
    potential: Tensor,
    synaptic: Tensor,
    adaptation: Tensor,
    parameters: Tensor,
    variant: Variant,
) -> Outputs:
    """Run all steps; the states given are left as they were."""
    layout = _Layout(currents, parameters, rows_in_cache=3)
    before = potential, synaptic, adaptation
    spikes, *after = _like((currents, *before))
    kernel = _forward_kernel(
        variant.synaptic,
        variant.adaptive,
        variant.soft_reset,
        variant.inclusive,
        variant.subtract_adaptation,
    )
    operands = (
        layout.sequence(currents),
        *_states(before),
        *map(_flat, after),
        layout.parameters,
        layout.period,
        layout.sequence(spikes),
        layout.edges,
        *constants(currents.dtype, 0, 1),
    )
    layout.share_out(kernel, operands)
    if not layout.steps:
        after = [each.clone(memory_format=torch.contiguous_format) for each in before]
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
    layout = _Layout(currents, parameters, rows_in_cache=len(currents))
    to_currents, *to_state = _like((currents, *gradients[1:]))
    shape = (len(PARAMETERS), *currents.shape[1:]) if of_parameters else (0,)
    to_parameters = currents.new_zeros(shape)
    kernel = _backward_kernel(
        variant.synaptic,
        variant.adaptive,
        variant.soft_reset,
        variant.inclusive,
        variant.subtract_adaptation,
        variant.detach_reset,
        KINDS[variant.surrogate],
        of_parameters,
    )
    operands = (
        layout.sequence(gradients.spikes),
        *_states(gradients[1:]),
        *map(_flat, to_state),
        layout.sequence(currents),
        *_states((potential, synaptic, adaptation)),
        layout.parameters,
        layout.period,
        layout.sequence(to_currents),
        _two_dimensional(to_parameters) if of_parameters else np.empty((0, 0), np.float32),
        layout.edges,
        layout.widest,
        *constants(currents.dtype, *coefficients(variant.surrogate, variant.sharpness), 0, 1),
    )
    layout.share_out(kernel, operands)
    if not layout.steps:
        to_state = [each.clone(memory_format=torch.contiguous_format) for each in gradients[1:]]
    return Gradients(to_currents, to_state[0], to_state[1], to_state[2], to_parameters)
