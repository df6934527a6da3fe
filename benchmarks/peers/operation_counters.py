"""The operation counters of NeuroBench and SpikingJelly, on a network of ours.

NeuroBench hooks the calls of ``torch.nn`` layers and the neurons of snnTorch; so the network's
layers are called one by one, and its LIF neurons are snnTorch's of the same equations.
"""

from collections.abc import Sequence
from typing import Any

import torch
from neurobench.metrics.static import ConnectionSparsity, ParameterCount
from neurobench.metrics.workload import (
    ActivationSparsity,
    MembraneUpdates,
    NeuronOperations,
    SynapticOperations,
)
from neurobench.models import SNNTorchModel
from snntorch import Leaky
from spikingjelly.activation_based import op_counter
from torch import Tensor, nn

from neuro.layers import INPUT, Network, Spiking
from neuro.neurons import LIF


class Stepped(nn.Module):
    """A network whose layers are called, one step at a time.

    Args:
        network: of synapses, linear maps and LIF neurons with a hard reset to 0.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.sources = network.sources
        self.layers = nn.ModuleDict(
            {name: _rebuilt(module) for name, module in network.nodes.items()}
        )

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Advance one step: ``(B, ...)`` to the output and nothing."""
        values = {INPUT: x}
        for name, module in self.layers.items():
            values[name] = module(*(values[source] for source in self.sources[name]))
            last = values[name]
        return last, None


@torch.no_grad()
def neurobench_counts(network: Network, steps: Sequence[Tensor]) -> dict[str, float]:
    """Return NeuroBench's metrics, of the whole batch where they are means of a sample."""
    batch = len(steps[0])
    model = SNNTorchModel(Stepped(network))
    model.register_hooks()
    data: Any = torch.stack(list(steps), 1)
    outputs = model(data)
    given = (data, None)
    synaptic = SynapticOperations()(model, outputs, given)
    neurons = NeuronOperations()(model, outputs, given)
    found = {
        **{name: round(number * batch) for name, number in synaptic.items()},
        "ConnectionSparsity": ConnectionSparsity()(model),
        "ParameterCount": ParameterCount()(model),
        "ActivationSparsity": ActivationSparsity()(model, outputs, given),
        "MembraneUpdates": round(MembraneUpdates()(model, outputs, given) * batch),
        "NeuronOperations": round(neurons["Effective Neuron Ops"] * batch),
    }
    model.cleanup_hooks()
    return found


@torch.no_grad()
def spikingjelly_counts(network: Network, steps: Sequence[Tensor]) -> dict[str, float]:
    """Return what SpikingJelly counts of the synapses."""
    counters = {"synop": op_counter.SynOpCounter(), "mac": op_counter.MACCounter()}
    state = network.initial_state(len(steps[0]))
    weights = network.effective_weights()
    with op_counter.DispatchCounterMode(list(counters.values())):
        for x in steps:
            _, state = network.advance(x, state, weights)
    return {name: counter.get_total() for name, counter in counters.items()}


def _rebuilt(module: nn.Module) -> nn.Module:
    if not isinstance(module, Spiking):
        return module
    lif = module.neuron
    assert type(lif) is LIF
    assert (lif.reset_mode, lif.input_gain, module.scale) == ("hard", 1.0, 1.0)
    built: nn.Module = Leaky(
        beta=lif.decay, threshold=lif.threshold, reset_mechanism="zero", init_hidden=True
    )
    return built
