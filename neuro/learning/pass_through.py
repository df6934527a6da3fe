"""One time step forward with perturbation, and the error's way back within that step.

Both walk the network's nodes by hand, without autograd. What a step leaves behind is overwritten
by the next one, so memory does not grow with time.
"""

from collections.abc import Mapping
from typing import Any, Literal, NamedTuple

from torch import Tensor

from neuro.errors import UsageError
from neuro.layers import INPUT, Add, LinearMap, Network, Spiking, Synapse
from neuro.learning.gradients import GradientSums
from neuro.learning.traces import Trace

NoiseSite = Literal["post", "pre"]
Signal = Literal["input", "spikes", "current"]


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

    ``logits``: ``(B, m)``. By spiking layer: ``spikes`` (0 or 1, without noise), ``distances`` =
    membrane potential - threshold when the neuron fired, ``emitted`` = what went on to the next
    node, ``traces`` = eligibility trace (scaled like the spikes, never noisy). ``activities``: by
    synapse, the presynaptic factor of its weight gradient. ``values``: the output of every node.
    """

    logits: Tensor
    spikes: dict[str, Tensor]
    distances: dict[str, Tensor]
    traces: dict[str, Tensor]
    activities: dict[str, Tensor]
    values: dict[str, Tensor]


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
        self.signals = classify_signals(network)
        self.sums = sums
        self._state: dict[str, Any] = network.initial_state(
            batch_like.shape[0], batch_like.device, batch_like.dtype
        )
        self._traces = {n: Trace(m.neuron.filters) for n, m in network.neuron_nodes.items()}
        self.reuse = reuse_constant_input
        self._last_input: Tensor | None = None
        self._kept: dict[str, Tensor] = {}

    def step(self, x: Tensor, perturbation: Perturbation | None) -> StepRecord:
        """Advance one time step from input ``x`` ``(B, *input_shape)``."""
        if x.shape[1:] != self.network.input_shape:
            raise UsageError(
                f"the network takes inputs {self.network.input_shape} per sample, "
                f"got {tuple(x.shape[1:])}."
            )
        same = self.reuse and x is self._last_input
        self._last_input = x
        values = {INPUT: x}
        past: dict[str, Tensor] = {INPUT: x}
        record = StepRecord(x, {}, {}, {}, {}, values)
        for name, module in self.network.nodes.items():
            sources = self.network.sources[name]
            signal = self.signals[sources[0]]
            if isinstance(module, Spiking):
                values[name] = self._fire(name, module, values[sources[0]], perturbation, record)
                past[name] = record.traces[name]
            elif isinstance(module, Synapse):
                record.activities[name] = past[sources[0]]
                if same and signal == "input":
                    values[name] = self._kept[name]
                else:
                    values[name] = module.transmit(values[sources[0]], self.sums.weight(name))
                    if signal == "input":
                        self._kept[name] = values[name]
            elif isinstance(module, LinearMap):
                if same and signal == "input":
                    values[name] = past[name] = self._kept[name]
                    continue
                values[name] = module(values[sources[0]])
                if signal == "spikes":
                    past[name] = module(past[sources[0]])
                elif signal == "input":
                    past[name] = self._kept[name] = values[name]
            else:
                values[name] = module(*(values[source] for source in sources))
                if signal == "spikes":
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
        neuron = layer.neuron
        noise = perturbation.noise.get(name) if perturbation else None
        alpha = perturbation.alpha if perturbation else 0.0
        charged = neuron.charge(current, self._state[name])
        if noise is not None and perturbation and perturbation.site == "pre":
            potential = charged.membrane_potential.add(noise, alpha=alpha)
            charged = charged._replace(membrane_potential=potential)
        spikes = neuron.fire(charged)
        self._state[name] = neuron.reset(charged, spikes)
        trace = self._traces[name].update(spikes)
        record.distances[name] = neuron.distance(charged)
        record.spikes[name] = spikes
        record.traces[name] = trace if layer.scale == 1 else trace * layer.scale
        emitted = spikes
        if noise is not None and perturbation and perturbation.site == "post":
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
    ``delta = g * psi(u - threshold)``; each synapse then adds ``delta a^T`` for its presynaptic
    activity ``a``.

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
        if forward.signals[source] != "input":
            errors[source] = errors[source] + delta if source in errors else delta

    for name in reversed(network.nodes.keys()):
        module = network.nodes[name]
        sources = network.sources[name]
        delta = errors.pop(name, None)
        if isinstance(module, Spiking):
            if delta is not None:
                delta = delta * module.scale if module.scale != 1 else delta
            if name in credit:
                delta = credit[name] if delta is None else delta + credit[name]
            if delta is None:
                continue
            if received is not None:
                received[name] = delta
            neuron = module.neuron
            delta = delta * neuron.surrogate.derivative(record.distances[name])
            add(sources[0], delta)
        elif delta is None:
            continue
        elif isinstance(module, Synapse):
            from_input = forward.signals[sources[0]] == "input"
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


def classify_signals(network: Network) -> dict[str, Signal]:
    """Tell for every node whether it carries the input, spikes or a current.

    Raises:
        UsageError: for a network that online rules cannot train: a synapse fed by a current,
            a delay, an integrating read-out, learnable neuron parameters, or mixed sums.
    """
    signals: dict[str, Signal] = {INPUT: "input"}
    for name, module in network.nodes.items():
        kinds = {signals[source] for source in network.sources[name]}
        if isinstance(module, Spiking):
            if module.learnable:
                raise UsageError(
                    f"layer {name!r} learns its {', '.join(module.learnable)}: only the rule bptt "
                    "trains neuron parameters. Use bptt, or fix them."
                )
            signals[name] = "spikes"
        elif isinstance(module, Synapse):
            if kinds == {"current"}:
                raise UsageError(
                    f"synapse {name!r} is fed by a current; online rules need spikes or the input "
                    "before each synapse. Put a spiking layer in between, or use bptt."
                )
            signals[name] = "current"
        elif isinstance(module, LinearMap | Add):
            if len(kinds) > 1:
                raise UsageError(f"node {name!r} adds {' and '.join(sorted(kinds))}; use bptt.")
            signals[name] = kinds.pop()
        else:
            raise UsageError(
                f"node {name!r} is a {type(module).__name__}, which online rules cannot credit: "
                "its output depends on earlier inputs. Use bptt."
            )
    if not isinstance(network.nodes[network.output], Synapse):
        raise UsageError(f"online rules need a synapse as the last node, got {network.output!r}.")
    return signals
