"""Accuracy, loss and firing rates of a network on samples it does not learn from."""

from collections.abc import Mapping
from math import prod
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from neuro.data import Split
from neuro.layers import Network
from neuro.training.batches import Feeder
from neuro.training.seeds import generator_for


class Evaluation(NamedTuple):
    """What a network does on a set of samples.

    ``loss``: cross-entropy of the logits averaged over time, mean over samples. ``accuracy``: share
    of samples whose largest mean logit is the target. ``firing_rates``: spikes per neuron and step.
    """

    loss: float
    accuracy: float
    firing_rates: dict[str, float]
    samples: int


def evaluate(
    network: Network,
    feeder: Feeder,
    split: Split,
    *,
    indices: Tensor | None = None,
    batch_size: int,
    seed: int,
) -> Evaluation:
    """Run a network without noise and without learning.

    Args:
        network: left as it is.
        feeder: scales samples and encodes them over time.
        split: where the samples are.
        indices: which of them, all by default.
        batch_size: samples at once; bounds memory.
        seed: of the run; random encodings draw from it, by batch.
    """
    if indices is None:
        indices = torch.arange(len(split))
    loss = correct = 0.0
    rates: dict[str, float] = {}
    network.eval()
    for number, chosen in enumerate(torch.split(indices, batch_size)):
        inputs, targets = feeder.take(split, chosen)
        generator = generator_for(seed, "evaluate", number, device=feeder.device)
        readout = network.run(feeder.over_time(inputs, generator))
        loss += float(functional.cross_entropy(readout.logits, targets, reduction="sum"))
        correct += int((readout.logits.argmax(1) == targets).sum())
        for name, rate in readout.firing_rates.items():
            rates[name] = rates.get(name, 0.0) + float(rate) * len(chosen)
    network.train()
    samples = len(indices)
    return Evaluation(
        loss / samples, correct / samples, {n: r / samples for n, r in rates.items()}, samples
    )


def mean_firing_rate(network: Network, firing_rates: Mapping[str, float]) -> float:
    """Return spikes per neuron and step over the whole network, layers weighted by neurons."""
    neurons = {name: prod(network.shapes[name]) for name in network.neuron_nodes}
    total = sum(neurons.values())
    return (
        sum(rate * neurons[name] for name, rate in firing_rates.items()) / total if total else 0.0
    )
