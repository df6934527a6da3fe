"""One time step forward with perturbation, and the error's way back within that step.

Both walk the network's nodes by hand, without autograd. What a step leaves behind is dropped
when the next one comes, so memory does not grow with time.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from torch import Size, Tensor
from torch.nn import Module

from neuro.errors import UsageError
from neuro.kernels import online_step
from neuro.layers import INPUT, LinearMap, Network, Spiking, Synapse
from neuro.learning.credit import Credit, SentBack, SentThrough, write_out
from neuro.learning.gradients import GradientSums
from neuro.learning.noise import LayerNoise
from neuro.learning.signals import classify_signals
from neuro.learning.traces import Trace

NoiseSite = Literal["post", "pre"]


class Perturbation(NamedTuple):
    """Noise for one step: ``z`` by layer, its strength, and where it enters.

    ``post``: the emitted signal is ``scale * (s + alpha z)``. ``pre``: ``alpha z`` is added to the
    membrane potential before the neuron fires.
    """

    noise: Mapping[str, LayerNoise]
    alpha: float
    site: NoiseSite


class StepRecord(NamedTuple):
    """What one time step leaves for the learning rule.

    ``logits``: ``(B, m)``. By spiking layer: ``factors`` = ``psi(u - threshold) * du/dI``, the
    error of the input current per error of the spikes, ``traces`` = eligibility trace of the spikes
    (without the layer's scale, never noisy), ``spike_counts`` = how many fired, in all, ``spikes``
    = 0 or 1, where they are kept. ``activities``: by synapse, the presynaptic factor of its weight
    gradient. ``values``: what every node sent on, noise included.
    """

    logits: Tensor
    factors: dict[str, Tensor]
    traces: dict[str, Tensor]
    spike_counts: dict[str, Tensor]
    activities: dict[str, Tensor]
    values: dict[str, Tensor]
    spikes: dict[str, Tensor]


class ForwardPass:
    """Runs a network step by step, keeping potentials, traces and presynaptic activities.

    Args:
        network: feed-forward, every synapse fed by the input or by spikes.
        sums: holds the effective weights of the batch.
        batch_like: any tensor of the batch, for its size, type and device.
        reuse_constant_input: keep the first layer's current while the input stays the same tensor.
        keep_spikes: record every layer's spikes apart from what it emits.
    """

    def __init__(
        self,
        network: Network,
        sums: GradientSums,
        batch_like: Tensor,
        *,
        reuse_constant_input: bool = True,
        keep_spikes: bool = False,
    ) -> None:
        self.network = network
        self.sums = sums
        self.reuse = reuse_constant_input
        self.keep_spikes = keep_spikes
        self.signals = classify_signals(network)
        self._state: dict[str, Any] = network.initial_state(
            batch_like.shape[0], batch_like.device, batch_like.dtype
        )
        self._traces = {n: Trace(m.neuron.filters) for n, m in network.neuron_nodes.items()}
        self._last_input: Tensor | None = None
        self._kept: dict[str, Tensor] = {}
        self._ahead: dict[str, list[Tensor]] = {}

    def look_ahead(self, frames: Tensor) -> None:
        """Send the next frames ``(K, B, ...)`` through all that the input alone reaches."""
        self._check(frames.shape[2:])
        values = {INPUT: frames.flatten(0, 1)}
        for name, module in self.network.nodes.items():
            sources = self.network.sources[name]
            if self.signals[sources[0]].kind == "input" and not isinstance(module, Spiking):
                values[name] = self._send(name, module, [values[source] for source in sources])
        del values[INPUT]
        self._ahead = {
            name: [*value.view(*frames.shape[:2], *value.shape[1:])][::-1]
            for name, value in values.items()
        }

    def step(self, x: Tensor, perturbation: Perturbation | None) -> StepRecord:
        """Advance one time step from input ``x`` ``(B, *input_shape)``."""
        self._check(x.shape[1:])
        same_input = self.reuse and x is self._last_input
        self._last_input = x
        values = {INPUT: x}
        past = {INPUT: x}
        record = StepRecord(x, {}, {}, {}, {}, values, {})
        for name, module in self.network.nodes.items():
            sources = self.network.sources[name]
            kind = self.signals[sources[0]].kind
            if isinstance(module, Spiking):
                values[name] = self._fire(name, module, values[sources[0]], perturbation, record)
                past[name] = record.traces[name]
                continue
            if isinstance(module, Synapse):
                record.activities[name] = past[sources[0]]
            if kind == "input" and self._ahead.get(name):
                values[name] = self._ahead[name].pop()
            elif kind == "input" and same_input:
                values[name] = self._kept[name]
            else:
                values[name] = self._send(name, module, [values[source] for source in sources])
            if kind == "input":
                self._kept[name] = past[name] = values[name]
            elif kind == "spikes" and not isinstance(module, Synapse):
                past[name] = module(*(past[source] for source in sources))
        return record._replace(logits=values[self.network.output])

    def _check(self, input_shape: Size) -> None:
        if input_shape != self.network.input_shape:
            raise UsageError(
                f"the network takes inputs {self.network.input_shape} per sample, "
                f"got {tuple(input_shape)}."
            )

    def _send(self, name: str, module: Module, values: list[Tensor]) -> Tensor:
        """Return what a node that is no neuron makes of what its sources sent."""
        if not isinstance(module, Synapse):
            sent: Tensor = module(*values)
            return sent
        # The input may be event frames; what neurons emit is noisy, or too dense.
        from_input = self.signals[self.network.sources[name][0]].kind == "input"
        transmit = module.transmit_events if from_input else module.transmit
        return transmit(values[0], self.sums.weight(name))

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
        arguments = neuron.kernel_arguments()
        if arguments is None:
            return self._fire_by_hand(name, layer, current, perturbation, record)
        trace = self._traces[name]
        state = self._state[name]
        gain = neuron.current_gain
        step = online_step(
            current.contiguous(),
            **state._asdict(),
            **arguments,
            traces=trace.storage(current),
            **_injection(name, perturbation, current),
            scale=layer.scale,
            gain=1.0 if isinstance(gain, Tensor) else gain,
            keep_spikes=self.keep_spikes,
        )
        record.factors[name] = step.factor * gain if isinstance(gain, Tensor) else step.factor
        record.traces[name] = trace.value
        record.spike_counts[name] = step.spike_count
        if self.keep_spikes:
            record.spikes[name] = step.spikes
        return step.emitted

    def _fire_by_hand(
        self,
        name: str,
        layer: Spiking,
        current: Tensor,
        perturbation: Perturbation | None,
        record: StepRecord,
    ) -> Tensor:
        """The same for a neuron with equations, or a surrogate, of its own."""
        neuron = layer.neuron
        noise = None
        if perturbation is not None and name in perturbation.noise:
            noise = perturbation.noise[name].values(current) * perturbation.alpha
        charged = neuron.charge(current, self._state[name])
        if noise is not None and perturbation is not None and perturbation.site == "pre":
            potential = charged.membrane_potential + noise
            charged, noise = charged._replace(membrane_potential=potential), None
        spikes = neuron.fire(charged)
        self._state[name] = neuron.reset(charged, spikes)
        distance = neuron.distance(charged)
        record.factors[name] = neuron.surrogate.derivative(distance) * neuron.current_gain
        record.traces[name] = self._traces[name].update(spikes)
        record.spike_counts[name] = spikes.sum()
        if self.keep_spikes:
            record.spikes[name] = spikes
        emitted = spikes if noise is None else spikes + noise
        return emitted if layer.scale == 1 else emitted * layer.scale


def _injection(name: str, perturbation: Perturbation | None, current: Tensor) -> dict[str, Any]:
    """Return the arguments with which the online step adds a layer's noise, if it has any."""
    if perturbation is None or name not in perturbation.noise:
        return {}
    noise = perturbation.noise[name]
    strength = noise.scaled(current.new_full(current.shape[:1], perturbation.alpha))
    given = noise.stream if noise.held is None else noise.held
    return {"noise": given, "strength": strength, "noise_at": perturbation.site}


def propagate(
    forward: ForwardPass,
    record: StepRecord,
    error: Tensor,
    credit: Mapping[str, Credit],
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
    errors: dict[str, Tensor | SentThrough] = {network.output: error}

    def add(source: str, delta: Tensor | SentThrough) -> None:
        if forward.signals[source].kind == "input":
            return
        before = errors.get(source)
        errors[source] = delta if before is None else write_out(before) + write_out(delta)

    for name in reversed(list(network.nodes)):
        module = network.nodes[name]
        sources = network.sources[name]
        arrived = errors.pop(name, None)
        if isinstance(module, Spiking):
            own, gain = credit.get(name), 1.0
            if own is None and arrived is not None:
                own, gain = write_out(arrived), module.scale
            elif own is not None and arrived is not None:
                own = write_out(own).add(write_out(arrived), alpha=module.scale)
            if own is None:
                continue
            if received is not None:
                received[name] = write_out(own) * gain
            add(sources[0], _through_surrogate(own, record.factors[name], gain))
        elif arrived is None:
            continue
        elif isinstance(module, Synapse):
            from_input = forward.signals[sources[0]].kind == "input"
            if accumulate:
                may_wait = from_input and forward.reuse
                forward.sums.add(name, arrived, record.activities[name], may_wait=may_wait)
            if exact and not from_input:
                shape = record.values[sources[0]].shape
                weight = forward.sums.weight(name)
                add(sources[0], module.transpose(write_out(arrived), weight, shape))
        elif isinstance(module, LinearMap):
            shape = record.values[sources[0]].shape
            add(sources[0], module.adjoint(write_out(arrived), shape))
        else:
            for source in sources:
                add(source, arrived)


def _through_surrogate(error: Credit, factor: Tensor, gain: float) -> Tensor | SentThrough:
    """Return ``gain * error * factor``, not written out where the error is not."""
    if isinstance(error, SentBack):
        return SentThrough(error, factor, gain)
    delta = error * factor
    return delta if gain == 1 else delta.mul_(gain)
