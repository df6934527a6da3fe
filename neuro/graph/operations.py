"""Operations of reasoners, counted: GRSNN's from the spikes of its queries, NBFNet's from its
shapes.

What is a constant of graph and weights is computed before any query and counts nothing: degrees and
their logarithms, a gain or scale before a bias (it goes into weights), delays that do not depend on
the query. Rounding, selecting and moving numbers are no arithmetic. See
:class:`neuro.energy.Counts` for the kinds of operations.
"""

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neuro.energy import Counts, Ledger, layer_norm, linear
from neuro.graph.grsnn import GRSNN, Spikes
from neuro.graph.nbfnet import BellmanFordLayer, NBFNet
from neuro.kernels import RelationalGraph
from neuro.kernels.delayed_message.operands import pack

Words = NDArray[Any]

_ONES = np.array([number.bit_count() for number in range(1 << 16)], np.uint8)
"""Bits that are set in each 16 of them."""


class Heard(NamedTuple):
    """What reached neurons, over all queries and steps.

    Attributes:
        arrived: messages, each from one neuron to one.
        neurons: neurons that some message reached, at each step.
        nodes: nodes that some message reached, at each step.
    """

    arrived: int
    neurons: int
    nodes: int


@torch.no_grad()
def count_heard(model: GRSNN, graph: RelationalGraph, relations: Tensor, features: Spikes) -> Heard:
    """Count the messages that arrived, and whom they reached.

    A spike of step s on an edge with delay D arrives at step s + 1 + D, if that is T - 1 or before.

    Args:
        model: that ran the queries.
        graph: on which they ran.
        relations: ``[B]``, of the queries.
        features: what they left.
    """
    delays = model.entering(relations)[1].round()
    of_delay = [pack(delays == late) for late in range(model.delay_bound + 1)]
    masks = torch.stack(of_delay).cpu().numpy().view(np.uint32)  # [J, R, B, W]
    trains = features.trains.cpu().numpy().view(np.uint32)
    arriving = graph.in_starts.diff()
    destinations = torch.arange(graph.nodes, device=arriving.device).repeat_interleave(arriving)
    edges = [each.cpu().numpy() for each in (graph.in_sources, graph.in_relations, destinations)]
    arrived = neurons = nodes = 0
    for query, of_query in enumerate(trains):
        sending = of_query.any((1, 2))[edges[0]]
        sources, kinds, ends = (each[sending] for each in edges)
        if not len(sources):
            continue
        firsts = np.flatnonzero(np.diff(ends, prepend=-1))
        for step in range(1, model.timesteps):
            sent = _sent(of_query, masks[:, :, query], sources, kinds, step)
            reached = np.bitwise_or.reduceat(sent, firsts)
            arrived += _ones(sent)
            neurons += _ones(reached)
            nodes += int(reached.any(1).sum())
    return Heard(arrived, neurons, nodes)


def count_grsnn(
    model: GRSNN, features: Spikes, heard: Heard, *, candidates: int, skip_silence: bool = False
) -> Ledger:
    """Count the operations of queries from the spikes they left, in total.

    Layers, with T steps, N nodes of d neurons, R relations:

    - ``query``: q from the embedding, d products.
    - ``delays``, ``relation weights``: the maps of what depends on the query, R d d products each;
      delays also take a sigmoid and a product.
    - ``messages``: an addition for each spike over each edge out of its node whose delay lets it
      arrive at step T - 1 or before. PNA also adds squares and compares twice.
    - ``own spikes``: with ``self_connection``, d additions for each spike but those of the last
      step.
    - ``statistics``: of PNA, from sums and squares.
    - ``linear``: W on what a neuron heard. It is applied after the sum over edges, so its inputs
      are whole numbers (or real ones) and its products are multiply-accumulates.
    - ``norm``: the layer norm.
    - ``neurons``: a step of a neuron is ``lam I + x`` and ``lam u + I``, two multiply-accumulates,
      and a comparison; the head's neurons add their drive. Step 0 compares only.
    - ``read-out``: an addition of ``k[t]`` for each spike.
    - ``score``: the small network, for each candidate.

    Args:
        model: that ran the queries.
        features: what they left.
        heard: of :func:`count_heard`.
        candidates: nodes scored for each query.
        skip_silence: count W only where something was heard: for each number that is not 0, or
            with PNA for each node and step with a message; so ``linear`` (and ``statistics``) go
            with the spikes. Else W serves every node at every step.
    """
    queries, nodes, hidden = features.decoded.shape
    steps = model.timesteps - 1
    rows = queries * nodes * steps
    fired = int(features.counts.sum())
    pna = model.steps.aggregate == "pna"
    dense = Heard(heard.arrived, rows * hidden, rows)
    served = heard if skip_silence else dense
    layers = {"query": Counts(macs=queries * hidden if model.boundary_query else 0)}
    of_delays = 0 if model.not_delay else _mapped(model.delay_map, queries)
    layers["delays"] = Counts(
        macs=of_delays * hidden, multiplications=of_delays, functions=of_delays
    )
    weighted = model.weight_map is not None
    if model.weight_map is not None:
        layers["relation weights"] = Counts(macs=_mapped(model.weight_map, queries) * hidden)
    layers["messages"] = Counts(
        synaptic_additions=(2 if pna else 1) * heard.arrived,
        multiplications=heard.arrived if pna and weighted else 0,
        comparisons=2 * heard.arrived if pna else 0,
    )
    driven = {"messages", "read-out"} | ({"linear"} if skip_silence else set())
    if model.steps.self_connection:
        layers["own spikes"] = Counts(
            synaptic_additions=hidden * int(features.counts[:, :steps].sum())
        )
        driven.add("own spikes")
    if pna:
        each = served.nodes * hidden
        # mean and mean square, then two scales of four; less the mean's square
        layers["statistics"] = Counts(
            multiplications=10 * each, macs=each, comparisons=each, functions=each
        )
        driven |= {"statistics"} if skip_silence else set()
        layers["linear"] = linear(served.nodes, 12 * hidden, hidden)
    else:
        layers["linear"] = Counts(macs=served.neurons * hidden)
    if model.norm is not None:
        layers["norm"] = layer_norm(rows, hidden)
    layers["neurons"] = Counts(
        spikes=fired,
        neuron_updates=queries * nodes * hidden * model.timesteps,
        additions=queries * hidden * steps,
        macs=2 * rows * hidden,
        comparisons=queries * nodes * hidden * model.timesteps,
    )
    layers["read-out"] = Counts(synaptic_additions=fired)
    layers["score"] = _scores(model.mlp, queries * candidates)
    if not model.boundary_query:
        layers["score"] += Counts(additions=queries * candidates * hidden)
    return Ledger(layers, frozenset(driven), samples=queries, timesteps=model.timesteps)


def count_nbfnet(model: NBFNet, graph: RelationalGraph, *, queries: int, candidates: int) -> Ledger:
    """Count the operations of queries, in total; all of them do the same.

    For each of L layers, with E edges, N nodes of d numbers, R relations:

    - ``relations``: where they depend on the query, R d d products.
    - ``messages``: ``h w`` and its sum, d multiply-accumulates an edge (``add``: two additions);
      for "max" a product and a comparison; for "mean" also a product a node. PNA also sums squares
      (again as many multiply-accumulates) and compares twice.
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
    layers: dict[str, Counts] = {}
    for number, layer in enumerate(model.layers, 1):
        assert isinstance(layer, BellmanFordLayer)
        for name, counts in _layer_counts(layer, graph, model.short_cut, queries).items():
            layers[f"layer {number}, {name}"] = counts
    layers["score"] = _scores(model.mlp, queries * candidates)
    return Ledger(layers, samples=queries)


def count_pairs(model: GRSNN | NBFNet, both_ways: Ledger) -> Ledger:
    """Count pairs whose order says nothing, in total: two runs each, one score.

    The features of a pair are the sum of those that its two runs read out; half of it, their mean,
    is in the weights of the small network.

    Args:
        model: that ran.
        both_ways: of the runs from heads and from tails, no candidate of which was scored.
    """
    pairs, remainder = divmod(both_ways.samples, 2)
    if remainder:
        raise ValueError(f"count_pairs: {both_ways.samples} runs are no pairs")
    hidden = model.query.embedding_dim
    read = hidden
    if isinstance(model, GRSNN) and model.concat_hidden:
        read *= model.timesteps
    score = _scores(model.mlp, pairs) + Counts(additions=pairs * read)
    if isinstance(model, GRSNN) and not model.boundary_query:
        score += Counts(additions=pairs * hidden)
    return replace(both_ways, layers={**both_ways.layers, "score": score}, samples=pairs)


def _layer_counts(
    layer: BellmanFordLayer, graph: RelationalGraph, short_cut: bool, queries: int
) -> dict[str, Counts]:
    hidden = layer.linear.out_features
    messages = queries * graph.edges * hidden
    rows = queries * graph.nodes
    numbers = rows * hidden
    multiply = layer.message == "mul"
    summed = Counts(macs=messages) if multiply else Counts(additions=2 * messages)
    found = {"relations": Counts(macs=_mapped(layer.relation, queries) * hidden)}
    if layer.aggregate == "max":
        made = Counts(multiplications=messages) if multiply else Counts(additions=messages)
        found["messages"] = made + Counts(comparisons=messages)
    elif layer.aggregate == "pna":
        # the squares begin with the head's boundary, squared
        found["messages"] = summed + Counts(
            macs=messages, comparisons=2 * messages, multiplications=queries * hidden
        )
        found["statistics"] = Counts(
            multiplications=2 * numbers, macs=numbers, comparisons=numbers, functions=numbers
        )
    else:
        mean = layer.aggregate == "mean"
        found["messages"] = summed + Counts(multiplications=numbers if mean else 0)
    found["linear"] = linear(rows, layer.linear.in_features, hidden)
    if layer.aggregate == "pna":
        found["linear"] += Counts(macs=2 * numbers)
    if isinstance(layer.norm, nn.LayerNorm):
        found["norm"] = layer_norm(rows, hidden)
    found["rest"] = Counts(comparisons=numbers, additions=numbers if short_cut else 0)
    return found


def _mapped(module: nn.Linear | nn.Embedding, queries: int) -> int:
    """Return how many numbers a map makes for the queries; an embedding makes none."""
    return queries * module.out_features if isinstance(module, nn.Linear) else 0


def _scores(mlp: nn.Sequential, candidates: int) -> Counts:
    """Count a small network of linear maps with rectifiers between."""
    found = Counts()
    for module in mlp:
        if isinstance(module, nn.Linear):
            found += linear(candidates, module.in_features, module.out_features)
            width = module.out_features
        else:
            found += Counts(comparisons=candidates * width)
    return found


def _sent(trains: Words, masks: Words, sources: Words, relations: Words, step: int) -> Words:
    """Return what each edge delivers at a step, ``[E, W]``, of spikes ``[N, T, W]``."""
    sent = np.zeros((len(sources), trains.shape[-1]), np.uint32)
    for late, mask in enumerate(masks[:step]):
        sent |= trains[sources, step - 1 - late] & mask[relations]
    return sent


def _ones(words: Words) -> int:
    return int(_ONES[words.view(np.uint16)].sum(dtype=np.int64))
