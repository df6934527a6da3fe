"""Optimiser steps, each checked for NaN and infinity before and after."""

from math import isfinite
from typing import TYPE_CHECKING

import torch

from neuro.errors import DivergedError
from neuro.training.divergence import total_norm

if TYPE_CHECKING:
    from neuro.training.session import Session


class Updates:
    """The optimiser steps of one batch."""

    def __init__(self, session: "Session") -> None:
        self._session = session
        self._tensors = session.trained_tensors
        self._loss = 0.0
        self.gradient_norm = 0.0
        session.optimiser.zero_grad()

    def check_loss(self, loss: float) -> None:
        """Take in the loss of the batch.

        Raises:
            DivergedError: it is NaN or infinite.
        """
        self._loss = loss
        if not isfinite(loss):
            raise self._diverged()

    def apply(self) -> None:
        """Check and clip the gradients, step, check the weights, clear the gradients.

        Raises:
            DivergedError: NaN or infinity, before or after.
        """
        gradients = [tensor.grad for tensor in self._tensors if tensor.grad is not None]
        norm = total_norm(gradients)
        self.gradient_norm = float(norm)
        if not isfinite(self.gradient_norm):
            raise self._diverged()
        limit = self._session.config.gradient_clip
        if limit is not None and self.gradient_norm > limit:
            torch.nn.utils.clip_grads_with_norm_(self._tensors, limit, norm)
        self._session.optimiser.step()
        if not isfinite(float(total_norm(tensor.detach() for tensor in self._tensors))):
            raise self._diverged()
        self._session.optimiser.zero_grad()

    def _diverged(self) -> DivergedError:
        """Return the error that names epoch, batch, step and layer."""
        position = self._session.position
        return DivergedError(
            f"Training diverged in epoch {position.epoch}, batch {position.batch + 1} "
            f"(step {position.step + 1}): {self._session.find_not_finite(self._loss)}. "
            "Lower lr, or limit the gradient with gradient_clip."
        )
