"""Where the gradients of a batch gather before they reach the parameters."""

from dataclasses import dataclass

import torch
from torch import Tensor

from neuro.kernels import add_event_gradient, event_gradient, three_factor_gradient
from neuro.layers import Linear, Network, Synapse
from neuro.learning.credit import SentThrough, write_out
from neuro.learning.signals import classify_signals
from neuro.learning.waiting import WaitingSteps

_WAITING_BYTES = 7 << 19
"""Frames, currents and errors of one synapse that wait for a product, at most."""
_WORTH_WAITING = 1 << 18
"""Weights of a synapse from which on one product of several steps beats several, copies and all."""


@dataclass
class _Synaptic:
    """One synapse during a batch: its effective weight and the sums over time steps so far."""

    synapse: Synapse
    differentiable: Tensor
    weight: Tensor
    activity_scale: float
    weight_sum: Tensor | None = None
    bias_sum: Tensor | None = None
    waiting: WaitingSteps | None = None


class GradientSums:
    """Sums three-factor products ``delta[t] a[t]^T`` over time, in memory flat in T.

    Gradients gather on the *effective* weights; :meth:`deposit` maps them through weight
    standardisation to the parameters. That map is differentiated by autograd on the weights alone:
    no graph ever reaches into the network.

    Activities come without the scale of the spiking layer they left; since the map is linear, it
    is applied once, to the sum.

    Steps of a dense synapse wait for one product in bounded memory: few events over many frames
    cost less than over each, and a product of many rows runs faster. Activities that stay as they
    are, those of the network's input, wait where they lie, others are copied if the synapse is
    large. Where the activity is the same tensor at every step (a constant image), only ``delta`` is
    summed.
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
        may_wait: bool = False,
    ) -> None:
        """Add ``sum_b delta_b activity_b^T``.

        With ``may_wait`` the activity must stay unchanged until :meth:`deposit`.
        """
        entry, room = self._synapses[name], 1
        if may_wait or entry.weight.numel() >= _WORTH_WAITING:
            room = _room(entry, activity)
        if room == 1 and not may_wait:
            self._add_product(entry, delta, activity)
            return
        if entry.waiting is None:
            entry.waiting = WaitingSteps(room)
        elif not entry.waiting.have_room(activity):
            self._flush(entry)
        entry.waiting.add(delta, activity, copy=not may_wait)
        # Full: the next frame need not exist beside these. One alone may be a constant image.
        if len(entry.waiting) == room > 1:
            self._flush(entry)

    def frames_at_once(self, frame: Tensor) -> int:
        """Return how many frames of input may be held, for all synapses that they reach."""
        fed = [
            entry
            for name, entry in self._synapses.items()
            if self._signals[self._network.sources[name][0]].kind == "input"
        ]
        return min((_room(entry, frame) for entry in fed), default=1)

    def settle(self) -> None:
        """Let nothing wait: activities that were to stay unchanged may change from here on."""
        for entry in self._synapses.values():
            self._flush(entry)

    def deposit(self) -> None:
        """Add the sums to ``parameter.grad`` and start again from zero."""
        self.settle()
        for entry in self._synapses.values():
            # Frozen parameters (requires_grad off) take no gradient.
            if entry.weight_sum is not None and entry.differentiable.requires_grad:
                _deliver(entry.differentiable, entry.weight_sum.mul_(entry.activity_scale))
            bias = entry.synapse.bias
            if entry.bias_sum is not None and bias is not None and bias.requires_grad:
                _deliver(bias, entry.bias_sum)
            entry.weight_sum = entry.bias_sum = entry.waiting = None

    def _flush(self, entry: _Synaptic) -> None:
        if entry.waiting is not None and len(entry.waiting):
            self._add_product(entry, *entry.waiting.take(), from_events=True)

    def _add_product(
        self,
        entry: _Synaptic,
        delta: Tensor | SentThrough,
        activity: Tensor,
        *,
        from_events: bool = False,
    ) -> None:
        synapse = entry.synapse
        if entry.bias_sum is None and synapse.bias is not None:
            entry.bias_sum = torch.zeros_like(synapse.bias)
        if not _is_dense(synapse):
            delta = write_out(delta)
            product = synapse.weight_gradient(delta, activity)
            entry.weight_sum = (
                product if entry.weight_sum is None else entry.weight_sum.add_(product)
            )
        elif isinstance(delta, SentThrough):
            if entry.weight_sum is None:
                entry.weight_sum = torch.zeros_like(entry.weight)
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
        elif entry.weight_sum is None:
            entry.weight_sum = (
                event_gradient(delta, activity) if from_events else delta.t() @ activity
            )
        elif from_events:
            add_event_gradient(entry.weight_sum, delta, activity)
        else:
            entry.weight_sum.addmm_(delta.t(), activity)
        if entry.bias_sum is not None:
            entry.bias_sum.add_(synapse.bias_gradient(delta))


def _is_dense(synapse: Synapse) -> bool:
    return type(synapse).weight_gradient is Linear.weight_gradient


def _room(entry: _Synaptic, activity: Tensor) -> int:
    """Return how many frames may wait."""
    if not _is_dense(entry.synapse):
        return 1
    numbers = activity.numel() + 2 * len(activity) * len(entry.weight)
    return max(_WAITING_BYTES // max(numbers * activity.element_size(), 1), 1)


def _deliver(effective: Tensor, gradient: Tensor) -> None:
    """Pass the gradient of an effective weight on to the parameters it is made of."""
    if effective.is_leaf:
        add_gradient(effective, gradient)  # no copy, as the engine would make of it
    else:
        torch.autograd.backward([effective], [gradient])


def add_gradient(parameter: Tensor, gradient: Tensor) -> None:
    """Add to ``parameter.grad``, which may be None."""
    parameter.grad = gradient if parameter.grad is None else parameter.grad + gradient
