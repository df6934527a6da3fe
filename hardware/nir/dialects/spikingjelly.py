"""For ``spikingjelly.activation_based.nir_exchange.import_from_nir(graph, dt=...)``.

It fires at ``v >= threshold`` where NIR says ``v > v_threshold``: thresholds are written as the
next larger number in single precision.
"""

import nir
import numpy as np

from neuro.hardware.nir.dialects.base import (
    SPIKING,
    Dialect,
    full_gain,
    hard_reset,
    longer_than_step,
    no_groups,
    no_leak_potential,
    no_reset_potential,
    refuse,
    uniform,
    unit_gain,
    unpadded_sums,
)
from neuro.hardware.nir.flat import parameter


def fire_above(graph: nir.NIRGraph, dt: float) -> None:
    """Raise thresholds by the least there is, so that reaching them is passing the old ones."""
    for node in graph.nodes.values():
        if isinstance(node, SPIKING):
            single = parameter(node, "v_threshold").astype(np.float32)
            node.v_threshold = np.nextafter(single, np.float32(np.inf))
            node.metadata.pop("inclusive", None)
            node.metadata["fires_at_threshold"] = True


def more_than_a_step(node: nir.NIRNode, dt: float) -> str | None:
    """Refuse LIF neurons that keep nothing from step to step."""
    if isinstance(node, nir.LIF) and np.any(parameter(node, "tau") <= dt * (1 + 1e-6)):
        return "tau is one time step (a decay of 0), the reader takes longer ones only"
    return None


SPIKINGJELLY = Dialect(
    name="spikingjelly",
    description="spikingjelly 2.0: one time constant and threshold a layer; pass dt on import",
    rewrites=(unit_gain, fire_above),
    checks=(
        uniform,
        no_leak_potential,
        no_reset_potential,
        hard_reset,
        full_gain,
        longer_than_step,
        more_than_a_step,
        no_groups,
        unpadded_sums,
        refuse((nir.Delay, nir.LI, nir.I, nir.CubaLI), "the reader does not know it"),
        refuse((nir.Scale, nir.Threshold), "the reader does not know it"),
    ),
)
