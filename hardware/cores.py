"""What a core holds of each resource, and where it stands on a chip."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from neuro.errors import UsageError
from neuro.hardware.constraints import Violation
from neuro.hardware.profile import HardwareProfile, Quantity
from neuro.hardware.synapse_memory import SynapseFormat

ADVICE = {
    "neurons": "Make the population smaller.",
    "input_axons": "Let each neuron read fewer: fewer channels, a smaller kernel, pruned weights.",
    "output_axons": "Let each neuron reach fewer cores: fewer or smaller populations after it.",
    "synapse_bits": "Use fewer synapses, or fewer bits of weight and delay.",
    "delay_slots": "Shorten the delays.",
    "decay_groups": "Let neurons share du and dv.",
    "threshold_groups": "Let neurons share vth.",
    "synapse_formats": "Let connections share bits, sign and exponent of their weights.",
}
"""What every core has only so much of, and what to do where it is not enough."""
OPTIONAL = ("delay_slots", "decay_groups", "threshold_groups", "synapse_formats")
"""Resources that a chip need not limit."""
KERNELS = "convolution_copies_per_core"
LAYOUT = ("cores", "tile_columns", "tile_rows", "cores_per_tile")


@dataclass(frozen=True)
class Load:
    """What a block, or all blocks of a core, take of it.

    Args:
        neurons: of the blocks.
        input_axons: one for each source neuron of each connection into each block.
        output_axons: one for each block that a neuron reaches by a connection.
        synapse_bits: of the lists behind the input axons.
        synapses: unrolled.
        longest_delay: in steps.
        decays: pairs of du and dv.
        thresholds: values of vth.
        formats: of its synapses.
    """

    neurons: int = 0
    input_axons: int = 0
    output_axons: int = 0
    synapse_bits: int = 0
    synapses: int = 0
    longest_delay: int = 0
    decays: frozenset[tuple[int, int]] = frozenset()
    thresholds: frozenset[int] = frozenset()
    formats: frozenset[SynapseFormat] = frozenset()

    def __add__(self, other: "Load") -> "Load":
        return Load(
            self.neurons + other.neurons,
            self.input_axons + other.input_axons,
            self.output_axons + other.output_axons,
            self.synapse_bits + other.synapse_bits,
            self.synapses + other.synapses,
            max(self.longest_delay, other.longest_delay),
            self.decays | other.decays,
            self.thresholds | other.thresholds,
            self.formats | other.formats,
        )

    @property
    def delay_slots(self) -> int:
        """Each neuron keeps what arrives now and in the steps to come."""
        return self.neurons * (self.longest_delay + 1)

    @property
    def decay_groups(self) -> int:
        """Different pairs of du and dv."""
        return len(self.decays)

    @property
    def threshold_groups(self) -> int:
        """Different values of vth."""
        return len(self.thresholds)

    @property
    def synapse_formats(self) -> int:
        """Different formats of synapses."""
        return len(self.formats)

    def used(self) -> dict[str, int]:
        """Return how much of each resource it takes."""
        return {resource: getattr(self, resource) for resource in ADVICE}


class CoreBudgets:
    """Limits of one core of a chip, ``<resource>_per_core`` in its profile.

    Args:
        profile: the chip.
        waived: names of limits to leave out, which only unpublished ones can be.

    Raises:
        UsageError: the profile lacks a limit, or one cannot be waived.
    """

    def __init__(self, profile: HardwareProfile, waived: Collection[str] = ()) -> None:
        names = {f"{resource}_per_core": resource for resource in ADVICE}
        for name in sorted(waived):
            limit = profile.limit(name)
            if limit.kind != "unpublished" or name not in {*names, KERNELS}:
                raise UsageError(
                    f"{name} of {profile.name} cannot be waived ({limit.kind}, {limit.source}). "
                    "Only budgets of a core of kind unpublished can."
                )
        self.limits: Mapping[str, Quantity] = {
            resource: profile.limit(name)
            for name, resource in names.items()
            if name not in waived and (resource not in OPTIONAL or name in profile.limits)
        }
        self.profile = profile.name
        self.neurons = int(profile.limit("neurons_per_core").value)
        self.keeps_kernels = KERNELS in profile.limits and KERNELS not in waived

    def exceeded(self, load: Load) -> list[str]:
        """Return the resources of which a load takes too much."""
        used = load.used()
        return [name for name, limit in self.limits.items() if used[name] > limit.value]

    def hold(self, load: Load) -> bool:
        """Return whether a core holds a load."""
        return not self.exceeded(load)

    def violations(self, load: Load, where: str) -> list[Violation]:
        """Return what keeps a core from holding a load."""
        used = load.used()
        return [
            Violation(f"{name}_per_core", where, used[name], self.limits[name], self._advice(name))
            for name in self.exceeded(load)
        ]

    def utilisation(self, load: Load) -> dict[str, float]:
        """Return the share of each limit that a load takes."""
        used = load.used()
        return {name: used[name] / limit.value for name, limit in self.limits.items()}

    def _advice(self, resource: str) -> str:
        if self.limits[resource].kind != "unpublished":
            return ADVICE[resource]
        return f"{ADVICE[resource]} Or waive the limit, as it is not public."


@dataclass(frozen=True)
class ChipLayout:
    """A chip as a grid of tiles with a few cores each; chips stand in a row from west to east.

    Args:
        columns: tiles from west to east.
        rows: tiles from north to south.
        tile_cores: cores of a tile.
        cores: of a chip.
    """

    columns: int
    rows: int
    tile_cores: int
    cores: int

    @classmethod
    def of(cls, profile: HardwareProfile) -> "ChipLayout":
        """Return the layout of a chip.

        Raises:
            UsageError: its profile lacks a number, or the tiles hold fewer cores than it has.
        """
        cores, columns, rows, tile_cores = (int(profile.limit(name).value) for name in LAYOUT)
        if columns * rows * tile_cores < cores:
            raise UsageError(
                f"{profile.name}: {columns} x {rows} tiles of {tile_cores} cores hold fewer than "
                f"{cores} cores. Correct the profile."
            )
        return cls(columns, rows, tile_cores, cores)

    def chip(self, core: int) -> int:
        """Return the chip of a core, both counted from 0."""
        return core // self.cores

    def tile(self, core: int) -> tuple[int, int]:
        """Return column and row of a core's tile; columns count on from chip to chip."""
        chip, within = divmod(core, self.cores)
        row, column = divmod(within // self.tile_cores, self.columns)
        return chip * self.columns + column, row
