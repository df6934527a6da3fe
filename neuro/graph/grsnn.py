"""GRSNN: graph reasoning by spiking neurons and the delays of the edges between them."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from neuro.graph.spiking_steps import Aggregate, StepOptions, run_steps
from neuro.kernels import RelationalGraph, delayed_message
from neuro.surrogate import Surrogate

DelayGradient = Literal["released", "exact"]

_MESSAGES = {"sum": 1, "pna": 12}
"""Numbers that each neuron's messages become."""


class Spikes(NamedTuple):
    """What the queries of a batch leave in the graph.

    Attributes:
        decoded: z, the spikes of every neuron weighted by the read-out, ``[B, N, d]``.
        counts: neurons that fired, ``[B, T]``.
        trains: the spikes themselves, a bit each, ``[B, N, T, ceil(d / 32)]`` int32.
    """

    decoded: Tensor
    counts: Tensor
    trains: Tensor


class GRSNN(nn.Module):
    """Answer (head, relation, ?) by spikes that travel through the graph.

    Every node owns d neurons, every edge d delayed connections between equal neurons of its ends.
    A constant current of the query drives the neurons of the head; T steps later each node's spike
    trains, early spikes counting more, and the query are scored by a small network::

        q     = query[relation] * threshold / 2 + threshold / 2
        D     = round(delay_bound * sigmoid(delay_map(q)))             of each relation and neuron
        m     = s_x[t - 1 - D] of each edge (x -r-> y)                 (relation_weight: times w_r)
        I_y   = lam * I_y + gain * linear_scale * (W agg(m) + b)       lam = exp(-1 / tau)
        u_y   = lam * u_y + I_y + (q if y is the head), s = [u >= threshold], u = u * (1 - s)
        z     = sum over t of decay^t s[t] / (sum over t of decay^t)
        score = MLP([z; q])

    ``gain = e / tau``: a lone spike makes the potential follow an alpha function. One weight matrix
    serves all edges and all steps, so the number of parameters does not depend on how far spikes
    travel. Entities have no parameters: a network runs on graphs it has not seen.

    The plain form, above, runs in one fused kernel, :func:`neuro.kernels.delayed_message`. GRSNN+
    (``relation_weight``, ``self_connection``, ``layer_norm``, ``aggregate="pna"``) runs step by
    step in torch.

    Source: Xiao et al., "Temporal Spiking Neural Networks with Synaptic Delay for Graph Reasoning",
    ICML 2024, in the form its authors released.

    Args:
        relations: R, inverse relations included; 1 for a graph of one kind of edge.
        hidden: d.
        timesteps: T.
        tau: time constant of membrane and current, in steps.
        threshold: potential at which a neuron fires.
        delay_bound: longest delay.
        decay: of the read-out.
        sharpness: slope of the sigmoid surrogate.
        linear_scale: on what a neuron hears.
        dependent: make the delays from the query, by a linear map; else each relation has its own.
        delay_gradient: "released" is the authors' rule, whose filter enters twice; "exact" is the
            derivative of the response to a spike.
        not_delay: no delays at all: every edge takes one step.
        aggregate: "sum", or "pna": mean, largest, least and deviation at three scales.
        self_connection: a node also hears its own latest spikes.
        relation_weight: a weight for each relation, query and neuron.
        layer_norm: normalise the current.
        boundary_query: drive the head by the query and score beside it; else by the threshold, and
            score ``z`` less the query's embedding.
    """

    def __init__(
        self,
        relations: int,
        *,
        hidden: int = 32,
        timesteps: int = 10,
        tau: float = 4.0,
        threshold: float = 2.0,
        delay_bound: int = 4,
        decay: float = 0.95,
        sharpness: float = 4.0,
        linear_scale: float = 1.0,
        dependent: bool = True,
        delay_gradient: DelayGradient = "released",
        not_delay: bool = False,
        aggregate: Aggregate = "sum",
        self_connection: bool = False,
        relation_weight: bool = False,
        layer_norm: bool = False,
        boundary_query: bool = True,
    ) -> None:
        super().__init__()
        whole = {"relations": relations, "hidden": hidden, "timesteps": timesteps}
        for name, number in whole.items():
            if number < 1:
                raise ValueError(f"GRSNN: {name} must be at least 1, got {number}")
        for name, value in {"tau": tau, "threshold": threshold, "decay": decay}.items():
            if not value > 0:
                raise ValueError(f"GRSNN: {name} must be above 0, got {value:g}")
        if delay_bound < 0:
            raise ValueError(f"GRSNN: delay_bound must be at least 0, got {delay_bound}")
        if aggregate not in _MESSAGES:
            raise ValueError(f"GRSNN: unknown aggregate {aggregate!r}; has {', '.join(_MESSAGES)}")
        self.hidden, self.timesteps, self.threshold = hidden, timesteps, threshold
        self.delay_bound, self.not_delay = delay_bound, not_delay
        self.boundary_query = boundary_query
        self.steps = StepOptions(
            decay=math.exp(-1 / tau),
            gain=math.e / tau,
            linear_scale=linear_scale,
            threshold=threshold,
            sharpness=sharpness,
            max_delay=delay_bound,
            exact=delay_gradient == "exact",
            aggregate=aggregate,
            self_connection=self_connection,
        )
        self.delay_gradient = delay_gradient
        self.query = nn.Embedding(relations, hidden)
        self.delay_map = _relation_map(relations, hidden, dependent)
        self.weight_map = _relation_map(relations, hidden, dependent) if relation_weight else None
        heard = _MESSAGES[aggregate] + self_connection
        self.linear = nn.Linear(heard * hidden, hidden)
        self.norm = nn.LayerNorm(hidden) if layer_norm else None
        scored = 2 * hidden if boundary_query else hidden
        self.mlp = nn.Sequential(nn.Linear(scored, 2 * hidden), nn.ReLU(), nn.Linear(2 * hidden, 1))
        weights = decay ** torch.arange(timesteps, dtype=torch.float64)
        self.register_buffer("read_out", (weights / weights.sum()).float(), persistent=False)
        self.read_out: Tensor

    @property
    def plain(self) -> bool:
        """Whether the fused kernel has this network's equations."""
        extended = self.weight_map is not None or self.norm is not None
        return not (extended or self.steps.self_connection or self.steps.aggregate != "sum")

    def forward(self, graph: RelationalGraph, heads: Tensor, relations: Tensor) -> Spikes:
        """Let the spikes of each query run through the graph.

        Args:
            graph: N nodes; its relations are those of the network.
            heads: ``[B]``, numbers of nodes.
            relations: ``[B]``, of the queries.
        """
        drive, delay, weights = self.entering(relations)
        if not self.plain:
            return Spikes(
                *run_steps(
                    graph,
                    heads,
                    drive,
                    delay,
                    weights,
                    self.linear,
                    self.norm,
                    self.read_out.to(drive),
                    self.steps,
                )
            )
        found = delayed_message(
            graph,
            heads,
            drive,
            delay,
            self.linear.weight,
            self.linear.bias,
            self.read_out.to(drive),
            decay=self.steps.decay,
            gain=self.steps.gain,
            linear_scale=self.steps.linear_scale,
            threshold=self.threshold,
            sharpness=self.steps.sharpness,
            max_delay=self.delay_bound,
            delay_gradient=self.delay_gradient,
        )
        return Spikes(found.decoded, found.spike_counts, found.spikes)

    def run_weighted(
        self,
        graph: RelationalGraph,
        heads: Tensor,
        relations: Tensor,
        edge_weight: Tensor,
        surrogate: Surrogate | None = None,
    ) -> Spikes:
        """Do as :meth:`forward`, step by step, with a weight on each edge.

        Delays are constants here: they get no gradient.

        Args:
            graph: N nodes, E edges.
            heads: ``[B]``.
            relations: ``[B]``.
            edge_weight: ``[E]``, a factor on messages, as the graph lists edges by destination.
            surrogate: in place of the network's own.
        """
        drive, delay, weights = self.entering(relations)
        return Spikes(
            *run_steps(
                graph,
                heads,
                drive,
                delay.detach(),
                weights,
                self.linear,
                self.norm,
                self.read_out.to(drive),
                self.steps._replace(exact=False),
                edge_weight=edge_weight,
                surrogate=surrogate,
            )
        )

    def entering(self, relations: Tensor) -> tuple[Tensor, Tensor, Tensor | None]:
        """Return drive ``[B, d]``, delays and, if it has them, weights ``[R, B, d]`` of queries."""
        query = self.scaled_query(relations)
        told = query if self.boundary_query else self.query(relations)
        drive = query if self.boundary_query else torch.full_like(query, self.threshold)
        weights = None if self.weight_map is None else _of_relations(self.weight_map, told)
        return drive, self.delays(told), weights

    def scaled_query(self, relations: Tensor) -> Tensor:
        """Return q, ``[B, d]``: of mean threshold / 2 where embeddings have mean 0."""
        query: Tensor = self.query(relations) * (self.threshold / 2) + self.threshold / 2
        return query

    def delays(self, query: Tensor) -> Tensor:
        """Return the delays before rounding, ``[R, B, d]``, of queries ``[B, d]``."""
        logits = _of_relations(self.delay_map, query)
        if self.not_delay:
            return torch.zeros_like(logits)
        return self.delay_bound * torch.sigmoid(logits)

    def score(
        self, features: Spikes, heads: Tensor, relations: Tensor, candidates: Tensor
    ) -> Tensor:
        """Return the logits of candidate tails.

        Args:
            features: of :meth:`forward`.
            heads: ``[B]``; the features know them already.
            relations: ``[B]``.
            candidates: ``[B, C]``, numbers of nodes.

        Returns:
            ``[B, C]``.
        """
        batch = torch.arange(len(heads), device=features.decoded.device)
        return self._logits(features.decoded[batch[:, None], candidates], relations)

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
        spikes = self(graph, torch.cat([heads, tails]), relations.repeat(2))
        ends = torch.cat([tails, heads])
        batch = torch.arange(len(ends), device=ends.device)
        pairs = spikes.decoded[batch, ends].view(2, len(heads), 1, -1).mean(0)
        return self._logits(pairs, relations)[:, 0]

    def firing_rate(self, features: Spikes) -> float:
        """Return spikes per neuron and step."""
        _, nodes, neurons = features.decoded.shape
        return float(features.counts.double().mean()) / max(nodes * neurons, 1)

    def _logits(self, decoded: Tensor, relations: Tensor) -> Tensor:
        if self.boundary_query:
            query = self.scaled_query(relations)[:, None].expand_as(decoded)
            logits: Tensor = self.mlp(torch.cat([decoded, query], dim=-1))
        else:
            logits = self.mlp(decoded - self.query(relations)[:, None])
        return logits[..., 0]


def _relation_map(relations: int, hidden: int, dependent: bool) -> nn.Linear | nn.Embedding:
    if dependent:
        return nn.Linear(hidden, relations * hidden)
    return nn.Embedding(relations, hidden)


def _of_relations(module: nn.Linear | nn.Embedding, query: Tensor) -> Tensor:
    """Return a number for each relation, query and neuron, ``[R, B, d]``."""
    batch, hidden = query.shape
    if isinstance(module, nn.Embedding):
        return module.weight[:, None].expand(-1, batch, -1).contiguous()
    of_query: Tensor = module(query)
    return of_query.view(batch, -1, hidden).transpose(0, 1).contiguous()
