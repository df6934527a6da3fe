"""Time steps of one synapse on their way to one product."""

import torch
from torch import Tensor

from neuro.learning.credit import SentThrough, write_out


class WaitingSteps:
    """Errors ``delta[t]`` and activities ``a[t]`` of up to ``room`` steps, in memory for as many.

    Those of a step lie behind those of the one before, so that one product takes them all. Steps
    with the same activity, one tensor such as a constant image, are one step with the sum of their
    errors.

    Args:
        room: steps, >= 1.
    """

    def __init__(self, room: int) -> None:
        self._room = room
        self._deltas: Tensor | None = None
        self._copies: Tensor | None = None
        self._activities: list[Tensor] = []
        self._lent = False

    def __len__(self) -> int:
        return len(self._activities)

    def have_room(self, activity: Tensor) -> bool:
        """Tell whether a step with this activity may come."""
        return len(self) < self._room or self._comes_again(activity)

    def add(self, delta: Tensor | SentThrough, activity: Tensor, *, copy: bool) -> None:
        """Let a step wait.

        Args:
            delta: ``(B, ...)``; left as it is, but used where it lies until :meth:`take`.
            activity: likewise, ``(B, ...)``.
            copy: copy the activity, which will change.
        """
        if self._comes_again(activity):
            self._add_error(delta)
            return
        self._put_error(delta)
        if copy:
            if self._copies is None:
                self._copies = activity.new_empty(self._room, *activity.shape)
            activity = self._copies[len(self)].copy_(activity)
        self._activities.append(activity)

    def take(self) -> tuple[Tensor, Tensor]:
        """Return the errors and the activities of all steps, one below the other, and forget them.

        They are overwritten by the next step.
        """
        assert self._deltas is not None
        deltas = self._deltas[: len(self)].flatten(0, 1)
        activities = _joined(self._activities)
        self._activities = []
        if self._room == 1:
            self._deltas = None
        return deltas, activities

    def _comes_again(self, activity: Tensor) -> bool:
        return bool(self._activities) and activity is self._activities[-1]

    def _put_error(self, delta: Tensor | SentThrough) -> None:
        if self._room == 1:
            self._lent = isinstance(delta, Tensor)
            self._deltas = write_out(delta)[None]
            return
        if self._deltas is None:
            like = delta if isinstance(delta, Tensor) else delta.factor
            self._deltas = like.new_empty(self._room, *like.shape)
        row = self._deltas[len(self)]
        if isinstance(delta, Tensor):
            row.copy_(delta)
        else:
            delta.write_into(row)

    def _add_error(self, delta: Tensor | SentThrough) -> None:
        assert self._deltas is not None
        if self._lent:
            self._deltas = self._deltas.clone()
            self._lent = False
        row = self._deltas[len(self) - 1]
        if isinstance(delta, Tensor):
            row.add_(delta)
        else:
            delta.write_into(row, add=True)


def _joined(frames: list[Tensor]) -> Tensor:
    first = frames[0]
    if len(frames) == 1:
        return first
    if all(_lies_at(frame, first, place) for place, frame in enumerate(frames)):
        return first.as_strided((len(frames) * len(first), *first.shape[1:]), first.stride())
    return torch.cat(frames)


def _lies_at(frame: Tensor, first: Tensor, place: int) -> bool:
    """Tell whether a frame is the one so many places after the first in one block of memory."""
    return (
        frame.untyped_storage().data_ptr() == first.untyped_storage().data_ptr()
        and frame.storage_offset() == first.storage_offset() + place * first.numel()
        and frame.shape == first.shape
        and frame.is_contiguous()
    )
