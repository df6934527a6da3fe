"""What was sent on in a step, and sums of what that made nodes do."""

from collections.abc import Mapping
from typing import TypeAlias

import torch
from torch import Tensor

from neuro.energy.signals import contradictions
from neuro.energy.streams import Stream
from neuro.layers import INPUT

Amount: TypeAlias = Tensor | float
"""A number, or one on the device that is asked for at the end."""
Columns: TypeAlias = dict[str, Amount]


class Sent:
    """What was sent on in a step; each tensor is read once, whoever asks.

    Args:
        values: of every node and the input, ``(B, ...)``.
        carried: what they are declared to be.
    """

    def __init__(self, values: Mapping[str, Tensor], carried: Mapping[str, Stream]) -> None:
        self.values = values
        self.contradictions: dict[str, Amount] = {}
        self._streams = carried
        self._active: dict[str, Tensor] = {}
        self._numbers: dict[str, Tensor] = {}
        self._positions: dict[str, Tensor] = {}

    @property
    def batch(self) -> int:
        """Samples."""
        return len(self.values[INPUT])

    def examine(self, origin: str) -> None:
        """Count the values that contradict what they are declared to be."""
        if self._streams[origin].events:
            self.active(origin)
        else:
            self.contradictions[origin] = contradictions(self.values[origin], "real")

    def active(self, origin: str) -> Tensor:
        """Return where there are events, bool of the shape of the values."""
        if origin not in self._active:
            value, stream = self.values[origin], self._streams[origin]
            if stream.signal == "binary" and not stream.repeated:
                found = value == stream.unit
                self.contradictions[origin] = torch.count_nonzero(value) - torch.count_nonzero(
                    found
                )
            else:
                found = value != 0
                if not stream.repeated:
                    self.contradictions[origin] = contradictions(value, stream.signal, stream.unit)
            self._active[origin] = found
        return self._active[origin]

    def number(self, origin: str) -> Tensor:
        """Return how many events there are."""
        if origin not in self._numbers:
            self._numbers[origin] = torch.count_nonzero(self.active(origin))
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
            self._positions[origin] = self.active(origin).sum(0).flatten().double()
        return self._positions[origin] @ fan_out


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
