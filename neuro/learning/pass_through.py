"""One time step forward with perturbation, and the error's way back within that step.

Both walk the network's nodes by hand, without autograd. What a step leaves behind is dropped
when the next one comes, so memory does not grow with time.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from torch import Tensor

from neuro.errors import UsageError
from neuro.kernels import lif_step, sigmoid_factor
from neuro.layers import INPUT, LinearMap, Network, Spiking, Synapse
from neuro.learning.gradients import GradientSums
from neuro.learning.signals import classify_signals
from neuro.learning.traces import Trace
from neuro.neurons import LIF
from neuro.surrogate import Sigmoid, heaviside

NoiseSite = Literal["post", "pre"]


class Perturbation(NamedTuple):
    """Noise for one step: ``z`` by layer, its strength, and where it enters.

    ``post``: the emitted signal is ``scale * (s + alpha z)``. ``pre``: ``alpha z`` is added to the
    membrane potential before the neuron fires.
    """

    noise: Mapping[str, Tensor]
    alpha: float
    site: NoiseSite


class StepRecord(NamedTuple):
    """What one time step leaves for the learning rule.

    ``logits``: ``(B, m)``. By spiking layer: ``distances`` = membrane potential - threshold when
    the neurons fired, ``traces`` = eligibility trace of the spikes (without the layer's scale,
    never noisy), ``spike_counts`` = how many fired, in all. ``activities``: by synapse, the
    presynaptic factor of its weight gradient. ``values``: what every node sent on, noise included.
    """

    logits: Tensor
    distances: dict[str, Tensor]
    traces: dict[str, Tensor]
    spike_counts: dict[str, Tensor]
    activities: dict[str, Tensor]
    values: dict[str, Tensor]

    def spikes(self, name: str, layer: Spiking) -> Tensor:
        """Return the spikes (0 or 1, without noise) of a layer."""
        return heaviside(self.distances[name], inclusive=layer.neuron.inclusive)


class ForwardPass:
    """Runs a network step by step, keeping potentials, traces and presynaptic activities.

    Args:
        network: feed-forward, every synapse fed by the input or by spikes.
        sums: holds the effective weights of the batch.
        batch_like: any tensor of the batch, for its size, type and device.
        reuse_constant_input: keep the first layer's current while the input stays the same tensor.
    """

    def __init__(
        self,
        network: Network,
        sums: GradientSums,
        batch_like: Tensor,
        *,
        reuse_constant_input: bool = True,
    ) -> None:
        self.network = network
        self.sums = sums
        self.reuse = reuse_constant_input
        self.signals = classify_signals(network)
        self._state: dict[str, Any] = network.initial_state(
            batch_like.shape[0], batch_like.device, batch_like.dtype
        )
        self._traces = {n: Trace(m.neuron.filters) for n, m in network.neuron_nodes.items()}
        self._last_input: Tensor | None = None
        self._kept: dict[str, Tensor] = {}

    def step(self, x: Tensor, perturbation: Perturbation | None) -> StepRecord:
        """Advance one time step from input ``x`` ``(B, *input_shape)``."""
        if x.shape[1:] != self.network.input_shape:
            raise UsageError(
                f"the network takes inputs {self.network.input_shape} per sample, "
                f"got {tuple(x.shape[1:])}."
            )
        same_input = self.reuse and x is self._last_input
        self._last_input = x
        values = {INPUT: x}
        past = {INPUT: x}
        record = StepRecord(x, {}, {}, {}, {}, values)
        for name, module in self.network.nodes.items():
            sources = self.network.sources[name]
            kind = self.signals[sources[0]].kind
            if isinstance(module, Spiking):
                values[name] = self._fire(name, module, values[sources[0]], perturbation, record)
                past[name] = record.traces[name]
                continue
            if isinstance(module, Synapse):
                record.activities[name] = past[sources[0]]
            if kind == "input" and same_input:
                values[name] = self._kept[name]
            elif isinstance(module, Synapse):
                values[name] = module.transmit(values[sources[0]], self.sums.weight(name))
            else:
                values[name] = module(*(values[source] for source in sources))
            if kind == "input":
                self._kept[name] = past[name] = values[name]
            elif kind == "spikes" and not isinstance(module, Synapse):
                past[name] = module(*(past[source] for source in sources))
        return record._replace(logits=values[self.network.output])

    def _fire(
        self,
        name: str,
        layer: Spiking,
        current: Tensor,
        perturbation: Perturbation | None,
        record: StepRecord,
    ) -> Tensor:
        """Advance one spiking layer; return what it emits."""
        neuron = layer.neuron
        noise, alpha, after_firing = None, 0.0, True
        if perturbation is not None:
            noise, alpha = perturbation.noise.get(name), perturbation.alpha
            after_firing = perturbation.site == "post"
        trace = self._traces[name]
        if type(neuron) is LIF and neuron.input_gain == 1:
            if noise is not None and not after_firing:
                current = current.add(noise, alpha=alpha)
            step = lif_step(
                current.contiguous(),
                self._state[name].membrane_potential,
                trace.storage(current),
                noise if after_firing else None,
                decay=float(neuron.decay),
                threshold=float(neuron.threshold),
                soft_reset=neuron.reset_mode == "soft",
                reset_value=float(neuron.reset_value),
                inclusive=neuron.inclusive,
                scale=layer.scale,
                noise_scale=alpha,
            )
            record.distances[name] = step.distance
            record.traces[name] = trace.value
            record.spike_counts[name] = step.spike_count
            return step.emitted
        charged = neuron.charge(current, self._state[name])
        if noise is not None and not after_firing:
            potential = charged.membrane_potential.add(noise, alpha=alpha)
            charged = charged._replace(membrane_potential=potential)
        spikes = neuron.fire(charged)
        self._state[name] = neuron.reset(charged, spikes)
        record.distances[name] = neuron.distance(charged)
        record.traces[name] = trace.update(spikes)
        record.spike_counts[name] = spikes.sum()
        emitted = spikes
        if noise is not None and after_firing:
            emitted = spikes.add(noise, alpha=alpha)
        return emitted if layer.scale == 1 else emitted * layer.scale


def propagate(
    forward: ForwardPass,
    record: StepRecord,
    error: Tensor,
    credit: Mapping[str, Tensor],
    *,
    exact: bool,
    accumulate: bool = True,
    received: dict[str, Tensor] | None = None,
) -> None:
    """Carry errors back within one time step and sum the weight gradients.

    At a spiking layer with error ``g = dL/ds`` the error of its current is
    ``delta = g * psi(u - threshold) * du/dI``; each synapse then adds ``delta a^T`` for its
    presynaptic activity ``a``.

    Args:
        forward: the pass that made the record.
        record: the step.
        error: ``dL/do``, ``(B, m)``, already divided by the batch size.
        credit: ``g`` by spiking layer from direct feedback or local losses, divided likewise.
        exact: also carry the error down through transposed synapses (spatial backpropagation);
            otherwise a layer gets ``credit`` alone.
        accumulate: add the weight gradients to the pass's sums; False to look only.
        received: filled with the ``g`` each spiking layer got, when given.
    """
    network = forward.network
    errors: dict[str, Tensor] = {network.output: error}

    def add(source: str, delta: Tensor) -> None:
        if forward.signals[source].kind != "input":
            errors[source] = errors[source] + delta if source in errors else delta

    for name in reversed(list(network.nodes)):
        module = network.nodes[name]
        sources = network.sources[name]
        delta = errors.pop(name, None)
        if isinstance(module, Spiking):
            gain = 1.0
            if delta is None:
                delta = credit.get(name)
            elif name in credit:
                delta = credit[name].add(delta, alpha=module.scale)
            else:
                gain = module.scale
            if delta is None:
                continue
            if received is not None:
                received[name] = delta * gain
            add(sources[0], _through_surrogate(module, delta, record.distances[name], gain))
        elif delta is None:
            continue
        elif isinstance(module, Synapse):
            from_input = forward.signals[sources[0]].kind == "input"
            if accumulate:
                may_recur = from_input and forward.reuse
                forward.sums.add(name, delta, record.activities[name], may_recur=may_recur)
            if exact and not from_input:
                shape = record.values[sources[0]].shape
                add(sources[0], module.transpose(delta, forward.sums.weight(name), shape))
        elif isinstance(module, LinearMap):
            add(sources[0], module.adjoint(delta, record.values[sources[0]].shape))
        else:
            for source in sources:
                add(source, delta)


def _through_surrogate(layer: Spiking, error: Tensor, distance: Tensor, gain: float) -> Tensor:
    """Return ``gain * error * psi(distance) * du/dI``, the neuron's gain on its input current."""
    neuron = layer.neuron
    for leaky in neuron.filters:
        gain *= float(leaky.gain)
    surrogate = neuron.surrogate
    if type(surrogate) is Sigmoid:
        return sigmoid_factor(error.contiguous(), distance, slope=surrogate.slope, gain=gain)
    delta = error * surrogate.derivative(distance)
    return delta if gain == 1 else delta * gain
