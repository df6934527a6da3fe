"""What a run learns from, for a network without time."""

from dataclasses import replace

import torch

from neuro.config import TrainConfig
from neuro.data import Dataset
from neuro.data.dataset import Split

_CHUNK = 512


def mean_frames(dataset: Dataset) -> Dataset:
    """Return event data as static data, each sample the mean of its frames; others as they are."""
    if dataset.kind == "static":
        return dataset

    def mean(split: Split) -> Split:
        shape = (len(split), *split.inputs.shape[2:])
        frames = torch.empty(shape, dtype=torch.float32)
        for first in range(0, len(split), _CHUNK):
            some = slice(first, first + _CHUNK)
            frames[some] = split.inputs[some].to(torch.float32).mean(1)
        return Split(frames, split.targets)

    return replace(dataset, kind="static", train=mean(dataset.train), test=mean(dataset.test))


def timeless(config: TrainConfig, lr: float) -> TrainConfig:
    """Return the configuration of a run for one step of backpropagation."""
    loss = config.rule.mse_weight
    plain = TrainConfig.model_validate({"rule": {"name": "bptt", "mse_weight": loss}})
    changes = {"rule": plain.rule, "encoding": plain.encoding, "timesteps": 1, "lr": lr}
    return config.model_copy(update=changes)
