"""What training on positives and negatives minimises."""

import torch
from torch import Tensor
from torch.nn import functional

from neuro.errors import UsageError


def negative_weights(logits: Tensor, temperature: float | None) -> Tensor:
    """Return the weight of each negative, ``[B, n]``; a row sums to 1 and carries no gradient.

    ``softmax(logits / temperature)``: the harder a negative, the more it weighs; without a
    temperature ``1 / n``.

    Args:
        logits: of the negatives, ``[B, n]``.
        temperature: > 0, or None for equal weights.

    Raises:
        UsageError: the temperature is not positive.
    """
    if temperature is None:
        return torch.full_like(logits, 1 / logits.shape[1])
    if not temperature > 0:
        raise UsageError(
            f"The temperature of negatives must be > 0, or None for equal weights; "
            f"got {temperature}."
        )
    return (logits.detach() / temperature).softmax(dim=1)


def negative_sampling_loss(logits: Tensor, *, temperature: float | None = None) -> Tensor:
    """Binary cross-entropy of a positive against its negatives, mean over rows.

    ``(softplus(-x_0) + sum_i w_i softplus(x_i)) / 2`` for a row with the positive's logit x_0 and
    negatives' x_i of weights w_i (:func:`negative_weights`); 2 is the sum of all weights.

    Args:
        logits: ``[B, 1 + n]``, the positive first, n > 0.
        temperature: of the self-adversarial weights, > 0; None = equal weights.

    Returns:
        A scalar.

    Raises:
        UsageError: another shape, or a temperature that is not positive.

    Source: the weights are those of Sun et al., RotatE, ICLR 2019, eq. 5.
    """
    if logits.dim() != 2 or logits.shape[1] < 2 or not len(logits):
        raise UsageError(
            "negative_sampling_loss: logits must be [B, 1 + n], a positive and at least one "
            f"negative a row, got {list(logits.shape)}."
        )
    positive, negatives = logits[:, 0], logits[:, 1:]
    wrong = (negative_weights(negatives, temperature) * functional.softplus(negatives)).sum(1)
    return ((functional.softplus(-positive) + wrong) / 2).mean()
