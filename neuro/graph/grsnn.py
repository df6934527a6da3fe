"""GRSNN: graph reasoning by spiking neurons and the delays of the edges between them."""

import math
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from neuro.graph.spiking_steps import Aggregate, StepOptions, run_steps
from neuro.kernels import RelationalGraph, delayed_message
from neuro.kernels.delayed_message.operands import unpack
from neuro.surrogate import Surrogate

DelayGradient = Literal["released", "exact"]

_MESSAGES = {"sum": 1, "pna": 12}
"""Numbers that each neuron's messages become."""

FREE_POTENTIAL = 0.2
"""A mean below it is not regularised."""


class Spikes(NamedTuple):
    """What the queries of a batch leave in the graph.

    Attributes:
        decoded: z, the spikes of every neuron weighted by the read-out, ``[B, N, d]``.
        counts: neurons that fired, ``[B, T]``.
        packed: the spikes themselves, a bit each, see :attr:`trains`; None where not kept.
        spikes: of each step, ``[N, B, d]``, with their gradient; only where they are read out.
        potential: the mean of ``|u|`` after the last reset, over all neurons; only where it is
            regularised.
    """

    decoded: Tensor
    counts: Tensor
    packed: Tensor | None = None
    spikes: tuple[Tensor, ...] | None = None
    potential: Tensor | None = None

    @property
    def trains(self) -> Tensor:
        """The spikes themselves, a bit each, ``[B, N, T, ceil(d / 32)]`` int32.

        Raises:
            ValueError: they were not kept.
        """
        if self.packed is None:
            raise ValueError("spike trains were not kept: run the network with keep_spikes=True")
        return self.packed


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
    step in torch; so do ``concat_hidden`` and ``m_regularization``, but only where gradients are
    wanted. :meth:`beyond_kernel` tells which and why.

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
        concat_hidden: score all T d spikes of a node, ``MLP([s[0]; ...; s[T - 1]; q])``, not z.
        m_regularization: what the mean of ``|u|`` after the last reset costs where it is above 0.2
            (:meth:`penalty`).
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
        concat_hidden: bool = False,
        m_regularization: float = 0.0,
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
        if not m_regularization >= 0:
            raise ValueError(
                f"GRSNN: m_regularization must be at least 0, got {m_regularization:g}"
            )
        if concat_hidden and not boundary_query:
            raise ValueError(
                "GRSNN: concat_hidden needs boundary_query: without it the query's embedding is "
                "taken off z, and spikes of T steps are not z"
            )
        if aggregate not in _MESSAGES:
            raise ValueError(f"GRSNN: unknown aggregate {aggregate!r}; has {', '.join(_MESSAGES)}")
        self.hidden, self.timesteps, self.threshold = hidden, timesteps, threshold
        self.delay_bound, self.not_delay = delay_bound, not_delay
        self.boundary_query, self.concat_hidden = boundary_query, concat_hidden
        self.m_regularization = m_regularization
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
        read = timesteps * hidden if concat_hidden else hidden
        scored = read + hidden if boundary_query else read
        self.mlp = nn.Sequential(
            nn.Linear(scored, read + hidden), nn.ReLU(), nn.Linear(read + hidden, 1)
        )
        weights = decay ** torch.arange(timesteps, dtype=torch.float64)
        self.register_buffer("read_out", (weights / weights.sum()).float(), persistent=False)
        self.read_out: Tensor

    def beyond_kernel(self, *, gradients: bool) -> tuple[str, ...]:
        """Return why the network runs step by step in torch; nothing where the fused kernel does.

        Args:
            gradients: whether they are wanted; else fewer options need the steps.
        """
        plus = {
            "relation_weight": self.weight_map is not None,
            "self_connection": self.steps.self_connection,
            "layer_norm": self.norm is not None,
            f'aggregate="{self.steps.aggregate}"': self.steps.aggregate != "sum",
        }
        reasons = [f"{name} is not in the kernel's equations" for name, on in plus.items() if on]
        if gradients and self.concat_hidden:
            reasons.append("concat_hidden wants the gradient of each spike, the kernel has z's")
        if gradients and self.m_regularization:
            reasons.append(
                "m_regularization wants the last potential and its gradient, the kernel keeps none"
            )
        return tuple(reasons)

    def forward(
        self,
        graph: RelationalGraph,
        heads: Tensor,
        relations: Tensor,
        *,
        keep_spikes: bool = False,
    ) -> Spikes:
        """Let the spikes of each query run through the graph.

        Args:
            graph: N nodes; its relations are those of the network.
            heads: ``[B]``, numbers of nodes.
            relations: ``[B]``, of the queries.
            keep_spikes: whether to return the spike trains even where scoring does without.
        """
        keep_spikes = keep_spikes or self.concat_hidden
        drive, delay, weights = self.entering(relations)
        if self.beyond_kernel(gradients=torch.is_grad_enabled()):
            return self._step_by_step(graph, heads, drive, delay, weights, self.steps)
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
            keep_spikes=keep_spikes,
        )
        return Spikes(found.decoded, found.spike_counts, found.spikes if keep_spikes else None)

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
        options = self.steps._replace(exact=False)
        return self._step_by_step(
            graph, heads, drive, delay.detach(), weights, options, edge_weight, surrogate
        )

    def _step_by_step(
        self,
        graph: RelationalGraph,
        heads: Tensor,
        drive: Tensor,
        delay: Tensor,
        weights: Tensor | None,
        options: StepOptions,
        edge_weight: Tensor | None = None,
        surrogate: Surrogate | None = None,
    ) -> Spikes:
        found = run_steps(
            graph,
            heads,
            drive,
            delay,
            weights,
            self.linear,
            self.norm,
            self.read_out.to(drive),
            options,
            edge_weight=edge_weight,
            surrogate=surrogate,
        )
        return Spikes(
            found.decoded,
            found.counts,
            found.trains,
            found.spikes if self.concat_hidden else None,
            found.potential.abs().mean() if self.m_regularization else None,
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
        return self._logits(self._read(features, candidates), relations)

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
        pairs = self._read(spikes, ends[:, None]).view(2, len(heads), 1, -1).mean(0)
        return self._logits(pairs, relations)[:, 0]

    def penalty(self, features: Spikes) -> Tensor | None:
        """Return ``m_regularization`` times the mean of ``|u|`` after the last reset.

        0 where that mean is at most 0.2; None without regularisation.

        Args:
            features: of :meth:`forward`, with gradients enabled.
        """
        mean = features.potential
        if mean is None:
            return None
        return self.m_regularization * mean * (mean.detach() > FREE_POTENTIAL)

    def firing_rate(self, features: Spikes) -> float:
        """Return spikes per neuron and step."""
        _, nodes, neurons = features.decoded.shape
        return float(features.counts.double().mean()) / max(nodes * neurons, 1)

    def _read(self, features: Spikes, nodes: Tensor) -> Tensor:
        """Return what is scored of nodes ``[B, C]``: z ``[B, C, d]``, or spikes ``[B, C, T d]``."""
        batch = torch.arange(len(nodes), device=nodes.device)[:, None]
        if not self.concat_hidden:
            return features.decoded[batch, nodes]
        if features.spikes is not None:
            return torch.cat([step[nodes, batch] for step in features.spikes], dim=-1)
        bits = unpack(features.trains[batch, nodes], self.hidden)
        return bits.flatten(2).to(features.decoded)

    def _logits(self, read: Tensor, relations: Tensor) -> Tensor:
        if self.boundary_query:
            query = self.scaled_query(relations)[:, None].expand(-1, read.shape[1], -1)
            logits: Tensor = self.mlp(torch.cat([read, query], dim=-1))
        else:
            logits = self.mlp(read - self.query(relations)[:, None])
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
