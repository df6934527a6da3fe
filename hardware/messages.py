"""Real inputs as the whole numbers that spikes carry: ``x = offset + unit * message``."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from neuro.errors import DataError, UsageError
from neuro.hardware.float_graph import FloatSource, Reals
from neuro.hardware.integer_graph import IntegerGraph


@dataclass(frozen=True, eq=False)
class Messages:
    """How a source speaks.

    Args:
        bits: of a message, its sign included; 0 for spikes.
        unit: what a message of 1 stands for, one for all or one for each neuron.
        offset: what silence stands for, likewise.
    """

    bits: int
    unit: Reals
    offset: Reals

    def encode(self, x: Reals) -> NDArray[np.int16]:
        """Return the nearest messages, cut to what the bits carry."""
        low, high = (0, 1) if not self.bits else (-(1 << self.bits - 1), (1 << self.bits - 1) - 1)
        return np.clip(np.rint((x - self.offset) / self.unit), low, high).astype(np.int16)

    def to_json(self) -> dict[str, Any]:
        return {"bits": self.bits, "unit": self.unit.tolist(), "offset": self.offset.tolist()}

    @classmethod
    def from_json(cls, record: Mapping[str, Any]) -> "Messages":
        return cls(
            int(record["bits"]),
            np.asarray(record["unit"], np.float64),
            np.asarray(record["offset"], np.float64),
        )


def encode_inputs(graph: IntegerGraph, inputs: Mapping[str, Reals]) -> dict[str, NDArray[np.int16]]:
    """Return real inputs ``[T, B, *shape]`` as a quantised graph wants them.

    Steps that repeat the first one, as those of a constant current, are encoded once.

    Raises:
        DataError: the graph does not say how its sources speak.
        UsageError: an input is missing.
    """
    encoded = {}
    for name in graph.sources:
        if name not in inputs:
            raise UsageError(f"no input for {name!r}; got {sorted(inputs)}.")
        try:
            speaks = Messages.from_json(graph.metadata["messages"][name])
        except KeyError as error:
            raise DataError(
                f"the graph does not say what messages of {name!r} stand for; give integers."
            ) from error
        x = inputs[name]
        if len(x) and x.strides[0] == 0:
            encoded[name] = np.broadcast_to(speaks.encode(x[:1]), x.shape)
        else:
            encoded[name] = speaks.encode(x)
    return encoded


def ways_to_speak(source: FloatSource, x: Reals, message_bits: int, chip: str) -> list[Messages]:
    """Return ways to send inputs like ``x``, finest first.

    Whole numbers that a spike can carry are sent as they are. Others lose what their messages
    cannot carry; coarser ones leave more bits for weights, as a sum must fit its register.

    Raises:
        UsageError: the inputs are real numbers, and the chip's spikes carry none.
    """
    zero, one = np.zeros(()), np.ones(())
    if np.isin(x, (0, 1)).all():
        return [Messages(0, one, zero)]
    if not message_bits and np.array_equal(x, np.rint(x)):
        raise UsageError(
            f"{source.name}: inputs count events ({x.min():.0f} to {x.max():.0f} in a step), and a "
            f"spike of {chip} is one event. Train on frames of at most one (more, shorter steps), "
            "or take a chip with graded spikes (--profile loihi2)."
        )
    if not message_bits:
        raise UsageError(
            f"{source.name}: inputs are real numbers ({x.min():.3g} to {x.max():.3g}), and spikes "
            f"of {chip} carry none. Train with an encoding of spikes (rate, latency, delta), or "
            "take a chip with graded spikes."
        )
    highest = (1 << message_bits - 1) - 1
    if np.array_equal(x, np.rint(x)) and np.abs(x).max() <= highest:
        bits = int(np.abs(x).max()).bit_length() + 1
        return [Messages(bits, one, zero)]
    found = []
    if source.grain is not None:
        offset = zero if source.offset is None else source.offset
        grains = float(np.abs((x - offset) / source.grain).max())
        coarsest = 2 ** max(0, int(np.ceil(np.log2(max(grains, 1) / 16))))
        steps = [float(2**power) for power in range(int(np.log2(coarsest)) + 1)]
        steps += [grains / highest] if grains > highest else []
        found += [
            Messages(_bits(grains / step), source.grain * step, offset)
            for step in sorted(steps)
            if np.rint(grains / step) <= highest
        ]
    if not found or np.any(found[0].offset):
        largest = float(np.abs(x).max())
        found += [
            Messages(bits, np.asarray(largest / ((1 << bits - 1) - 1)), zero)
            for bits in range(message_bits, 3, -1)
        ]
    return found


def _bits(largest: float) -> int:
    return int(np.rint(largest)).bit_length() + 1
