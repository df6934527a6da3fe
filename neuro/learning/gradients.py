"""Where the gradients of a batch gather before they reach the parameters."""

from dataclasses import dataclass

import torch
from torch import Tensor

from neuro.kernels import three_factor_gradient
from neuro.layers import Linear, Network, Synapse
from neuro.learning.credit import SentThrough, write_out
from neuro.learning.signals import classify_signals


@dataclass
class _Synaptic:
    """One synapse during a batch: its effective weight and the sums over time steps so far."""

    synapse: Synapse
    differentiable: Tensor
    weight: Tensor
    activity_scale: float
    weight_sum: Tensor | None = None
    bias_sum: Tensor | None = None
    recurring_activity: Tensor | None = None
    recurring_delta: Tensor | None = None


class GradientSums:
    """Sums three-factor products ``delta[t] a[t]^T`` over time, in memory flat in T.

    Gradients gather on the *effective* weights; :meth:`deposit` maps them through weight
    standardisation to the parameters. That map is differentiated by autograd on the weights alone:
    no graph ever reaches into the network.

    Activities come without the scale of the spiking layer they left; since the map is linear, it
    is applied once, to the sum. Where the activity is the same tensor at every step (a constant
    input), only ``delta`` is summed and the product is formed once.
    """

    def __init__(self, network: Network) -> None:
        self._synapses: dict[str, _Synaptic] = {}
        self._network = network
        self._signals = classify_signals(network)
        self.refresh()

    def refresh(self) -> None:
        """Recompute the effective weights, at the start and after each optimiser step."""
        for name, synapse in self._network.synapse_nodes.items():
            with torch.enable_grad():
                differentiable = synapse.effective_weight()
            scale = self._signals[self._network.sources[name][0]].scale
            self._synapses[name] = _Synaptic(
                synapse, differentiable, differentiable.detach(), scale
            )

    def weight(self, name: str) -> Tensor:
        """Return the effective weight of a synapse, detached."""
        return self._synapses[name].weight

    def add(
        self,
        name: str,
        delta: Tensor | SentThrough,
        activity: Tensor,
        *,
        may_recur: bool = False,
    ) -> None:
        """Add ``sum_b delta_b activity_b^T``.

        With ``may_recur`` the product waits: while the very same activity tensor comes again, only
        ``delta`` is summed. The activity must then stay unchanged until :meth:`deposit`.
        """
        entry = self._synapses[name]
        if not may_recur:
            self._add_product(entry, delta, activity)
        elif activity is entry.recurring_activity and entry.recurring_delta is not None:
            entry.recurring_delta = entry.recurring_delta + write_out(delta)
        else:
            self._flush_recurring(entry)
            entry.recurring_activity, entry.recurring_delta = activity, write_out(delta)

    def deposit(self) -> None:
        """Add the sums to ``parameter.grad`` and start again from zero."""
        for entry in self._synapses.values():
            self._flush_recurring(entry)
            # Frozen parameters (requires_grad off) take no gradient.
            if entry.weight_sum is not None and entry.differentiable.requires_grad:
                _deliver(entry.differentiable, entry.weight_sum.mul_(entry.activity_scale))
            bias = entry.synapse.bias
            if entry.bias_sum is not None and bias is not None and bias.requires_grad:
                _deliver(bias, entry.bias_sum)
            entry.weight_sum = entry.bias_sum = None

    def _flush_recurring(self, entry: _Synaptic) -> None:
        if entry.recurring_delta is not None and entry.recurring_activity is not None:
            self._add_product(entry, entry.recurring_delta, entry.recurring_activity)
        entry.recurring_activity = entry.recurring_delta = None

    def _add_product(self, entry: _Synaptic, delta: Tensor | SentThrough, activity: Tensor) -> None:
        synapse = entry.synapse
        if entry.weight_sum is None:
            entry.weight_sum = torch.zeros_like(entry.weight)
            if synapse.bias is not None:
                entry.bias_sum = torch.zeros_like(synapse.bias)
        dense = type(synapse).weight_gradient is Linear.weight_gradient
        if dense and isinstance(delta, SentThrough):
            three_factor_gradient(
                delta.sent.projection,
                delta.sent.error.contiguous(),
                delta.factor,
                activity.contiguous(),
                entry.weight_sum,
                entry.bias_sum,
                gain=delta.gain,
            )
            return
        delta = write_out(delta)
        if dense:
            entry.weight_sum.addmm_(delta.t(), activity)
        else:
            entry.weight_sum.add_(synapse.weight_gradient(delta, activity))
        if entry.bias_sum is not None:
            entry.bias_sum.add_(synapse.bias_gradient(delta))


def _deliver(effective: Tensor, gradient: Tensor) -> None:
    """Pass the gradient of an effective weight on to the parameters it is made of."""
    if effective.is_leaf:
        add_gradient(effective, gradient)  # no copy, as the engine would make of it
    else:
        torch.autograd.backward([effective], [gradient])


def add_gradient(parameter: Tensor, gradient: Tensor) -> None:
    """Add to ``parameter.grad``, which may be None."""
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
