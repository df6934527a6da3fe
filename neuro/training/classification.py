"""Training a network to classify, by a learning rule."""

from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

import torch
from torch import nn

from neuro.config import TrainConfig
from neuro.data import Dataset
from neuro.layers import Network
from neuro.learning import build_rule
from neuro.models import build_model
from neuro.training.batches import Feeder, epoch_order, partition
from neuro.training.divergence import find_not_finite
from neuro.training.evaluate import evaluate, mean_firing_rate
from neuro.training.optimisers import build_optimiser, learning_rate_factor, set_learning_rate
from neuro.training.seeds import generator_for
from neuro.training.session import Learned, Session, Tested
from neuro.training.updates import Updates


class ClassificationSession(Session):
    """Network, learning rule and samples.

    Args:
        config: the configuration.
        dataset: loaded as the configuration asks.
        device: where to train.
        started: ``time.perf_counter()`` when the work began, loading included.
        network: to train in place of a new one that the configuration describes.
    """

    config: TrainConfig

    def __init__(
        self,
        config: TrainConfig,
        dataset: Dataset,
        device: torch.device,
        *,
        started: float,
        network: Network | None = None,
    ) -> None:
        super().__init__(config, device, started=started)
        self.dataset = dataset
        self.feeder = Feeder(dataset, config, device)
        if network is None:
            weights = generator_for(config.seed, "weights")
            network = build_model(
                config.model, self.feeder.network_input_shape, dataset.classes, weights
            )
        self.network = network.to(device)
        feedback = generator_for(config.seed, "rule")
        self.rule = build_rule(self.network, config.rule, generator=feedback).to(device)
        self.optimiser = build_optimiser(self.rule, config)
        self.partition = partition(len(dataset.train), config.validation_fraction, config.seed)
        self.steps_per_epoch = ceil(len(self.partition.train) / config.batch_size)

    @property
    def modules(self) -> dict[str, nn.Module]:
        return {"network": self.network, "rule": self.rule}

    def begin_epoch(self) -> None:
        self._order = epoch_order(self.partition.train, self.config.seed, self.position.epoch)

    def learn(self, updates: Updates) -> Learned:
        config, feeder = self.config, self.feeder
        epoch, batch = self.position.epoch, self.position.batch
        indices = self._order[batch * config.batch_size : (batch + 1) * config.batch_size]
        inputs, targets = feeder.take(
            self.dataset.train, indices, generator_for(config.seed, "augment", epoch, batch)
        )
        set_learning_rate(self.optimiser, self._learning_rate_factor())
        online = getattr(config.rule, "update", "accumulate") == "online"
        encoding, noise = (
            generator_for(config.seed, purpose, epoch, batch, device=self.device)
            for purpose in ("encode", "noise")
        )
        outcome = self.rule.learn(
            feeder.over_time(inputs, encoding),
            feeder.timesteps,
            targets,
            generator=noise,
            after_step=updates.apply if online else None,
        )
        correct = (outcome.logits.argmax(1) == targets).sum()
        loss, right, *rates = torch.stack(
            [outcome.loss, correct, *outcome.firing_rates.values()]  # one transfer from a GPU
        ).tolist()
        updates.check_loss(loss)
        if not online:
            updates.apply()
        firing_rates = dict(zip(outcome.firing_rates, rates, strict=True))
        return Learned(len(indices), loss, int(right), firing_rates)

    def learning_rate(self) -> float:
        return self.config.lr * self._learning_rate_factor()

    def validate(self) -> dict[str, float]:
        if not len(self.partition.validation):
            return {}
        found = evaluate(
            self.network,
            self.feeder,
            self.dataset.train,
            indices=self.partition.validation,
            batch_size=self.config.evaluation_batch_size,
            seed=self.config.seed,
        )
        return {"validation_loss": found.loss, "validation_accuracy": found.accuracy}

    def test(self, *, events: bool = False) -> Tested:
        if events:
            for synapse in self.network.synapse_nodes.values():
                synapse.event_driven = True
        found = evaluate(
            self.network,
            self.feeder,
            self.dataset.test,
            batch_size=self.config.evaluation_batch_size,
            seed=self.config.seed,
        )
        metrics = {
            "test_accuracy": found.accuracy,
            "test_loss": found.loss,
            "firing_rate": mean_firing_rate(self.network, found.firing_rates),
        }
        return Tested(metrics, found.firing_rates)

    def mean_firing_rate(self, firing_rates: Mapping[str, float]) -> float:
        return mean_firing_rate(self.network, firing_rates)

    def find_not_finite(self, loss: float) -> str:
        return find_not_finite(self.rule, loss)

    def draw(self, epochs: list[dict[str, Any]], folder: Path) -> None:
        from neuro.training.plots import draw_firing_rates, draw_learning_curve, draw_raster

        draw_learning_curve(epochs, folder / "learning_curve.png")
        if self.network.neuron_nodes:
            draw_firing_rates(epochs, folder / "firing_rates.png")
            draw_raster(self.network, self.feeder, self.dataset.test, folder / "raster.png")

    def summarise(
        self, last: Tested, best: Tested | None, epochs: list[dict[str, Any]]
    ) -> dict[str, float | int | None]:
        return {
            "test_accuracy": last.metrics["test_accuracy"],
            "test_loss": last.metrics["test_loss"],
            "test_accuracy_best_validation": best and best.metrics["test_accuracy"],
            "best_validation_epoch": self.best.epoch or None,
            "best_validation_accuracy": self.best.accuracy if self.best.epoch else None,
            "validation_accuracy": epochs[-1].get("validation_accuracy"),
            "train_accuracy": epochs[-1]["train_accuracy"],
            "train_loss": epochs[-1]["train_loss"],
            "firing_rate": last.metrics["firing_rate"],
        }

    def _learning_rate_factor(self) -> float:
        return learning_rate_factor(self.config, self.position.step, self.steps_per_epoch)
