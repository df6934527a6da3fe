"""The analytical model of Lemaire et al.: operations, addresses and memory, all in 32-bit integers.

Words of 4 bytes; n spikes come in over all steps, K is the size of a kernel, C' = C_out / groups,
x and y are a layer's input and output over all steps::

    spike input   Linear: synop = n out              Conv: synop = n C' prod(ceil(kernel / stride))
                  fan = n out                              fan = n C' K
                  AC += synop,  ACC_addr += fan;  Conv: MAC_addr += 2 n
    real input    uses = numel(y) (weights of one output);  MAC += uses
                  ACC_addr += numel(x) + numel(y);  Conv: ACC_addr += C_out K
    bias          AC += numel(y)
    neuron        AC += output spikes (reset);  LIF: MAC += numel(out) (leak)

    E_ops  = AC e_add + MAC (e_mul + e_add)
    E_addr = ACC_addr e_add + MAC_addr (e_mul + e_add)
    E_mem  = sum of bytes c(capacity) over
             input        spikes: 4 n, in a queue of 1000 words; real Linear: 4 numel(x), real Conv:
                          4 uses, in 4 numel(x)
             parameters   4 (fan or uses), and 4 numel(y) with a bias, in 4 parameters
             potentials   spike input: 4 fan, and 4 numel(out) of the neurons, read and written, in
                          4 outputs
             output       4 output spikes, in a queue of 1000 words; without neurons 4 numel(y)

Counts are upper bounds: edges, padding and dilation are ignored, and kernel / stride is rounded up.

Source: Lemaire et al. 2022, arXiv 2210.13107, as implemented in spikingjelly 2.0.0, whose numbers
it reproduces. There a Linear keeps the potentials of all T steps, where its neurons and a Conv keep
those of one; ``linear_keeps_steps=False`` gives it one step like all others.
"""

import math
from collections.abc import Iterator

from neuro.energy.counts import Counts, Facts, Ledger
from neuro.energy.pricing.lines import Line
from neuro.energy.pricing.prices import Prices
from neuro.energy.pricing.traffic import level
from neuro.errors import UsageError

WORD = 4
"""Bytes."""
QUEUE = 1000 * WORD
"""Bytes of a queue of spikes."""

_ADD, _MULTIPLY = "addition_energy", "multiplication_energy"
_SYNAPSES = ("linear", "convolution")
RECTIFIER = "Rectifier"
"""Kind of the layers of a network without spikes that cost nothing in this model."""


def lemaire_lines(
    sample: Ledger, prices: Prices, *, linear_keeps_steps: bool = True
) -> Iterator[Line]:
    """Yield the lines of a sample.

    Args:
        sample: of a network of Linear, Conv, IF and LIF layers or rectifiers, with its facts.
        prices: of an addition, a multiplication and memories by size.
        linear_keeps_steps: whether a Linear keeps the potentials of all steps.

    Raises:
        UsageError: other layers, which it lists.
    """
    _check(sample)
    spiking = any(facts.kind == "neurons" for facts in sample.facts.values())
    for name, counts in sample.layers.items():
        facts = sample.facts[name]
        steps = 1 if facts.constant else sample.timesteps
        model = _Layer(name, counts, facts, prices, steps)
        if facts.kind == "neurons":
            yield from model.neurons()
        elif facts.kind in _SYNAPSES:
            yield from model.synapses(linear_keeps_steps, writes=not spiking)


def _check(sample: Ledger) -> None:
    """Check that the formulas hold for all layers."""
    refused = []
    for name, counts in sample.layers.items():
        facts = sample.facts.get(name)
        if facts is None:
            refused.append(f"{name} (nothing is known of it)")
        elif facts.kind in _SYNAPSES:
            if facts.signal not in ("binary", "real"):
                refused.append(f"{name} ({facts.kind} of {facts.signal} input)")
        elif facts.kind == "neurons":
            leaks = counts.decays in (0, counts.neuron_updates)
            if facts.state != facts.neurons or not leaks:
                refused.append(f"{name} (neurons other than IF and LIF)")
        elif facts.kind == RECTIFIER:
            continue
        elif counts.to_json() or facts.kind == "pooling":
            refused.append(f"{name} ({facts.kind})")
    if refused:
        raise UsageError(
            "The model of Lemaire et al. has formulas for linear layers and convolutions of spikes "
            f"or real numbers, and for IF and LIF neurons; it has none for {', '.join(refused)}."
        )


class _Layer:
    """One layer's lines."""

    def __init__(
        self, name: str, counts: Counts, facts: Facts, prices: Prices, timesteps: int
    ) -> None:
        self.name, self.counts, self.facts = name, counts, facts
        self.levels = [(bits / 8, constant) for bits, constant in prices.levels]
        self.outputs = facts.outputs * timesteps
        self.inputs = facts.inputs * timesteps

    def synapses(self, linear_keeps_steps: bool, *, writes: bool) -> Iterator[Line]:
        """Yield the lines of a Linear or a Conv."""
        facts, convolution = self.facts, self.facts.kind == "convolution"
        kernel = math.prod(facts.kernel)
        bias = self.outputs if facts.bias else 0
        if facts.signal == "binary":
            spikes = self.counts.spikes_in
            reach = facts.channels // facts.groups if convolution else facts.outputs
            taps = math.prod(
                -(-size // step) for size, step in zip(facts.kernel, facts.stride, strict=True)
            )
            used = spikes * reach * (kernel if convolution else 1)
            yield self._operations(spikes * reach * (taps if convolution else 1) + bias, 0)
            yield self._addresses(used, 2 * spikes if convolution else 0)
            yield self._memory("input", WORD * spikes, QUEUE)
            kept = self.outputs if linear_keeps_steps and not convolution else facts.outputs
            yield self._memory("potentials", 2 * WORD * used, WORD * kept)
        else:
            used = self.outputs * (facts.parameters // facts.channels - facts.bias)
            yield self._operations(bias, used)
            kernels = facts.channels * kernel if convolution else 0
            yield self._addresses(self.inputs + self.outputs + kernels, 0)
            read = used if convolution else self.inputs
            yield self._memory("input", WORD * read, WORD * self.inputs)
        yield self._memory("parameters", WORD * (used + bias), WORD * facts.parameters)
        if writes:
            yield self._memory("output", WORD * self.outputs, WORD * self.outputs)

    def neurons(self) -> Iterator[Line]:
        """Yield the lines of IF or LIF neurons."""
        updates, spikes = self.counts.neuron_updates, self.counts.spikes
        yield self._operations(spikes, self.counts.decays)
        yield self._memory("potentials", 2 * WORD * updates, WORD * self.facts.neurons)
        yield self._memory("output", WORD * spikes, QUEUE)

    def _operations(self, additions: float, macs: float) -> Line:
        return Line(self.name, "operations", {_ADD: additions + macs, _MULTIPLY: macs})

    def _addresses(self, additions: float, macs: float) -> Line:
        return Line(self.name, "addresses", {_ADD: additions + macs, _MULTIPLY: macs})

    def _memory(self, what: str, moved: float, capacity: float) -> Line:
        """Return the line of bytes moved in a memory of so many bytes."""
        shares = level(capacity, self.levels, from_nothing=True)
        amounts = {name: 8 * moved * share for name, share in shares.items()}
        return Line(self.name, f"accesses: {what}", amounts)
