"""The dense product in plain torch: the definition, and what serves above the density crossing."""

import torch
from torch import Tensor
from torch.nn import functional


def forward(spikes: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the currents of ``spikes`` ``[B, N_in]``."""
    return functional.linear(spikes, weight, bias)


def weight_gradient(of_currents: Tensor, spikes: Tensor) -> Tensor:
    """Return ``sum_b g_b spikes_b^T``."""
    return of_currents.t() @ spikes


@torch.no_grad()
def add_weight_gradient(total: Tensor, of_currents: Tensor, spikes: Tensor) -> None:
    """Add ``sum_b g_b spikes_b^T`` to ``total``."""
    total.addmm_(of_currents.t(), spikes)
