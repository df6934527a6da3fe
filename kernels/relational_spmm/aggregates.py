"""What one pass over the edges aggregates, as a set of flags, and what comes of it."""

from enum import IntFlag
from typing import NamedTuple

import torch
from torch import Tensor


class Aggregates(IntFlag):
    """Aggregates wanted of one pass; ``ADD`` adds the relation to the source, else multiplies."""

    SUM = 1
    SQUARES = 2
    MAXIMUM = 4
    MINIMUM = 8
    PLACES = 16
    ADD = 32
    PNA = SUM | SQUARES | MAXIMUM | MINIMUM


class Aggregated(NamedTuple):
    """Each ``[N, W]``, empty where not asked for.

    Places are those of edges in the list by destination, int32, of the first extreme message.
    """

    total: Tensor
    squares: Tensor
    maximum: Tensor
    minimum: Tensor
    maximum_places: Tensor
    minimum_places: Tensor


class Gradients(NamedTuple):
    """``[N, W]``, ``[R, W]`` and ``[N, W]``; the last is empty without a boundary."""

    features: Tensor
    relation: Tensor
    boundary: Tensor


BOUNDARY = -1
"""The place of the boundary's message, before all edges."""
NOTHING = -2
"""The place of the extreme message where there is none."""


def empty(features: Tensor, asked: Aggregates) -> Aggregated:
    """Return room for the aggregates of features ``[N, W]``."""

    def room(flag: Aggregates, dtype: torch.dtype) -> Tensor:
        shape = features.shape if asked & flag == flag else (0,)
        return torch.empty(shape, dtype=dtype, device=features.device)

    wanted = [Aggregates.SUM, Aggregates.SQUARES, Aggregates.MAXIMUM, Aggregates.MINIMUM]
    numbers = [room(flag, features.dtype) for flag in wanted]
    return Aggregated(
        *numbers, *(room(flag | Aggregates.PLACES, torch.int32) for flag in wanted[2:])
    )
