"""Neurons that Loihi 2 holds only as a program of one's own, and that Lava does not simulate.

They are kept apart from :class:`neuro.hardware.cuba.Cuba`, whose equations are those of Lava and
of Loihi 1: an export that knows only those refuses these by name, with ``difference`` as reason.
"""

from dataclasses import dataclass, replace
from typing import ClassVar, Literal, TypeAlias, get_args

from neuro.errors import UsageError
from neuro.hardware.cuba import STATE_SHIFT, WIDTH, Cuba

Payload: TypeAlias = Literal["potential", "excess"]


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
    difference: ClassVar[str] = (
        "subtract their threshold at a spike, where those of Lava's LIF and of Loihi 1 are set to "
        "zero"
    )
    instead: ClassVar[str] = 'Train with model.reset = "hard".'

    def __post_init__(self) -> None:
        if self.registers.vth_low is not None:
            raise UsageError("neurons with a soft reset send 0 or 1; leave vth_low out.")


@dataclass(frozen=True, eq=False)
class GradedSpikes:
    """Current-based LIF neurons whose spikes carry by how much they fired::

        x[t] = v'[t]   or, of the excess,   v'[t] - (vth << 6)
        s[t] = min(x[t] >> shift, 2^(message_bits - 1) - 1) where v'[t] > (vth << 6), else 0

    All else as for plain neurons: the potential is set to zero. It is, too, where x is less than
    ``2^shift`` and the number that would be sent is 0, which is silence.

    Args:
        registers: of the plain neurons.
        payload: what a spike carries: the potential, or its excess over the threshold.
        message_bits: of the number, its sign included as in a source's messages, 2..24. It is never
            negative, and cut to the greatest where it is more than they carry.
        shift: to the right, 0..23, rounding down. 6, the default, for units of weights: a synapse
            of weight w then adds w times what its neuron had.

    Raises:
        UsageError: neurons that send -1, too; a threshold below 0; or settings out of range.
    """

    registers: Cuba
    payload: Payload = "potential"
    message_bits: int = WIDTH
    shift: int = STATE_SHIFT
    difference: ClassVar[str] = (
        "send numbers with their spikes, where those of Lava's LIF and of Loihi 1 carry none"
    )
    instead: ClassVar[str] = "Let them send plain spikes."

    def __post_init__(self) -> None:
        if self.registers.vth_low is not None:
            raise UsageError("neurons with graded spikes send no -1; leave vth_low out.")
        if self.registers.vth.min(initial=0) < 0:
            raise UsageError("neurons with graded spikes have thresholds of 0 at least.")
        if self.payload not in get_args(Payload):
            raise UsageError(
                f"a graded spike carries {' or '.join(get_args(Payload))}, not {self.payload!r}."
            )
        for name, low, high in (("message_bits", 2, WIDTH), ("shift", 0, WIDTH - 1)):
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
                raise UsageError(f"graded spikes: {name} is {value!r}; expected {low}..{high}.")

    @property
    def highest_message(self) -> int:
        """The greatest number the bits carry."""
        return (1 << self.message_bits - 1) - 1

    @property
    def greatest_sent(self) -> int:
        """The greatest number a neuron can come to send; at its highest potential."""
        most = (1 << WIDTH - 1) - 1
        if self.payload == "excess" and self.registers.vth.size:
            most -= int(self.registers.vth.min()) << STATE_SHIFT
        return min(max(most, 0) >> self.shift, self.highest_message)


Neuron: TypeAlias = Cuba | SoftReset | GradedSpikes
PROGRAMS: dict[str, type[SoftReset] | type[GradedSpikes]] = {
    "soft_reset": SoftReset,
    "graded_spikes": GradedSpikes,
}
"""Neurons in microcode, by their name in files."""


def with_registers(neuron: Neuron, registers: Cuba) -> Neuron:
    """Return neurons of the same program with other registers."""
    return registers if isinstance(neuron, Cuba) else replace(neuron, registers=registers)
