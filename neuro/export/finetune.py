"""Fine-tuning: a network learns on in the whole numbers of a chip, by the rule it was trained with.

What calibration lost, training wins back: the forward pass is that of the integer graph, and
gradients pass straight through its rounding (:mod:`neuro.export.quantised`).
"""

import copy
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np
from torch import Tensor

from neuro.errors import UsageError
from neuro.export.quantised import QuantisedNetwork
from neuro.export.run import calibrate, calibration_steps
from neuro.hardware.fixed_point import Recording, run
from neuro.hardware.integer_graph import STATE_SHIFT, IntegerGraph
from neuro.hardware.messages import encode_inputs
from neuro.hardware.quantise import Quantised, report
from neuro.hardware.targets import Target
from neuro.training.classification import ClassificationSession
from neuro.training.environment import computing
from neuro.training.epoch import train_epoch
from neuro.training.interrupts import StopSignals
from neuro.training.session import Totals


@dataclass(frozen=True, eq=False, kw_only=True)
class FineTuned:
    """What fine-tuning made.

    Attributes:
        network: in whole numbers; its parameters are what was trained.
        quantised: the integer graph that does what the network does.
        epochs: that were trained.
        lr: learning rate at the start.
        best_epoch: whose weights these are; 0 for those that calibration gave.
        validation_accuracy: of the integers after each epoch, epoch 0 first; empty if the run holds
            no samples out.
    """

    network: QuantisedNetwork
    quantised: Quantised
    epochs: int
    lr: float
    best_epoch: int
    validation_accuracy: tuple[float, ...]

    def record(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "epochs": self.epochs,
            "lr": self.lr,
            "best_epoch": self.best_epoch,
            "validation_accuracy": list(self.validation_accuracy),
        }


def finetune(
    session: ClassificationSession,
    quantised: Quantised,
    target: Target,
    *,
    epochs: int,
    lr: float | None = None,
    samples: int = 256,
    note: Callable[[str], None] = print,
) -> FineTuned:
    """Train a run's network on as the integers it was quantised to.

    Rule, optimiser, batch size, augmentation and seed are those of the run; the learning rate falls
    to 0 along half a cosine. Scales, thresholds and decays stay those of the calibration. Of a run
    that holds samples out, the epoch is kept that does best on them, or the calibration alone.

    Args:
        session: the run, at the checkpoint that was quantised; left as it is.
        quantised: from :func:`neuro.export.run.quantise_session`.
        target: the chip it was quantised for.
        epochs: over the training samples.
        lr: learning rate at the start; a tenth of the run's by default.
        samples: of training, on which the report looks at registers.
        note: told how it goes.

    Raises:
        UsageError: a layer that fine-tuning knows nothing of, or numbers that outgrew registers.
        DivergedError: NaN or infinity appeared.
        TrainingInterrupted: SIGINT or SIGTERM came.
    """
    rate = session.config.lr / 10 if lr is None else lr
    if epochs < 1 or not rate > 0:
        raise UsageError(
            f"fine-tuning takes epochs >= 1 and a learning rate > 0, got {epochs} and {rate:g}."
        )
    network = QuantisedNetwork(session.network, quantised.graph, target)
    tuning = _continued(session, network, epochs, rate)
    config = tuning.config
    with (
        StopSignals() as stop,
        computing(
            tuning.device,
            seed=config.seed,
            deterministic=config.deterministic,
            threads=config.threads,
        ),
    ):
        stop.deferred = True
        best = _Best(tuning)
        for epoch in range(1, epochs + 1):
            went = train_epoch(
                tuning,
                stop,
                epoch,
                doing="fine-tuning",
                left="nothing was written",
                advice="Lower --finetune-lr.",
            )
            note(f"Fine-tuning, epoch {epoch} of {epochs}: {went}{best.judge(epoch)}")
            tuning.position.epoch, tuning.position.batch = tuning.position.epoch + 1, 0
            tuning.totals = Totals()
        best.restore()
    facts = {"epochs": epochs, "lr": rate, "best_epoch": best.epoch}
    return FineTuned(
        network=network,
        quantised=_integers(session, network, quantised, target, samples, facts),
        epochs=epochs,
        lr=rate,
        best_epoch=best.epoch,
        validation_accuracy=tuple(best.accuracies),
    )


def _continued(
    session: ClassificationSession, network: QuantisedNetwork, epochs: int, lr: float
) -> ClassificationSession:
    """Return the run as it goes on: its rule's state, a new optimiser, its epochs behind it."""
    schedule = session.config.schedule.model_copy(update={"name": "cosine", "per": "step"})
    config = session.config.model_copy(update={"epochs": epochs, "lr": lr, "schedule": schedule})
    tuning = ClassificationSession(
        config, session.dataset, session.device, started=time.perf_counter(), network=network
    )
    tuning.rule.load_state_dict(session.rule.state_dict())
    tuning.position.epoch = session.config.epochs + 1  # orders and noise that were not seen yet
    return tuning


class _Best:
    """The weights that did best in validation, those of the start among them; else the last."""

    def __init__(self, tuning: ClassificationSession) -> None:
        self._tuning = tuning
        self._reached = (-1.0, 0.0)
        self._weights: dict[str, Tensor] = {}
        self.epoch = 0
        self.accuracies: list[float] = []
        self.judge(0)

    def judge(self, epoch: int) -> str:
        """Look at the weights after an epoch and say how they do."""
        found = self._tuning.validate()
        if not found:
            self.epoch = epoch
            return ""
        accuracy, loss = found["validation_accuracy"], found["validation_loss"]
        self.accuracies.append(accuracy)
        if (accuracy, -loss) > self._reached:
            self.epoch, self._reached = epoch, (accuracy, -loss)
            self._weights = copy.deepcopy(self._tuning.network.state_dict())
        return f", validation accuracy {accuracy:.2%}"

    def restore(self) -> None:
        """Go back to them."""
        if self._weights:
            self._tuning.network.load_state_dict(self._weights)


def _integers(
    session: ClassificationSession,
    network: QuantisedNetwork,
    before: Quantised,
    target: Target,
    samples: int,
    facts: dict[str, Any],
) -> Quantised:
    """Return the graph of a network in whole numbers, with the report on its layers."""
    graph = network.integers()
    steps = calibration_steps(session, samples)
    found = calibrate(network, steps)
    recording = run(
        graph,
        encode_inputs(graph, found.inputs),
        record=list(graph.populations),
        record_states=False,
        accumulator_bits=target.accumulator_bits,
    )
    for name, extremes in recording.extremes.items():
        if extremes.wrapped_inputs or extremes.wrapped_u or extremes.clipped_v:
            raise UsageError(
                f"{name}: fine-tuning drove its sums out of their registers. Lower --finetune-lr."
            )
    losses = {}
    for old, (name, lost) in zip(before.layers, network.losses().items(), strict=True):
        difference = _difference(graph, name, recording, found.answers[name])
        losses[name] = {**lost._asdict(), "disagreement": difference, "tried": old.tried}
    layers = report(graph, target, recording.extremes, losses)
    told = {"finetuning": facts, "quantisation": [asdict(layer) for layer in layers]}
    return Quantised(graph=replace(graph, metadata={**graph.metadata, **told}), layers=layers)


def _difference(graph: IntegerGraph, name: str, recording: Recording, answers: Any) -> float:
    """Return what integers do otherwise than the network they are of: 0, or rounding of sums."""
    depth = graph.metadata["depths"][name]
    if answers.ndim == recording.spikes[name].ndim:
        late = recording.spikes[name][depth : depth + len(answers)]
        return float(np.mean(late != answers))
    made = recording.final_v[name] / (graph.metadata["scales"][name] * (1 << STATE_SHIFT))
    return float(((made - answers) ** 2).mean() / max(float(answers.var()), 1e-300))
