"""The online step in plain torch: the definition the other implementations must equal."""

import torch
from torch import Tensor

from neuro.kernels.lif.variant import Variant
from neuro.kernels.noise.reference import noise
from neuro.kernels.online_step.operands import Injection, Layer, OnlineStep
from neuro.kernels.surrogates import DERIVATIVES


@torch.no_grad()
def online_step(
    current: Tensor,
    layer: Layer,
    variant: Variant,
    injection: Injection | None,
    *,
    scale: float,
    gain: float,
    keep_spikes: bool,
) -> OnlineStep:
    """Advance the layer, whose states change in place."""
    threshold, reset_value, decay, input_gain, current_decay, beta, fade, weight = layer.parameters
    strong_noise = None
    if injection is not None:
        strength = injection.strength.view(-1, *(1,) * (current.dim() - 1))
        given = injection.noise
        drawn = given if isinstance(given, Tensor) else noise(given, current)
        strong_noise = strength * drawn
    drive = input_gain * current
    if variant.synaptic:
        drive = layer.synaptic_current.mul_(current_decay).add_(drive)
    charged = decay * layer.membrane_potential + drive
    if injection is not None and injection.before_firing:
        charged = charged + strong_noise
    bar = threshold + beta * layer.adaptation if variant.adaptive else threshold
    distance = charged - bar
    fired = variant.fired(distance)
    if variant.soft_reset:
        height = bar if variant.subtract_adaptation else threshold
        left = torch.where(fired, charged - height, charged)
    else:
        left = torch.where(fired, reset_value, charged)
    layer.membrane_potential.copy_(left)
    spikes = fired.to(current.dtype)
    if variant.adaptive:
        layer.adaptation.mul_(fade).add_(weight * spikes)
    filtered = spikes
    for trace, kept in zip(layer.traces, layer.trace_decays(variant), strict=False):
        filtered = trace.mul_(kept).add_(filtered)
    factor = DERIVATIVES[variant.surrogate](distance, variant.sharpness).mul_(gain)
    emitted = spikes
    if strong_noise is not None and injection is not None and not injection.before_firing:
        emitted = emitted + strong_noise
    emitted = emitted * scale
    absent = current.new_empty(0)
    return OnlineStep(emitted, factor, spikes if keep_spikes else absent, fired.sum())
