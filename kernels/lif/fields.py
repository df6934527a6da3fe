"""Parameters as one tensor: numbers for all neurons, or fields of one number per neuron."""

from functools import lru_cache
from typing import Any

import torch
from torch import Tensor

from neuro.kernels.unrecorded import is_untraced_call

Scalar = float | Tensor


def stack(numbers: tuple[Scalar, ...], currents: Tensor) -> Tensor:
    """Lay the numbers out as rows ``(8,)``, or ``(8, ...)`` if any of them is a field.

    At least in single precision: in it a layer computes, also between currents in half precision.
    """
    tensors = [each for each in numbers if isinstance(each, Tensor)]
    if not tensors:
        lay_out = _kept if is_untraced_call() else _numbers
        return lay_out(numbers, currents.dtype, currents.device)
    kind: Any = {"dtype": _precise(currents.dtype), "device": currents.device}
    shape: torch.Size = torch.broadcast_shapes(*(each.shape for each in tensors))  # type: ignore[no-untyped-call]
    if all(size == 1 for size in shape):
        rows = [torch.as_tensor(each, **kind).reshape(()) for each in numbers]
    else:
        rows = [torch.as_tensor(each, **kind).expand(shape) for each in numbers]
    return torch.stack(rows)


def _precise(dtype: torch.dtype) -> torch.dtype:
    return torch.promote_types(dtype, torch.float32)


def _numbers(numbers: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    return torch.tensor(numbers, dtype=_precise(dtype), device=device)


@lru_cache(maxsize=256)
def _kept(numbers: tuple[Any, ...], dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):  # else no backward pass could ever keep it
        return _numbers(numbers, dtype, device)


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
