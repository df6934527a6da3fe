"""The relational product in plain torch, message by message: the definition, ``[E, W]`` memory."""

import torch
from torch import Tensor

from neuro.kernels.relational_graph import RelationalGraph
from neuro.kernels.relational_spmm.aggregates import (
    BOUNDARY,
    NOTHING,
    Aggregated,
    Aggregates,
    Gradients,
    empty,
)


def _edges(graph: RelationalGraph) -> tuple[Tensor, Tensor, Tensor]:
    """Return sources, relations and destinations, by destination."""
    nodes = torch.arange(graph.nodes, device=graph.in_starts.device)
    destinations = nodes.repeat_interleave(graph.in_starts.diff())
    return graph.in_sources.long(), graph.in_relations.long(), destinations


def _messages(
    features: Tensor, relation: Tensor, graph: RelationalGraph, asked: Aggregates
) -> Tensor:
    sources, relations, _ = _edges(graph)
    x, r = features[sources], relation[relations]
    return x + r if Aggregates.ADD in asked else x * r


def forward(
    features: Tensor,
    relation: Tensor,
    boundary: Tensor | None,
    graph: RelationalGraph,
    asked: Aggregates,
) -> Aggregated:
    """Return the aggregates of all messages."""
    messages, destinations = _messages(features, relation, graph, asked), _edges(graph)[2]
    first = torch.zeros_like(features) if boundary is None else boundary
    found = empty(features, asked)
    if Aggregates.SUM in asked:
        found = found._replace(total=first.index_add(0, destinations, messages))
    if Aggregates.SQUARES in asked:
        squares = first.square().index_add(0, destinations, messages.square())
        found = found._replace(squares=squares)
    if Aggregates.MAXIMUM in asked:
        maximum, places = _extreme(messages, destinations, features, boundary, "amax")
        found = found._replace(maximum=maximum)
        if Aggregates.PLACES in asked:
            found = found._replace(maximum_places=places)
    if Aggregates.MINIMUM in asked:
        minimum, places = _extreme(messages, destinations, features, boundary, "amin")
        found = found._replace(minimum=minimum)
        if Aggregates.PLACES in asked:
            found = found._replace(minimum_places=places)
    return found


def _extreme(
    messages: Tensor, destinations: Tensor, features: Tensor, boundary: Tensor | None, reduce: str
) -> tuple[Tensor, Tensor]:
    """Return the extreme message of each node, and the place of the first that reaches it."""
    index = destinations[:, None].expand_as(messages)
    first = torch.zeros_like(features) if boundary is None else boundary
    extreme = first.scatter_reduce(0, index, messages, reduce, include_self=boundary is not None)
    reached = _equal(messages, extreme[destinations])
    beyond = len(messages)
    places = torch.arange(beyond, device=messages.device)[:, None].expand_as(messages)
    found = torch.full(features.shape, beyond, device=messages.device)
    found = found.scatter_reduce(0, index, places.where(reached, beyond), "amin")
    if boundary is None:
        found = found.masked_fill(found == beyond, NOTHING)
    else:
        found = found.masked_fill(_equal(boundary, extreme), BOUNDARY)
    return extreme, found.int()


def _equal(one: Tensor, other: Tensor) -> Tensor:
    """Tell where two are equal, a NaN to any other."""
    return (one == other) | (one.isnan() & other.isnan())


def backward(
    gradients: Aggregated,
    features: Tensor,
    relation: Tensor,
    boundary: Tensor | None,
    graph: RelationalGraph,
    asked: Aggregates,
    of_relation: bool,
) -> Gradients:
    """Return the gradients of all operands."""
    sources, relations, destinations = _edges(graph)
    messages = _messages(features, relation, graph, asked)
    places = torch.arange(len(messages), device=messages.device)[:, None]
    edges = Aggregated(*(each[destinations] if each.dim() == 2 else each for each in gradients))
    of_messages = _credit(messages, edges, places, asked)
    multiplies = Aggregates.ADD not in asked
    to_source = of_messages * relation[relations] if multiplies else of_messages
    to_relation = of_messages * features[sources] if multiplies else of_messages
    of_relations = features.new_zeros(0)
    if of_relation:
        of_relations = torch.zeros_like(relation).index_add(0, relations, to_relation)
    of_boundary = features.new_zeros(0)
    if boundary is not None:
        of_boundary = _credit(boundary, gradients, features.new_tensor(BOUNDARY), asked)
    return Gradients(
        torch.zeros_like(features).index_add(0, sources, to_source),
        of_relations,
        of_boundary,
    )


def _credit(messages: Tensor, received: Aggregated, places: Tensor, asked: Aggregates) -> Tensor:
    """Return the gradient of messages from what their aggregates received."""
    found = torch.zeros_like(messages)
    if Aggregates.SUM in asked:
        found = found + received.total
    if Aggregates.SQUARES in asked:
        found = found + 2 * messages * received.squares
    if Aggregates.MAXIMUM in asked:
        found = found + received.maximum.where(received.maximum_places == places, 0)
    if Aggregates.MINIMUM in asked:
        found = found + received.minimum.where(received.minimum_places == places, 0)
    return found
