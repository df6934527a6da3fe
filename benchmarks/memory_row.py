"""The process that measures one row of :mod:`benchmarks.memory`; prints one JSON object."""

import gc
import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from neuro.learning import build_rule, rule_class
from neuro.models import MLP, build_model

STATUS = Path("/proc/self/status")
CLEAR_REFS = Path("/proc/self/clear_refs")
Norm = Literal["weight-standardised", "none"]
WARM_UP = 8
"""Time steps that have called every kernel: what a process loads once is no part of an update."""
RECOMPUTE = "+recompute"
"""Follows the name of a rule that recomputes."""


@dataclass(frozen=True)
class Row:
    """One process: a rule, T, and the network it trains.

    ``recompute`` is that option of bptt.
    """

    rule: str
    timesteps: int
    hidden: tuple[int, ...] = (800, 800)
    features: int = 784
    batch_size: int = 128
    recompute: bool = False
    norm: Norm = "weight-standardised"

    @property
    def name(self) -> str:
        """Name in results."""
        return f"{self.rule}{RECOMPUTE if self.recompute else ''}"


def measure_here(row: Row) -> dict[str, float]:
    """Measure one row in this process, in units of 2^20 bytes."""
    generator = torch.Generator().manual_seed(0)
    options = MLP(hidden=row.hidden, norm=row.norm)
    network = build_model(options, (row.features,), 10, generator)
    given = {"recompute": True} if row.recompute else {}
    chosen = rule_class(row.rule).Options(**given)
    rule = build_rule(network, chosen, generator=generator)
    targets = torch.randint(10, (row.batch_size,), generator=generator)

    def update(timesteps: int) -> None:
        frames = _frames(row, timesteps, generator)
        rule.learn(frames, timesteps, targets, generator=generator)

    update(WARM_UP)
    for parameter in [*network.parameters(), *rule.parameters()]:
        parameter.grad = None
    gc.collect()
    before = status_mb("VmRSS")
    CLEAR_REFS.write_text("5")
    update(row.timesteps)
    peak = status_mb("VmHWM")
    return {"update_mb": peak - before, "process_mb": peak}


def _frames(row: Row, timesteps: int, generator: torch.Generator) -> Iterator[Tensor]:
    for _ in range(timesteps):
        yield (torch.rand((row.batch_size, row.features), generator=generator) < 0.1).float()


def status_mb(field: str) -> float:
    """Return a field of this process's memory, in units of 2^20 bytes."""
    found = re.search(rf"^{field}:\s+(\d+) kB", STATUS.read_text(), re.MULTILINE)
    assert found is not None
    return int(found[1]) / 1024


if __name__ == "__main__":
    fields = json.loads(sys.argv[1])
    print(json.dumps(measure_here(Row(**{**fields, "hidden": tuple(fields["hidden"])}))))
