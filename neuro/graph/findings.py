"""What a network is found to answer, and why: arrivals of spikes, answers, paths.

Nodes and relations are numbers here; :mod:`neuro.graph.describe` knows names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from statistics import median
from typing import NamedTuple


@dataclass(frozen=True)
class Query:
    """(head, relation, ?), or (?, relation, head) as the query for the inverse.

    Attributes:
        head: a node, the one that is known.
        relation: below the number of relations of the facts.
        inverse: whether the head of the fact is asked for.
    """

    head: int
    relation: int
    inverse: bool


@dataclass(frozen=True)
class Arrival:
    """When spikes came to a node.

    Attributes:
        first: of each neuron, the time step of its first spike, 0 .. T - 1; None if it was silent.
    """

    first: tuple[int | None, ...]

    @property
    def fired(self) -> int:
        """How many neurons fired."""
        return len(self._times)

    @property
    def earliest(self) -> int | None:
        """Step of the first spike of all; None if no spike reached the node."""
        return min(self._times, default=None)

    @property
    def median(self) -> float | None:
        """Median step of the first spikes of the neurons that fired."""
        return float(median(self._times)) if self._times else None

    @property
    def _times(self) -> list[int]:
        return [step for step in self.first if step is not None]


class Answer(NamedTuple):
    """A candidate tail.

    Attributes:
        node: which.
        score: its logit.
        rank: 1 + how many candidates have a higher score.
        ties: how many other candidates have exactly this score.
        arrival: None for a network without spikes.
    """

    node: int
    score: float
    rank: int
    ties: int
    arrival: Arrival | None


@dataclass(frozen=True)
class Answers:
    """The best tails of a query.

    Attributes:
        query: what was asked.
        best: the best first; among equals in the order of their numbers.
        candidates: how many nodes were ranked.
        steps: T; 0 for a network without spikes.
        silent: how many of the candidates no spike reached; all have one score. 0 without spikes.
    """

    query: Query
    best: tuple[Answer, ...]
    candidates: int
    steps: int
    silent: int


class Hop(NamedTuple):
    """An edge of a path.

    Attributes:
        source: where it begins.
        relation: below the number of relations of the facts.
        inverse: whether the fact is ``destination -relation-> source``.
        destination: where it ends.
        importance: of the edge, see :func:`explain_paths`.
        duration: steps a spike takes, 1 + the median of the neurons' delays.
    """

    source: int
    relation: int
    inverse: bool
    destination: int
    importance: float
    duration: float


class Path(NamedTuple):
    """Hops from head to tail."""

    hops: tuple[Hop, ...]

    @property
    def total(self) -> float:
        """Sum of the importances."""
        return sum(hop.importance for hop in self.hops)

    @property
    def importance(self) -> float:
        """Their mean, by which paths are ranked."""
        return self.total / len(self.hops)

    @property
    def duration(self) -> float:
        """Steps from head to tail, less those that neurons on the way take to charge."""
        return sum(hop.duration for hop in self.hops)

    @property
    def nodes(self) -> tuple[int, ...]:
        """The nodes in order, head and tail included."""
        return (self.hops[0].source, *(hop.destination for hop in self.hops))


@dataclass(frozen=True)
class Explanation:
    """Why a tail has its score.

    Attributes:
        query: what was asked.
        tail: whose score it is.
        score: its logit.
        arrival: of spikes at the tail.
        steps: T.
        edges: how many edges carried a spike that could reach the tail in time.
        longest: hops that were allowed.
        paths: the most important first; none where no spike reached the tail.
        arrivals: of spikes at each node of the paths.
    """

    query: Query
    tail: int
    score: float
    arrival: Arrival
    steps: int
    edges: int
    longest: int
    paths: tuple[Path, ...]
    arrivals: Mapping[int, Arrival] = field(default_factory=dict)
