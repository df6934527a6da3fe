"""The best answers of a network to one query, and when spikes arrived at them."""

from collections.abc import Sequence

import torch
from torch import Tensor

from neuro.graph.findings import Answer, Answers, Arrival
from neuro.graph.grsnn import GRSNN, Spikes
from neuro.graph.message_graph import MessageGraph
from neuro.graph.nbfnet import NBFNet
from neuro.graph.one_query import (
    arrival_at,
    as_batch,
    check_at_least_one,
    check_nodes,
    checked_query,
    device_of,
    score_nodes,
)


@torch.no_grad()
def best_tails(
    model: GRSNN | NBFNet,
    graph: MessageGraph,
    head: int,
    relation: int,
    *,
    count: int = 10,
    exclude: Tensor | Sequence[int] = (),
) -> Answers:
    """Answer (head, relation, ?) with the tails of the highest scores.

    Nodes with equal spikes have equal scores, bit for bit, so that ties are ties.

    Args:
        model: its relations are those of the graph, inverses included.
        graph: of a knowledge graph.
        head: a node.
        relation: 0 .. 2R - 1; from R on the inverse ones, which ask for heads.
        count: how many answers.
        exclude: nodes that are no candidates, such as answers already known.

    Raises:
        UsageError: numbers out of range, a network of other relations, or an undirected graph.
    """
    query = checked_query(model, graph, head, relation)
    check_at_least_one(count=count)
    excluded = torch.as_tensor(exclude, dtype=torch.int64, device=device_of(model))
    check_nodes(graph, exclude=excluded.tolist())
    candidate = torch.ones(graph.whole.nodes, dtype=torch.bool, device=excluded.device)
    candidate[excluded] = False
    asked = as_batch(model, head, relation)
    if isinstance(model, GRSNN):
        features = model(graph.whole, *asked, keep_spikes=True)
        fired = (features.trains[0] != 0).flatten(1).any(1)
        scores = _score_spikes(model, features, fired, head, relation)
        steps, silent = model.timesteps, int((candidate & ~fired).sum())
    else:
        features = model(graph.whole, *asked)
        scores = score_nodes(model, features, head, relation, torch.arange(len(features)))
        steps, silent = 0, 0
    nodes = candidate.nonzero()[:, 0]
    ascending = scores[nodes].sort().values
    best = nodes[scores[nodes].argsort(descending=True, stable=True)][:count]
    above = len(nodes) - torch.searchsorted(ascending, scores[best], right=True)
    equal = len(nodes) - above - torch.searchsorted(ascending, scores[best])
    found = zip(best.tolist(), scores[best].tolist(), above.tolist(), equal.tolist(), strict=True)
    return Answers(
        query,
        tuple(
            Answer(node, score, 1 + higher, alike - 1, _arrival(model, features, node))
            for node, score, higher, alike in found
        ),
        len(nodes),
        steps,
        silent,
    )


def _score_spikes(model: GRSNN, spikes: Spikes, fired: Tensor, head: int, relation: int) -> Tensor:
    """Return the logits of all nodes, ``[N]``, each distinct set of spike trains scored once."""
    scores = spikes.decoded.new_empty(len(fired))
    for some in (fired.nonzero()[:, 0], (~fired).nonzero()[:, 0]):
        if len(some):
            trains = spikes.trains[0, some].flatten(1)
            distinct, kind = torch.unique(trains, dim=0, return_inverse=True)
            example = some.new_empty(len(distinct)).scatter_(0, kind, some)
            scores[some] = score_nodes(model, spikes, head, relation, example)[kind]
    return scores


def _arrival(model: GRSNN | NBFNet, features: Spikes, node: int) -> Arrival | None:
    return arrival_at(model, features, node) if isinstance(model, GRSNN) else None
