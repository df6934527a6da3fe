"""Neurons that Loihi 2 holds only as a program of one's own, and that Lava does not simulate.

They are kept apart from :class:`neuro.hardware.cuba.Cuba`, whose equations are those of Lava and
of Loihi 1: an export that knows only those refuses these by name.
"""

from dataclasses import dataclass

from neuro.errors import UsageError
from neuro.hardware.cuba import Cuba


@dataclass(frozen=True, eq=False)
class SoftReset:
    """Current-based LIF neurons whose reset subtracts the threshold::

        s[t] = v'[t] > (vth << 6),   v[t] = v'[t] - (vth << 6) s[t]

    All else as for plain neurons.

    Args:
        registers: of the plain neurons.

    Raises:
        UsageError: neurons that send -1, too.
    """

    registers: Cuba

    def __post_init__(self) -> None:
        if self.registers.vth_low is not None:
            raise UsageError("neurons with a soft reset send 0 or 1; leave vth_low out.")
