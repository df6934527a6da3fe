"""A run as integers for a chip, and how well these do on the test set beside the network."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro.data import Split
from neuro.errors import UsageError
from neuro.export.folder import Samples
from neuro.export.network import float_graph
from neuro.hardware.calibration import Calibration
from neuro.hardware.fixed_point import Extremes, answers, run
from neuro.hardware.integer_graph import IntegerGraph
from neuro.hardware.messages import encode_inputs
from neuro.hardware.quantise import Quantised, quantise
from neuro.hardware.targets import Target, target_named
from neuro.layers import INPUT, Network
from neuro.training import load_run
from neuro.training.checkpoint import load_checkpoint
from neuro.training.classification import ClassificationSession
from neuro.training.evaluate import evaluate
from neuro.training.seeds import generator_for


@dataclass(frozen=True)
class Comparison:
    """Accuracy of integers beside that of the network they came from.

    ``float_accuracy`` is that of ``neuro evaluate``; ``agreement`` the share of samples for which
    both give one answer; ``extremes`` what registers had to hold, by population; ``spikes`` of a
    sample, by source and population, on average.
    """

    samples: int
    float_accuracy: float
    integer_accuracy: float
    agreement: float
    extremes: dict[str, Extremes]
    spikes: dict[str, float]


def load_classifier(
    run_dir: Path, *, checkpoint: str = "last", data_dir: Path | None = None, download: bool = True
) -> ClassificationSession:
    """Open a run at a checkpoint.

    Raises:
        CheckpointError: the folder is no run, or the checkpoint is missing or damaged.
        UsageError: the run trained graph reasoning.
    """
    opened, session = load_run(run_dir, data_dir=data_dir, download=download)
    if not isinstance(session, ClassificationSession):
        raise UsageError(
            f"Run {run_dir} trained {session.config.method_name}, which answers questions of a "
            "graph; a chip takes classifiers, and of grsnn one question: --head and --relation."
        )
    fingerprint = session.config.fingerprint()
    session.restore_weights(
        load_checkpoint(opened.checkpoints, checkpoint, fingerprint=fingerprint)
    )
    return session


def quantise_session(
    session: ClassificationSession, target: Target, *, samples: int = 256
) -> Quantised:
    """Quantise the network of a run, calibrated on samples it was trained on.

    Args:
        session: from :func:`load_classifier`.
        target: the chip.
        samples: to calibrate on, the first of the training samples.

    Raises:
        UsageError: something the chip cannot hold; see :func:`neuro.hardware.quantise.quantise`.
    """
    grid = session.feeder.grid
    graph = float_graph(
        session.network,
        grain=None if grid is None else grid[0].numpy(),
        offset=None if grid is None else grid[1].numpy(),
    )
    steps = calibration_steps(session, samples)
    return quantise(
        graph,
        target,
        calibrate(session.network, steps),
        timesteps=len(steps),
        metadata={"dataset": session.dataset.name, "method": session.config.method_name},
    )


def first_test_samples(session: ClassificationSession, count: int) -> Samples:
    """Return the first test samples, encoded as ``neuro evaluate`` encodes them.

    Raises:
        UsageError: there are not so many.
    """
    split = session.dataset.test
    check_count("--samples", count, len(split), "test")
    arrays, shown = [], []
    for steps, targets in _batches(session, split, torch.arange(len(split))):
        arrays.append(over_time(steps))
        shown.append(targets.cpu().numpy().astype(np.int64))
        if sum(map(len, shown)) >= count:
            break
    inputs = arrays[0] if len(arrays) == 1 else np.concatenate(arrays, axis=1)
    return Samples({INPUT: inputs[:, :count]}, np.concatenate(shown)[:count])


def check_count(option: str, count: int, held: int, split: str) -> None:
    """Raise UsageError if more samples are asked for than there are."""
    if count > held:
        raise UsageError(f"{option} {count}: the {split} set holds {held} samples.")


def calibration_steps(session: ClassificationSession, samples: int) -> list[Tensor]:
    """Return the first training samples, ``[B, *shape]`` of each step."""
    feeder = session.feeder
    check_count("--calibrate", samples, len(session.partition.train), "training")
    inputs, _ = feeder.take(session.dataset.train, session.partition.train[:samples])
    encoding = generator_for(session.config.seed, "calibrate", device=feeder.device)
    return list(feeder.over_time(inputs, encoding))


@torch.no_grad()
def calibrate(network: Network, steps: list[Tensor]) -> Calibration:
    """Run a network and note its inputs ``[B, *shape]`` of each step and what all layers answer."""
    network.eval()
    state = network.initial_state(len(steps[0]), steps[0].device)
    weights = network.effective_weights()
    spikes: dict[str, list[NDArray[Any]]] = {}
    total: Tensor | float = 0.0
    for x in steps:
        values, state = network.advance(x, state, weights)
        for name in network.neuron_nodes:
            fired = (values[name] != 0).cpu().numpy().astype(np.int8)
            spikes.setdefault(name, []).append(fired)
        total = total + values[network.output].double()
    network.train()
    found: dict[str, NDArray[Any]] = {name: np.stack(each) for name, each in spikes.items()}
    if network.output not in found and isinstance(total, Tensor):
        found[network.output] = total.cpu().numpy()
    return Calibration(inputs={INPUT: over_time(steps)}, answers=found)


def over_time(steps: list[Tensor]) -> NDArray[np.float64]:
    """Return ``[T, B, *shape]``; a constant input is stored once."""
    first = steps[0].detach().cpu().double().numpy()
    if all(step is steps[0] for step in steps):
        return np.broadcast_to(first, (len(steps), *first.shape))
    return np.stack([step.detach().cpu().double().numpy() for step in steps])


def compare(
    session: ClassificationSession, graph: IntegerGraph, *, samples: int | None = None
) -> Comparison:
    """Run an integer graph and the network it was made of on the test set.

    Args:
        session: the network and the data.
        graph: from :func:`quantise_session`.
        samples: the first so many; all by default.
    """
    config, split = session.config, session.dataset.test
    if samples is not None:
        check_count("--accuracy", samples, len(split), "test")
    indices = torch.arange(len(split))[:samples]
    found = evaluate(
        session.network,
        session.feeder,
        split,
        indices=indices,
        batch_size=config.evaluation_batch_size,
        seed=config.seed,
    )
    accumulator_bits = target_named(graph.metadata["target"]).accumulator_bits
    correct = agreed = 0
    extremes: dict[str, Extremes] = {}
    spikes: dict[str, float] = {}
    for steps, targets in _batches(session, split, indices):
        messages = encode_inputs(graph, {INPUT: over_time(steps)})
        recording = run(graph, messages, accumulator_bits=accumulator_bits)
        given = answers(graph, recording)
        correct += int((given == targets.cpu().numpy()).sum())
        theirs = session.network.run(steps).logits.argmax(1).cpu().numpy()
        agreed += int((given == theirs).sum())
        for name, each in recording.extremes.items():
            extremes[name] = extremes[name].merged(each) if name in extremes else each
        for name, events in recording.events.items():
            spikes[name] = spikes.get(name, 0.0) + float(events.sum()) / len(indices)
    return Comparison(
        len(indices),
        found.accuracy,
        correct / len(indices),
        agreed / len(indices),
        extremes,
        spikes,
    )


def messages_of_test_set(
    session: ClassificationSession, graph: IntegerGraph
) -> Iterator[dict[str, NDArray[np.int16]]]:
    """Yield the whole test set in batches, as the sources of an integer graph send it."""
    split = session.dataset.test
    for steps, _ in _batches(session, split, torch.arange(len(split))):
        yield encode_inputs(graph, {INPUT: over_time(steps)})


def _batches(
    session: ClassificationSession, split: Split, indices: Tensor
) -> Iterator[tuple[list[Tensor], Tensor]]:
    """Yield the inputs and targets of batches, encoded as ``neuro evaluate`` encodes them."""
    config, feeder = session.config, session.feeder
    for number, chosen in enumerate(torch.split(indices, config.evaluation_batch_size)):
        inputs, targets = feeder.take(split, chosen)
        generator = generator_for(config.seed, "evaluate", number, device=feeder.device)
        yield list(feeder.over_time(inputs, generator)), targets
