"""What every data set becomes once it is loaded: tensors, names and how to scale them."""

from dataclasses import dataclass
from typing import Literal

import torch

from neuro.errors import DataError

Kind = Literal["static", "events"]


@dataclass(frozen=True)
class Split:
    """Samples and their classes.

    Args:
        inputs: uint8 or float32. Static data ``[N, C, H, W]`` or ``[N, F]``; event frames
            ``[N, T, C, H, W]`` or ``[N, T, F]`` (counts per pixel, possibly memory-mapped).
        targets: int64 ``[N]``, classes from 0.

    Raises:
        DataError: the two disagree in length or in type.
    """

    inputs: torch.Tensor
    targets: torch.Tensor

    def __post_init__(self) -> None:
        if self.inputs.dtype not in (torch.uint8, torch.float32):
            raise DataError(f"Inputs must be uint8 or float32, got {self.inputs.dtype}.")
        if self.targets.dtype != torch.int64 or self.targets.dim() != 1:
            raise DataError(
                f"Targets must be int64 of shape [N], got {self.targets.dtype} "
                f"of shape {list(self.targets.shape)}."
            )
        if len(self.inputs) != len(self.targets):
            raise DataError(
                f"{len(self.inputs)} inputs but {len(self.targets)} targets: a split needs "
                "one target per input."
            )

    def __len__(self) -> int:
        return len(self.targets)


@dataclass(frozen=True)
class Dataset:
    """A train and a test split, and what a training loop must know to feed them.

    A network sees ``(inputs / scale - mean) / std`` per channel; without ``mean`` it sees
    ``inputs / scale``.

    Args:
        name: the name it was asked for by.
        kind: ``"static"`` inputs have no time axis; ``"events"`` inputs are frames over time.
        class_names: one name per class; targets index into it.
        train: the published training set. Validation samples are taken from it by the loop.
        test: the published test set.
        scale: inputs are divided by it; > 0.
        mean, std: per channel, in units of ``inputs / scale``.
        augment: ``"crop-flip"`` = random crop after padding by 4 pixels and random horizontal
            flip, for training samples only.
        source: which files (or generator and seed) the samples came from.

    Raises:
        DataError: the splits differ in shape, a target has no class name, or the scaling is wrong.
    """

    name: str
    kind: Kind
    class_names: tuple[str, ...]
    train: Split
    test: Split
    scale: float = 1.0
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None
    augment: Literal["crop-flip"] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        ranks = {"static": (2, 4), "events": (3, 5)}[self.kind]
        if self.train.inputs.dim() not in ranks:
            raise DataError(
                f"{self.name}: {self.kind} inputs have {ranks[0]} or {ranks[1]} axes, "
                f"got shape {list(self.train.inputs.shape)}."
            )
        if self.train.inputs.shape[1:] != self.test.inputs.shape[1:]:
            raise DataError(
                f"{self.name}: training samples have shape {list(self.train.inputs.shape[1:])}, "
                f"test samples {list(self.test.inputs.shape[1:])}."
            )
        for split_name, split in (("training", self.train), ("test", self.test)):
            if len(split) == 0:
                raise DataError(f"{self.name}: the {split_name} split is empty.")
            low, high = int(split.targets.min()), int(split.targets.max())
            if low < 0 or high >= len(self.class_names):
                raise DataError(
                    f"{self.name}: {split_name} targets span {low}..{high}, but there are "
                    f"{len(self.class_names)} classes (0..{len(self.class_names) - 1})."
                )
        if not self.scale > 0:
            raise DataError(f"{self.name}: scale must be > 0, got {self.scale}.")
        self._check_normalisation()

    def _check_normalisation(self) -> None:
        if (self.mean is None) != (self.std is None):
            raise DataError(f"{self.name}: give both mean and std, or neither.")
        if self.mean is None or self.std is None:
            return
        channels = self.input_shape[0]
        if len(self.mean) != channels or len(self.std) != channels:
            raise DataError(
                f"{self.name}: mean and std need one number per channel ({channels}), "
                f"got {len(self.mean)} and {len(self.std)}."
            )
        if min(self.std) <= 0:
            raise DataError(f"{self.name}: std must be > 0, got {self.std}.")

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one sample at one time step: ``(C, H, W)`` or ``(F,)``."""
        leading = 1 if self.kind == "static" else 2
        return tuple(self.train.inputs.shape[leading:])

    @property
    def classes(self) -> int:
        """Number of classes."""
        return len(self.class_names)

    @property
    def timesteps(self) -> int | None:
        """Number of frames per sample of event data; None for static data."""
        return None if self.kind == "static" else int(self.train.inputs.shape[1])
