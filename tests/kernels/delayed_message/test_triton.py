"""Delayed messages in Triton, bit for bit those of the reference."""

import pytest
import torch

from neuro.kernels import RelationalGraph
from tests.kernels.delayed_message.cases import RULES, draw, draw_edges, with_reference


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"dtype": torch.float32, "neurons": 33, "nodes": 5, "edges": 12, "steps": 4},
        {"max_delay": 0, "steps": 3},
        {"max_delay": 6, "steps": 4, "bias": 2.0},
        {"edges": 0, "steps": 2},
        {"queries": 0},
        {"steps": 1},
    ],
)
def test_triton(triton_device, monkeypatch, rule, sizes):
    sizes = {"nodes": 6, "edges": 14, "steps": 5, "strength": 6.0, **sizes}
    case = draw(rule=rule, device=triton_device, **sizes)
    case.drive[:, 0] = 2.5
    with_reference(case, monkeypatch, "triton")
    assert not len(case.heads) or case.spikes().any()


def test_triton_hub(triton_device, monkeypatch):
    """More edges of a relation than one program adds up, and counts beyond a few."""
    generator = torch.Generator().manual_seed(0)
    sources, relations, targets = draw_edges(6, 700, 2, generator)
    targets[:600] = 0
    case = draw(nodes=6, relations=2, steps=3, neurons=3, device=triton_device, strength=5.0)
    graph = RelationalGraph.of(sources, relations, targets, nodes=6)
    case.graph = RelationalGraph(*(each.to(triton_device) for each in graph))
    case.drive[:] = 2.0
    case.delay[:] = 0.0
    with_reference(case, monkeypatch, "triton")
    assert case.spikes()[:, 0].any()


def test_triton_keeps_no_spikes(triton_device):
    case = draw(nodes=6, edges=14, steps=4, device=triton_device, strength=6.0)
    kept = case.run()
    case.options["keep_spikes"] = False
    found = case.run()
    assert found.spikes.shape == (2, 6, 0, 1)
    assert torch.equal(found.decoded, kept.decoded)
    assert torch.equal(found.spike_counts, kept.spike_counts)
