"""Random numbers by position: each use of chance has its own generator, made from a counter.

``generator = Generator(BLAKE2b(seed, purpose, counters))``. Nothing carries over from one batch to
the next, so a resumed run draws what an uninterrupted one would have drawn.
"""

import hashlib

import torch


def generator_for(
    seed: int, purpose: str, *counters: int, device: torch.device | str = "cpu"
) -> torch.Generator:
    """Return a generator that depends on its arguments alone.

    Args:
        seed: the seed of the run.
        purpose: what the numbers are for, e.g. ``"order"``; different purposes are independent.
        counters: position in training, e.g. epoch and batch.
        device: where the numbers are drawn.
    """
    return torch.Generator(device).manual_seed(seed_for(seed, purpose, *counters))


def seed_for(seed: int, purpose: str, *counters: int) -> int:
    """Return a number in [0, 2^63) that depends on its arguments alone."""
    key = ":".join([str(seed), purpose, *(str(counter) for counter in counters)])
    digest = hashlib.blake2b(key.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1
