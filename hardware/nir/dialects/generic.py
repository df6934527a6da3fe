"""NIR as it is defined: anything goes, and nothing is rewritten."""

from neuro.hardware.nir.dialects.base import Dialect

GENERIC = Dialect(
    name="generic",
    description="NIR as it is defined; per-neuron numbers, leak and reset potentials, delays",
    nested=True,
)
