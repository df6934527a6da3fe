"""From trained networks to what a chip runs: one linear map between layers, then integers."""

from neuro.export.network import float_graph

__all__ = ["float_graph"]
