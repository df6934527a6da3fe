"""Each primitive of NIR as a module: a layer of this package, or one of :mod:`.layers`."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import nir
import numpy as np
import torch
from torch import Tensor, nn

from neuro.errors import DataError, UsageError
from neuro.hardware.nir.flat import parameter
from neuro.hardware.nir.formulas import (
    Numbers,
    decay_from_steps,
    decay_from_tau,
    delay_steps,
    gain_from_resistance,
)
from neuro.hardware.nir.layers import (
    CubaLI,
    DelayLine,
    Merge,
    Pool2d,
    Population,
    Rescale,
    StackedLinear,
    Step,
)
from neuro.hardware.nir.metadata import spiking_arguments, stored_decay
from neuro.hardware.nir.reading import Reading, Shape
from neuro.layers import (
    AvgPool2d,
    Conv2d,
    Delay,
    Flatten,
    Linear,
    ReadoutIntegrator,
    Scale,
    Spiking,
)
from neuro.neurons import IF, LIF, CubaLIF, Dynamics, LeakyIntegrator, Neuron


def module_for(name: str, node: nir.NIRNode, shape: Shape, reading: Reading) -> nn.Module:
    """Return the module that computes a node.

    Args:
        name: the node's, for messages.
        node: any primitive but Input, Output and graphs.
        shape: of what it reads, batch left out.
        reading: see :class:`Reading`.

    Raises:
        DataError: parameters that do not fit each other or the input.
        UsageError: parameters that no step of this length can hold, or an unknown node.
    """
    builder = BUILDERS.get(type(node))
    if builder is None:
        raise UsageError(f"{_where(name, node)}: no such primitive is known here.")
    return builder(_where(name, node), node, shape, reading)


def _where(name: str, node: nir.NIRNode) -> str:
    return f"node {name!r} ({type(node).__name__})"


def _single(values: Any) -> Tensor:
    return torch.tensor(np.asarray(values), dtype=torch.float32)


def _linear(where: str, node: Any, shape: Shape, reading: Reading) -> nn.Module:
    weight = parameter(node, "weight")
    bias = parameter(node, "bias") if isinstance(node, nir.Affine) else None
    if weight.ndim < 2 or shape != (*weight.shape[:-2], weight.shape[-1]):
        raise DataError(f"{where}: weights of shape {weight.shape} cannot read {shape}.")
    if bias is not None and bias.shape != weight.shape[:-1]:
        raise DataError(f"{where}: weights are {weight.shape} and biases {bias.shape}.")
    if weight.ndim > 2:
        return StackedLinear(_single(weight), None if bias is None else _single(bias))
    module = Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    return _filled(module, weight, bias)


def _filled(module: nn.Module, weight: Numbers, bias: Numbers | None) -> nn.Module:
    with torch.no_grad():
        module.get_parameter("weight").copy_(_single(weight))
        if bias is not None:
            module.get_parameter("bias").copy_(_single(bias))
    return module


def _scale(where: str, node: Any, shape: Shape, reading: Reading) -> nn.Module:
    scale = _numbers(where, node, "scale", shape)
    if np.all(scale == scale.flat[0]):
        return Scale(float(scale.flat[0]))
    return Rescale(_single(scale))


def _sides(value: Any, axes: int) -> tuple[int, ...]:
    """Return one whole number an axis."""
    return tuple(int(each) for each in np.broadcast_to(np.asarray(value).ravel(), axes))


def _convolution(where: str, node: Any, shape: Shape, reading: Reading) -> nn.Module:
    weight, bias = parameter(node, "weight"), parameter(node, "bias")
    axes = weight.ndim - 2
    groups = int(node.groups)
    if len(shape) != axes + 1 or shape[0] != weight.shape[1] * groups:
        raise DataError(
            f"{where}: kernels {weight.shape} in {groups} groups cannot read {shape}; expected "
            f"{weight.shape[1] * groups} channels and {axes} sides."
        )
    given = node.input_shape
    if given is not None and _sides(given, axes) != shape[1:]:
        raise DataError(f"{where}: written for inputs of {_sides(given, axes)}, gets {shape[1:]}.")
    settings: dict[str, Any] = {
        "kernel_size": weight.shape[2:],
        "stride": _sides(node.stride, axes),
        "dilation": _sides(node.dilation, axes),
        "groups": groups,
    }
    settings["padding"] = _padding(where, node.padding, settings, axes)
    kind = Conv2d if axes == 2 and not isinstance(settings["padding"], str) else _CONVOLUTIONS[axes]
    return _filled(kind(shape[0], weight.shape[0], **settings), weight, bias)


_CONVOLUTIONS: dict[int, type[nn.Conv1d] | type[nn.Conv2d]] = {1: nn.Conv1d, 2: nn.Conv2d}


def _padding(where: str, padding: Any, settings: dict[str, Any], axes: int) -> Any:
    """Return numbers of zeros, or 'same' where they differ before and after."""
    text = padding.decode() if isinstance(padding, bytes) else padding
    if not isinstance(text, str):
        return _sides(text, axes)
    if text == "valid":
        return (0,) * axes
    if text != "same":
        raise DataError(f"{where}: padding {text!r}; expected numbers, 'same' or 'valid'.")
    if any(step != 1 for step in settings["stride"]):
        raise DataError(f"{where}: padding 'same' and a stride of {settings['stride']}.")
    reach = [
        d * (k - 1) for d, k in zip(settings["dilation"], settings["kernel_size"], strict=True)
    ]
    return "same" if any(each % 2 for each in reach) else tuple(each // 2 for each in reach)


def _pool(where: str, node: Any, shape: Shape, reading: Reading) -> nn.Module:
    if len(shape) != 3:
        raise DataError(f"{where}: pools (C, H, W), gets {shape}.")
    total = isinstance(node, nir.SumPool2d)
    kernel, stride, padding = (
        _sides(each, 2) for each in (node.kernel_size, node.stride, node.padding)
    )
    if not total and kernel == stride and kernel[0] == kernel[1] and not any(padding):
        return AvgPool2d(kernel[0])
    return Pool2d(kernel, stride, padding, total)


def _flatten(where: str, node: Any, shape: Shape, reading: Reading) -> nn.Module:
    first, last = int(node.start_dim), int(node.end_dim)
    axes = len(shape)
    if not (-axes <= first < axes and -axes <= last < axes and first % axes <= last % axes):
        raise DataError(f"{where}: merges axes {first} to {last} of {shape}.")
    return Flatten() if (first % axes, last % axes) == (0, axes - 1) else Merge(first, last)


def _delay(where: str, node: Any, shape: Shape, reading: Reading) -> nn.Module:
    delay = _numbers(where, node, "delay", shape)
    try:
        steps = delay_steps(delay, reading.dt)
    except UsageError as error:
        if np.any(delay < 0):
            raise DataError(f"{where}: {error}") from error
        reading.lose(where, str(error))
        steps = np.rint(delay / reading.dt).astype(np.int64)
    if np.all(steps == steps.flat[0]):
        return Delay(int(steps.flat[0]))
    return DelayLine(torch.tensor(steps))


def _threshold(where: str, node: Any, shape: Shape, reading: Reading) -> nn.Module:
    return Step(_single(_numbers(where, node, "threshold", shape)))


def _numbers(where: str, node: Any, name: str, shape: Shape) -> Numbers:
    """Return a parameter as one number for each neuron; writers may give one for all.

    Raises:
        DataError: it is of another shape, or not finite.
    """
    value = parameter(node, name)
    if not np.all(np.isfinite(value)):
        raise DataError(f"{where}: {name} is not finite.")
    if value.size != 1 and value.shape != shape:
        raise DataError(f"{where}: {name} is of shape {value.shape}, its input of {shape}.")
    filled: Numbers = np.broadcast_to(value if value.size != 1 else value.ravel()[0], shape)
    return filled


def _decay(
    where: str, node: Any, tau_name: str, key: str, shape: Shape, reading: Reading
) -> Numbers:
    """Return what one step keeps."""
    tau = _numbers(where, node, tau_name, shape)
    if np.any(tau <= 0):
        raise DataError(f"{where}: {tau_name} is {tau.min():g}; expected above 0.")
    if reading.exponential:
        return decay_from_steps(tau)
    decay = decay_from_tau(tau, reading.dt)
    # single precision may put a time constant of one step a hair below it
    if np.any(decay < -1e-6):
        reading.lose(
            where,
            f"{tau_name} is {tau.min():g} s, shorter than the time step of {reading.dt:g} s. "
            "(norse 1.1.0 writes time constants multiplied by its dt: read such files with the "
            "square of that dt.)",
        )
    decay = np.clip(decay, 0, 1)
    return stored_decay(node.metadata, key, decay, where) if reading.metadata else decay


def _neuron(where: str, node: Any, shape: Shape, reading: Reading) -> nn.Module:
    """Build any neuron or integrator: see the formulas in ``formulas.py``."""
    kind = type(node)
    dt = reading.dt
    v_leak = _numbers(where, node, "v_leak", shape) if hasattr(node, "v_leak") else np.zeros(shape)
    r = _numbers(where, node, "r", shape)
    numbers: dict[str, Numbers] = {}
    if kind in (nir.CubaLI, nir.CubaLIF):
        current = _decay(where, node, "tau_syn", "current_decay", shape, reading)
        voltage = _decay(where, node, "tau_mem", "voltage_decay", shape, reading)
        w_in = _numbers(where, node, "w_in", shape)
        if reading.metadata and "current_decay" in node.metadata and not reading.exponential:
            rise = w_in * (1 - current) * r * (1 - voltage)
        else:
            rise = gain_from_resistance(w_in, parameter(node, "tau_syn"), dt)
            rise = rise * gain_from_resistance(r, parameter(node, "tau_mem"), dt)
        numbers = {"current_decay": current, "voltage_decay": voltage, "input_gain": _unit(rise)}
    elif kind in (nir.LI, nir.LIF):
        decay = _decay(where, node, "tau", "decay", shape, reading)
        numbers = {"decay": decay, "input_gain": r if reading.exponential else r * (1 - decay)}
    else:
        numbers = {"input_gain": _unit(r * dt)}
        if kind is nir.I:
            numbers["decay"] = np.ones(shape)
    if kind not in _SPIKING:
        return _population(_INTEGRATORS[kind](), numbers, v_leak)
    arguments: dict[str, Any] = {"reset_mode": "hard", "inclusive": False}
    if reading.metadata:
        arguments |= spiking_arguments(node.metadata, where)
    if reading.reset is not None:
        arguments["reset_mode"] = reading.reset
    threshold = _numbers(where, node, "v_threshold", shape)
    if reading.metadata and node.metadata.get("fires_at_threshold"):
        arguments["inclusive"] = True
    elif arguments["inclusive"]:
        threshold = _above(threshold)
    numbers["threshold"] = threshold - v_leak
    v_reset = _numbers(where, node, "v_reset", shape)
    if arguments["reset_mode"] == "hard":
        numbers["reset_value"] = v_reset - v_leak
    elif np.any(v_reset) or np.any(v_leak):
        raise UsageError(
            f"{where}: a soft reset subtracts the threshold, and the node has a potential of reset "
            'or of leak. Read it with reset="hard".'
        )
    return _population(_SPIKING[kind](**arguments), numbers, v_leak)


_SPIKING: dict[type[Any], type[Neuron[Any]]] = {nir.LIF: LIF, nir.IF: IF, nir.CubaLIF: CubaLIF}
_INTEGRATORS: dict[type[Any], type[Dynamics[Any]]] = {
    nir.LI: LeakyIntegrator,
    nir.I: LeakyIntegrator,
    nir.CubaLI: CubaLI,
}


def _unit(gain: Numbers) -> Numbers:
    """Return gains, 1 for those that single precision keeps from it."""
    return np.where(np.abs(gain - 1) < 1e-6, 1.0, gain)


def _above(threshold: Numbers) -> Numbers:
    """Return the next larger single-precision numbers: a potential that reaches them fires."""
    single = threshold.astype(np.float32)
    return np.nextafter(single, np.float32(np.inf)).astype(np.float64)


def _population(neuron: Dynamics[Any], numbers: dict[str, Numbers], v_leak: Numbers) -> nn.Module:
    """Return a layer of this package if its numbers are equal, else a :class:`Population`."""
    equal = all(np.all(value == value.flat[0]) for value in numbers.values())
    fires = "threshold" not in numbers or bool(np.all(numbers["threshold"] > 0))
    if equal and fires and not np.any(v_leak) and type(neuron) is not CubaLI:
        uniform = replace(neuron, **{name: float(v.flat[0]) for name, v in numbers.items()})
        if isinstance(uniform, Neuron):
            return Spiking(uniform)
        if isinstance(uniform, LeakyIntegrator):
            return ReadoutIntegrator(uniform)
    single = {name: _single(value) for name, value in numbers.items()}
    return Population(neuron, single, _single(v_leak))


Builder = Callable[[str, Any, Shape, Reading], nn.Module]

BUILDERS: dict[type[Any], Builder] = {
    nir.Affine: _linear,
    nir.Linear: _linear,
    nir.Scale: _scale,
    nir.Conv1d: _convolution,
    nir.Conv2d: _convolution,
    nir.SumPool2d: _pool,
    nir.AvgPool2d: _pool,
    nir.Flatten: _flatten,
    nir.Delay: _delay,
    nir.Threshold: _threshold,
    nir.I: _neuron,
    nir.LI: _neuron,
    nir.IF: _neuron,
    nir.LIF: _neuron,
    nir.CubaLI: _neuron,
    nir.CubaLIF: _neuron,
}
"""How each primitive becomes a module."""
