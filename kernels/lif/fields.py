"""Parameters given as fields, one number per neuron, as compiled kernels take them."""

import torch
from torch import Tensor


def rows_by_neuron(
    parameters: Tensor, state_shape: torch.Size, *, shortest: int = 1
) -> tuple[Tensor, int]:
    """Lay fields ``(8, ...)`` out as ``(8, period)``: neuron i takes column ``i % period``.

    The period is one sample, or the whole batch where a field differs between samples or where a
    sample has fewer than ``shortest`` neurons.

    Args:
        parameters: rows of fields that broadcast to ``state_shape``.
        state_shape: ``[B, ...]``.
        shortest: the shortest period worth having.

    Returns:
        The rows, contiguous, and the period.
    """
    field, sample = parameters.shape[1:], state_shape[1:]
    varies = len(field) == len(state_shape) and field[0] != 1
    target = state_shape if varies or sample.numel() < shortest else sample
    field = field[max(len(field) - len(target), 0) :]
    padding = [1] * (len(target) - len(field))
    rows = parameters.reshape(len(parameters), *padding, *field).expand(-1, *target)
    return rows.reshape(len(parameters), -1).contiguous(), max(target.numel(), 1)
