"""NBFNet: representations of node pairs as sums over paths, by a learnt Bellman-Ford iteration."""

from typing import Literal

import torch
from torch import Tensor, nn

from neuro.graph.pna import SCALES, STATISTICS, Degrees, by_degree, combine_statistics
from neuro.kernels import RelationalGraph, relational_pna, relational_spmm

Message = Literal["mul", "add"]
Aggregate = Literal["pna", "sum", "mean", "max"]


class NBFNet(nn.Module):
    """Neural Bellman-Ford network: all pairs (head, v) of a query (head, relation, ?) at once.

    ::

        h_0[v] = boundary[v] = q[relation] where v is the head, else 0
        m_e    = h_{l-1}[x] * w_l[r]  on each edge e = (x -r-> v)       (DistMult)
        a[v]   = aggregate of boundary[v] and of m_e over the edges into v
        h_l[v] = ReLU(LayerNorm(W_l [h_{l-1}[v]; a[v]] + b_l)) + h_{l-1}[v]
        score(v) = MLP([h_L[v]; q[relation]])

    With ``aggregate="pna"``, ``a[v]`` is mean, largest, least and standard deviation of the
    messages, each times 1, s and 1/s (12 d numbers), where s is the logarithm of their number,
    boundary included, over its mean over all nodes. The number of messages is the degree of a node
    plus 1; where each edge has its inverse in the graph, in- and out-degree are one. The variance
    is at least 1e-6, and s in 1/s at least 0.01. Entities have no parameters: a network runs on
    graphs it has not seen.

    Source: Zhu et al., "Neural Bellman-Ford Networks: A General Graph Neural Network Framework
    for Link Prediction", NeurIPS 2021, equations 3 to 7 and section 3.3.

    Args:
        relations: R, inverse relations included; 1 for a graph of one kind of edge.
        hidden: d.
        layers: L, the longest path.
        message: "mul", or "add" for TransE's sum.
        aggregate: "pna", "sum", "mean" or "max".
        dependent: make the relations' representations ``w_l`` from the query, by a linear map in
            each layer; else each layer has its own, whatever the query.
        layer_norm: normalise each layer's output.
        short_cut: add each layer's input to its output.
    """

    def __init__(
        self,
        relations: int,
        *,
        hidden: int = 32,
        layers: int = 6,
        message: Message = "mul",
        aggregate: Aggregate = "pna",
        dependent: bool = True,
        layer_norm: bool = True,
        short_cut: bool = True,
    ) -> None:
        super().__init__()
        for name, number in {"relations": relations, "hidden": hidden, "layers": layers}.items():
            if number < 1:
                raise ValueError(f"NBFNet: {name} must be at least 1, got {number}")
        self.aggregate, self.short_cut = aggregate, short_cut
        self.query = nn.Embedding(relations, hidden)
        self.layers = nn.ModuleList(
            BellmanFordLayer(
                relations,
                hidden,
                message=message,
                aggregate=aggregate,
                dependent=dependent,
                layer_norm=layer_norm,
            )
            for _ in range(layers)
        )
        self.mlp = nn.Sequential(
            nn.Linear(2 * hidden, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, 1)
        )

    def forward(self, graph: RelationalGraph, heads: Tensor, relations: Tensor) -> Tensor:
        """Return ``h_L`` of every node for each query.

        Args:
            graph: N nodes.
            heads: ``[B]``, numbers of nodes.
            relations: ``[B]``, of the queries.

        Returns:
            ``[N, B, d]``.
        """
        if self.aggregate != "pna":
            return self._iterate(graph, None, heads, relations)
        graph, number = by_degree(graph)
        degrees = Degrees.of(graph, self.query.weight.dtype)
        return self._iterate(graph, degrees, number[heads], relations).index_select(0, number)

    def _iterate(
        self, graph: RelationalGraph, degrees: Degrees | None, heads: Tensor, relations: Tensor
    ) -> Tensor:
        query = self.query(relations)
        boundary = query.new_zeros(graph.nodes, *query.shape)
        boundary = boundary.index_put((heads, torch.arange(len(heads), device=heads.device)), query)
        features: Tensor = boundary
        for layer in self.layers:
            found = layer(graph, degrees, features, boundary, query)
            features = found + features if self.short_cut else found
        return features

    def score(
        self, features: Tensor, heads: Tensor, relations: Tensor, candidates: Tensor
    ) -> Tensor:
        """Return the logits of candidate tails.

        Args:
            features: of :meth:`forward`, ``[N, B, d]``.
            heads: ``[B]``; the features know them already.
            relations: ``[B]``.
            candidates: ``[B, C]``, numbers of nodes.

        Returns:
            ``[B, C]``.
        """
        batch = torch.arange(len(heads), device=features.device)
        return self._logits(features[candidates, batch[:, None]], relations)

    def score_symmetric(
        self, graph: RelationalGraph, heads: Tensor, relations: Tensor, tails: Tensor
    ) -> Tensor:
        """Return the logits ``[B]`` of pairs whose order says nothing.

        Runs from heads and from tails, and scores the average of the two features of a pair.

        Args:
            graph: N nodes.
            heads: ``[B]``.
            relations: ``[B]``.
            tails: ``[B]``.
        """
        features = self(graph, torch.cat([heads, tails]), relations.repeat(2))
        ends = torch.cat([tails, heads])
        pairs = features[ends, torch.arange(len(ends), device=features.device)]
        return self._logits(pairs.view(2, len(heads), 1, -1).mean(0), relations)[:, 0]

    def _logits(self, pairs: Tensor, relations: Tensor) -> Tensor:
        query = self.query(relations)[:, None].expand_as(pairs)
        logits: Tensor = self.mlp(torch.cat([pairs, query], dim=-1))
        return logits[..., 0]


class BellmanFordLayer(nn.Module):
    """One iteration of :class:`NBFNet`, without its short cut."""

    def __init__(
        self,
        relations: int,
        hidden: int,
        *,
        message: Message,
        aggregate: Aggregate,
        dependent: bool,
        layer_norm: bool,
    ) -> None:
        super().__init__()
        self.message, self.aggregate = message, aggregate
        self.relation: nn.Linear | nn.Embedding
        if dependent:
            self.relation = nn.Linear(hidden, relations * hidden)
        else:
            self.relation = nn.Embedding(relations, hidden)
        received = STATISTICS * SCALES if aggregate == "pna" else 1
        self.linear = nn.Linear((1 + received) * hidden, hidden)
        self.norm = nn.LayerNorm(hidden) if layer_norm else nn.Identity()
        self.activation: nn.Module = nn.ReLU()

    def forward(
        self,
        graph: RelationalGraph,
        degrees: Degrees | None,
        features: Tensor,
        boundary: Tensor,
        query: Tensor,
    ) -> Tensor:
        """Return the features ``[N, B, d]`` one edge further.

        Args:
            graph: N nodes.
            degrees: of the graph, for "pna" alone.
            features: ``[N, B, d]``.
            boundary: ``[N, B, d]``.
            query: ``[B, d]``.
        """
        relation = self._relation(query)
        if self.aggregate == "pna":
            assert degrees is not None
            statistics = relational_pna(features, relation, graph, boundary, message=self.message)
            found = combine_statistics(
                features, statistics, degrees, self.linear.weight, self.linear.bias
            )
        else:
            update = relational_spmm(
                features,
                relation,
                graph,
                boundary,
                message=self.message,
                aggregate=self.aggregate,
            )
            found = self.linear(torch.cat([features, update], dim=-1))
        after: Tensor = self.activation(self.norm(found))
        return after

    def _relation(self, query: Tensor) -> Tensor:
        """Return the representations of relations, ``[R, B, d]`` or ``[R, d]``."""
        if isinstance(self.relation, nn.Embedding):
            return self.relation.weight
        batch, hidden = query.shape
        of_query: Tensor = self.relation(query)
        return of_query.view(batch, -1, hidden).transpose(0, 1)
