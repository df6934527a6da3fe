"""What was sent on in a step, and sums of what that made nodes do.

Tensors are read by products and sums alone, which are fast on every device; sums of zeros and ones
over a batch are exact.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

import torch
from torch import Tensor

from neuro.energy.counting.streams import Stream
from neuro.layers import INPUT

Amount: TypeAlias = Tensor | float
"""A number, or one on the device that is asked for at the end."""
Columns: TypeAlias = dict[str, Amount]
_PIECE = 1 << 18
"""Numbers taken at once: what is made of them stays in cache, and 32 bits hold their count."""


class Sent:
    """What was sent on in a step; each tensor is read once, whoever asks.

    Args:
        values: of every node and the input, ``(B, ...)``.
        carried: what they are declared to be.
    """

    def __init__(self, values: Mapping[str, Tensor], carried: Mapping[str, Stream]) -> None:
        self.values = values
        self.doubts: dict[str, Tensor] = {}
        """By origin a number that is 0 if all values are what they are declared to be."""
        self._streams = carried
        self._events: dict[str, Tensor] = {}
        self._positions: dict[str, Tensor] = {}
        self._numbers: dict[str, Tensor] = {}

    @property
    def batch(self) -> int:
        """Samples."""
        return len(self.values[INPUT])

    def examine(self, origin: str) -> None:
        """Note whether values contradict what they are declared to be."""
        stream, value = self._streams[origin], _flat(self.values[origin])
        if origin in self.doubts or stream.repeated:
            return
        if stream.signal in ("binary", "ternary"):
            size = value if stream.signal == "binary" else value.abs()
            self.doubts[origin] = _total(
                _squared(torch.rsub(piece, stream.unit).mul_(piece)) for piece in _pieces(size)
            )
        else:
            self.doubts[origin] = value.sum() * 0  # neither infinities nor NaN give 0

    def events(self, origin: str) -> Tensor:
        """Return 1 where there is an event and 0 elsewhere, ``(B, N)``."""
        if origin not in self._events:
            self.examine(origin)
            stream, value = self._streams[origin], _flat(self.values[origin])
            plain = stream.signal == "binary" and stream.unit == 1
            self._events[origin] = value if plain else _ones_where(value)
        return self._events[origin]

    def number(self, origin: str) -> Tensor:
        """Return how many events there are, float64."""
        if origin not in self._numbers:
            known = self._positions.get(origin)
            events = self.events(origin)
            self._numbers[origin] = (
                _total(map(_squared, _pieces(events))) if known is None else known.sum()
            )
        return self._numbers[origin]

    def reached(self, origin: str, fan_out: Tensor) -> Tensor:
        """Return the sum of the fan-outs of all events.

        Args:
            origin: which events.
            fan_out: of each position, flat, float64; or one number for all of them.
        """
        if fan_out.ndim == 0:
            return self.number(origin) * fan_out
        if origin not in self._positions:
            events = self.events(origin)
            self._positions[origin] = (events.new_ones(len(events)) @ events).double()
        return self._positions[origin] @ fan_out

    def active(self, current: str, fired: str | None) -> Tensor:
        """Return how many neurons some current reached, or fired."""
        value = _flat(self.values[current])
        if fired is None:
            return _total(_squared(piece.sign()) for piece in _pieces(value))
        pairs = zip(_pieces(value), _pieces(self.events(fired).to(value.dtype)), strict=True)
        return _total(_either(current.sign().abs_(), fired) for current, fired in pairs)


def _ones_where(value: Tensor) -> Tensor:
    """Return 1 where there is a number other than 0, and 0 elsewhere."""
    return value.sign().abs_()


def _pieces(value: Tensor) -> Sequence[Tensor]:
    flat = value.flatten()
    return [flat[first : first + _PIECE] for first in range(0, len(flat), _PIECE)]


def _squared(piece: Tensor) -> Tensor:
    return torch.dot(piece, piece)


def _either(one: Tensor, other: Tensor) -> Tensor:
    """Return how many ones are in either of two pieces of zeros and ones."""
    return torch.dot(one, one) + torch.dot(other, other) - torch.dot(one, other)


def _total(numbers: Iterable[Tensor]) -> Tensor:
    found = list(numbers)
    return found[0].double() if len(found) == 1 else torch.stack(found).double().sum()


def _flat(value: Tensor) -> Tensor:
    """Return ``(B, N)``, of 32-bit floats at least."""
    flat = value.flatten(1)
    return flat if flat.dtype in (torch.float32, torch.float64) else flat.float()


class Tally:
    """Sums by node and column."""

    def __init__(self) -> None:
        self._sums: dict[tuple[str, str], Amount] = {}

    def add(self, name: str, columns: Columns) -> None:
        """Add what a node did."""
        for column, amount in columns.items():
            place = name, column
            self._sums[place] = self._sums.get(place, 0) + amount

    def numbers(self) -> dict[str, dict[str, float]]:
        """Return the sums by node, fetched from the device at once."""
        waiting = {place: each for place, each in self._sums.items() if isinstance(each, Tensor)}
        fetched = (
            torch.stack([each.double() for each in waiting.values()]).tolist() if waiting else []
        )
        known = {**self._sums, **dict(zip(waiting, fetched, strict=True))}
        found: dict[str, dict[str, float]] = {}
        for (name, column), amount in known.items():
            found.setdefault(name, {})[column] = _whole(float(amount))
        return found


def _whole(number: float) -> float:
    """Return a whole number as one, so that JSON has no fraction where there is none."""
    return int(number) if number.is_integer() else number
