"""Operations of GRSNN, from the spikes that its queries left."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from neuro.energy import Counts, Facts, Ledger
from neuro.graph.grsnn import GRSNN, Spikes
from neuro.graph.operations.parts import (
    Part,
    added,
    embedded_query,
    linear_facts,
    linear_map,
    map_of_query,
    norm,
    score,
)
from neuro.graph.pna import SCALES, STATISTICS
from neuro.kernels import Arrivals, RelationalGraph


def count_grsnn(
    model: GRSNN,
    graph: RelationalGraph,
    features: Spikes,
    heard: Arrivals,
    *,
    candidates: int,
    skip_silence: bool = False,
    per_step: bool = False,
) -> Ledger:
    """Count the operations of queries from the spikes they left, in total.

    Layers, with T steps, N nodes of d neurons, R relations:

    - ``query``: q from the embedding, d products.
    - ``delays``, ``relation weights``: the maps of what depends on the query, R d d products each;
      delays also take a sigmoid and a product.
    - ``messages``: an addition for each spike over each edge out of its node whose delay lets it
      arrive at step T - 1 or before, to a sum that waits for that step; with a delay of a step or
      more it enters a line of delay. PNA also adds squares and compares twice.
    - ``own spikes``: with ``self_connection``, d additions for each spike but those of the last
      step.
    - ``statistics``: of PNA, from sums and squares.
    - ``linear``: W on what a neuron heard. It is applied after the sum over edges, so its inputs
      are whole numbers (or real ones) and its products are multiply-accumulates.
    - ``norm``: the layer norm.
    - ``neurons``: as current-based leaky neurons are counted everywhere: a step is
      ``I <- lam I + x`` and ``u <- lam u + I``, two decays and two additions, a comparison, and a
      reset for each spike; the head's neurons add their drive. Step 0 compares only. The bias of W
      is a current that always comes, so every step of a neuron after the first is active; of the
      first ones, those of the head are.
    - ``read-out``: an addition of ``k[t]`` for each spike.
    - ``score``: the small network, for each candidate.

    Args:
        model: that ran the queries.
        graph: on which they ran.
        features: what they left.
        heard: of :func:`count_heard`.
        candidates: nodes scored for each query.
        skip_silence: count W only where something was heard: for each number that is not 0, or
            with PNA for each node and step with a message; so the arithmetic of ``linear`` (and
            ``statistics``) goes with the spikes. Else W serves every node at every step. What a
            node gets that heard nothing, a bias or with PNA a constant of its degree, is read in
            either case.
        per_step: count each time step, too. What depends on the query alone belongs to the first,
            the score to the last; a message to the step after its spike, when it sets out.
    """
    counting = _Counting(model, graph, features, heard, candidates, skip_silence)
    whole = counting.ledger()
    if not per_step:
        return whole
    steps = (replace(counting, at=step).ledger() for step in range(model.timesteps))
    return replace(whole, steps=tuple(steps))


@dataclass(frozen=True)
class _Counting:
    """What :func:`count_grsnn` was given, and the step to be counted, or None for all."""

    model: GRSNN
    graph: RelationalGraph
    features: Spikes
    heard: Arrivals
    candidates: int
    skip_silence: bool
    at: int | None = None

    def ledger(self) -> Ledger:
        parts = self.parts()
        return Ledger(
            {name: part.counts for name, part in parts.items()},
            self.driven() & parts.keys(),
            {name: part.facts for name, part in parts.items()},
            self.queries,
            self.model.timesteps if self.at is None else 1,
        )

    def over(self, each: Sequence[int]) -> int:
        """Return what happened, told for each step but the first."""
        if self.at is None:
            return sum(each)
        return each[self.at - 1] if self.at else 0

    @property
    def first(self) -> bool:
        return not self.at

    @property
    def last(self) -> bool:
        return self.at in (None, self.model.timesteps - 1)

    @property
    def queries(self) -> int:
        return len(self.features.decoded)

    @property
    def neurons(self) -> int:
        """Of one query."""
        return self.graph.nodes * self.model.hidden

    @property
    def steps(self) -> int:
        """In which something may be heard."""
        return self.over([1] * (self.model.timesteps - 1))

    @property
    def rows(self) -> int:
        """Nodes of all queries and of those steps."""
        return self.queries * self.graph.nodes * self.steps

    @property
    def fired(self) -> int:
        some = slice(None) if self.at is None else self.at
        return int(self.features.counts[:, some].sum())

    @property
    def sent(self) -> int:
        """Spikes that something can hear, in the step after them."""
        return self.over(self.features.counts[:, :-1].sum(0).tolist())

    @property
    def pna(self) -> bool:
        return self.model.steps.aggregate == "pna"

    @property
    def served(self) -> int:
        """Nodes that W serves with PNA, at each step."""
        return self.over(self.heard.nodes) if self.skip_silence else self.rows

    def driven(self) -> frozenset[str]:
        """Return the layers whose arithmetic goes with spikes."""
        always = {"messages", "own spikes", "read-out"}
        return frozenset(always | ({"statistics", "linear"} if self.skip_silence else set()))

    def parts(self) -> dict[str, Part]:
        """Return the layers in their order."""
        model = self.model
        found = {"query": self._query(), "delays": self._delays()}
        if model.weight_map is not None:
            counts, facts = map_of_query(model.weight_map, self.queries)
            found["relation weights"] = Part(counts if self.first else Counts(), facts)
        found["messages"] = self._messages()
        if model.steps.self_connection:
            found["own spikes"] = self._own_spikes()
        if self.pna:
            found["statistics"] = self._statistics()
        found["linear"] = self._linear()
        if model.norm is not None:
            found["norm"] = norm(model.norm, self.rows, self.graph.nodes)
        found["neurons"] = self._neurons()
        found["read-out"] = self._read_out()
        found["score"] = self._score()
        return found

    def _query(self) -> Part:
        counts, facts = embedded_query(self.model.query, self.queries)
        if self.model.boundary_query:
            counts += Counts(macs=self.queries * self.model.hidden)
            facts = replace(facts, dense=self.model.hidden)
        return Part(counts if self.first else Counts(), facts)

    def _delays(self) -> Part:
        counts, facts = map_of_query(self.model.delay_map, self.queries)
        if self.model.not_delay or not self.first:
            return Part(Counts(), facts)
        made = counts.activation_writes
        return Part(counts + Counts(multiplications=made, functions=made), facts)

    def _messages(self) -> Part:
        """Return the spikes over edges; an edge has a delay, a weight, both or neither."""
        model, arrived = self.model, self.over(self.heard.arrived)
        weighted = model.weight_map is not None
        sums = STATISTICS if self.pna else 1
        added_to = 2 if self.pna else 1
        of_edge = int(not model.not_delay) + int(weighted)
        counts = Counts(
            spikes_in=self.sent,
            synaptic_additions=added_to * arrived,
            multiplications=arrived if self.pna and weighted else 0,
            comparisons=2 * arrived if self.pna else 0,
            delay_pushes=self.over(self.heard.waited),
            weight_reads=of_edge * arrived,
            state_reads=sums * arrived,
            state_writes=sums * arrived,
            activation_reads=self.sent,
        )
        longest = 0 if model.not_delay else model.delay_bound
        facts = Facts(
            kind="messages",
            signal="binary",
            weights=of_edge * model.query.num_embeddings * model.hidden,
            state=sums * self.neurons * min(longest + 1, model.timesteps - 1),
            inputs=self.neurons,
            outputs=sums * self.neurons,
            dense=added_to * self.graph.edges * model.hidden,
            weight_bits=32 if weighted else max(1, longest.bit_length()),
        )
        return Part(counts, facts)

    def _own_spikes(self) -> Part:
        hidden = self.model.hidden
        reached = hidden * self.sent
        counts = Counts(
            spikes_in=self.sent,
            synaptic_additions=reached,
            weight_reads=reached,
            state_reads=reached,
            state_writes=reached,
            activation_reads=self.sent,
        )
        weight = self.model.linear.weight[:, :hidden]
        return Part(counts, replace(linear_facts(weight, None, self.graph.nodes), signal="binary"))

    def _statistics(self) -> Part:
        each = self.served * self.model.hidden
        scaled = STATISTICS * SCALES
        # mean and mean square, then two scales of four; less the mean's square
        counts = Counts(
            multiplications=10 * each,
            macs=each,
            comparisons=each,
            functions=each,
            activation_reads=STATISTICS * each,
            activation_writes=scaled * each,
        )
        facts = Facts(
            kind="statistics", inputs=STATISTICS * self.neurons, outputs=scaled * self.neurons
        )
        return Part(counts, facts)

    def _linear(self) -> Part:
        module, hidden = self.model.linear, self.model.hidden
        own = hidden if self.model.steps.self_connection else 0
        weight = module.weight[:, own:]
        facts = linear_facts(weight, module.bias, self.graph.nodes)
        if self.pna or not self.skip_silence:
            silent = (self.rows - self.served) * hidden
            counts = linear_map(self.served, weight.shape[1], hidden)
            return Part(counts + Counts(weight_reads=silent, activation_writes=silent), facts)
        # each number adds to sums that begin with the bias
        heard = self.over(self.heard.neurons)
        met, begun = heard * hidden, self.rows * hidden
        counts = Counts(
            spikes_in=heard,
            macs=met,
            weight_reads=met + begun,
            state_reads=met,
            state_writes=met + begun,
            activation_reads=heard,
        )
        return Part(counts, replace(facts, signal="graded"))

    def _neurons(self) -> Part:
        model, currents = self.model, self.rows * self.model.hidden
        steps = model.timesteps if self.at is None else 1
        updates = self.queries * self.neurons * steps
        of_heads = self.queries * model.hidden
        driven_by_query = of_heads * steps if model.boundary_query else 0
        counts = Counts(
            spikes=self.fired,
            neuron_updates=updates,
            active_updates=currents + (of_heads if self.first else 0),
            additions=2 * currents + of_heads * self.steps,
            decays=2 * currents,
            comparisons=updates,
            resets=self.fired,
            state_reads=2 * updates,
            state_writes=2 * updates,
            activation_reads=currents + driven_by_query,
            activation_writes=self.fired,
        )
        facts = Facts(
            kind="neurons",
            state=2 * self.neurons,
            inputs=self.neurons + (model.hidden if model.boundary_query else 0),
            outputs=self.neurons,
            neurons=self.neurons,
            activation_bits=1,
        )
        return Part(counts, facts)

    def _read_out(self) -> Part:
        counts = Counts(
            spikes_in=self.fired,
            synaptic_additions=self.fired,
            weight_reads=self.fired,
            state_reads=self.fired,
            state_writes=self.fired,
            activation_reads=self.fired,
        )
        facts = Facts(
            kind="read-out",
            signal="binary",
            weights=self.model.timesteps,
            state=self.neurons,
            inputs=self.neurons,
            outputs=self.neurons,
            dense=self.neurons,
        )
        return Part(counts, facts)

    def _score(self) -> Part:
        counts, facts = score(self.model.mlp, self.queries, self.candidates)
        if not self.model.boundary_query:
            counts += added(self.queries * self.candidates * self.model.hidden)
        return Part(counts if self.last else Counts(), facts)
