"""Training a model of graphs to tell true facts from false ones.

A batch holds positives, half of them asked for their tail and half for their head, each beside
strict negatives; the edges that would answer it at once are taken out of the graph first. Links of
an undirected graph are pairs beside pairs that are no links.
"""

import hashlib
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn

from neuro.config import ReasonConfig
from neuro.errors import DataError, UsageError
from neuro.graph import (
    GRSNN,
    KnowledgeGraph,
    KnownAnswers,
    MessageGraph,
    ReasoningTask,
    both_sides,
    known_links,
    link_metrics,
    negative_sampling_loss,
    ranking_metrics,
    strict_negative_links,
    strict_negatives,
)
from neuro.graph.evaluate import firing_rate_from, rank_answers, score_links
from neuro.graph.methods import GRSNNOptions, Reasoner, SpikingReasoner, build_reasoner
from neuro.graph.ranking import Ties
from neuro.training.batches import epoch_order
from neuro.training.divergence import first_not_finite
from neuro.training.seeds import generator_for, seed_for
from neuro.training.session import Learned, Session, Tested
from neuro.training.updates import Updates

SPIKING_LAYER = "nodes"
"""Under this name a firing rate stands among those of layers: all neurons of all nodes."""
NEGATIVES, NEGATIVE_LINKS = 32, 1


class Scored(NamedTuple):
    """A batch of positives and their negatives.

    Attributes:
        logits: ``[B, 1 + n]``, the positive first.
        rate: spikes per neuron and step, where they are counted.
        penalty: what the model adds to the loss, if anything.
    """

    logits: Tensor
    rate: float | None = None
    penalty: Tensor | None = None


class ReasoningSession(Session):
    """Model, message graph and known answers.

    Args:
        config: the configuration.
        task: loaded as the configuration asks.
        device: where to train.
        started: ``time.perf_counter()`` when the work began, loading included.
    """

    config: ReasonConfig
    validates_long = True

    def __init__(
        self, config: ReasonConfig, task: ReasoningTask, device: torch.device, *, started: float
    ) -> None:
        super().__init__(config, device, started=started)
        self.task = task
        self.data_key = _digest(task)
        self.validation_measure = "auroc" if task.undirected else "mrr"
        self.graph = self._message_graph(task.graph)
        self.test_graph = (
            self.graph if task.test_graph is task.graph else self._message_graph(task.test_graph)
        )
        self.known = self.answers_of(task.train, task.graph)
        self._check_wrong_answers()
        with torch.random.fork_rng([]):
            torch.manual_seed(seed_for(config.seed, "weights"))
            self.model = build_reasoner(config.method, self.graph.relations).to(device)
        self.notes = (*task.notes, *self._notes_of_model())
        self.optimiser = torch.optim.Adam(self.model.parameters(), lr=config.lr, fused=True)
        self.triples_per_epoch = len(task.train)
        if config.batches_per_epoch is not None:
            self.triples_per_epoch = min(
                len(task.train), config.batches_per_epoch * config.batch_size
            )
        self.triples_per_step = config.batch_size * config.accumulate
        self.steps_per_epoch = ceil(self.triples_per_epoch / self.triples_per_step)

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"network": self.model}

    @property
    def reasoner(self) -> Reasoner:
        """The model, as training and evaluation see it."""
        return cast(Reasoner, self.model)

    def begin_epoch(self) -> None:
        triples = torch.arange(len(self.task.train))
        order = epoch_order(triples, self.config.seed, self.position.epoch)
        self._order = order[: self.triples_per_epoch]

    def learn(self, updates: Updates) -> Learned:
        start = self.position.batch * self.triples_per_step
        chosen = self._order[start : start + self.triples_per_step]
        learn_from = self._learn_links if self.task.undirected else self._learn_facts
        loss = rate = 0.0
        correct = 0
        for number, part in enumerate(torch.split(chosen, self.config.batch_size)):
            generator = generator_for(
                self.config.seed, "negatives", self.position.epoch, self.position.batch, number
            )
            scored = learn_from(self.task.train[part], generator)
            logits = scored.logits
            share = len(part) / len(chosen)
            part_loss = negative_sampling_loss(
                logits, temperature=self.config.adversarial_temperature
            )
            if scored.penalty is not None:
                part_loss = part_loss + scored.penalty
            part_loss = share * part_loss
            part_loss.backward()  # type: ignore[no-untyped-call]
            loss += float(part_loss.detach())
            updates.check_loss(loss)
            correct += int((logits[:, :1] > logits[:, 1:]).all(1).sum())
            rate += share * (scored.rate or 0.0)
        updates.apply()
        spiking = isinstance(self.model, SpikingReasoner) and not self.task.undirected
        return Learned(len(chosen), loss, correct, {SPIKING_LAYER: rate} if spiking else {})

    def learning_rate(self) -> float:
        return self.config.lr

    def validate(self) -> dict[str, float]:
        epoch = self.position.epoch
        if epoch % self.config.validate_every and epoch != self.config.epochs:
            return {}
        found = self._judge("validation")
        return {f"validation_{name}": value for name, value in found.metrics.items()}

    def test(self, *, events: bool = False) -> Tested:
        return self._judge("test")

    def mean_firing_rate(self, firing_rates: Mapping[str, float]) -> float | None:
        return firing_rates.get(SPIKING_LAYER)

    def find_not_finite(self, loss: float) -> str:
        return first_not_finite(list(self.model.named_parameters()), loss)

    def draw(self, epochs: list[dict[str, Any]], folder: Path) -> None:
        from neuro.training.plots import draw_firing_rates, draw_learning_curve

        quantities = ("loss", self.validation_measure)
        draw_learning_curve(epochs, folder / "learning_curve.png", quantities)
        if "firing_rates" in epochs[-1]:
            draw_firing_rates(epochs, folder / "firing_rates.png")

    def summarise(
        self, last: Tested, best: Tested | None, epochs: list[dict[str, Any]]
    ) -> dict[str, float | int | None]:
        measure = self.validation_measure
        at_best = {} if best is None else best.metrics
        return {
            **last.metrics,
            **{f"{name}_best_validation": value for name, value in at_best.items()},
            "best_validation_epoch": self.best.epoch or None,
            f"best_validation_{measure}": self.best.accuracy if self.best.epoch else None,
            f"validation_{measure}": epochs[-1][f"validation_{measure}"],
            "train_accuracy": epochs[-1]["train_accuracy"],
            "train_loss": epochs[-1]["train_loss"],
        }

    def _learn_facts(self, positives: Tensor, generator: torch.Generator) -> "Scored":
        """Score facts, each beside wrong answers."""
        queries = strict_negatives(
            positives,
            self.known,
            negatives=self.config.negatives or NEGATIVES,
            generator=generator,
        )
        one_hop = self.config.remove_one_hop
        asked = queries.triples(self.graph.fact_relations) if one_hop else positives
        graph = self.graph.without(asked.to(self.device), one_hop=one_hop)
        sources, relations, candidates = (part.to(self.device) for part in queries)
        features = self.reasoner(graph, sources, relations)
        logits = self.reasoner.score(features, sources, relations, candidates)
        if not isinstance(self.model, SpikingReasoner):
            return Scored(logits)
        penalty = self.model.penalty(features) if isinstance(self.model, GRSNN) else None
        return Scored(logits, self.model.firing_rate(features), penalty)

    def _learn_links(self, positives: Tensor, generator: torch.Generator) -> "Scored":
        """Score links, each beside pairs that are no links."""
        negatives = self.config.negatives or NEGATIVE_LINKS
        drawn = strict_negative_links(self.known, negatives * len(positives), generator=generator)
        pairs = torch.cat([positives[:, None], drawn.view(-1, negatives, 3)], dim=1)
        pairs = pairs.view(-1, 3).to(self.device)
        graph = self.graph.without(pairs, one_hop=self.config.remove_one_hop)
        logits = self.reasoner.score_symmetric(graph, *pairs.unbind(1))
        return Scored(logits.view(len(positives), 1 + negatives))

    def _judge(self, split: str) -> Tested:
        """Judge the model on ``validation`` or ``test``."""
        testing = split == "test"
        triples = self.task.test if testing else self.task.valid
        known = self.task.test_known if testing else self.task.valid_known
        graph = self.test_graph if testing else self.graph
        names = self.task.test_graph if testing else self.task.graph
        answers = self.answers_of(known, names)
        self.model.eval()
        if self.task.undirected:
            found = self._judge_links(split, graph, triples, answers)
        else:
            found = self._judge_facts(graph, triples, answers)
        self.model.train()
        return found

    def _judge_facts(self, graph: MessageGraph, triples: Tensor, known: KnownAnswers) -> Tested:
        ranked = rank_answers(
            self.reasoner,
            graph.whole,
            triples,
            known,
            relations=graph.fact_relations,
            batch_size=self.config.evaluation_batch_size,
        )
        masked = self.config.inductive_positive_mask
        ranks = ranked.ranks if masked else ranked.against_itself
        metrics: dict[str, float] = {}
        rules: tuple[tuple[Ties, str], ...] = (("pessimistic", ""), ("realistic", "_realistic"))
        for ties, suffix in rules:
            values = ranking_metrics(ranks, ties)._asdict()
            values.pop("hits_at_10_of_50")
            metrics |= {f"{name}{suffix}": value for name, value in values.items()}
        if self.task.kind == "inductive":
            for ties, suffix in rules:
                for protocol, own in (("", ranked.ranks), ("_itself", ranked.against_itself)):
                    hits = ranking_metrics(own, ties).hits_at_10_of_50
                    metrics[f"hits_at_10_of_50{protocol}{suffix}"] = hits
        return self._tested(metrics, ranked.firing_rate)

    def _judge_links(
        self, split: str, graph: MessageGraph, links: Tensor, known: KnownAnswers
    ) -> Tested:
        generator = generator_for(self.config.seed, f"{split} links")
        wrong = strict_negative_links(known, len(links), generator=generator)
        batch_size = self.config.evaluation_batch_size
        scores = [
            score_links(self.reasoner, graph.whole, pairs, batch_size=batch_size)
            for pairs in (links, wrong)
        ]
        rate = None
        if split == "test" and isinstance(self.model, SpikingReasoner):
            rate = firing_rate_from(self.model, graph.whole, links, batch_size=batch_size)
        return self._tested(link_metrics(*scores)._asdict(), rate)

    def _tested(self, metrics: dict[str, float], rate: float | None) -> Tested:
        if rate is None:
            return Tested(metrics, {})
        return Tested(metrics | {"firing_rate": rate}, {SPIKING_LAYER: rate})

    def _check_wrong_answers(self) -> None:
        """See that every query of the training facts has a wrong answer, before hours of training.

        Raises:
            DataError: one has none.
        """
        if self.task.undirected:
            return
        names = self.task.graph
        relations = len(names.relations)
        asked = both_sides(self.task.train, relations=relations)
        full = (self.known.unknown(asked.sources, asked.relations) == 0).nonzero()
        if not len(full):
            return
        query = int(full[0])
        known, kind = int(asked.sources[query]), int(asked.relations[query])
        head, tail = (names.entities[known], "?")[:: 1 if kind < relations else -1]
        raise DataError(
            f"{self.task.name}: every one of the {len(names.entities):,} entities is a known "
            f"answer to ({head}, {names.relations[kind % relations]}, {tail}), so there is no "
            "wrong one to learn from. Leave out triples of this relation, or add entities."
        )

    def _notes_of_model(self) -> tuple[str, ...]:
        """Tell what does not run in the fused kernel.

        Raises:
            UsageError: links are to be trained with a regulariser of facts.
        """
        method = self.config.method
        regularised = isinstance(method, GRSNNOptions) and method.m_regularization > 0
        if self.task.undirected and regularised:
            raise UsageError(
                f"{self.task.name}: method.m_regularization is of the queries of a knowledge "
                "graph; set it to 0 for links."
            )
        if not isinstance(self.model, GRSNN):
            return ()
        reasons = self.model.beyond_kernel(gradients=True)
        if not reasons:
            return ()
        always = self.model.beyond_kernel(gradients=False)
        when = "" if always else " in training"
        return (f"Runs step by step in torch{when}, slower: {'; '.join(reasons)}.",)

    def _message_graph(self, graph: KnowledgeGraph) -> MessageGraph:
        return MessageGraph.of(
            graph.facts,
            nodes=len(graph.entities),
            relations=len(graph.relations),
            undirected=self.task.undirected,
        ).to(self.device)

    def answers_of(self, triples: Tensor, graph: KnowledgeGraph) -> KnownAnswers:
        """Return the answers that triples ``[n, 3]`` of a graph of this task make known."""
        if self.task.undirected:
            return known_links(triples, nodes=len(graph.entities))
        return KnownAnswers.both_ways(
            triples, entities=len(graph.entities), relations=len(graph.relations)
        )


def _digest(task: ReasoningTask) -> str:
    """Return a SHA-256 of everything a run on this task depends on."""
    digest = hashlib.sha256(repr((task.kind, task.graph.relations)).encode())
    for graph in (task.graph, task.test_graph):
        digest.update(repr(graph.entities).encode())
    for triples in (task.train, task.valid, task.test_graph.facts, task.test):
        digest.update(triples.numpy().tobytes())
    return digest.hexdigest()
