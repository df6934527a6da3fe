"""Writes what other frameworks export, with their own spikes beside it; needs `make nir-readers`.

.venv-readers/bin/python tests/hardware/nir/write_foreign.py tests/hardware/nir/golden
"""

import contextlib
import sys
import warnings
from collections.abc import Callable
from pathlib import Path

import nir
import numpy as np
import torch
from torch import nn

STEPS = 60


def snntorch_dense(x: torch.Tensor) -> tuple[nir.NIRGraph, list[torch.Tensor]]:
    """Two dense layers of Leaky; writes r = 1/(1-b)."""
    import snntorch
    from snntorch.export_nir import export_to_nir

    settings = {"init_hidden": True, "reset_mechanism": "zero", "reset_delay": False}
    # its writer fails at neurons without a shape
    first = snntorch.Leaky(beta=torch.full((6,), 0.9), threshold=torch.ones(6), **settings)
    second = snntorch.Leaky(
        beta=torch.full((4,), 0.8), threshold=torch.ones(4), output=True, **settings
    )
    net = _stronger(nn.Sequential(nn.Linear(8, 6), first, nn.Linear(6, 4), second))
    graph = export_to_nir(net, x[0])
    first.reset_mem(), second.reset_mem()
    return graph, [net(each[None])[0] for each in x]


def snntorch_recurrent(x: torch.Tensor) -> tuple[nir.NIRGraph, list[torch.Tensor]]:
    """A layer of RLeaky; writes a nested graph with a loop."""
    import snntorch
    from snntorch.export_nir import export_to_nir

    layer = snntorch.RLeaky(
        beta=0.9,
        linear_features=6,
        all_to_all=True,
        init_hidden=True,
        output=True,
        reset_mechanism="zero",
        reset_delay=False,
    )
    net = _stronger(nn.Sequential(nn.Linear(8, 6), layer))
    graph = export_to_nir(net, x[0])
    layer.reset_mem()
    return graph, [net(each[None])[0] for each in x]


def norse(x: torch.Tensor) -> tuple[nir.NIRGraph, list[torch.Tensor]]:
    """Two dense layers of LIFBoxCell; writes time constants times its dt, 1e-3."""
    from norse.torch import LIFBoxCell, LIFBoxParameters, SequentialState, to_nir

    def cell(width: int) -> nn.Module:
        # numbers without a shape cannot be written
        rate, threshold = torch.full((width,), 100.0), torch.ones(width)
        return LIFBoxCell(LIFBoxParameters(rate, v_th=threshold, v_leak=torch.zeros(width)))

    net = SequentialState(nn.Linear(8, 6), cell(6), nn.Linear(6, 4), cell(4))
    _stronger(net, 120.0)
    graph = to_nir(net, x[0])
    state, spikes = None, []
    for each in x:
        made, state = net(each[None], state)
        spikes.append(made)
    return graph, spikes


def spikingjelly(x: torch.Tensor) -> tuple[nir.NIRGraph, list[torch.Tensor]]:
    """A convolution, a pool and a dense layer of LIFNode."""
    from spikingjelly.activation_based import functional, layer, neuron
    from spikingjelly.activation_based.nir_exchange import export_to_nir

    maps = x.repeat(1, 4).reshape(-1, 2, 4, 4)
    net = nn.Sequential(
        layer.Conv2d(2, 3, 3, padding=1),
        neuron.LIFNode(tau=5.0, decay_input=False, v_reset=0.0),
        layer.AvgPool2d(2),
        layer.Flatten(),
        layer.Linear(12, 4),
        neuron.LIFNode(tau=4.0, decay_input=True, v_reset=0.0),
    )
    _stronger(net, 10.0)
    graph = export_to_nir(net, maps[:1], dt=1e-4)
    functional.reset_net(net)
    return graph, [net(each[None]) for each in maps]


def _stronger(net: nn.Module, gain: float = 8.0) -> nn.Module:
    with torch.no_grad():
        for parameter in net.parameters():
            if parameter.ndim > 1:
                parameter.mul_(gain)
    return net


WRITERS: dict[str, Callable[[torch.Tensor], tuple[nir.NIRGraph, list[torch.Tensor]]]] = {
    each.__name__: each for each in (snntorch_dense, snntorch_recurrent, norse, spikingjelly)
}


def main(folder: Path) -> None:
    """Write every file."""
    for name, write in WRITERS.items():
        torch.manual_seed(0)
        x = (torch.rand(STEPS, 8) < 0.4).float()
        with contextlib.redirect_stdout(sys.stderr), torch.no_grad():
            graph, spikes = write(x)
        nir.write(folder / f"{name}.nir", graph)
        inputs = x if name != "spikingjelly" else x.repeat(1, 4).reshape(-1, 2, 4, 4)
        made = torch.cat(spikes).numpy()
        np.savez(folder / f"{name}.npz", inputs=inputs.numpy(), spikes=made)
        print(name, int(made.sum()), file=sys.stderr)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    main(Path(sys.argv[1]))
