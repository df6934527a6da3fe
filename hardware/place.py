"""Placement: which core of which chip holds which neurons, and what it has left.

``place`` checks a network of integers against a chip, packs its populations into cores
(``packing.py``), numbers the cores over the tiles of as many chips as it takes, and measures the
way of every spike (``traffic.py``).
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from neuro.errors import UsageError
from neuro.hardware.axons import cut_by_position, places
from neuro.hardware.blocks import Block, CutPopulation
from neuro.hardware.constraints import ConstraintError, Violation, require
from neuro.hardware.cores import KERNELS, LAYOUT, ChipLayout, CoreBudgets, Load
from neuro.hardware.integer_graph import Convolution, IntegerGraph
from neuro.hardware.packing import PackedCore, pack
from neuro.hardware.profile import HardwareProfile
from neuro.hardware.synapse_memory import Indices
from neuro.hardware.traffic import Route, routes

Packing = Literal["whole", "tight"]


@dataclass(frozen=True)
class Core:
    """One core in use.

    Args:
        number: over all chips, from 0.
        chip: it is on.
        tile: column, counted on from chip to chip, and row.
        blocks: it holds, in the order of its neurons.
        load: what they take.
        utilisation: share of each limit that they take.
    """

    number: int
    chip: int
    tile: tuple[int, int]
    blocks: tuple[Block, ...]
    load: Load
    utilisation: Mapping[str, float]

    @property
    def fullest(self) -> tuple[str, float]:
        """The resource of which least is left, and the share in use."""
        return max(self.utilisation.items(), key=lambda item: item[1])

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "core": self.number,
            "chip": self.chip,
            "tile": list(self.tile),
            "blocks": [[block.population, block.start, block.stop] for block in self.blocks],
            **self.load.used(),
            "synapses": self.load.synapses,
            "utilisation": {name: round(share, 6) for name, share in self.utilisation.items()},
        }


@dataclass(frozen=True)
class Placement:
    """A network on cores.

    Args:
        profile: the chip.
        packing: ``whole``, blocks as long as a core holds; ``tight``, room in open cores filled
            first, as the network needed more cores than there are.
        cores: in use.
        layout: of the chip.
        limits: of a core, by resource.
        by_position: populations cut position by position (``[H, W, C]``), not in C order.
        routes: of connections between populations.
        unpublished: limits this placement rests on that are not public.
        waived: limits left out.
    """

    profile: str
    packing: Packing
    cores: tuple[Core, ...]
    layout: ChipLayout
    limits: Mapping[str, float]
    by_position: tuple[str, ...]
    routes: tuple[Route, ...]
    unpublished: tuple[str, ...]
    waived: tuple[str, ...]

    @property
    def chips(self) -> int:
        """Chips in use."""
        return 1 + max((core.chip for core in self.cores), default=-1)

    @property
    def tiles(self) -> int:
        """Tiles in use."""
        return len({core.tile for core in self.cores})

    @property
    def mean_hops(self) -> float:
        """Tile borders that an output axon crosses, over all routes."""
        axons = sum(route.axons for route in self.routes)
        return sum(route.axons * route.mean_hops for route in self.routes) / max(axons, 1)

    @property
    def most_hops(self) -> int:
        """Tile borders that any output axon crosses at most."""
        return max((route.most_hops for route in self.routes), default=0)

    def utilisation(self) -> dict[str, tuple[float, float]]:
        """Return, for each limit, the mean share that cores in use take of it, and the largest."""
        shares = {name: [core.utilisation[name] for core in self.cores] for name in self.limits}
        return {
            name: (sum(each) / max(len(each), 1), max(each, default=0.0))
            for name, each in shares.items()
        }

    def to_dict(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "profile": self.profile,
            "packing": self.packing,
            "chips": self.chips,
            "cores_used": len(self.cores),
            "tiles_used": self.tiles,
            "limits": dict(self.limits),
            "unpublished_limits": list(self.unpublished),
            "waived_limits": list(self.waived),
            "utilisation": {
                name: {"mean": round(mean, 6), "most": round(most, 6)}
                for name, (mean, most) in self.utilisation().items()
            },
            "mean_hops": round(self.mean_hops, 6),
            "most_hops": self.most_hops,
            "by_position": list(self.by_position),
            "routes": [route.to_dict() for route in self.routes],
            "cores": [core.to_dict() for core in self.cores],
        }

    def summary(self) -> list[tuple[str, str]]:
        """Return what people are told first: names and values."""
        lines = [
            ("chip", self.profile),
            ("chips", f"{self.chips}"),
            ("cores", f"{len(self.cores):,} of {self.chips * self.layout.cores:,}"),
            ("neurons", f"{sum(core.load.neurons for core in self.cores):,}"),
            ("synapses", f"{sum(core.load.synapses for core in self.cores):,}"),
            ("hops", f"{self.mean_hops:.2f} on average, {self.most_hops} at most"),
        ]
        lines += [
            (name.replace("_", " "), f"{mean:.1%} of a core on average, {most:.1%} at most")
            for name, (mean, most) in self.utilisation().items()
        ]
        if self.packing == "tight":
            lines.append(("packing", "tight: populations are spread over room left in cores"))
        if self.waived:
            lines.append(("waived", ", ".join(self.waived)))
        if self.unpublished:
            lines.append(("not published", ", ".join(self.unpublished)))
        return lines

    def table(self) -> tuple[tuple[str, ...], list[tuple[str, ...]]]:
        """Return header and rows, one for each run of cores that hold alike."""
        runs: list[list[Core]] = []
        for core in self.cores:
            if runs and _alike(runs[-1][-1], core):
                runs[-1].append(core)
            else:
                runs.append([core])
        resources = (name.replace("_", " ") for name in self.limits)
        header = ("cores", "chip", "holds", *resources, "fullest")
        return header, [self._row(run[0], run[-1]) for run in runs]

    def _row(self, first: Core, last: Core) -> tuple[str, ...]:
        used = first.load.used()
        return (
            f"{first.number}" if first is last else f"{first.number}-{last.number}",
            f"{first.chip}",
            " + ".join(dict.fromkeys(block.population for block in first.blocks)),
            *(f"{used[name]:,} ({first.utilisation[name]:.0%})" for name in self.limits),
            first.fullest[0].replace("_", " "),
        )


def place(
    graph: IntegerGraph,
    profile: HardwareProfile,
    *,
    chips: int | None = 1,
    spikes: Mapping[str, NDArray[Any]] | None = None,
    waived: Collection[str] = (),
) -> Placement:
    """Place a network on chips.

    Args:
        graph: the network.
        profile: the chip.
        chips: that may be used; None for as many as it takes.
        spikes: by population, how often each neuron spiked, for the messages of the routes.
        waived: limits of a core of kind unpublished to leave out.

    Raises:
        ConstraintError: the chip cannot hold a register or weight, a single neuron, or all of it.
        UsageError: the profile lacks a limit, or spikes do not fit the network.
    """
    if chips is not None and chips < 1:
        raise UsageError(f"chips = {chips}; a network needs at least one.")
    require(graph, profile)
    budgets, layout = CoreBudgets(profile, waived), ChipLayout.of(profile)
    populations = {
        name: CutPopulation(graph, name, budgets.keeps_kernels) for name in graph.populations
    }
    packing: Packing = "whole"
    packed = pack(graph, populations, budgets, tightly=False)
    if chips is not None and len(packed) > chips * layout.cores:
        packing = "tight"
        packed = pack(graph, populations, budgets, tightly=True)
        _require_cores(profile, layout, chips, len(packed))
    blocks = [(number, block) for number, core in enumerate(packed) for block in core.blocks]
    return Placement(
        profile=profile.name,
        packing=packing,
        cores=tuple(_core(number, core, layout, budgets) for number, core in enumerate(packed)),
        layout=layout,
        limits={name: limit.value for name, limit in budgets.limits.items()},
        by_position=tuple(name for name in graph.populations if cut_by_position(graph, name)),
        routes=routes(graph, blocks, layout, _core_of(populations, blocks), spikes),
        unpublished=_unpublished(graph, profile, budgets),
        waived=tuple(sorted(waived)),
    )


def core_of_neurons(graph: IntegerGraph, placement: Placement) -> dict[str, Indices]:
    """Return, by population, the core of each neuron, in the population's shape."""
    blocks = [(core.number, block) for core in placement.cores for block in core.blocks]
    orders = {name: places(graph, name) for name in graph.populations}
    return {
        name: cores.reshape(graph.shape(name)) for name, cores in _spread(orders, blocks).items()
    }


def _core_of(
    populations: Mapping[str, CutPopulation], blocks: Sequence[tuple[int, Block]]
) -> dict[str, Indices]:
    return _spread({name: each.order for name, each in populations.items()}, blocks)


def _spread(
    orders: Mapping[str, Indices], blocks: Sequence[tuple[int, Block]]
) -> dict[str, Indices]:
    """Return, by population, the core of each neuron in C order."""
    cores = {name: np.empty(len(order), np.int64) for name, order in orders.items()}
    for number, block in blocks:
        neurons = orders[block.population][block.start : block.stop]
        cores[block.population][neurons] = number
    return cores


def _core(number: int, core: PackedCore, layout: ChipLayout, budgets: CoreBudgets) -> Core:
    return Core(
        number=number,
        chip=layout.chip(number),
        tile=layout.tile(number),
        blocks=tuple(core.blocks),
        load=core.load,
        utilisation=budgets.utilisation(core.load),
    )


def _require_cores(profile: HardwareProfile, layout: ChipLayout, chips: int, needed: int) -> None:
    if needed <= chips * layout.cores:
        return
    enough = -(-needed // layout.cores)
    advice = f"Allow {enough:,} chips (--chips {enough}), or make the network smaller."
    where = f"the network, on {chips} chip{'s' if chips > 1 else ''},"
    limit = profile.limit("cores")
    raise ConstraintError(profile.name, [Violation("cores", where, needed, limit, advice)])


def _unpublished(
    graph: IntegerGraph, profile: HardwareProfile, budgets: CoreBudgets
) -> tuple[str, ...]:
    """Return the limits a placement rests on that are not public."""
    used = [*LAYOUT, *(f"{name}_per_core" for name in budgets.limits)]
    if budgets.keeps_kernels and any(
        isinstance(each.synapses, Convolution) for each in graph.connections
    ):
        used.append(KERNELS)
    return tuple(name for name in used if profile.limit(name).kind == "unpublished")


def _alike(first: Core, second: Core) -> bool:
    def held(core: Core) -> tuple[Any, ...]:
        names = tuple(block.population for block in core.blocks)
        return core.chip, names, core.load.used()

    return held(first) == held(second)
