"""A network as a canonical NIR graph.

Weights stand as they act: standardisation, constant scales and the gain of emitted spikes are
folded into them. ``Add`` is no node, for edges into a node add up. Neurons have a fixed gain per
step: ``r = 1`` for LIF (gain ``1 - decay``), ``r = 1/dt`` for IF (gain 1), ``r = tau_mem/dt`` and
``w_in = tau_syn/dt`` for CubaLIF (gains 1). A gain that differs is folded into the synapse before
the neuron, ``W' = W G / (1 - decay)``, or, where that synapse has other readers, the neuron's
potential is measured in another unit: threshold and reset are divided by the factor instead.

NIR fires at ``v > v_threshold``. A neuron that fires at ``v >= threshold`` is written with the
largest single-precision number below its threshold, which for potentials in single precision is
the same.
"""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import nir
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neuro.errors import UsageError
from neuro.hardware.nir.dialects import convert, dialect
from neuro.hardware.nir.formulas import (
    Numbers,
    resistance_from_gain,
    tau_from_decay,
    weight_factor,
)
from neuro.hardware.nir.metadata import graph_metadata, spiking_metadata
from neuro.layers import (
    INPUT,
    Add,
    AvgPool2d,
    Conv2d,
    Delay,
    Flatten,
    GlobalAvgPool2d,
    Linear,
    Network,
    ReadoutIntegrator,
    Scale,
    Spiking,
    Synapse,
)
from neuro.neurons import IF, LIF, AlphaLIF, CubaLIF, Dynamics, Neuron

DT = 1e-4
"""Seconds a step takes unless said otherwise; some readers know no other."""

Gain = float | Numbers
Terms = dict[str, float]
"""What a value is: the sum of these nodes' outputs, each times a gain."""


class ExportWarning(UserWarning):
    """A file says in metadata alone what NIR cannot express."""


def to_nir(
    network: Network,
    *,
    dt: float = DT,
    target: str = "generic",
    soft_reset: Literal["refuse", "note"] = "refuse",
    seed: int | None = None,
) -> nir.NIRGraph:
    """Return a network as a NIR graph; :func:`neuro.hardware.nir.write_nir` writes it to a file.

    Args:
        network: any network whose neurons have a NIR form: LIF, IF, CubaLIF, AlphaLIF and the
            LeakyIntegrator read-out do, AdaptiveLIF does not.
        dt: seconds a step stands for. Networks count in steps, so it scales time constants only.
        target: the dialect, one of ``DIALECTS``: what the reader named needs, or refuses.
        soft_reset: NIR resets to a fixed potential. "refuse" refuses neurons that subtract their
            threshold; "note" writes that into the metadata, with a warning: only this package goes
            by it, other readers would compute something else.
        seed: noted in the metadata.

    Raises:
        UsageError: what has no NIR form, or what the target would get wrong, by name.
    """
    if not (np.isfinite(dt) and dt > 0):
        raise UsageError(f"dt is a positive number of seconds, got {dt}.")
    if soft_reset not in ("refuse", "note"):
        raise UsageError(f"soft_reset is 'refuse' or 'note', got {soft_reset!r}.")
    chosen = dialect(target)
    step = chosen.dt or dt
    soft = [name for name, layer in network.neuron_nodes.items() if _soft(layer)]
    if soft and soft_reset == "refuse" and not chosen.soft_reset:
        raise UsageError(
            f"layer {soft[0]!r} subtracts its threshold at a spike; NIR neurons reset to a fixed "
            'potential. Train with reset_mode="hard", or take soft_reset="note" to write it into '
            "the metadata, where only this package reads it."
        )
    if soft and not chosen.soft_reset:
        warnings.warn(
            f"{len(soft)} layers subtract their threshold at a spike, which the file says in its "
            "metadata alone: other readers will reset to a fixed potential.",
            ExportWarning,
            stacklevel=2,
        )
    resets = {layer.neuron.reset_mode for layer in network.neuron_nodes.values()}
    reset = resets.pop() if len(resets) == 1 else "mixed" if resets else "hard"
    writer = _Writer(network, step)
    writer.write()
    graph = writer.graph(graph_metadata(step, "generic", reset, seed))
    return convert(graph, target)


def _soft(layer: Spiking) -> bool:
    return layer.neuron.reset_mode == "soft"


@dataclass
class _Draft:
    """A node being made: numbers in double precision, which folding may still scale."""

    kind: type[nir.NIRNode]
    shape: tuple[int, ...]
    numbers: dict[str, Numbers] = field(default_factory=dict)
    others: dict[str, Any] = field(default_factory=dict)
    metadata: dict[str, Any] = field(default_factory=dict)

    def scale(self, factor: Gain) -> None:
        """Multiply what a synapse sends on; ``factor`` is of ``self.shape`` or a number."""
        rows = _rows(factor, self.shape)
        weight = self.numbers["weight"]
        self.numbers["weight"] = weight * rows.reshape(-1, *(1,) * (weight.ndim - 1))
        if "bias" in self.numbers:
            self.numbers["bias"] = self.numbers["bias"] * rows


class _Writer:
    """Walks over a network in order; ``values`` says what each of its nodes has become."""

    def __init__(self, network: Network, dt: float) -> None:
        self.network = network
        self.dt = dt
        self.drafts: dict[str, _Draft] = {}
        self.edges: list[tuple[str, str]] = []
        self.values: dict[str, Terms] = {}
        self.origin: dict[str, str] = {}
        self.digits = len(str(len(network.nodes) + 1))
        self.readers: dict[str, list[str]] = {name: [] for name in (INPUT, *network.nodes)}
        self.used = {network.output}
        for name in reversed(list(network.nodes)):
            if name in self.used:
                for source in network.sources[name]:
                    self.readers[source].append(name)
                    self.used.add(source)

    def write(self) -> None:
        network = self.network
        first = self._add(INPUT, "input", _Draft(nir.Input, network.input_shape), {})
        self.values[INPUT] = {first: 1.0}
        for name, module in network.nodes.items():
            if name in self.used:
                self._node(name, module)
        terms = self._unit_gains(network.output, self.values[network.output])
        draft = _Draft(nir.Output, network.shapes[network.output])
        self._add("output", "output", draft, terms)

    def graph(self, metadata: dict[str, Any]) -> nir.NIRGraph:
        nodes = {name: _finished(draft) for name, draft in self.drafts.items()}
        return nir.NIRGraph(nodes=nodes, edges=self.edges, metadata=metadata)

    def _node(self, name: str, module: nn.Module) -> None:
        inputs = [self.values[source] for source in self.network.sources[name]]
        if isinstance(module, Add):
            self.values[name] = _sum(inputs)
        elif isinstance(module, Scale):
            self.values[name] = {each: gain * module.factor for each, gain in inputs[0].items()}
        elif isinstance(module, Delay) and module.steps == 0:
            self.values[name] = inputs[0]
        elif isinstance(module, Synapse):
            self._synapse(name, module, inputs[0])
        elif isinstance(module, Spiking):
            self._spiking(name, module, inputs[0])
        elif isinstance(module, ReadoutIntegrator):
            self._integrator(name, module.neuron, inputs[0])
        else:
            self._linear_map(name, module, inputs[0])

    def _synapse(self, name: str, module: Synapse, terms: Terms) -> None:
        inputs, gain = self._common(name, terms)
        weight = _double(module.effective_weight()) * gain
        shape = self.network.shapes[name]
        before = self.network.shapes.get(self.network.sources[name][0], self.network.input_shape)
        draft = _Draft(nir.Linear, shape, {"weight": weight})
        if module.bias is not None:
            draft.numbers["bias"] = _double(module.bias)
            draft.kind = nir.Affine
        if isinstance(module, Conv2d):
            draft.kind = nir.Conv2d
            draft.numbers.setdefault("bias", np.zeros(weight.shape[0]))
            draft.numbers["weight"] = ungrouped(weight, module.groups)
            draft.others = _convolution(name, module, before)
        elif not isinstance(module, Linear):
            raise _no_form(name, module)
        elif len(before) != 1:
            raise UsageError(
                f"node {name!r} (Linear) reads {before}; NIR's Affine reads vectors. Put a Flatten "
                "before it."
            )
        self.values[name] = {self._add(name, draft.kind.__name__.lower(), draft, inputs): 1.0}

    def _spiking(self, name: str, module: Spiking, terms: Terms) -> None:
        neuron = module.neuron
        shape = self.network.shapes[name]
        draft, gain = _neuron(name, neuron, shape, self.dt)
        inputs, unit = self._absorb(name, draft, terms, gain)
        threshold = _filled(neuron.threshold, shape) / unit
        if neuron.inclusive:
            threshold = _below(threshold)
        draft.numbers["v_threshold"] = threshold
        draft.numbers["v_reset"] = _filled(neuron.reset_value, shape) / unit
        draft.metadata |= spiking_metadata(neuron)
        if module.scale != 1:
            draft.metadata["scale"] = module.scale
        self.values[name] = {
            self._add(name, draft.kind.__name__.lower(), draft, inputs): module.scale
        }

    def _integrator(self, name: str, neuron: Dynamics[Any], terms: Terms) -> None:
        shape = self.network.shapes[name]
        leaky = neuron.filters[0]
        decay, gain = _filled(leaky.decay, shape), _filled(leaky.gain, shape)
        inputs, common = self._common(name, terms)
        draft = _Draft(nir.I, shape, {"r": gain * common / self.dt})
        if not np.all(decay == 1):
            tau = _tau(name, decay, self.dt)
            draft.kind = nir.LI
            draft.numbers = {
                "tau": tau,
                "r": resistance_from_gain(gain * common, tau, self.dt),
                "v_leak": np.zeros(shape),
            }
            draft.metadata["decay"] = smallest(decay)
        self.values[name] = {self._add(name, draft.kind.__name__.lower(), draft, inputs): 1.0}

    def _linear_map(self, name: str, module: nn.Module, terms: Terms) -> None:
        before = self.network.shapes.get(self.network.sources[name][0], self.network.input_shape)
        shape = self.network.shapes[name]
        pooled = (*before[:1], 1, 1)
        if isinstance(module, AvgPool2d):
            draft = _pool(module.size, module.size, shape)
        elif isinstance(module, GlobalAvgPool2d):
            draft = _pool(before[1], before[2], pooled)
        elif isinstance(module, Flatten):
            draft = _flatten(before, shape)
        elif isinstance(module, Delay):
            seconds = np.full(shape, module.steps * self.dt)
            draft = _Draft(nir.Delay, shape, {"delay": seconds})
        else:
            raise _no_form(name, module)
        inputs, gain = self._common(name, terms)
        last = self._add(name, draft.kind.__name__.lower(), draft, inputs)
        if isinstance(module, GlobalAvgPool2d):
            last = self._add(name, "flatten", _flatten(pooled, shape), {last: 1.0})
        self.values[name] = {last: gain}

    def _common(self, name: str, terms: Terms) -> tuple[Terms, float]:
        """Return the inputs of a linear node at one common gain, and that gain."""
        shared = [gain for source, gain in terms.items() if not self._owned(source)]
        gain = (shared[0] if shared else next(iter(terms.values()))) or 1.0
        relative = {source: each / gain for source, each in terms.items()}
        return self._unit_gains(name, relative), gain

    def _absorb(self, name: str, draft: _Draft, terms: Terms, gain: Numbers) -> tuple[Terms, Gain]:
        """Bring a neuron's inputs to the gain its node has.

        Args:
            name: the neuron's, in the network.
            draft: its node.
            terms: what it reads.
            gain: its own gain divided by its node's, of the neuron's shape.

        Returns:
            Its inputs, and the factor by which its potential is larger than its node's.
        """
        foldable = {source for source in terms if self._foldable(source, gain)}
        shared = {source: each for source, each in terms.items() if source not in foldable}
        common = abs(next(iter(shared.values()))) or 1.0 if shared else 1.0
        unit: Gain = gain * common if shared else 1.0
        inputs: Terms = {}
        for source, each in terms.items():
            if source in foldable:
                self.drafts[source].scale(each * gain / unit)
                self.drafts[source].metadata |= {
                    "factor": smallest(_rows(gain / unit, draft.shape)),
                    "folded_into": name,
                }
                inputs[source] = 1.0
            else:
                inputs[source] = each / common
        if not shared:
            draft.metadata["input_gain"] = smallest(
                _filled(self.network.neuron_nodes[name].neuron.filters[0].gain, draft.shape)
            )
        return self._unit_gains(name, inputs), unit

    def _foldable(self, source: str, gain: Numbers) -> bool:
        """Whether a gain of the reader's neurons can go into the weights of ``source``."""
        if not self._owned(source):
            return False
        rows = gain.reshape(gain.shape[0], -1)
        return bool(np.all(rows == rows[:, :1]))

    def _unit_gains(self, name: str, terms: Terms) -> Terms:
        """Return terms of gain 1: weights scaled where they can be, Scale nodes elsewhere."""
        unit: Terms = {}
        for source, gain in terms.items():
            if gain == 1:
                unit[source] = 1.0
            elif self._owned(source):
                self.drafts[source].scale(gain)
                unit[source] = 1.0
            else:
                shape = self.drafts[source].shape
                draft = _Draft(nir.Scale, shape, {"scale": np.full(shape, gain)})
                unit[self._add(f"{name}_scale", "scale", draft, {source: 1.0})] = 1.0
        return unit

    def _owned(self, source: str) -> bool:
        """Whether a node is a synapse that one node alone reads."""
        if "weight" not in self.drafts[source].numbers:
            return False
        return self._fan_out(self.origin[source]) == 1

    def _fan_out(self, name: str) -> int:
        """Count the NIR nodes that read a node of the network."""
        count = 1 if name == self.network.output else 0
        for reader in self.readers[name]:
            module = self.network.nodes[reader]
            passes = isinstance(module, Add | Scale) or (
                isinstance(module, Delay) and module.steps == 0
            )
            count += self._fan_out(reader) if passes else 1
        return count

    def _add(self, name: str, kind: str, draft: _Draft, inputs: Mapping[str, float]) -> str:
        label = f"{len(self.drafts):0{self.digits}d}_{kind}"
        draft.metadata = {"name": name, **draft.metadata}
        self.drafts[label] = draft
        self.origin[label] = name
        self.edges += [(source, label) for source in inputs]
        return label


def _neuron(
    name: str, neuron: Neuron[Any], shape: tuple[int, ...], dt: float
) -> tuple[_Draft, Numbers]:
    """Return a neuron's node without threshold, and its gain divided by that of the node.

    Raises:
        UsageError: NIR has no such neuron.
    """
    kind = type(neuron)
    filters = [(_filled(each.decay, shape), _filled(each.gain, shape)) for each in neuron.filters]
    decay, gain = filters[0]
    if np.any(gain <= 0):
        raise UsageError(f"layer {name!r}: input_gain is {gain.min():g}; expected above 0.")
    zeros = np.zeros(shape)
    if kind in (CubaLIF, AlphaLIF):
        voltage = filters[1][0]
        tau_syn, tau_mem = _tau(name, decay, dt), _tau(name, voltage, dt)
        numbers = {
            "tau_syn": tau_syn,
            "tau_mem": tau_mem,
            "r": resistance_from_gain(1.0, tau_mem, dt),
            "w_in": resistance_from_gain(1.0, tau_syn, dt),
            "v_leak": zeros,
        }
        decays = {"current_decay": smallest(decay), "voltage_decay": smallest(voltage)}
        return _Draft(nir.CubaLIF, shape, numbers, metadata=decays), gain
    if kind is IF or (kind is LIF and np.all(decay == 1)):
        return _Draft(nir.IF, shape, {"r": np.full(shape, 1 / dt)}), gain
    if kind is LIF:
        numbers = {"tau": _tau(name, decay, dt), "r": np.ones(shape), "v_leak": zeros}
        draft = _Draft(nir.LIF, shape, numbers, metadata={"decay": smallest(decay)})
        return draft, weight_factor(decay, gain)
    raise UsageError(
        f"layer {name!r}: {kind.__name__} has no NIR form. The nearest neuron that has is LIF"
        + (", whose threshold is fixed." if "adaptation" in neuron.state_type._fields else ".")
    )


def _tau(name: str, decay: Numbers, dt: float) -> Numbers:
    try:
        return tau_from_decay(decay, dt)
    except UsageError as error:
        raise UsageError(f"layer {name!r}: {error}") from error


def _convolution(name: str, module: Conv2d, before: tuple[int, ...]) -> dict[str, Any]:
    """Return the settings of a convolution.

    Raises:
        UsageError: those that NIR's readers get wrong.
    """
    height, width = module.kernel_size
    if height != width:
        raise UsageError(
            f"node {name!r} has kernels of {height}x{width}: NIR works out shapes from their "
            "height alone. Make them square, with zeros."
        )
    if isinstance(module.padding, str) or module.padding_mode != "zeros":
        raise UsageError(
            f"node {name!r} pads by {module.padding!r}, {module.padding_mode!r}; expected a number "
            "of zeros."
        )
    return {
        "input_shape": tuple(int(side) for side in before[1:]),
        "stride": tuple(module.stride),
        "padding": tuple(module.padding),
        "dilation": tuple(module.dilation),
        "groups": 1,
    }


def ungrouped(weight: Numbers, groups: int) -> Numbers:
    """Return the kernels of all channels, zero outside their group; few readers know groups."""
    if groups == 1:
        return weight
    outputs, channels = weight.shape[:2]
    whole = np.zeros((outputs, channels * groups, *weight.shape[2:]))
    size = outputs // groups
    for group in range(groups):
        rows = slice(group * size, (group + 1) * size)
        whole[rows, group * channels : (group + 1) * channels] = weight[rows]
    return whole


def _pool(height: int, width: int, shape: tuple[int, ...]) -> _Draft:
    sides = np.array([height, width])
    settings = {"kernel_size": sides, "stride": sides.copy(), "padding": np.array([0, 0])}
    return _Draft(nir.AvgPool2d, shape, others=settings)


def _flatten(before: tuple[int, ...], shape: tuple[int, ...]) -> _Draft:
    settings = {"input_type": {"input": np.array(before)}, "start_dim": 0, "end_dim": -1}
    return _Draft(nir.Flatten, shape, others=settings)


def _finished(draft: _Draft) -> nir.NIRNode:
    shape = np.array(draft.shape)
    if draft.kind is nir.Input:
        return nir.Input(input_type={"input": shape}, metadata=draft.metadata)
    if draft.kind is nir.Output:
        return nir.Output(output_type={"output": shape}, metadata=draft.metadata)
    numbers = {name: value.astype(np.float32) for name, value in draft.numbers.items()}
    node = draft.kind(**numbers, **draft.others, metadata=draft.metadata)
    return node


def _sum(inputs: list[Terms]) -> Terms:
    total: Terms = {}
    for terms in inputs:
        for source, gain in terms.items():
            total[source] = total.get(source, 0.0) + gain
    return total


def _double(tensor: Tensor) -> Numbers:
    array: Numbers = tensor.detach().to("cpu", torch.float64).numpy()
    return array


def _filled(value: float | Tensor, shape: tuple[int, ...]) -> Numbers:
    """Return one number for each neuron of a layer."""
    number = _double(value) if isinstance(value, Tensor) else np.asarray(value, np.float64)
    if number.ndim > len(shape) and number.shape[0] == 1:
        number = number[0]
    return np.broadcast_to(number, shape).copy()


def _below(threshold: Numbers) -> Numbers:
    """Return the largest single-precision numbers below these."""
    single = threshold.astype(np.float32)
    return np.nextafter(single, np.float32(-np.inf)).astype(np.float64)


def _rows(factor: Gain, shape: tuple[int, ...]) -> Numbers:
    """Return one factor for each row or channel; they are equal within it."""
    rows: Numbers = np.broadcast_to(np.asarray(factor, np.float64), shape)
    return rows.reshape(shape[0], -1)[:, 0]


def smallest(values: NDArray[Any]) -> Any:
    """Return one number where all are equal."""
    values = np.asarray(values, np.float64)
    first = float(values.flat[0])
    return first if np.all(values == first) else values


def _no_form(name: str, module: nn.Module) -> UsageError:
    return UsageError(
        f"node {name!r}: {type(module).__name__} has no NIR form. There are Linear, Conv2d, "
        "AvgPool2d, GlobalAvgPool2d, Flatten, Scale, Add, Delay, Spiking and ReadoutIntegrator."
    )
