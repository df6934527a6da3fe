"""Calls of delayed messages to test with, and what an implementation is held to."""

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor

from neuro.kernels import DelayedMessage, RelationalGraph, delayed_message
from neuro.kernels.delayed_message.operands import unpack

DECAY = math.exp(-1 / 4)
GAIN = math.e / 4
NUMBERS: dict[str, Any] = {"decay": DECAY, "gain": GAIN}
RULES = ("released", "exact")


@dataclass
class Case:
    """Operands of a call, and its options."""

    graph: RelationalGraph
    heads: Tensor
    drive: Tensor
    delay: Tensor
    weight: Tensor
    bias: Tensor
    read_out: Tensor
    options: dict[str, Any]

    @property
    def learnt(self) -> list[Tensor]:
        return [self.drive, self.delay, self.weight, self.bias]

    def run(self) -> DelayedMessage:
        return delayed_message(
            self.graph, self.heads, *self.learnt, self.read_out, **NUMBERS, **self.options
        )

    def spikes(self) -> Tensor:
        """``[B, N, T, d]``."""
        return unpack(self.run().spikes, self.drive.shape[1])


def draw_edges(nodes: int, edges: int, relations: int, generator: torch.Generator) -> Any:
    ends = torch.randint(nodes, (2, edges), generator=generator)
    return ends[0], torch.randint(relations, (edges,), generator=generator), ends[1]


def draw(
    *,
    nodes: int = 13,
    edges: int = 40,
    relations: int = 3,
    queries: int = 2,
    neurons: int = 5,
    steps: int = 8,
    strength: float = 3.0,
    bias: float = 0.05,
    max_delay: int = 4,
    rule: str = "released",
    dtype: torch.dtype = torch.float64,
    device: str = "cpu",
    seed: int = 0,
) -> Case:
    """Return a case drawn at random; the larger ``strength``, the more spikes."""
    generator = torch.Generator().manual_seed(seed)
    kind: Any = {"generator": generator, "dtype": torch.float64}
    listed = draw_edges(nodes, edges, relations, generator)
    delay = max_delay * torch.randn((relations, queries, neurons), **kind).sigmoid()
    read_out = 0.95 ** torch.arange(steps, dtype=torch.float64)
    scale = strength / math.sqrt(neurons)
    tensors = (
        1 + torch.randn((queries, neurons), **kind),
        delay,
        torch.randn((neurons, neurons), **kind) * scale,
        torch.randn((neurons,), **kind) * bias,
        read_out / read_out.sum(),
    )
    graph = RelationalGraph.of(*listed, nodes=nodes)
    return Case(
        RelationalGraph(*(each.to(device) for each in graph)),
        torch.randint(nodes, (queries,), generator=generator).to(device),
        *(each.to(device, dtype) for each in tensors),
        {"linear_scale": 0.9, "max_delay": max_delay, "delay_gradient": rule},
    )


def chain(delays: tuple[float, float], steps: int) -> Case:
    """Nodes 0 -> 1 -> 2, one neuron each, a message enough for a spike; the head fires always."""
    ends = torch.tensor([0, 1])
    graph = RelationalGraph.of(ends, ends, ends + 1, nodes=3)
    delay = torch.tensor(delays, dtype=torch.float64).reshape(2, 1, 1)
    ones = torch.ones(1, 1, dtype=torch.float64)
    read_out = torch.ones(steps, dtype=torch.float64)
    bias = torch.zeros(1, dtype=torch.float64)
    return Case(graph, torch.tensor([0]), 2 * ones, delay, 3 * ones, bias, read_out, {})


def learn(case: Case, of_decoded: Tensor | None = None) -> tuple[DelayedMessage, list[Tensor]]:
    """Return what a call gives and the gradients of a loss that weighs every output differently."""
    given = [each.detach().requires_grad_() for each in case.learnt]
    found = delayed_message(
        case.graph, case.heads, *given, case.read_out, **NUMBERS, **case.options
    )
    if of_decoded is None:
        of_decoded = weights_like(found.decoded)
    return found, list(torch.autograd.grad(found.decoded, given, of_decoded))


def weights_like(decoded: Tensor) -> Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(decoded.shape, generator=generator, dtype=torch.float64).to(decoded)


def close(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    """Compare gradients; a sum whose parts cancel is no more exact than its parts are."""
    largest = max((float(each.abs().max()) for each in expected if each.numel()), default=0.0)
    for one, other in zip(found, expected, strict=True):
        own = float(other.abs().max()) if other.numel() else 0.0
        rounding = 1000 * torch.finfo(other.dtype).eps * largest
        nearest = max(tolerance * max(own, 1e-12), rounding)
        torch.testing.assert_close(one, other, rtol=tolerance, atol=nearest)


def with_reference(case: Case, monkeypatch: pytest.MonkeyPatch, name: str = "numba") -> None:
    """Hold an implementation to the reference: spikes bit for bit, gradients closely."""
    monkeypatch.setenv("NEURO_KERNELS", "reference")
    expected, slopes = learn(case)
    monkeypatch.setenv("NEURO_KERNELS", name)
    found, gradients = learn(case)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    close(gradients, slopes, 1e-10 if case.drive.dtype == torch.float64 else 2e-4)
