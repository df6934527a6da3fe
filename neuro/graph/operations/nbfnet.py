"""Operations of NBFNet, from its shapes."""

from dataclasses import replace

from torch import nn

from neuro.energy import Counts, Facts, Ledger
from neuro.graph.nbfnet import BellmanFordLayer, NBFNet
from neuro.graph.operations.parts import (
    Part,
    embedded_query,
    linear_facts,
    linear_map,
    map_of_query,
    norm,
    score,
)
from neuro.graph.pna import STATISTICS
from neuro.kernels import RelationalGraph


def count_nbfnet(model: NBFNet, graph: RelationalGraph, *, queries: int, candidates: int) -> Ledger:
    """Count the operations of queries, in total; all of them do the same.

    ``query`` reads the embedding. Then for each of L layers, with E edges, N nodes of d numbers, R
    relations:

    - ``relations``: where they depend on the query, R d d products.
    - ``messages``: ``h w`` and its sum, d multiply-accumulates an edge (``add``: two additions);
      for "max" a product and a comparison; for "mean" also a product a node. PNA also sums squares
      (again as many multiply-accumulates) and compares twice. Read are h of each node, the query
      that the head's sum begins with, and w at every edge.
    - ``statistics``: of PNA, from sums and squares.
    - ``linear``: 2 d d a node, or 13 d d with PNA and then two products for each output, for the
      scales are applied to what comes out of W.
    - ``norm``, ``rest``: layer norm, rectifier, short cut.

    And ``score``, the small network, for each candidate. Zeros are counted like other numbers.

    Args:
        model: the network.
        graph: on which the queries run.
        queries: how many.
        candidates: nodes scored for each query.
    """
    parts = {"query": embedded_query(model.query, queries)}
    for number, layer in enumerate(model.layers, 1):
        assert isinstance(layer, BellmanFordLayer)
        for name, part in _of_layer(layer, graph, model.short_cut, queries).items():
            parts[f"layer {number}, {name}"] = part
    parts["score"] = score(model.mlp, queries, candidates)
    return Ledger(
        {name: part.counts for name, part in parts.items()},
        facts={name: part.facts for name, part in parts.items()},
        samples=queries,
    )


def _of_layer(
    layer: BellmanFordLayer, graph: RelationalGraph, short_cut: bool, queries: int
) -> dict[str, Part]:
    found = {"relations": map_of_query(layer.relation, queries)}
    found["messages"] = _messages(layer, graph, queries)
    if layer.aggregate == "pna":
        found["statistics"] = _statistics(layer, graph, queries)
    found["linear"] = _linear(layer, graph, queries)
    if isinstance(layer.norm, nn.LayerNorm):
        found["norm"] = norm(layer.norm, queries * graph.nodes, graph.nodes)
    found["rest"] = _rest(layer, graph, short_cut, queries)
    return found


def _messages(layer: BellmanFordLayer, graph: RelationalGraph, queries: int) -> Part:
    hidden = layer.linear.out_features
    nodes, edges = graph.nodes * hidden, graph.edges * hidden
    messages, numbers = queries * edges, queries * nodes
    pna, multiply = layer.aggregate == "pna", layer.message == "mul"
    if layer.aggregate == "max":
        made = Counts(multiplications=messages) if multiply else Counts(additions=messages)
        counts = made + Counts(comparisons=messages)
    else:
        counts = Counts(macs=messages) if multiply else Counts(additions=2 * messages)
    if layer.aggregate == "mean":
        counts += Counts(multiplications=numbers)
    if pna:
        # the squares begin with the head's boundary, squared
        counts += Counts(macs=messages, comparisons=2 * messages, multiplications=queries * hidden)
    sums = STATISTICS if pna else 1
    counts += Counts(
        weight_reads=messages,
        activation_reads=numbers + queries * hidden,
        activation_writes=sums * numbers,
    )
    facts = Facts(
        kind="messages",
        weights=_relations(layer.relation),
        inputs=nodes + hidden,
        outputs=sums * nodes,
        dense=round(counts.macs / queries),
    )
    return Part(counts, facts)


def _relations(relation: nn.Linear | nn.Embedding) -> int:
    """Return how many numbers the relations of a query are."""
    return relation.out_features if isinstance(relation, nn.Linear) else relation.weight.numel()


def _statistics(layer: BellmanFordLayer, graph: RelationalGraph, queries: int) -> Part:
    """Return means and deviations, from sums and squares; the others are ready."""
    numbers = graph.nodes * layer.linear.out_features
    each = queries * numbers
    counts = Counts(
        multiplications=2 * each,
        macs=each,
        comparisons=each,
        functions=each,
        activation_reads=2 * each,
        activation_writes=2 * each,
    )
    return Part(counts, Facts(kind="statistics", inputs=2 * numbers, outputs=2 * numbers))


def _linear(layer: BellmanFordLayer, graph: RelationalGraph, queries: int) -> Part:
    module, rows = layer.linear, queries * graph.nodes
    hidden = module.out_features
    counts = linear_map(rows, module.in_features, hidden)
    facts = linear_facts(module.weight, module.bias, graph.nodes)
    if layer.aggregate == "pna":
        inputs = (1 + STATISTICS) * hidden
        counts = replace(counts, activation_reads=rows * inputs) + Counts(macs=2 * rows * hidden)
        facts = replace(facts, inputs=graph.nodes * inputs, dense=round(counts.macs / queries))
    return Part(counts, facts)


def _rest(layer: BellmanFordLayer, graph: RelationalGraph, short_cut: bool, queries: int) -> Part:
    numbers = graph.nodes * layer.linear.out_features
    each, operands = queries * numbers, 2 if short_cut else 1
    counts = Counts(
        comparisons=each,
        additions=each if short_cut else 0,
        activation_reads=operands * each,
        activation_writes=each,
    )
    return Part(counts, Facts(kind="activation", inputs=operands * numbers, outputs=numbers))
