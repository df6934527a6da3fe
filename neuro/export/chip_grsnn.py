"""A GRSNN on the chip, asked like any reasoner, and beside the network it was made of."""

from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor

from neuro.errors import UsageError
from neuro.export.reasoning import NODES, Report, check_expressible, reasoning_graph
from neuro.graph.answers import KnownAnswers
from neuro.graph.evaluate import rank_answers
from neuro.graph.grsnn import GRSNN, Spikes
from neuro.graph.ranking import Ranks, ranking_metrics
from neuro.hardware.fixed_point import Extremes
from neuro.kernels import RelationalGraph
from neuro.kernels.delayed_message.operands import pack, unpack
from neuro.surrogate import Surrogate

FULLNESS = (1.0, 0.71, 0.5, 0.35, 0.25, 0.18, 0.125, 0.088, 1 / 16, 0.044, 1 / 32)
PATIENCE = 2
"""After so many scales in a row that do worse, smaller ones are not tried."""


class ChipGRSNN(GRSNN):
    """A GRSNN whose spikes are those of the chip; what reads and scores them is the network's own.

    It shares the network's parameters and goes where a reasoner goes: ``rank_answers``,
    ``best_tails``. Each call exports the relations that are asked for, so ask many heads at once.

    Args:
        model: the network, on the CPU.
        fullness: see :func:`reasoning_graph`.
        merge: likewise.
        accumulator_bits: see :func:`neuro.hardware.fixed_point.run`.
        threads: likewise.

    Attributes:
        network: the model.
        extremes: what the registers of the nodes had to hold in all calls.
        reports: of the last export of each relation.
    """

    network: GRSNN

    def __init__(
        self,
        model: GRSNN,
        *,
        fullness: float = 1.0,
        merge: bool = True,
        accumulator_bits: int | None = None,
        threads: int | None = None,
    ) -> None:
        check_expressible(model)
        if model.linear.weight.device.type != "cpu":
            raise UsageError("the chip is simulated on the CPU: move the network there first.")
        vars(self).update(vars(model))
        vars(self)["network"] = model  # not a part of itself
        self.chip_options = {"fullness": fullness, "merge": merge}
        self.run_options = {"accumulator_bits": accumulator_bits, "threads": threads}
        self.extremes = Extremes(0, 0, 0, 0, 0, 0)
        self.reports: dict[int, Report] = {}

    @torch.no_grad()
    def forward(
        self,
        graph: RelationalGraph,
        heads: Tensor,
        relations: Tensor,
        *,
        keep_spikes: bool = False,
    ) -> Spikes:
        """Let the spikes of each query run through the chip; see :meth:`GRSNN.forward`."""
        fired = torch.zeros(self.timesteps, len(heads), graph.nodes, self.hidden, dtype=torch.bool)
        for relation in np.unique(relations.numpy()).tolist():
            asked = (relations == relation).nonzero()[:, 0]
            exported = reasoning_graph(self, graph, relation, **cast(Any, self.chip_options))
            recording = exported.run(heads[asked].tolist(), **self.run_options)
            fired[:, asked] = torch.from_numpy(recording.spikes[NODES] != 0)
            self.reports[relation] = exported.report
            self.extremes = self.extremes.merged(recording.extremes[NODES])
        decoded = torch.zeros(fired.shape[1:], dtype=self.read_out.dtype)
        for factor, spikes in zip(self.read_out, fired, strict=True):
            decoded = decoded + factor * spikes
        counts = fired.sum((2, 3)).t().contiguous()
        if not (keep_spikes or self.concat_hidden):
            return Spikes(decoded, counts)
        return Spikes(decoded, counts, pack(fired).permute(1, 2, 0, 3).contiguous())

    def run_weighted(
        self,
        graph: RelationalGraph,
        heads: Tensor,
        relations: Tensor,
        edge_weight: Tensor,
        surrogate: Surrogate | None = None,
    ) -> Spikes:
        """Refuse: integers have no gradients.

        Raises:
            UsageError: always.
        """
        raise UsageError(
            "A chip's spikes have no gradients, so no paths are found by them; explain the network "
            "that was exported."
        )


@torch.no_grad()
def best_fullness(
    model: GRSNN, graph: RelationalGraph, heads: Tensor, relations: Tensor, *, merge: bool = True
) -> float:
    """Return the fullness at which most spikes are where the network has them.

    Large weights are rounded less, small ones overflow registers later.

    Args:
        model: on the CPU.
        graph: along which messages run, inverses included.
        heads: ``[B]``, of queries to try; such as were trained on.
        relations: ``[B]``; each costs an export for every fullness.
        merge: see :func:`reasoning_graph`.

    Raises:
        UsageError: see :func:`reasoning_graph`.
    """
    wanted = unpack(model(graph, heads, relations, keep_spikes=True).trains, model.hidden)
    least, best, worse = wanted.numel() + 1, FULLNESS[0], 0
    for fullness in FULLNESS:
        chip = ChipGRSNN(model, fullness=fullness, merge=merge)
        found = unpack(chip(graph, heads, relations, keep_spikes=True).trains, model.hidden)
        different = int((found != wanted).sum())
        if different < least:
            least, best, worse = different, fullness, 0
        else:
            worse += 1
        if worse == PATIENCE:
            break
    return best


@dataclass(frozen=True, eq=False, kw_only=True)
class Comparison:
    """The chip beside the network, on the same queries.

    Args:
        queries: that were run on both.
        spikes: neurons times steps at which the network's fired.
        chip_spikes: likewise the chip's.
        agreement: share of neurons and steps at which both fired or neither did.
        overlap: spikes that both have, over those that either has; 1 where there are none.
        arrivals: of the neurons that fired in either, the share whose first spikes are at one step.
        ranks: of each triple's tail, then of each one's head, by the network.
        chip_ranks: likewise by the chip.
    """

    queries: int
    spikes: int
    chip_spikes: int
    agreement: float
    overlap: float
    arrivals: float
    ranks: Ranks
    chip_ranks: Ranks

    @property
    def same_rank(self) -> float:
        """Share of the answers that have one pessimistic rank in both."""
        return float((self.ranks.pessimistic == self.chip_ranks.pessimistic).double().mean())

    @property
    def mrr(self) -> tuple[float, float]:
        """Mean reciprocal rank, pessimistic, of the network and of the chip."""
        return ranking_metrics(self.ranks).mrr, ranking_metrics(self.chip_ranks).mrr


def compare(
    chip: "ChipGRSNN",
    graph: RelationalGraph,
    triples: Tensor,
    known: KnownAnswers,
    *,
    relations: int,
    batch_size: int = 256,
) -> Comparison:
    """Ask the network and the chip for tail and head of each triple.

    Args:
        chip: a network on the chip.
        graph: along which messages run, inverses included.
        triples: int64 ``[n, 3]``, n > 0; each relation among them costs two exports a batch.
        known: answers that are no candidates.
        relations: R, without inverses.
        batch_size: queries that are run at once.
    """
    network, other = _Remembering(chip.network), _Remembering(chip)
    ranks, chip_ranks = (
        rank_answers(each, graph, triples, known, relations=relations, batch_size=batch_size).ranks
        for each in (network, other)
    )
    tally = _Tally()
    for one, two in zip(network.trains, other.trains, strict=True):
        tally.add(unpack(one, chip.hidden), unpack(two, chip.hidden))
    return Comparison(
        queries=sum(len(each) for each in network.trains),
        spikes=tally.spikes,
        chip_spikes=tally.chip_spikes,
        agreement=1 - tally.different / max(tally.slots, 1),
        overlap=_share(tally.both, tally.both + tally.different),
        arrivals=_share(tally.same_arrivals, tally.arrivals),
        ranks=ranks,
        chip_ranks=chip_ranks,
    )


class _Remembering:
    """A network that keeps the spikes of every call."""

    def __init__(self, network: GRSNN) -> None:
        self.network = network
        self.trains: list[Tensor] = []

    def __call__(self, graph: RelationalGraph, heads: Tensor, relations: Tensor) -> Spikes:
        spikes: Spikes = self.network(graph, heads, relations, keep_spikes=True)
        self.trains.append(spikes.trains)
        return spikes

    def score(self, spikes: Spikes, heads: Tensor, relations: Tensor, candidates: Tensor) -> Tensor:
        return self.network.score(spikes, heads, relations, candidates)

    def score_symmetric(
        self, graph: RelationalGraph, heads: Tensor, relations: Tensor, tails: Tensor
    ) -> Tensor:
        return self.network.score_symmetric(graph, heads, relations, tails)


@dataclass
class _Tally:
    slots: int = 0
    spikes: int = 0
    chip_spikes: int = 0
    both: int = 0
    different: int = 0
    arrivals: int = 0
    same_arrivals: int = 0

    def add(self, one: Tensor, two: Tensor) -> None:
        """Count the spikes of both, ``[B, N, T, d]``."""
        self.slots += one.numel()
        self.spikes += int(one.sum())
        self.chip_spikes += int(two.sum())
        self.both += int((one & two).sum())
        self.different += int((one != two).sum())
        fired, chip_fired = one.any(2), two.any(2)
        first, chip_first = (each.int().argmax(2) for each in (one, two))
        self.arrivals += int((fired | chip_fired).sum())
        self.same_arrivals += int((fired & chip_fired & (first == chip_first)).sum())


def _share(part: int, whole: int) -> float:
    return part / whole if whole else 1.0
