"""Layers that reasoners share, counted: linear maps, maps of the query, norms, scores."""

from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor, nn

from neuro.energy import Counts, Facts, layer_norm, linear


class Part(NamedTuple):
    """What a layer did in total, and what it is for one query."""

    counts: Counts
    facts: Facts


def nonzero(weight: Tensor) -> int:
    """Return how many weights are not 0."""
    return int(torch.count_nonzero(weight))


def linear_map(rows: int, inputs: int, outputs: int) -> Counts:
    """Return the counts of ``W x + b`` of real numbers for ``rows`` vectors."""
    begun = rows * outputs
    return replace(
        linear(rows, inputs, outputs),
        weight_reads=rows * inputs * outputs + begun,
        activation_reads=rows * inputs,
        activation_writes=begun,
    )


def linear_facts(weight: Tensor, bias: Tensor | None, vectors: int) -> Facts:
    """Return the facts of a linear map of so many vectors at a step."""
    outputs, inputs = weight.shape
    return Facts(
        kind="linear",
        parameters=weight.numel() + (0 if bias is None else bias.numel()),
        weights=nonzero(weight),
        inputs=vectors * inputs,
        outputs=vectors * outputs,
        channels=outputs,
        bias=bias is not None,
        dense=vectors * inputs * outputs,
    )


def embedded_query(embedding: nn.Embedding, queries: int) -> Part:
    """Return the part that looks a query's relation up."""
    read = queries * embedding.embedding_dim
    facts = Facts(
        kind="embedding",
        parameters=embedding.weight.numel(),
        weights=nonzero(embedding.weight),
        outputs=embedding.embedding_dim,
        constant=True,
    )
    return Part(Counts(weight_reads=read, activation_writes=read), facts)


def map_of_query(module: nn.Linear | nn.Embedding, queries: int) -> Part:
    """Return the part that makes numbers for each relation; an embedding has them already."""
    if isinstance(module, nn.Linear):
        facts = linear_facts(module.weight, module.bias, 1)
        counts = linear_map(queries, module.in_features, module.out_features)
        return Part(counts, replace(facts, constant=True))
    size = module.weight.numel()
    weights = nonzero(module.weight)
    facts = Facts(kind="embedding", parameters=size, weights=weights, outputs=size, constant=True)
    return Part(Counts(), facts)


def norm(module: nn.LayerNorm, rows: int, vectors: int) -> Part:
    """Return the part of a layer norm of ``rows`` vectors, ``vectors`` at a step."""
    (features,) = module.normalized_shape
    each = rows * features
    counts = replace(
        layer_norm(rows, features),
        weight_reads=2 * each,
        activation_reads=each,
        activation_writes=each,
    )
    facts = Facts(
        kind="normalisation",
        parameters=sum(parameter.numel() for parameter in module.parameters()),
        inputs=vectors * features,
        outputs=vectors * features,
        bias=True,
    )
    return Part(counts, facts)


def added(numbers: int) -> Counts:
    """Return the counts of sums, or differences, of two numbers each."""
    return Counts(additions=numbers, activation_reads=2 * numbers, activation_writes=numbers)


def score(mlp: nn.Sequential, queries: int, candidates: int) -> Part:
    """Return the part of a small network of linear maps with rectifiers between.

    Args:
        mlp: the network.
        queries: how many.
        candidates: of each.
    """
    maps = [module for module in mlp if isinstance(module, nn.Linear)]
    rows = queries * candidates
    counts = Counts()
    for module in maps:
        counts += linear_map(rows, module.in_features, module.out_features)
    hidden = rows * sum(module.out_features for module in maps[:-1])
    counts += Counts(comparisons=hidden, activation_reads=hidden, activation_writes=hidden)
    facts = Facts(
        kind="linear",
        parameters=sum(parameter.numel() for parameter in mlp.parameters()),
        weights=sum(nonzero(module.weight) for module in maps),
        inputs=candidates * maps[0].in_features,
        outputs=candidates * maps[-1].out_features,
        channels=maps[-1].out_features,
        bias=True,
        dense=candidates * sum(module.weight.numel() for module in maps),
        constant=True,
    )
    return Part(counts, facts)
