"""NaN and infinity: noticed at once, and traced to a layer only when they appear."""

from collections.abc import Iterable, Sequence
from math import isfinite

import torch
from torch import Tensor

from neuro.learning.rule import LearningRule


def total_norm(tensors: Iterable[Tensor]) -> Tensor:
    """Return the Euclidean norm over all tensors: not finite if any number in them is not."""
    return torch.nn.utils.get_total_norm(list(tensors))


def find_not_finite(rule: LearningRule, loss: float) -> str:
    """Say where the first NaN or infinity of a rule and its network is.

    Args:
        rule: with its network.
        loss: of the batch.
    """
    return first_not_finite(
        [
            *((name.removeprefix("nodes."), p) for name, p in rule.network.named_parameters()),
            *((f"the rule's {name}", p) for name, p in rule.named_parameters()),
        ],
        loss,
        kept=[(f"the rule's {name}", buffer) for name, buffer in rule.named_buffers()],
        output=f"the output of {rule.network.output}",
    )


def first_not_finite(
    parameters: Sequence[tuple[str, Tensor]],
    loss: float,
    *,
    kept: Sequence[tuple[str, Tensor]] = (),
    output: str = "the output",
) -> str:
    """Say where the first NaN or infinity is: in forward order, gradients before weights.

    Args:
        parameters: what is trained, by name, in forward order.
        loss: of the batch.
        kept: what else is remembered from batch to batch.
        output: where the loss is taken.

    Returns:
        A phrase such as ``the gradient of linear2.weight holds nan (3 of 640 numbers)``.
    """
    places = [
        *((f"the gradient of {name}", p.grad) for name, p in parameters if p.grad is not None),
        *((name, p.detach()) for name, p in parameters),
        *kept,
    ]
    bad = [(place, tensor) for place, tensor in places if not bool(tensor.isfinite().all())]
    if bad:
        place, tensor = bad[0]
        wrong = tensor[~tensor.isfinite()]
        more = f", and {len(bad) - 1} other tensors are not finite either" if len(bad) > 1 else ""
        return f"{place} holds {float(wrong[0])} ({len(wrong)} of {tensor.numel()} numbers){more}"
    if not isfinite(loss):
        return f"the loss at {output} is {loss}"
    place, tensor = max(places, key=lambda each: float(each[1].abs().max()))
    return f"{place} reaches {float(tensor.abs().max()):.1e}, too large to square"
