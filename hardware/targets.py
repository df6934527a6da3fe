"""What chips can hold that decides how a network is quantised for them."""

from dataclasses import dataclass

from neuro.errors import UsageError, nearest


@dataclass(frozen=True, kw_only=True)
class Target:
    """A chip, or a chip with neurons of one's own program.

    Args:
        name: what it is called on the command line.
        chip: profile that its limits are in.
        message_bits: of a graded spike, its sign included; 0 where spikes carry nothing.
        soft_reset: whether a spike may subtract the threshold.
        accumulator_bits: beside the sign, of the register in which what arrives in a step is
            summed; None for one that holds any sum.
        bias_exponent: that all biases must have, 6 for files of netx; None for the finest.
        weight_bits: of a weight, its sign included, 2 to 8; they fill the upper ones of eight.
        description: one line, with the source of what it says.
    """

    name: str
    chip: str
    message_bits: int
    soft_reset: bool
    accumulator_bits: int | None
    description: str
    bias_exponent: int | None = None
    weight_bits: int = 8

    def __post_init__(self) -> None:
        if not 2 <= self.weight_bits <= 8:
            raise UsageError(f"weights have 2 to 8 bits, got {self.weight_bits}.")


TARGETS = {
    target.name: target
    for target in (
        Target(
            name="loihi1",
            chip="loihi1",
            message_bits=0,
            soft_reset=False,
            accumulator_bits=21,
            description="binary spikes, hard reset, sums of 21 bits (nengo-loihi 1.1.0)",
        ),
        Target(
            name="loihi2",
            chip="loihi2",
            message_bits=8,
            soft_reset=False,
            accumulator_bits=None,
            description="what Lava 0.10.0 simulates: graded spikes from outside, hard reset",
        ),
        Target(
            name="loihi2-microcode",
            chip="loihi2",
            message_bits=8,
            soft_reset=True,
            accumulator_bits=None,
            description="with neurons of one's own program, which Lava's LIF is not",
        ),
    )
}


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
