"""One query to a network: whether it can be asked, its scores, and where its spikes arrived."""

import torch
from torch import Tensor

from neuro.errors import UsageError
from neuro.graph.findings import Arrival, Query
from neuro.graph.grsnn import GRSNN, Spikes
from neuro.graph.message_graph import MessageGraph
from neuro.graph.nbfnet import NBFNet
from neuro.kernels.delayed_message.operands import unpack


def as_batch(model: GRSNN | NBFNet, head: int, relation: int) -> tuple[Tensor, Tensor]:
    """Return head and relation of a batch of one, ``[1]`` each, where the network is."""
    device = device_of(model)
    return torch.tensor([head], device=device), torch.tensor([relation], device=device)


def device_of(model: GRSNN | NBFNet) -> torch.device:
    """Return where the network is."""
    return model.query.weight.device


def checked_query(model: GRSNN | NBFNet, graph: MessageGraph, head: int, relation: int) -> Query:
    """Return the query, if the network can be asked it.

    Raises:
        UsageError: an undirected graph, a network of other relations, or numbers out of range.
    """
    if graph.relations == graph.fact_relations:
        raise UsageError(
            "Explanations are for knowledge graphs; in an undirected graph a score is that of a "
            "pair, from runs of both ends."
        )
    known = model.query.num_embeddings
    if known != graph.relations:
        raise UsageError(
            f"The network knows {known} relations, inverses included, the graph has "
            f"{graph.relations}; it must have those the network was trained with."
        )
    check_nodes(graph, head=[head])
    if not 0 <= relation < graph.relations:
        raise UsageError(
            f"relation is {relation}; there are 0 to {graph.relations - 1}, inverses from "
            f"{graph.fact_relations} on."
        )
    inverse = relation >= graph.fact_relations
    return Query(head, relation - graph.fact_relations * inverse, inverse)


def check_nodes(graph: MessageGraph, **nodes: list[int]) -> None:
    """Raise a UsageError for numbers that are no nodes of the graph, by the arguments' names."""
    most = graph.whole.nodes - 1
    for name, numbers in nodes.items():
        wrong = [number for number in numbers if not 0 <= number <= most]
        if wrong:
            raise UsageError(f"{name} is {wrong[0]}; the graph has nodes 0 to {most}.")


def check_at_least_one(**numbers: int) -> None:
    """Raise a UsageError for numbers below 1, by the arguments' names."""
    for name, number in numbers.items():
        if number < 1:
            raise UsageError(f"{name} must be at least 1, got {number}.")


def score_nodes(
    model: GRSNN | NBFNet, features: Spikes | Tensor, head: int, relation: int, nodes: Tensor
) -> Tensor:
    """Return the logits, ``[C]``, of nodes ``[C]``, from the features of a batch of one."""
    heads, relations = as_batch(model, head, relation)
    candidates = nodes.to(heads.device)[None]
    # each network scores what it returned itself
    return model.score(features, heads, relations, candidates)[0]  # type: ignore[arg-type]


def arrival_at(model: GRSNN, spikes: Spikes, node: int) -> Arrival:
    """Return when spikes came to a node."""
    fired = unpack(spikes.trains[0, node], model.hidden).t().tolist()
    return Arrival(tuple(train.index(True) if any(train) else None for train in fired))
