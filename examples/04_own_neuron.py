"""Write a neuron of your own: parameters, and charge, distance and reset. The rest follows.

A LIF neuron whose input saturates, ``u[t] = decay * v[t-1] + tanh(I[t])``.

    python examples/04_own_neuron.py
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from neuro.layers import Linear, Network, Node, Spiking
from neuro.neurons import LIF, MembraneState


@dataclass(frozen=True, kw_only=True)
class SaturatingLIF(LIF):
    """``u[t] = decay * v[t-1] + tanh(I[t])``, else a LIF neuron."""

    def charge(self, current: Tensor, state: MembraneState) -> MembraneState:
        return super().charge(torch.tanh(current), state)


def main() -> None:
    neuron = SaturatingLIF(decay=0.8, threshold=1.5)
    currents = torch.linspace(0, 3, 4).repeat(12, 1)  # (T, B): four constant inputs
    spikes, state = neuron.sequence(currents)
    for current, train in zip(currents[0], spikes.T, strict=True):
        print(f"I = {current:.1f}   " + "".join("|" if spike else "." for spike in train))
    print("membrane potential left:", [round(v, 2) for v in state.membrane_potential.tolist()])

    network = Network(
        [Node("in", Linear(4, 16)), Node("hidden", Spiking(neuron)), Node("out", Linear(16, 3))],
        input_shape=(4,),
    )
    logits, _ = network.sequence(torch.rand(12, 2, 4))
    print("logits of a network of them, (T, B, classes):", tuple(logits.shape))


if __name__ == "__main__":
    main()
