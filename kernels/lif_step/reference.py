"""The LIF step in plain torch: the definition the other implementations must equal."""

import torch
from torch import Tensor


@torch.no_grad()
def lif_step(
    current: Tensor,
    membrane_potential: Tensor,
    trace: Tensor | None,
    noise: Tensor | None,
    emitted: Tensor,
    distance: Tensor,
    *,
    decay: float,
    threshold: float,
    soft_reset: bool,
    reset_value: float,
    inclusive: bool,
    scale: float,
    noise_scale: float,
) -> Tensor:
    """Fill ``emitted`` and ``distance``, update the state in place, return the spike count."""
    membrane_potential.mul_(decay).add_(current)
    torch.sub(membrane_potential, threshold, out=distance)
    fired = distance >= 0 if inclusive else distance > 0
    # Where a neuron fired, u - threshold is the distance already computed.
    after_reset = distance if soft_reset else torch.full_like(distance, reset_value)
    torch.where(fired, after_reset, membrane_potential, out=membrane_potential)
    emitted.copy_(fired)
    if trace is not None:
        trace.mul_(decay).add_(emitted)
    if noise is not None:
        emitted.add_(noise * noise_scale)
    emitted.mul_(scale)
    return fired.sum()
