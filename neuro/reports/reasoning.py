"""What a graph reasoner was tested on, counted: queries of facts, or pairs that may be linked."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuro.energy import Ledger
from neuro.energy.reporting.record import Subject
from neuro.errors import UsageError
from neuro.graph import GRSNN, NBFNet
from neuro.graph.operations import count_grsnn, count_heard, count_nbfnet, count_pairs
from neuro.graph.queries import both_sides
from neuro.reports.opening import recorded
from neuro.training import RunDirectory
from neuro.training.reasoning import ReasoningSession

QUERIES = 100
"""Test queries, or pairs, that are counted unless asked otherwise."""
BATCH = 8
"""Runs through the graph at once."""


class Asked(NamedTuple):
    """Operations of a batch of queries: as the model runs, and with silence skipped.

    The two are the same for a model without spikes.
    """

    released: Ledger
    skipping: Ledger


def draw_queries(session: ReasoningSession, queries: int) -> tuple[Tensor, Tensor]:
    """Return heads and relations of test queries, drawn with a fixed seed."""
    asked = both_sides(session.task.test, relations=session.test_graph.fact_relations)
    chosen = _draw(len(asked.sources), queries)
    return (
        asked.sources[chosen].to(session.device),
        asked.relations[chosen].to(session.device),
    )


def draw_pairs(session: ReasoningSession, pairs: int) -> Tensor:
    """Return links that were held out to test, ``[n, 3]``, drawn with a fixed seed."""
    chosen: Tensor = session.task.test[_draw(len(session.task.test), pairs)]
    return chosen.to(session.device)


def _draw(held: int, number: int) -> Tensor:
    return torch.randperm(held, generator=torch.Generator().manual_seed(0))[:number]


def count_queries(
    session: ReasoningSession, heads: Tensor, relations: Tensor, *, per_step: bool = False
) -> Iterator[Asked]:
    """Yield the operations of queries, batch by batch, with all nodes as candidates."""
    nodes = session.test_graph.whole.nodes
    for asked in zip(torch.split(heads, BATCH), torch.split(relations, BATCH), strict=True):
        yield _count_runs(session, *asked, candidates=nodes, per_step=per_step)


def count_links(
    session: ReasoningSession, pairs: Tensor, *, per_step: bool = False
) -> Iterator[Ledger]:
    """Yield the operations of pairs ``[n, 3]`` as the model scores them, batch by batch."""
    assert isinstance(session.model, GRSNN | NBFNet)
    for part in torch.split(pairs, BATCH // 2):
        heads, relations, tails = part.unbind(1)
        runs = torch.cat([heads, tails]), relations.repeat(2)
        asked = _count_runs(session, *runs, candidates=0, per_step=per_step)
        yield count_pairs(session.model, asked.released)


@torch.no_grad()
def _count_runs(
    session: ReasoningSession,
    heads: Tensor,
    relations: Tensor,
    *,
    candidates: int,
    per_step: bool,
) -> Asked:
    """Count a run through the graph for each head, and the scores of so many nodes each."""
    model, graph = session.model.eval(), session.test_graph.whole
    if isinstance(model, GRSNN):
        features = model(graph, heads, relations, keep_spikes=True)
        heard = count_heard(model, graph, relations, features)
        released, skipping = (
            count_grsnn(
                model,
                graph,
                features,
                heard,
                candidates=candidates,
                skip_silence=skip,
                per_step=per_step,
            )
            for skip in (False, True)
        )
        return Asked(released, skipping)
    assert isinstance(model, NBFNet)
    found = count_nbfnet(model, graph, queries=len(heads), candidates=candidates)
    if per_step:  # it takes one
        found = replace(found, steps=(found,))
    return Asked(found, found)


def count_reasoner(
    run: RunDirectory,
    session: ReasoningSession,
    what: dict[str, Any],
    queries: int | None,
    *,
    per_step: bool = False,
) -> Subject:
    """Count test queries from both sides of all test triples; of an undirected graph, test links.

    Args:
        run: whose summary says how well it answers.
        session: at the weights to be counted.
        what: names of the run.
        queries: how many, or how many links; None is 100, or all if there are fewer.
        per_step: count each time step, too.

    Raises:
        UsageError: there are not so many.
    """
    links, measure = session.task.undirected, session.validation_measure
    unit = "pairs" if links else "queries"
    held = len(session.task.test) * (1 if links else 2)
    if queries is not None and queries > held:
        raise UsageError(f"--samples {queries}: the test set asks {held} {unit}.")
    number = queries or QUERIES
    if links:
        ledgers = list(count_links(session, draw_pairs(session, number), per_step=per_step))
    else:
        asked = count_queries(session, *draw_queries(session, number), per_step=per_step)
        ledgers = [each.released for each in asked]
    return Subject(
        # links are told from as many wrong ones
        what={**what, "unit": unit, "accuracy_samples": 2 * len(session.task.test)},
        ledger=reduce(add, ledgers),
        batches=ledgers,
        parameters=session.parameters,
        accuracy=recorded(run, what["checkpoint"], measure),
        measure=measure,
    )


def ask_queries(session: ReasoningSession, queries: int) -> Callable[[], object]:
    """Return a function that asks the queries that are counted, or scores the pairs."""
    if session.task.undirected:
        return _scoring(session, draw_pairs(session, queries))
    drawn = draw_queries(session, queries)
    batches = list(zip(*(torch.split(each, BATCH) for each in drawn), strict=True))
    ask = _asking(session)

    def run() -> None:
        for heads, relations in batches:
            ask(heads, relations)

    return run


def ask_once(session: ReasoningSession) -> Callable[[], object]:
    """Return a function that asks one test query for the scores of all nodes, or scores a link."""
    if session.task.undirected:
        return _scoring(session, draw_pairs(session, 1))
    ask, one = _asking(session), draw_queries(session, 1)
    return lambda: ask(*one)


def _scoring(session: ReasoningSession, pairs: Tensor) -> Callable[[], object]:
    model, graph = session.reasoner, session.test_graph.whole
    batches = [part.unbind(1) for part in torch.split(pairs, BATCH // 2)]

    @torch.no_grad()
    def run() -> None:
        for heads, relations, tails in batches:
            model.score_symmetric(graph, heads, relations, tails)

    return run


def _asking(session: ReasoningSession) -> Callable[[Tensor, Tensor], Tensor]:
    model, graph = session.reasoner, session.test_graph.whole
    candidates = torch.arange(graph.nodes, device=session.device)[None]

    @torch.no_grad()
    def ask(heads: Tensor, relations: Tensor) -> Tensor:
        each = candidates.expand(len(heads), -1)
        return model.score(model(graph, heads, relations), heads, relations, each)

    return ask
