"""For ``sinabs.nir.from_nir(graph, batch_size=1)``: experimental.

sinabs counts time constants in steps, solves the leak exactly, takes inputs at full gain and
subtracts thresholds::

    u[t] = exp(-1/tau) v[t-1] + I[t]    s[t] = floor(u[t] / threshold)    v[t] = u[t] - threshold s

so a file for it says other things than NIR does; its metadata note ``dynamics = "exponential"``, by
which this package reads it. A neuron far above its threshold fires more than once in a step there,
and once here.
"""

import nir
import numpy as np

from neuro.hardware.nir.dialects.base import (
    Dialect,
    full_gain,
    no_leak_potential,
    no_loops,
    refuse,
    unit_gain,
)
from neuro.hardware.nir.dialects.spikingjelly import fire_above, more_than_a_step
from neuro.hardware.nir.flat import parameter
from neuro.hardware.nir.formulas import decay_from_tau, tau_in_steps


def biased(graph: nir.NIRGraph, dt: float) -> None:
    """Write every matrix as Affine, the only one the reader knows."""
    for name, node in list(graph.nodes.items()):
        if isinstance(node, nir.Linear):
            bias = np.zeros(node.weight.shape[:-1], node.weight.dtype)
            graph.nodes[name] = nir.Affine(weight=node.weight, bias=bias, metadata=node.metadata)


def exponential_leak(graph: nir.NIRGraph, dt: float) -> None:
    """Write time constants in steps, for the same decays, and thresholds for inputs of gain 1."""
    for node in graph.nodes.values():
        if isinstance(node, nir.LIF) and more_than_a_step(node, dt) is None:
            decay = decay_from_tau(parameter(node, "tau"), dt)
            node.tau = tau_in_steps(decay).astype(np.float32)
            node.v_threshold = (parameter(node, "v_threshold") / (1 - decay)).astype(np.float32)
            node.metadata.pop("input_gain", None)
    graph.metadata = {**graph.metadata, "dynamics": "exponential"}


def keeps_something(node: nir.NIRNode, dt: float) -> str | None:
    """Refuse LIF neurons with a decay of 0, left as they were: tau is still a step in seconds."""
    if isinstance(node, nir.LIF) and more_than_a_step(node, dt) is not None:
        return "a decay of 0 has no exponential time constant"
    return None


def subtracts(node: nir.NIRNode, dt: float) -> str | None:
    """Refuse what the metadata do not say to subtract its threshold."""
    if isinstance(node, nir.LIF) and str(node.metadata.get("reset_mode", "hard")) != "soft":
        return "its reset is to a fixed potential, the reader's is subtractive"
    return None


def vectors(node: nir.NIRNode, dt: float) -> str | None:
    """Refuse neurons on maps, where the reader fails at v_leak."""
    if isinstance(node, nir.LIF) and parameter(node, "v_leak").ndim != 1:
        return "the reader fails at neurons that are not a vector"
    return None


SINABS = Dialect(
    name="sinabs",
    description="sinabs 3.1, experimental: dense layers of LIF neurons with a soft reset",
    rewrites=(unit_gain, fire_above, biased, exponential_leak),
    checks=(
        subtracts,
        keeps_something,
        vectors,
        no_leak_potential,
        full_gain,
        refuse(
            (nir.Conv1d, nir.Conv2d, nir.SumPool2d, nir.AvgPool2d, nir.Flatten),
            "no run of the reader with it has been exact",
        ),
        refuse((nir.IF, nir.CubaLIF, nir.LI, nir.I, nir.CubaLI), "the reader takes LIF alone"),
        refuse((nir.Delay, nir.Scale, nir.Threshold), "the reader does not know it"),
    ),
    graph_checks=(no_loops,),
    soft_reset=True,
    experimental=True,
)
