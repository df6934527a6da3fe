"""Test queries of a graph reasoner, counted."""

from collections.abc import Callable, Iterator
from functools import reduce
from operator import add
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuro.energy import Ledger
from neuro.energy.reporting.record import Subject
from neuro.errors import UsageError
from neuro.graph import GRSNN, NBFNet
from neuro.graph.operations import count_grsnn, count_heard, count_nbfnet
from neuro.graph.queries import both_sides
from neuro.reports.opening import recorded
from neuro.training import RunDirectory
from neuro.training.reasoning import ReasoningSession

QUERIES = 100
"""Test queries that are counted unless asked otherwise."""
BATCH = 8
"""Queries propagated at once."""


class Asked(NamedTuple):
    """Operations of a batch of queries: as the model runs, and with silence skipped.

    The two are the same for a model without spikes.
    """

    released: Ledger
    skipping: Ledger


def draw_queries(session: ReasoningSession, queries: int) -> tuple[Tensor, Tensor]:
    """Return heads and relations of test queries, drawn with a fixed seed."""
    asked = both_sides(session.task.test, relations=session.test_graph.fact_relations)
    order = torch.randperm(len(asked.sources), generator=torch.Generator().manual_seed(0))
    chosen = order[:queries]
    return (
        asked.sources[chosen].to(session.device),
        asked.relations[chosen].to(session.device),
    )


@torch.no_grad()
def count_queries(session: ReasoningSession, heads: Tensor, relations: Tensor) -> Iterator[Asked]:
    """Yield the operations of queries, batch by batch, with all nodes as candidates."""
    model, graph = session.model.eval(), session.test_graph.whole
    for asked in zip(torch.split(heads, BATCH), torch.split(relations, BATCH), strict=True):
        if isinstance(model, GRSNN):
            features = model(graph, *asked)
            heard = count_heard(model, graph, asked[1], features)
            released, skipping = (
                count_grsnn(model, features, heard, candidates=graph.nodes, skip_silence=skip)
                for skip in (False, True)
            )
            yield Asked(released, skipping)
        else:
            assert isinstance(model, NBFNet)
            found = count_nbfnet(model, graph, queries=len(asked[0]), candidates=graph.nodes)
            yield Asked(found, found)


def count_reasoner(
    run: RunDirectory,
    session: ReasoningSession,
    what: dict[str, Any],
    queries: int | None,
) -> Subject:
    """Count test queries from both sides of all test triples.

    Args:
        run: whose summary says how well it answers.
        session: at the weights to be counted.
        what: names of the run.
        queries: how many; None is 100, or all if there are fewer.

    Raises:
        UsageError: the graph is undirected, or there are not so many queries.
    """
    if session.task.undirected:
        raise UsageError(
            f"Run {run.path} is on an undirected graph, whose questions are pairs of two runs "
            "each; operations are counted for queries to a graph of facts."
        )
    held = 2 * len(session.task.test)
    if queries is not None and queries > held:
        raise UsageError(f"--samples {queries}: the test set asks {held} queries.")
    heads, relations = draw_queries(session, queries or QUERIES)
    ledgers = [asked.released for asked in count_queries(session, heads, relations)]
    return Subject(
        what={**what, "unit": "queries", "accuracy_samples": held},
        ledger=reduce(add, ledgers),
        batches=ledgers,
        parameters=session.parameters,
        accuracy=recorded(run, what["checkpoint"], "mrr"),
        measure="mrr",
    )


def ask_queries(session: ReasoningSession, queries: int) -> Callable[[], object]:
    """Return a function that asks the queries that are counted for the scores of all nodes."""
    drawn = draw_queries(session, queries)
    batches = list(zip(*(torch.split(each, BATCH) for each in drawn), strict=True))
    ask = _asking(session)

    def run() -> None:
        for heads, relations in batches:
            ask(heads, relations)

    return run


def ask_once(session: ReasoningSession) -> Callable[[], object]:
    """Return a function that asks one test query for the scores of all nodes."""
    ask, one = _asking(session), draw_queries(session, 1)
    return lambda: ask(*one)


def _asking(session: ReasoningSession) -> Callable[[Tensor, Tensor], Tensor]:
    model, graph = session.reasoner, session.test_graph.whole
    candidates = torch.arange(graph.nodes, device=session.device)[None]

    @torch.no_grad()
    def ask(heads: Tensor, relations: Tensor) -> Tensor:
        each = candidates.expand(len(heads), -1)
        return model.score(model(graph, heads, relations), heads, relations, each)

    return ask
