"""Populations packed into cores by first fit.

Populations are taken from the last to the first, so that whoever is cut knows how many blocks its
neurons reach, which is what they take of their core's output axons. What remains of a population
goes to the first core with room for all of it; failing that a new core is opened and takes as many
neurons as it holds. Packed tightly, the room in open cores is filled first, whatever fits: fewer
cores, more axons.

Where connections run back, the blocks they end in are not known in time. They are taken from the
round before, and the network is packed again until every core keeps its budget.

Nothing is drawn by lot: the same network and budgets give the same cores.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from neuro.hardware.blocks import Block, CutPopulation
from neuro.hardware.constraints import ConstraintError
from neuro.hardware.cores import CoreBudgets, Load
from neuro.hardware.integer_graph import IntegerGraph
from neuro.hardware.synapse_memory import Indices

ROUNDS = 64
"""Until what connections that run back take of output axons must be settled."""
COUNTED = ("neurons", "input_axons", "output_axons", "synapse_bits")
"""Resources of which two loads together take the sum."""


@dataclass
class PackedCore:
    """Blocks of one core, in the order of their neurons there, and what they take of it."""

    load: Load
    blocks: list[Block]


def pack(
    graph: IntegerGraph,
    populations: Mapping[str, CutPopulation],
    budgets: CoreBudgets,
    *,
    tightly: bool,
) -> list[PackedCore]:
    """Return cores that hold all neurons and keep their budgets, first population first.

    Args:
        graph: the network.
        populations: its populations, in the order in which they are cut.
        budgets: of a core.
        tightly: whether room in open cores is filled first.

    Raises:
        ConstraintError: one neuron does not fit a core, or output axons that run back never do.
    """
    packer = _Packer(graph, populations, budgets, tightly)
    for _ in range(ROUNDS):
        cores = packer.round()
        over = [core for core in cores if not budgets.hold(core.load)]
        if not over:
            place = {name: number for number, name in enumerate(populations)}
            cores.sort(key=lambda core: min((place[b.population], b.start) for b in core.blocks))
            return cores
        packer.remember()
    held = ", ".join(sorted({repr(block.population) for block in over[0].blocks}))
    raise ConstraintError(
        budgets.profile, budgets.violations(over[0].load, f"a core of population {held}")
    )


class _Packer:
    def __init__(
        self,
        graph: IntegerGraph,
        populations: Mapping[str, CutPopulation],
        budgets: CoreBudgets,
        tightly: bool,
    ) -> None:
        self._connections = graph.connections
        self._populations = populations
        self._budgets = budgets
        self._tightly = tightly
        self._cores: list[PackedCore] = []
        self._room = _Room(budgets)
        # by connection, how many blocks each source neuron reaches, or reached before
        self._fan_out = {
            number: np.zeros(populations[each.source].size, np.int64)
            for number, each in enumerate(graph.connections)
            if each.source in populations
        }
        self._thought = dict(self._fan_out)

    def round(self) -> list[PackedCore]:
        """Pack everything once, and return the cores with the output axons they came to."""
        self._cores, self._room = [], _Room(self._budgets)
        self._thought = dict(self._fan_out)
        for population in reversed(list(self._populations.values())):
            blocks = self._cut(population, self._output_axons(population))
            for each in population.inputs:
                if each.number not in self._fan_out:
                    continue
                reached = np.zeros_like(self._fan_out[each.number])
                for block in blocks:
                    reached[each.afferents.reached_by(block.start, block.stop)] += 1
                self._fan_out[each.number] = reached
        axons = {name: self._output_axons(each) for name, each in self._populations.items()}
        for core in self._cores:
            spans = [axons[each.population][[each.start, each.stop]] for each in core.blocks]
            total = sum(int(after - before) for before, after in spans)
            core.load = replace(core.load, output_axons=total)
        return self._cores

    def remember(self) -> None:
        """Expect of the next round no fewer output axons than of this one."""
        for number, before in self._thought.items():
            self._fan_out[number] = np.maximum(self._fan_out[number], before)

    def _output_axons(self, population: CutPopulation) -> Indices:
        """Return ``[places + 1]``: output axons of all neurons before a place."""
        total = np.zeros(population.size, np.int64)
        for number, fan_out in self._fan_out.items():
            if self._connections[number].source == population.name:
                total += fan_out
        return np.concatenate([[0], np.cumsum(total[population.order])])

    def _cut(self, population: CutPopulation, axons: Indices) -> list[Block]:
        """Give all neurons of a population a core."""
        cut = _Cut(population, axons, self._budgets)
        blocks: list[Block] = []
        start, length = 0, self._budgets.neurons
        while start < population.size:
            core, stop, load = self._into_open(cut, start)
            if core is None:
                core = len(self._cores)
                self._cores.append(PackedCore(Load(), []))
                self._room.open()
                stop, load = cut.longest(start, Load(), length)
                if stop == start:
                    cut.refuse(start)
                length = stop - start
            blocks.append(Block(population.name, start, stop))
            packed = self._cores[core]
            packed.blocks.append(blocks[-1])
            packed.load += load
            self._room.take(core, load)
            start = stop
        return blocks

    def _into_open(self, cut: "_Cut", start: int) -> tuple[int | None, int, Load]:
        """Return the first open core with room, and what it takes: the rest, or what fits."""
        rest = cut.size - start
        if not self._tightly and rest > self._budgets.neurons:
            return None, start, Load()
        least = 1 if self._tightly else rest
        for core in self._room.left_for(cut.load(start, start + least, 0)):
            held = self._cores[core].load
            if self._budgets.hold(held + cut.load(start, start + least, held.neurons)):
                return core, *cut.longest(start, held, rest)
        return None, start, Load()


class _Cut:
    """A population while it is cut: how long a block may be."""

    def __init__(self, population: CutPopulation, axons: Indices, budgets: CoreBudgets) -> None:
        self.size = population.size
        self._population = population
        self._axons = axons
        self._budgets = budgets

    def load(self, start: int, stop: int, before: int) -> Load:
        """Return what a block takes of a core with ``before`` neurons."""
        inputs = self._population.load(start, stop, before)
        return replace(inputs, output_axons=int(self._axons[stop] - self._axons[start]))

    def longest(self, start: int, held: Load, guess: int) -> tuple[int, Load]:
        """Return where the longest block ends that fits beside ``held``, and its load.

        A longer block takes more of everything, so the bounds around a guess are doubled, and what
        lies between them is halved.
        """
        fits, load = 0, Load()
        fails = min(self.size - start, self._budgets.neurons - held.neurons) + 1
        ceiling, step = fails, 1
        probe = guess
        while fails - fits > 1:
            probe = min(max(probe, fits + 1), fails - 1)
            tried = self.load(start, start + probe, held.neurons)
            if self._budgets.hold(held + tried):
                fits, load = probe, tried
                probe += step
            else:
                fails = probe
                probe -= step
            step *= 2
            if fits and fails < ceiling:
                probe = (fits + fails) // 2
        return start + fits, load

    def refuse(self, place: int) -> None:
        """Raise ConstraintError: a core of its own does not hold one neuron."""
        where = f"neuron {self._population.order[place]} of population {self._population.name!r}"
        raise ConstraintError(
            self._budgets.profile,
            self._budgets.violations(self.load(place, place + 1, 0), where),
        )


class _Room:
    """What open cores have left of the resources that add up."""

    def __init__(self, budgets: CoreBudgets) -> None:
        limits = budgets.limits
        self._whole = np.array(
            [limits[name].value if name in limits else np.inf for name in COUNTED]
        )
        self._left = np.empty((64, len(COUNTED)))
        self._cores = 0

    def open(self) -> None:
        """Add a core."""
        if self._cores == len(self._left):
            self._left = np.concatenate([self._left, np.empty_like(self._left)])
        self._left[self._cores] = self._whole
        self._cores += 1

    def take(self, core: int, load: Load) -> None:
        """Take a load's part of a core."""
        self._left[core] -= _counted(load)

    def left_for(self, load: Load) -> list[int]:
        """Return the cores that may have room for a load."""
        enough = (self._left[: self._cores] >= _counted(load)).all(axis=1)
        return [int(core) for core in np.flatnonzero(enough)]


def _counted(load: Load) -> Indices:
    return np.array([getattr(load, name) for name in COUNTED], np.int64)
