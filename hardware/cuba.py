"""Registers of current-based LIF neurons as Loihi holds them, and their widths."""

from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from neuro.errors import UsageError

Integers: TypeAlias = NDArray[np.int32]

WIDTH = 24
"""Bits of synaptic current and membrane potential."""
STATE_SHIFT = 6
"""Weights and thresholds stand so many bits above the least bit of the state."""
DECAY_BITS = 12


def whole_numbers(owner: object, *names: str) -> None:
    """Make fields of a frozen dataclass arrays of 32-bit integers; those that are None stay so.

    Raises:
        UsageError: a field holds fractions, or numbers that 32 bits do not hold.
    """
    for name in names:
        value = getattr(owner, name)
        if value is None:
            continue
        given = np.asarray(value)
        kept = given.astype(np.int32) if given.dtype.kind in "iub" or not given.size else None
        if kept is None or not np.array_equal(kept, given):
            raise UsageError(
                f"{type(owner).__name__}.{name} holds {given.dtype} that are no 32-bit integers; "
                "round, or scale, them first."
            )
        object.__setattr__(owner, name, kept)


@dataclass(frozen=True, eq=False, kw_only=True)
class Cuba:
    """Registers of current-based LIF neurons; each a number or one for every neuron.

    Args:
        du: decay of the current, 0..4095; 4095 for a current that does not outlast its step, and -1
            for one that never decays, which no chip's register holds.
        dv: decay of the membrane potential, 0..4095; 4096 for none that is kept, likewise.
        vth: threshold, 0..131071, in units of weights.
        bias_mant: added to the potential at every step, -4096..4095, in units of the state.
        bias_exp: by which the mantissa is shifted left, 0..7.
        start: step before whose update u and v are zeroed, counted from 0; None for never. Layer
            l of a feed-forward network hears its first input at step l: until then a bias alone
            would drive it. Without bias nothing does.
        interval: after ``start``, u and v are zeroed again every so many steps (Lava's LIFReset,
            with ``start = (reset_offset - 1) % reset_interval``); None for never.
        vth_low: of neurons that also send -1, and are zeroed, where ``v' < vth_low << 6`` (Lava's
            TernaryLIF); None for those that send only 1.
    """

    du: Integers
    dv: Integers
    vth: Integers
    bias_mant: Integers = field(default_factory=lambda: np.zeros((), np.int32))
    bias_exp: Integers = field(default_factory=lambda: np.zeros((), np.int32))
    start: int | None = None
    interval: int | None = None
    vth_low: Integers | None = None

    @property
    def registers(self) -> "Cuba":
        """Itself: what it shares with neurons in microcode."""
        return self

    def zeroed_before(self, step: int) -> bool:
        """Tell whether u and v are zeroed before the update of a step, counted from 0."""
        if self.start is None or step < self.start:
            return False
        return step == self.start or (
            self.interval is not None and (step - self.start) % self.interval == 0
        )

    def __post_init__(self) -> None:
        whole_numbers(self, "du", "dv", "vth", "bias_mant", "bias_exp", "vth_low")

    @property
    def bias(self) -> NDArray[np.int64]:
        """What is added to the potential, ``bias_mant << bias_exp``."""
        shifted: NDArray[np.int64] = self.bias_mant.astype(np.int64) << self.bias_exp
        return shifted
