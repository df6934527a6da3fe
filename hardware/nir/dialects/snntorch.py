"""For ``snntorch.import_nir.import_from_nir(graph)``, whose time step is 1e-4 s and no other."""

import nir

from neuro.hardware.nir.dialects.base import (
    Dialect,
    full_gain,
    hard_reset,
    longer_than_step,
    no_groups,
    no_leak_potential,
    no_loops,
    no_reset_potential,
    refuse,
    uniform,
    unit_gain,
    unpadded_sums,
)

SNNTORCH = Dialect(
    name="snntorch",
    description="snntorch 1.0: dt is 1e-4, one time constant and threshold a layer, no loops",
    dt=1e-4,
    rewrites=(unit_gain,),
    checks=(
        refuse((nir.IF,), "the reader lets it leak; take LIF with a long time constant"),
        uniform,
        no_leak_potential,
        no_reset_potential,
        hard_reset,
        full_gain,
        longer_than_step,
        no_groups,
        unpadded_sums,
        refuse((nir.Delay, nir.LI, nir.I, nir.CubaLI), "the reader does not know it"),
        refuse((nir.Scale, nir.Threshold, nir.Conv1d), "the reader does not know it"),
    ),
    graph_checks=(no_loops,),
)
