"""Batches by position: which samples, how they are scaled and augmented, how they enter in time."""

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from neuro.config import TrainConfig
from neuro.data import Dataset, Split
from neuro.errors import ConfigError
from neuro.training.seeds import generator_for

CROP_PADDING = 4


class Batch(NamedTuple):
    """``inputs``: ``(B, C, H, W)``, ``(B, F)``, or with T frames after B. ``targets``: ``(B,)``."""

    inputs: Tensor
    targets: Tensor


class Partition(NamedTuple):
    """Indices into the published training set: samples to train on and samples to validate on."""

    train: Tensor
    validation: Tensor


def partition(samples: int, fraction: float, seed: int) -> Partition:
    """Hold out ``round(fraction * samples)`` training samples, drawn by the seed.

    Raises:
        ConfigError: nothing would be left to train on.
    """
    order = torch.randperm(samples, generator=generator_for(seed, "validation split"))
    held_out = round(fraction * samples)
    if held_out >= samples:
        raise ConfigError(
            f"validation_fraction = {fraction} holds out all {samples} training samples."
        )
    return Partition(order[held_out:].sort().values, order[:held_out].sort().values)


def epoch_order(indices: Tensor, seed: int, epoch: int) -> Tensor:
    """Return ``indices`` in the order of an epoch; the order depends on seed and epoch alone."""
    shuffle = torch.randperm(len(indices), generator=generator_for(seed, "order", epoch))
    return indices[shuffle]


class Feeder:
    """Takes samples from a data set and makes them what a network sees.

    ``x = (raw / scale - mean) / std`` per channel. Encodings that read an input as a probability or
    a latency want ``[0, 1]``: with any encoding but ``direct``, mean and std are left out.

    Args:
        dataset: gives scale, mean, std and augmentation.
        config: encoding, timesteps, whether to augment.
        device: where batches go.
    """

    def __init__(self, dataset: Dataset, config: TrainConfig, device: torch.device) -> None:
        self.dataset = dataset
        self.config = config
        self.device = device
        self.events = dataset.kind == "events"
        self.timesteps = dataset.timesteps or config.timesteps
        self.series = config.encoding.name == "delta"
        if self.series and len(dataset.input_shape) != 1:
            raise ConfigError(
                'Encoding "delta" tells the changes of a series; '
                f"{dataset.name} has samples of shape {dataset.input_shape}. Use mnist1d, or "
                'encoding "direct", "rate" or "latency".'
            )
        shape = (-1, *[1] * (len(dataset.input_shape) - 1))
        standardise = config.encoding.name == "direct" and dataset.mean is not None
        self._mean = torch.tensor(dataset.mean, device=device).view(shape) if standardise else None
        self._std = torch.tensor(dataset.std, device=device).view(shape) if standardise else None

    def take(
        self, split: Split, indices: Tensor, augmentation: torch.Generator | None = None
    ) -> Batch:
        """Return the samples at ``indices``, augmented if a generator is given."""
        raw = split.inputs[indices]
        if augmentation is not None and self.config.augment and self.dataset.augment is not None:
            raw = crop_and_flip(raw, augmentation)
        inputs = raw.to(self.device, torch.float32)
        if self.dataset.scale != 1:
            inputs = inputs / self.dataset.scale
        if self._mean is not None and self._std is not None:
            inputs = (inputs - self._mean) / self._std
        return Batch(inputs, split.targets[indices].to(self.device))

    @property
    def grid(self) -> tuple[Tensor, Tensor] | None:
        """``(grain, offset)`` if every input is ``offset + n * grain`` for a whole number n, or
        None; each broadcasts to a sample."""
        if self.config.encoding.name != "direct" or self.dataset.train.inputs.is_floating_point():
            return None
        grain = torch.tensor(1 / self.dataset.scale, dtype=torch.float64)
        if self._mean is None or self._std is None:
            return grain, torch.zeros_like(grain)
        mean, std = (each.cpu().double() for each in (self._mean, self._std))
        return grain / std, -mean / std

    @property
    def network_input_shape(self) -> tuple[int, ...]:
        """Shape of one sample at one time step, as the network gets it."""
        shape = (1,) if self.series else self.dataset.input_shape
        return self.config.encoding.output_shape(shape)

    def over_time(self, inputs: Tensor, generator: torch.Generator) -> Iterator[Tensor]:
        """Yield ``x[t]`` for each time step: frames of events, or a static input encoded.

        Delta modulation reads a sample ``(F,)`` as a series of F values, one per step.
        """
        if self.events:
            return (inputs[:, step] for step in range(inputs.shape[1]))
        if self.series:
            inputs = inputs.unsqueeze(-1)
        return self.config.encoding.encode(inputs, self.timesteps, generator)


def crop_and_flip(images: Tensor, generator: torch.Generator) -> Tensor:
    """Crop each sample at random after padding with 4 zeros a side, mirror every second one.

    Args:
        images: ``(B, ..., H, W)``, any type; all frames of a sample move together.
        generator: on the CPU.

    Returns:
        Same shape and type.
    """
    batch, height, width = images.shape[0], images.shape[-2], images.shape[-1]
    offsets = torch.randint(0, 2 * CROP_PADDING + 1, (2, batch), generator=generator)
    mirrored = torch.rand(batch, generator=generator) < 0.5
    rows = offsets[0, :, None] + torch.arange(height)
    columns = torch.arange(width).expand(batch, -1)
    columns = offsets[1, :, None] + torch.where(mirrored[:, None], columns.flip(1), columns)
    flat = images.reshape(batch, -1, height, width)
    padded = functional.pad(flat, (CROP_PADDING,) * 4)
    sample = torch.arange(batch)[:, None, None, None]
    plane = torch.arange(flat.shape[1])[None, :, None, None]
    cropped = padded[sample, plane, rows[:, None, :, None], columns[:, None, None, :]]
    return cropped.reshape(images.shape)
