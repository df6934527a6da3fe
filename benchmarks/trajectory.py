"""One training run that one rule leads, while others learn their feedback beside it.

The leader's gradients train the network. A follower sees every batch at the same weights, with its
own noise; only what it keeps for itself (feedback matrices) changes, its gradients of the network
are dropped. So all rules can be measured at equal weights.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from time import perf_counter
from typing import Any

import torch
from torch import Tensor

from neuro.config import TrainConfig
from neuro.data import Dataset
from neuro.learning import LearningRule, OnlineRule, build_rule, rule_class
from neuro.training.batches import epoch_order
from neuro.training.classification import ClassificationSession
from neuro.training.optimisers import learning_rate_factor, set_learning_rate
from neuro.training.seeds import generator_for

RULE_OPTIONS: dict[str, dict[str, Any]] = {
    "opzo": {"inverse_alpha": "keep", "bias_correction": True},
}
"""OPZO with 1/alpha and the bias of M's zero start taken out: its credit then has BP's units."""


KEEPS_FEEDBACK = ("opzo", "dkp")
"""Rules that carry something over from batch to batch; the others need not see every one."""


class Follower:
    """A rule that keeps its feedback up to date on somebody else's network."""

    def __init__(self, name: str, session: ClassificationSession) -> None:
        options = rule_class(name).Options(
            mse_weight=session.config.rule.mse_weight, **RULE_OPTIONS.get(name, {})
        )
        generator = generator_for(session.config.seed, "rule")
        self.name = name
        self.rule = build_rule(session.network, options, generator=generator)
        own = {id(parameter) for parameter in self.rule.parameters()}
        groups = self.rule.parameter_groups(session.config.lr)
        for group in groups:
            group["params"] = [p for p in group["params"] if id(p) in own]
            group["initial_lr"] = group["lr"]
        groups = [group for group in groups if group["params"]]
        self.optimiser = torch.optim.Adam(groups) if groups else None

    def learn(self, batch: "FixedBatch", factor: float) -> None:
        """Take in one batch; the gradients of the network are left to be cleared."""
        if self.optimiser is not None:
            self.optimiser.zero_grad()
        batch.learn(self.rule, self.name)
        if self.optimiser is not None:
            set_learning_rate(self.optimiser, factor)
            self.optimiser.step()


class FixedBatch:
    """Samples that several rules learn from, each with noise of its own."""

    def __init__(
        self, session: ClassificationSession, indices: Tensor, *key: int, augment: bool
    ) -> None:
        self._session = session
        self._key = key
        augmentation = generator_for(session.config.seed, "augment", *key) if augment else None
        self.inputs, self.targets = session.feeder.take(
            session.dataset.train, indices, augmentation
        )

    def learn(self, rule: LearningRule, purpose: str, *draw: int) -> float:
        """Let a rule learn; its noise depends on the batch, the rule and ``draw``."""
        session = self._session
        seed, feeder = session.config.seed, session.feeder
        encoding = generator_for(seed, "encode", *self._key)
        outcome = rule.learn(
            feeder.over_time(self.inputs, encoding),
            feeder.timesteps,
            self.targets,
            generator=generator_for(seed, f"noise of {purpose}", *self._key, *draw),
        )
        return float(outcome.loss)


class Trajectory:
    """A training run stepped from outside.

    Args:
        config: of the leader, its rule included.
        followers: rules that keep their feedback beside it.
        dataset: loaded.
    """

    def __init__(self, config: TrainConfig, followers: Sequence[str], dataset: Dataset) -> None:
        self.session = ClassificationSession(
            config, dataset, torch.device("cpu"), started=perf_counter()
        )
        self.leader: str = config.rule.name
        self.followers = [Follower(name, self.session) for name in followers]
        self.total_steps = config.epochs * self.session.steps_per_epoch

    @property
    def rules(self) -> dict[str, OnlineRule]:
        """Leader and followers by name."""
        found: dict[str, OnlineRule] = {}
        followers = {each.name: each.rule for each in self.followers}
        for name, rule in {self.leader: self.session.rule, **followers}.items():
            assert isinstance(rule, OnlineRule)
            found[name] = rule
        return found

    def steps(self) -> Iterator[tuple[int, float]]:
        """Train; yield the number of steps done and the loss of the last batch, after each."""
        session = self.session
        config = session.config
        done = 0
        for epoch in range(1, config.epochs + 1):
            order = epoch_order(session.partition.train, config.seed, epoch)
            for number, indices in enumerate(torch.split(order, config.batch_size)):
                batch = FixedBatch(session, indices, epoch, number, augment=True)
                factor = learning_rate_factor(config, done, session.steps_per_epoch)
                for follower in self.followers:
                    if follower.name in KEEPS_FEEDBACK:
                        follower.learn(batch, factor)
                session.optimiser.zero_grad()
                loss = batch.learn(session.rule, self.leader)
                set_learning_rate(session.optimiser, factor)
                session.optimiser.step()
                session.optimiser.zero_grad()
                done += 1
                yield done, loss


@contextmanager
def unchanged(rule: LearningRule) -> Iterator[None]:
    """Within ``with``, a rule may learn; afterwards its own state is what it was."""
    before = {name: tensor.clone() for name, tensor in rule.state_dict().items()}
    try:
        yield
    finally:
        rule.load_state_dict(before)
        for parameter in rule.parameters():
            parameter.grad = None
