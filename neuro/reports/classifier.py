"""A classifier counted on samples of its test set."""

from collections.abc import Callable, Iterator
from functools import reduce
from math import ceil
from operator import add
from typing import Any

import torch
from torch import Tensor

from neuro.encoding import DeltaModulation
from neuro.energy.counting.network import NetworkCounter
from neuro.energy.counts import Ledger
from neuro.energy.reporting.record import Subject
from neuro.energy.signals import Signal
from neuro.export.run import check_count
from neuro.reports.opening import CountOptions, recorded
from neuro.training import RunDirectory
from neuro.training.classification import ClassificationSession
from neuro.training.seeds import generator_for

SAMPLES = 512
"""Test samples that are counted unless asked otherwise."""
BATCHES = 8
"""Of samples, at least: their spread is told."""


def count_classifier(
    run: RunDirectory, session: ClassificationSession, what: dict[str, Any], options: CountOptions
) -> Subject:
    """Count test samples, drawn with a fixed seed.

    Args:
        run: whose summary says how well it does; where it does not, the counted samples do.
        session: at the weights to be counted.
        what: names of the run.
        options: how many samples, and whether by time step.

    Raises:
        UsageError: the test set holds fewer samples.
    """
    held = len(session.dataset.test)
    check_count("--samples", options.samples or 0, held, "test")
    samples = min(options.samples or SAMPLES, held)
    signal = input_signal(session)
    accuracy, judged = recorded(run, what["checkpoint"], "test_accuracy"), held
    counter = NetworkCounter(session.network.eval(), signal=signal)
    ledgers: list[Ledger] = []
    right = 0
    for steps, targets in sample_batches(session, samples):
        found = counter.count(steps, per_step=options.per_step)
        ledgers.append(found.ledger)
        right += int((found.logits.argmax(1) == targets).sum())
    if accuracy is None:
        accuracy, judged = right / samples, samples
    return Subject(
        what={**what, "signal": signal, "accuracy_samples": judged},
        ledger=reduce(add, ledgers),
        batches=ledgers,
        parameters=session.parameters,
        accuracy=accuracy,
        measure="accuracy",
    )


def sample_batches(
    session: ClassificationSession, samples: int, *, at_once: int | None = None
) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Yield the inputs of each step, and the targets, of test samples drawn with a fixed seed."""
    config, feeder, split = session.config, session.feeder, session.dataset.test
    order = torch.randperm(len(split), generator=torch.Generator().manual_seed(0))
    size = min(config.evaluation_batch_size, at_once or ceil(samples / BATCHES))
    for number, chosen in enumerate(torch.split(order[:samples].sort().values, size)):
        inputs, targets = feeder.take(split, chosen)
        generator = generator_for(config.seed, "evaluate", number, device=feeder.device)
        yield list(feeder.over_time(inputs, generator)), targets


def run_samples(session: ClassificationSession, samples: int) -> Callable[[], object]:
    """Return a function that runs the samples that are counted, encoded beforehand."""
    batches = [steps for steps, _ in sample_batches(session, samples)]
    network = session.network.eval()

    def run() -> None:
        for steps in batches:
            network.run(steps)

    return run


def input_signal(session: ClassificationSession) -> Signal:
    """Return what enters the network: constant currents, counts of events, or spikes."""
    if session.feeder.events:
        return "graded" if session.dataset.mean is None else "real"
    encoding = session.config.encoding
    if encoding.name == "direct":
        return "real"
    signed = isinstance(encoding, DeltaModulation) and encoding.channels == "signed"
    return "ternary" if signed else "binary"
