"""Packed spikes in plain torch: the definition the other implementations must equal."""

import torch
from torch import Tensor
from torch.nn import functional


@torch.no_grad()
def pack(spikes: Tensor, scale: Tensor, bits: Tensor) -> int:
    """Fill ``bits``; return the number of entries that are neither 0 nor the scale."""
    entries = spikes.flatten()
    fired = entries == scale
    filled_up = functional.pad(fired, (0, 8 * len(bits) - len(fired))).reshape(-1, 8)
    places = torch.arange(8, dtype=torch.uint8, device=bits.device)
    torch.sum(filled_up.to(torch.uint8) << places, 1, dtype=torch.uint8, out=bits)
    return int((~fired & (entries != 0)).sum())


@torch.no_grad()
def unpack(bits: Tensor, scale: Tensor, spikes: Tensor) -> None:
    """Fill ``spikes``."""
    places = torch.arange(8, dtype=torch.uint8, device=bits.device)
    fired = (bits[:, None] >> places & 1).flatten()[: spikes.numel()].bool()
    torch.where(fired, scale, torch.zeros_like(scale), out=spikes.view(-1))
