"""Methods of graph reasoning by name: what a user may choose of each, and how it is built.

All are one interface to training and evaluation (:class:`Reasoner`), whatever runs inside.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal, Protocol, runtime_checkable

from torch import Tensor

from neuro.choices import check_choices
from neuro.errors import UsageError, nearest
from neuro.graph.grsnn import GRSNN, DelayGradient
from neuro.graph.nbfnet import Aggregate, Message, NBFNet
from neuro.kernels.relational_graph import RelationalGraph


class Reasoner(Protocol):
    """Represents all nodes relative to a query's source, then scores candidates.

    What the features of all nodes are is the model's own affair: who trains or judges it hands them
    back to it.
    """

    def __call__(self, graph: RelationalGraph, heads: Tensor, relations: Tensor) -> Any:
        """Return the features of every node for the queries ``(head, relation, ?)``, each [B]."""

    def score(self, features: Any, heads: Tensor, relations: Tensor, candidates: Tensor) -> Tensor:
        """Return the logits ``[B, C]`` of candidate tails ``[B, C]``."""

    def score_symmetric(
        self, graph: RelationalGraph, heads: Tensor, relations: Tensor, tails: Tensor
    ) -> Tensor:
        """Return the logits ``[B]`` of pairs whose order says nothing."""


@runtime_checkable
class SpikingReasoner(Reasoner, Protocol):
    """A reasoner whose features are made by spiking neurons."""

    def firing_rate(self, features: Any) -> float:
        """Return spikes per neuron and time step that lie behind the features."""


@dataclass(frozen=True, kw_only=True)
class ReasonerOptions:
    """Options common to all methods.

    Attributes:
        hidden: d, numbers (or neurons) of a node, >= 1.
        dependent: relations are represented by what the query makes of them; else each has a
            representation of its own.
    """

    hidden: int = 32
    dependent: bool = True

    def __post_init__(self) -> None:
        check_choices(self)
        _at_least("hidden", self.hidden, 1)


@dataclass(frozen=True, kw_only=True)
class NBFNetOptions(ReasonerOptions):
    """Neural Bellman-Ford network.

    Attributes:
        layers: L, the longest path, >= 1.
        message: "mul" (DistMult) or "add" (TransE).
        aggregate: "pna", "sum", "mean" or "max".
        layer_norm: normalise each layer's output.
        short_cut: add each layer's input to its output.
    """

    name: Literal["nbfnet"] = "nbfnet"
    layers: int = 6
    message: Message = "mul"
    aggregate: Aggregate = "pna"
    layer_norm: bool = True
    short_cut: bool = True

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("layers", self.layers, 1)


def _build_nbfnet(options: NBFNetOptions, relations: int) -> NBFNet:
    return NBFNet(
        relations,
        hidden=options.hidden,
        layers=options.layers,
        message=options.message,
        aggregate=options.aggregate,
        dependent=options.dependent,
        layer_norm=options.layer_norm,
        short_cut=options.short_cut,
    )


@dataclass(frozen=True, kw_only=True)
class GRSNNOptions(ReasonerOptions):
    """Spiking neurons on the nodes, delays on the edges.

    Attributes:
        timesteps: T, >= 1.
        tau: time constant of membrane and current in steps, > 0.
        threshold: potential at which a neuron fires, > 0.
        delay_bound: longest delay, >= 0.
        decay: of the read-out, a step, > 0.
        sharpness: slope of the sigmoid surrogate, > 0.
        linear_scale: on what a neuron hears; lower where nodes have many edges.
        delay_gradient: "released" is the rule of the authors' code; "exact" the derivative.
        not_delay: no delays at all.
        aggregate: "sum", or "pna".
        self_connection: a neuron's node also hears its own latest spikes.
        relation_weight: a weight for each relation, query and neuron.
        layer_norm: normalise the current.
        boundary_query: drive the head by the query and score beside it.
        concat_hidden: score the spikes of all steps, not their weighted mean.
        m_regularization: what potentials above 0.2 in the mean cost, >= 0; of facts alone.
    """

    name: Literal["grsnn"] = "grsnn"
    timesteps: int = 10
    tau: float = 4.0
    threshold: float = 2.0
    delay_bound: int = 4
    decay: float = 0.95
    sharpness: float = 4.0
    linear_scale: float = 1.0
    delay_gradient: DelayGradient = "released"
    not_delay: bool = False
    aggregate: Literal["sum", "pna"] = "sum"
    self_connection: bool = False
    relation_weight: bool = False
    layer_norm: bool = False
    boundary_query: bool = True
    concat_hidden: bool = False
    m_regularization: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        _at_least("timesteps", self.timesteps, 1)
        _at_least("delay_bound", self.delay_bound, 0)
        _at_least("m_regularization", self.m_regularization, 0)
        if self.concat_hidden and not self.boundary_query:
            raise UsageError(
                "method.concat_hidden needs method.boundary_query: without it the query's "
                "embedding is taken off the mean of the spikes."
            )
        stepwise = [name for name, on in self._stepwise.items() if on]
        if self.delay_gradient == "exact" and stepwise:
            raise UsageError(
                'method.delay_gradient = "exact" is of the fused kernel, which '
                f"{', '.join(stepwise)} cannot be trained in; leave them out, or take "
                '"released".'
            )
        for name in ("tau", "threshold", "decay", "sharpness"):
            _above_zero(name, getattr(self, name))

    @property
    def _stepwise(self) -> dict[str, bool]:
        return {
            "self_connection": self.self_connection,
            "relation_weight": self.relation_weight,
            "layer_norm": self.layer_norm,
            f'aggregate = "{self.aggregate}"': self.aggregate != "sum",
            "concat_hidden": self.concat_hidden,
            "m_regularization": self.m_regularization > 0,
        }


@dataclass(frozen=True, kw_only=True)
class GRSNNPlusOptions(GRSNNOptions):
    """GRSNN with its own spikes heard, weights of relations, and a normalised current."""

    name: Literal["grsnn+"] = "grsnn+"  # type: ignore[assignment]
    self_connection: bool = True
    relation_weight: bool = True
    layer_norm: bool = True


def _build_grsnn(options: GRSNNOptions, relations: int) -> GRSNN:
    chosen = asdict(options)
    chosen.pop("name")
    return GRSNN(relations, **chosen)


@dataclass(frozen=True)
class MethodEntry:
    """A method: its options, the function that builds its model, one line about it."""

    options: type[ReasonerOptions]
    build: Callable[[Any, int], GRSNN | NBFNet]
    description: str


METHODS: dict[str, MethodEntry] = {
    "grsnn": MethodEntry(
        GRSNNOptions, _build_grsnn, "spikes that travel along edges with learnt delays"
    ),
    "grsnn+": MethodEntry(
        GRSNNPlusOptions,
        _build_grsnn,
        "GRSNN with self connection, relation weights and a layer norm",
    ),
    "nbfnet": MethodEntry(
        NBFNetOptions, _build_nbfnet, "Neural Bellman-Ford network, sums over paths"
    ),
}

MethodOptions = GRSNNOptions | GRSNNPlusOptions | NBFNetOptions


def build_reasoner(options: Any, relations: int) -> GRSNN | NBFNet:
    """Build the model that ``options`` describe, a :class:`Reasoner`.

    Its weights are drawn from torch's global generator.

    Args:
        options: one of the option classes of :data:`METHODS`.
        relations: kinds of message edges, ``MessageGraph.relations``.

    Raises:
        UsageError: for an unknown name.
    """
    if options.name not in METHODS:
        raise UsageError(
            f'Unknown method "{options.name}".{nearest(options.name, METHODS)} '
            f"Methods: {', '.join(METHODS)}."
        )
    return METHODS[options.name].build(options, relations)


def _at_least(name: str, number: float, least: float) -> None:
    if number < least:
        raise UsageError(f"method.{name} must be at least {least}, got {number}.")


def _above_zero(name: str, number: float) -> None:
    if not number > 0:
        raise UsageError(f"method.{name} must be above 0, got {number:g}.")
