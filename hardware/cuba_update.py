"""One step of many current-based LIF neurons, compiled; in 64 bits between 32-bit registers."""

from collections.abc import Callable
from functools import cache
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

from neuro.hardware.cuba import DECAY_BITS, STATE_SHIFT, WIDTH

Array = NDArray[Any]

HALF = 1 << (WIDTH - 1)
LOWEST, HIGHEST = np.int64(1 - HALF), np.int64(HALF - 1)
UNITY = 1 << DECAY_BITS
MEASURES = (
    "largest_input",
    "largest_u",
    "largest_v",
    "wrapped_inputs",
    "wrapped_u",
    "clipped_v",
    "clipped_messages",
)


@cache
def update(
    *, uniform: bool, ternary: bool, soft: bool, graded: bool, accumulator: bool
) -> Callable[..., None]:
    """Return the compiled step of neurons.

    Args:
        uniform: one set of registers serves all neurons; otherwise each has its own.
        ternary: they send -1, too.
        soft: their reset subtracts the threshold, see :mod:`neuro.hardware.microcode`.
        graded: their spikes carry numbers, likewise.
        accumulator: what arrives is summed in a register that wraps.
    """

    @numba.njit(nogil=True, cache=True, error_model="numpy")
    def run(
        arrived: Array,  # [B, N], and so the next three; zeroed once read
        u: Array,
        v: Array,
        spikes: Array,
        registers: Array,  # [5, N]: du + 1, dv, vth << 6, vth_low << 6, bias
        payload: Array,  # [3] of graded spikes: threshold's share, shift, greatest number
        bound: int,  # of the accumulator
        counts: Array,  # [B], of spikes, to be added to
        measures: Array,  # of MEASURES, to be added to
    ) -> None:
        fades_u, fades_v, bars = registers[0], registers[1], registers[2]
        lows, biases = registers[3], registers[4]
        largest_input = measures[0]
        largest_u = measures[1]
        largest_v = measures[2]
        wrapped_inputs = wrapped_u = clipped_v = clipped_messages = 0
        share, places, greatest = payload[0], payload[1], payload[2]
        for b in range(arrived.shape[0]):
            x, current, potential, sent = arrived[b], u[b], v[b], spikes[b]
            fired = 0
            for i in range(x.size):
                k = 0 if uniform else i
                a = np.int64(x[i])
                x[i] = 0
                if accumulator:
                    kept = ((a + bound) & (2 * bound - 1)) - bound
                    wrapped_inputs += kept != a
                    largest_input = max(largest_input, abs(a))
                    a = kept
                else:
                    largest_input = max(largest_input, abs(a))
                before = np.int64(current[i])
                faded = abs(before) * (UNITY - fades_u[k]) >> DECAY_BITS
                faded = faded if before >= 0 else -faded
                drive = np.int64(np.int32(a << STATE_SHIFT))
                whole = np.int64(np.int32(faded + drive))
                largest_u = max(largest_u, abs(whole))
                now = whole - 2 * HALF if whole > HALF else whole
                now = whole + 2 * HALF if whole <= -HALF else now
                wrapped_u += now != whole
                current[i] = np.int32(now)

                before = np.int64(potential[i])
                faded = abs(before) * (UNITY - fades_v[k]) >> DECAY_BITS
                faded = faded if before >= 0 else -faded
                whole = np.int64(np.int32(faded + now + biases[k]))
                largest_v = max(largest_v, abs(whole))
                now = np.int64(min(max(whole, LOWEST), HIGHEST))
                clipped_v += now != whole
                spike = np.int32(now > bars[k])
                if ternary:
                    spike -= np.int32(now < lows[k])
                rest = now - bars[k] if soft else np.int64(0)
                potential[i] = np.int32(rest if spike != 0 else now)
                if graded:
                    whole = (now - share * bars[k]) >> places
                    now = min(whole, greatest) if spike != 0 else np.int64(0)
                    clipped_messages += (spike != 0) & (now != whole)
                    spike = np.int32(now)
                sent[i] = spike
                fired += spike != 0
            counts[b] += fired
        measures[0] = largest_input
        measures[1] = largest_u
        measures[2] = largest_v
        measures[3] += wrapped_inputs
        measures[4] += wrapped_u
        measures[5] += clipped_v
        measures[6] += clipped_messages

    compiled: Callable[..., None] = run
    return compiled
