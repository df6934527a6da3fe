"""How a network is quantised for a chip; what the chip holds, its profile alone says."""

from dataclasses import dataclass

from neuro.errors import UsageError, nearest
from neuro.hardware.profile import HardwareProfile, load_profile, profile_names

FINEST_MESSAGES = 8
"""Bits of a message, its sign included, beyond which inputs are not sent finer: as many as a
weight has."""


@dataclass(frozen=True, kw_only=True)
class Target:
    """A chip, and choices that its profile leaves open.

    Args:
        profile: of the chip.
        bias_exponent: that all biases must have, 6 for files of netx; None for the finest.
        weight_bits: of a weight, its sign included, 2 to 8; they fill the upper ones of eight.

    Raises:
        UsageError: other weights than these.
    """

    profile: HardwareProfile
    bias_exponent: int | None = None
    weight_bits: int = 8

    def __post_init__(self) -> None:
        if not 2 <= self.weight_bits <= 8:
            raise UsageError(f"weights have 2 to 8 bits, got {self.weight_bits}.")

    @property
    def name(self) -> str:
        """What it is called on the command line."""
        return self.profile.name

    @property
    def chip(self) -> str:
        """What it is called without neurons of one's own program, as Lava knows it."""
        return self.profile.inherits or self.profile.name

    @property
    def microcode(self) -> bool:
        """Whether its neurons may run a program of one's own."""
        return "own_programs" in self.profile.limits

    @property
    def message_bits(self) -> int:
        """Of a graded spike from outside, its sign included; 0 where spikes carry nothing."""
        return min(self._limit("graded_spike_bits") or 0, FINEST_MESSAGES)

    @property
    def accumulator_bits(self) -> int | None:
        """Beside the sign, of the register in which what arrives in a step is summed; None for one
        that holds any sum."""
        return self._limit("accumulator_bits")

    def _limit(self, name: str) -> int | None:
        limit = self.profile.limits.get(name)
        return None if limit is None else int(limit.value)


TARGETS = {
    profile.name: Target(profile=profile)
    for profile in map(load_profile, profile_names())
    if profile.limits
}
"""Every profile that says what a network may ask of the chip."""


def target_named(name: str) -> Target:
    """Look a target up by name.

    Raises:
        UsageError: there is none of that name.
    """
    if name not in TARGETS:
        raise UsageError(
            f"no chip is called {name!r}; there are {', '.join(TARGETS)}.{nearest(name, TARGETS)}"
        )
    return TARGETS[name]
