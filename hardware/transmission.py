"""Synapses as compiled loops over events: a spike adds its row of weights to what arrives later.

Neurons lie with their channels last, so that one spike's row of a convolution's kernel falls on
neighbours: an inner loop over ``columns * channels`` instead of one over channels. All sums are of
32-bit integers, in any order the same.
"""

from dataclasses import dataclass
from typing import Any, Protocol

import numba
import numpy as np
from numpy.typing import NDArray

from neuro.hardware.integer_graph import (
    Connection,
    Convolution,
    Dense,
    Integers,
    Sparse,
    target_shape,
)

Array = NDArray[Any]


class Transmission(Protocol):
    """Synapses ready to run; ``delays`` are all that its synapses have."""

    @property
    def delays(self) -> tuple[int, ...]: ...

    def send(self, signal: Integers, ring: Integers, slot: int) -> None:
        """Add what a signal causes.

        Args:
            signal: ``[B, sources]``, what each sends.
            ring: ``[slots, B, targets]``, what arrives; changed in place.
            slot: where synapses without delay arrive.
        """


def prepare(
    connection: Connection, source: tuple[int, ...], target: tuple[int, ...]
) -> list[Transmission]:
    """Return what a connection does, as one transmission or, if need be, one for each delay."""
    exponent = connection.weight_exponent
    weight = connection.synapses.weight.astype(np.int64)
    if exponent >= 0:
        return _transmissions(connection, weight << exponent, source, target)
    if not (weight & ((1 << -exponent) - 1)).any():
        return _transmissions(connection, weight >> -exponent, source, target)
    parts: list[Transmission] = []
    delays = np.unique(connection.delay)
    for delay in delays:
        chosen = weight if len(delays) == 1 else np.where(connection.delay == delay, weight, 0)
        undelayed = Connection(
            source=connection.source, target=connection.target, synapses=connection.synapses
        )
        (inner,) = _transmissions(undelayed, chosen, source, target)
        parts.append(Shifted(inner=inner, delays=(int(delay),), places=-exponent))
    return parts


def channels_last(shape: tuple[int, ...]) -> Array:
    """Return the place in C order of each neuron, in the order in which engines hold them."""
    places = np.arange(int(np.prod(shape, dtype=np.int64))).reshape(shape)
    return np.moveaxis(places, 0, -1).reshape(-1) if len(shape) == 3 else places.reshape(-1)


@dataclass(frozen=True, eq=False)
class AllToAll:
    """A matrix ``weight[source, target]``."""

    weight: Array
    delays: tuple[int, ...]

    def send(self, signal: Integers, ring: Integers, slot: int) -> None:
        _send_dense(signal, self.weight, ring[(slot + self.delays[0]) % len(ring)])


@dataclass(frozen=True, eq=False)
class Scattered:
    """Single synapses, in compressed rows of the sources."""

    starts: Array
    targets: Array
    weight: Array
    delay: Array
    delays: tuple[int, ...]

    def send(self, signal: Integers, ring: Integers, slot: int) -> None:
        _send_sparse(signal, self.starts, self.targets, self.weight, self.delay, ring, slot)


@dataclass(frozen=True, eq=False)
class Shared:
    """A convolution.

    ``weight[C * kH * stride, n * O]``: for each channel, row of the kernel, and place of a source
    between two targets, the weights of the n targets it reaches in a row, from left to right.
    """

    weight: Array
    kernel_rows: int
    source: tuple[int, ...]
    target: tuple[int, ...]
    stride: tuple[int, int]
    padding: tuple[int, int]
    groups: int
    delays: tuple[int, ...]

    def send(self, signal: Integers, ring: Integers, slot: int) -> None:
        out = ring[(slot + self.delays[0]) % len(ring)]
        _send_convolution(
            signal,
            self.weight,
            self.kernel_rows,
            self.source,
            self.target,
            self.stride,
            self.padding,
            self.groups,
            out,
        )


@dataclass(frozen=True, eq=False)
class Shifted:
    """Synapses whose sum is shifted right, which is not the sum of what is shifted."""

    inner: Transmission
    delays: tuple[int, ...]
    places: int

    def send(self, signal: Integers, ring: Integers, slot: int) -> None:
        total = np.zeros((1, *ring.shape[1:]), np.int32)
        self.inner.send(signal, total, 0)
        ring[(slot + self.delays[0]) % len(ring)] += total[0] >> self.places


def _transmissions(
    connection: Connection, weight: Array, source: tuple[int, ...], target: tuple[int, ...]
) -> list[Transmission]:
    synapses, delay = connection.synapses, connection.delay
    one_delay = (int(delay.flat[0]),) if np.unique(delay).size == 1 else ()
    narrow = np.int16 if not weight.size or np.abs(weight).max() < 1 << 15 else np.int32
    if isinstance(synapses, Convolution):
        return [
            Shared(
                weight=_in_reach(synapses, weight).astype(narrow),
                kernel_rows=(weight.shape[2] - 1) * synapses.dilation[0] + 1,
                source=source,
                target=target_shape(synapses, source),
                stride=synapses.stride,
                padding=synapses.padding,
                groups=synapses.groups,
                delays=one_delay,
            )
        ]
    if isinstance(synapses, Dense) and one_delay:
        placed = weight[np.ix_(channels_last(target), channels_last(source))]
        return [AllToAll(np.ascontiguousarray(placed.T.astype(narrow)), one_delay)]
    return [_scattered(synapses, np.broadcast_to(delay, weight.shape), weight, source, target)]


def _scattered(
    synapses: Dense | Sparse,
    delay: Array,
    weight: Array,
    source: tuple[int, ...],
    target: tuple[int, ...],
) -> Scattered:
    if isinstance(synapses, Dense):
        targets, sources = np.nonzero(weight)
        weight, delay = weight[targets, sources], delay[targets, sources]
    else:
        sources = synapses.sources.astype(np.int64)
        targets = np.repeat(np.arange(len(synapses.starts) - 1), np.diff(synapses.starts))
    sources = np.argsort(channels_last(source))[sources]
    targets = np.argsort(channels_last(target))[targets]
    order = np.lexsort((targets, sources))
    count = int(np.prod(source, dtype=np.int64))
    starts = np.searchsorted(sources[order], np.arange(count + 1))
    return Scattered(
        starts=starts.astype(np.int64),
        targets=targets[order].astype(np.int64),
        weight=weight[order].astype(np.int32),
        delay=delay[order].astype(np.int64),
        delays=tuple(int(each) for each in np.unique(delay)) or (0,),
    )


def _in_reach(synapses: Convolution, weight: Array) -> Array:
    """Return weights as :class:`Shared` wants them."""
    outputs, channels, rows, columns = weight.shape
    spread_rows, spread_columns = synapses.dilation
    spread = np.zeros(
        (outputs, channels, (rows - 1) * spread_rows + 1, (columns - 1) * spread_columns + 1),
        np.int64,
    )
    spread[:, :, ::spread_rows, ::spread_columns] = weight
    stride = synapses.stride[1]
    reach = -(-spread.shape[3] // stride)
    padded = np.zeros((*spread.shape[:3], reach * stride), np.int64)
    padded[..., : spread.shape[3]] = spread
    # column kx = place + stride * n falls n targets to the left of the one that sees column `place`
    placed = padded.reshape(*spread.shape[:3], reach, stride)[..., ::-1, :]
    # [G, O/G, C/G, kH, n, stride] -> [G, C/G, kH, stride, n, O/G]
    grouped = placed.reshape(synapses.groups, -1, *placed.shape[1:])
    moved = grouped.transpose(0, 2, 3, 5, 4, 1)
    return np.ascontiguousarray(moved.reshape(-1, reach * moved.shape[-1]))


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _send_dense(signal: Array, weight: Array, out: Array) -> None:
    events = np.empty(signal.shape[1], np.int64)
    for b in range(signal.shape[0]):
        x = signal[b]
        row = out[b]
        count, units = 0, 0
        for j in range(x.size):
            events[count] = j
            count += x[j] != 0
            units += x[j] == 1
        k = 0
        if units == count:
            # four rows at once: what arrives is read and written a quarter as often
            while k + 4 <= count:
                w0, w1 = weight[events[k]], weight[events[k + 1]]
                w2, w3 = weight[events[k + 2]], weight[events[k + 3]]
                for i in range(row.size):
                    row[i] += np.int32(w0[i]) + np.int32(w1[i]) + np.int32(w2[i]) + np.int32(w3[i])
                k += 4
            while k < count:
                w0 = weight[events[k]]
                for i in range(row.size):
                    row[i] += np.int32(w0[i])
                k += 1
        while k + 4 <= count:
            s0, s1 = x[events[k]], x[events[k + 1]]
            s2, s3 = x[events[k + 2]], x[events[k + 3]]
            w0, w1 = weight[events[k]], weight[events[k + 1]]
            w2, w3 = weight[events[k + 2]], weight[events[k + 3]]
            for i in range(row.size):
                row[i] += np.int32(
                    s0 * np.int32(w0[i])
                    + s1 * np.int32(w1[i])
                    + s2 * np.int32(w2[i])
                    + s3 * np.int32(w3[i])
                )
            k += 4
        while k < count:
            s0 = x[events[k]]
            w0 = weight[events[k]]
            for i in range(row.size):
                row[i] += np.int32(s0 * np.int32(w0[i]))
            k += 1


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _send_sparse(
    signal: Array,
    starts: Array,
    targets: Array,
    weight: Array,
    delay: Array,
    ring: Array,
    slot: int,
) -> None:
    slots = ring.shape[0]
    for b in range(signal.shape[0]):
        x = signal[b]
        for j in range(x.size):
            s = x[j]
            if s != 0:
                for k in range(starts[j], starts[j + 1]):
                    ring[(slot + delay[k]) % slots, b, targets[k]] += np.int32(s * weight[k])


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _send_convolution(
    signal: Array,  # [B, H * W * C]
    weight: Array,  # [C * kH * stride, n * O / groups]
    kernel_rows: int,
    source: Any,
    target: Any,
    stride: Any,
    padding: Any,
    groups: int,
    out: Array,  # [B, H' * W' * O]
) -> None:
    channels, _, width = source
    outputs, rows, columns = target
    share = outputs // groups
    reach = weight.shape[1] // share
    per_group = channels // groups
    for b in range(signal.shape[0]):
        x = signal[b]
        y = out[b]
        for j in range(x.size):
            s = x[j]
            if s == 0:
                continue
            c = j % channels
            place = j // channels
            down = place // width + padding[0]
            right = place % width + padding[1]
            base = c // per_group * share
            last = right // stride[1]  # the target whose kernel begins nearest
            first = last - reach + 1
            low = max(first, 0)
            high = min(last + 1, columns)
            if high <= low:
                continue
            for i in range(kernel_rows):
                if down < i or (down - i) % stride[0] != 0:
                    continue
                row = (down - i) // stride[0]
                if row >= rows:
                    continue
                w = weight[(c * kernel_rows + i) * stride[1] + right % stride[1]]
                if groups == 1:
                    to = y[(row * columns + low) * share : (row * columns + high) * share]
                    by = w[(low - first) * share : (high - first) * share]
                    if s == 1:
                        for o in range(to.size):
                            to[o] += np.int32(by[o])
                    else:
                        for o in range(to.size):
                            to[o] += np.int32(s * np.int32(by[o]))
                else:
                    for p in range(low, high):
                        start = (row * columns + p) * outputs + base
                        to = y[start : start + share]
                        by = w[(p - first) * share : (p - first + 1) * share]
                        for o in range(to.size):
                            to[o] += np.int32(s * np.int32(by[o]))
