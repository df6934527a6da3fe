"""The LIF sequence in plain torch: the definition the other implementations must equal.

Every product and sum is an operation of its own: a multiply-add fused into one rounding could move
a potential across the threshold on one machine and not on another. States are held in the dtype of
the parameters, which for currents in half precision is single.
"""

import torch
from torch import Tensor

from neuro.kernels.lif.variant import Gradients, Outputs, Variant
from neuro.kernels.surrogates import DERIVATIVES


@torch.no_grad()
def forward(
    currents: Tensor,
    potential: Tensor,
    synaptic: Tensor,
    adaptation: Tensor,
    parameters: Tensor,
    variant: Variant,
) -> Outputs:
    """Run all steps; the states given are left as they were."""
    threshold, reset_value, decay, gain, current_decay, beta, fade, weight = parameters
    kind = currents.dtype
    potential, synaptic, adaptation = (
        each.to(parameters.dtype) for each in (potential, synaptic, adaptation)
    )
    spikes = torch.empty_like(currents)
    for t, current in enumerate(currents):
        drive = gain * current.to(parameters.dtype)
        if variant.synaptic:
            drive = synaptic = current_decay * synaptic + drive
        charged = decay * potential + drive
        bar = threshold + beta * adaptation if variant.adaptive else threshold
        fired = variant.fired(charged - bar)
        spikes[t] = fired
        if variant.soft_reset:
            height = bar if variant.subtract_adaptation else threshold
            potential = torch.where(fired, charged - height, charged)
        else:
            potential = torch.where(fired, reset_value, charged)
        if variant.adaptive:
            adaptation = fade * adaptation + weight * fired
    states = (each.to(kind, copy=True) for each in (potential, synaptic, adaptation))
    return Outputs(spikes, *states)


@torch.no_grad()
def backward(
    gradients: Outputs,
    currents: Tensor,
    potential: Tensor,
    synaptic: Tensor,
    adaptation: Tensor,
    parameters: Tensor,
    variant: Variant,
    of_parameters: bool,
) -> Gradients:
    """Repeat the forward run, then go back through it."""
    threshold, reset_value, decay, gain, current_decay, beta, fade, weight = parameters
    psi = DERIVATIVES[variant.surrogate]
    kind = currents.dtype
    potential, synaptic, adaptation, *last = (
        each.to(parameters.dtype) for each in (potential, synaptic, adaptation, *gradients[1:])
    )
    history = []
    for current in currents:
        before = potential, synaptic, adaptation
        drive = gain * current.to(parameters.dtype)
        if variant.synaptic:
            drive = synaptic = current_decay * synaptic + drive
        charged = decay * potential + drive
        bar = threshold + beta * adaptation if variant.adaptive else threshold
        fired = variant.fired(charged - bar)
        history.append((before, charged, bar, fired))
        if variant.soft_reset:
            height = bar if variant.subtract_adaptation else threshold
            potential = torch.where(fired, charged - height, charged)
        else:
            potential = torch.where(fired, reset_value, charged)
        if variant.adaptive:
            adaptation = fade * adaptation + weight * fired

    of_spikes = gradients.spikes
    to_potential, to_synaptic, to_adaptation = last
    to_currents = torch.empty_like(currents)
    sums = [torch.zeros_like(potential) for _ in parameters] if of_parameters else []
    for t in reversed(range(len(history))):
        (potential, synaptic, adaptation), charged, bar, fired = history[t]
        to_spike = of_spikes[t]
        # reset
        if variant.soft_reset:
            to_charged = to_potential
            to_height = -to_potential * fired
            height = bar if variant.subtract_adaptation else threshold
            jump = -height
        else:
            to_charged = torch.where(fired, 0.0, to_potential)
            jump = reset_value - charged
        if not variant.detach_reset:
            to_spike = to_spike + jump * to_potential
        if variant.adaptive:
            to_spike = to_spike + weight * to_adaptation
        # fire
        to_distance = to_spike * psi(charged - bar, variant.sharpness)
        to_charged = to_charged + to_distance
        to_threshold = to_bar = -to_distance
        if variant.soft_reset:
            to_threshold = to_threshold + to_height
            if variant.subtract_adaptation:
                to_bar = to_bar + to_height
        # charge
        to_drive = to_charged
        if variant.synaptic:
            to_drive = to_synaptic = to_synaptic + to_charged
        to_currents[t] = gain * to_drive
        if of_parameters:
            sums[0] += to_threshold
            if not variant.soft_reset:
                sums[1] += to_potential * fired
            sums[2] += to_charged * potential
            sums[3] += to_drive * currents[t]
            if variant.synaptic:
                sums[4] += to_drive * synaptic
            if variant.adaptive:
                sums[5] += to_bar * adaptation
                sums[6] += to_adaptation * adaptation
                sums[7] += to_adaptation * fired
        # to the step before
        to_potential = decay * to_charged
        if variant.synaptic:
            to_synaptic = current_decay * to_synaptic
        if variant.adaptive:
            to_adaptation = fade * to_adaptation + beta * to_bar
    to_parameters = torch.stack(sums) if of_parameters else parameters.new_empty(0)
    potential, synaptic, adaptation = (
        each.to(kind, copy=True) for each in (to_potential, to_synaptic, to_adaptation)
    )
    return Gradients(to_currents, potential, synaptic, adaptation, to_parameters)
