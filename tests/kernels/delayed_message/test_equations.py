"""Delayed messages by hand, and against autograd of a naive formulation."""

import math
from typing import Any

import pytest
import torch
from torch import Tensor

from neuro.kernels import RelationalGraph
from neuro.kernels.delayed_message.operands import Dynamics, pack, unpack
from tests.kernels.delayed_message.cases import (
    DECAY,
    GAIN,
    RULES,
    Case,
    chain,
    close,
    draw,
    learn,
    weights_like,
)


class _Spike(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, distance: Tensor) -> Tensor:
        ctx.save_for_backward(distance)
        return (distance >= 0).to(distance)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Any:
        (distance,) = ctx.saved_tensors
        share = torch.sigmoid(4 * distance)
        return gradient * 4 * share * (1 - share)


def naive(case: Case) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """Return decoded, spikes by step, and gradients, all by autograd over every edge.

    A delay's gradient enters as a term that is zero: the trace times ``delay - delay``.
    """
    graph, tau, threshold = case.graph, 4.0, 2.0
    drive, delay, weight, bias = given = [each.detach().requires_grad_() for each in case.learnt]
    scale, exact = case.options["linear_scale"], case.options["delay_gradient"] == "exact"
    targets = torch.arange(graph.nodes).repeat_interleave(graph.in_starts.diff())
    sources, relations = graph.in_sources.long(), graph.in_relations.long()
    queries, neurons = drive.shape
    late = delay[relations].round().detach()  # [E, B, d]
    nothing = (delay - delay.detach())[relations]
    boundary = torch.zeros(graph.nodes, queries, neurons, dtype=drive.dtype)
    boundary = boundary.index_put((case.heads, torch.arange(queries)), drive)

    def trace(history: list[Tensor], t: int) -> Tensor:
        total = torch.zeros_like(boundary)
        for i in range(t + 1):
            slope = GAIN * (1 - (i + 1) / tau) * DECAY**i
            total = total - slope * history[t - i].detach()
        return total

    def arrive(per_edge: Tensor) -> Tensor:
        return torch.zeros_like(boundary).index_add(0, targets, per_edge)

    history: list[Tensor] = []
    potential = current = torch.zeros_like(boundary)
    for t in range(len(case.read_out)):
        unseen = torch.zeros_like(boundary)
        if t > 0:
            sent, slopes = torch.zeros_like(late), torch.zeros_like(late)
            for moment in range(t):
                then = (late == t - 1 - moment).to(late)
                sent = sent + then * history[moment][sources]
                slopes = slopes + then * trace(history, moment)[sources]
            if exact:
                unseen = arrive(slopes * nothing) @ (scale * weight.detach()).T
            else:
                sent = sent + slopes * nothing
            linear = torch.nn.functional.linear(arrive(sent), weight, bias)
            current = DECAY * current + GAIN * scale * linear
        charged = DECAY * potential + current + boundary
        spikes = _Spike.apply(charged + unseen - threshold)
        potential = charged * (1 - spikes)
        history.append(spikes)
    decoded = sum(k * spikes for k, spikes in zip(case.read_out, history, strict=True))
    decoded = decoded.transpose(0, 1)
    slopes = torch.autograd.grad(
        decoded, given, weights_like(decoded), allow_unused=True, materialize_grads=True
    )
    return decoded, history, list(slopes)


@pytest.mark.parametrize("delays", [(0.0, 0.0), (2.0, 1.0), (4.0, 3.0), (1.0, 4.0)])
def test_a_hop_takes_one_step_and_its_delay(implementation, delays):
    first, second = 1 + int(delays[0]), 2 + int(sum(delays))
    spikes = chain(delays, 10).spikes()[0, :, :, 0].int()
    arrivals = [int(row.argmax()) if row.any() else None for row in spikes]
    assert arrivals == [0, first, second if second < 10 else None]
    # a delay that reaches back before the first step brings nothing
    silent = chain(delays, first).spikes()[0, :, :, 0]
    assert not silent[1:].any()


def test_at_exactly_the_threshold(implementation):
    case = chain((0.0, 0.0), 1)
    assert case.spikes()[0, :, 0, 0].tolist() == [True, False, False]
    case.drive = torch.nextafter(case.drive, torch.zeros_like(case.drive))
    assert not case.spikes().any()


def test_half_is_rounded_to_even(implementation):
    for delay, rounded in ((0.5, 0), (1.5, 2), (2.5, 2), (3.5, 4)):
        assert int(chain((delay, 0.0), 10).spikes()[0, 1, :, 0].int().argmax()) == 1 + rounded


def test_the_bias_acts_on_every_node_and_on_silent_ones_too(implementation):
    case = draw(nodes=5, edges=0, queries=2, neurons=3, steps=12, bias=0.0)
    case.bias = torch.tensor([0.0, 0.6, 0.3], dtype=torch.float64)
    case.options["linear_scale"] = 1.0
    u = i = 0.0
    spikes = []
    for t in range(12):
        i = DECAY * i + GAIN * 0.6 if t else 0.0
        u = DECAY * u + i
        spikes.append(u >= 2)
        u = 0.0 if u >= 2 else u
    found = case.spikes()
    assert any(spikes)
    for query, head in enumerate(case.heads):
        others = [node for node in range(5) if node != head]
        assert (found[query, others][:, :, 1] == torch.tensor(spikes)).all()
        assert not found[query, others][:, :, 0].any()


def test_what_is_decoded_and_counted_is_what_was_sent(implementation):
    case = draw(neurons=37, steps=6, strength=6)
    found, spikes = case.run(), case.spikes()
    assert 0.02 < spikes.double().mean() < 0.9
    torch.testing.assert_close(found.decoded, (spikes * case.read_out[:, None]).sum(2))
    assert torch.equal(found.spike_counts, spikes.sum((1, 3)))
    assert torch.equal(pack(spikes), found.spikes)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize(
    "sizes",
    [
        {},
        {"neurons": 33, "nodes": 7, "edges": 30, "queries": 3, "strength": 5.0},
        {"neurons": 1, "strength": 3.0, "edges": 60},
        {"max_delay": 0},
        {"max_delay": 7, "steps": 6},
        {"steps": 1},
        {"bias": 1.0, "steps": 11},
    ],
)
def test_against_autograd_over_every_edge(implementation, direction, rule, sizes):
    case = draw(rule=rule, **sizes)
    if case.options["max_delay"]:
        case.delay[0, 0, 0] = case.options["max_delay"] - 0.5
    decoded, history, slopes = naive(case)
    found, gradients = learn(case)
    spikes = torch.stack(history).permute(2, 1, 0, 3).bool()
    assert torch.equal(unpack(found.spikes, case.drive.shape[1]), spikes)
    assert spikes.any() or sizes == {"steps": 1}
    torch.testing.assert_close(found.decoded, decoded, rtol=1e-12, atol=1e-12)
    close(gradients, slopes, 1e-9)
    if len(case.read_out) > 6:
        assert all(each.abs().max() > 1e-6 for each in slopes)


@pytest.mark.parametrize("rule", RULES)
def test_the_trace_is_the_spikes_filtered_with_the_slope_of_the_response(rule):
    dynamics = Dynamics(DECAY, GAIN, 0.5, 2.0, 4.0, 4, rule == "exact")
    factor = 0.5 if rule == "exact" else 1.0
    by_hand = (0.510, 0.265, 0.103, 0, -0.063, -0.097, -0.114, -0.118, -0.115, -0.107)
    kernel = [-each / factor for each in dynamics.trace_kernel(10)]
    assert kernel == pytest.approx(by_hand, abs=6e-4)
    spikes = (torch.rand(30, 1, dtype=torch.float64) < 0.4).double()
    single = double = torch.zeros(1, dtype=torch.float64)
    for t in range(30):
        double = DECAY * (double + single)
        single = DECAY * single + spikes[t]
        trace = -GAIN * factor * ((1 - 1 / 4) * single - double / 4)
        summed = sum(k * spikes[t - i] for i, k in enumerate(dynamics.trace_kernel(t + 1)))
        assert float(trace - summed) == pytest.approx(0, abs=1e-8)


@pytest.mark.parametrize(
    ("rule", "table"),
    [
        ("exact", (0.11496, 0.11809, 0.11372, 0.09735, 0.06250)),
        ("released", (-0.23438, -0.48151, -0.72132, -0.92619, -1.06183)),
    ],
)
def test_one_synapse_and_one_spike(implementation, rule, table):
    """L = u[9] of a neuron that never fires and hears one spike; both rules in closed form.

    Neuron 0 of the head fires at t = 0, then neuron 1 silences it over a loop. Steep sigmoids leave
    nothing of the reset's gradient.
    """
    never, sharpness, ends = 20.0, 100.0, torch.tensor([0, 0])
    kind: Any = {"dtype": torch.float64}
    for delay, expected in enumerate(table):
        case = Case(
            RelationalGraph.of(ends, torch.tensor([0, 1]), torch.tensor([1, 0]), nodes=2),
            torch.tensor([0]),
            torch.full((1, 2), 2.0, **kind),
            torch.tensor([[[delay, never]], [[never, 0.0]]], **kind),
            torch.tensor([[1.0, -100.0], [0.0, 0.0]], **kind),
            torch.zeros(2, **kind),
            torch.tensor([0.0] * 9 + [1.0], **kind),
            {"max_delay": 20, "delay_gradient": rule, "sharpness": sharpness},
        )
        assert case.spikes()[0, :, :, 0].tolist() == [[True] + [False] * 9, [False] * 10]
        u = GAIN * (9 - delay) * DECAY ** (8 - delay)
        share = 1 / (1 + math.exp(sharpness * (2 - u)))
        of_decoded = torch.zeros(1, 2, 2, **kind)
        of_decoded[0, 1, 0] = 1 / (sharpness * share * (1 - share))
        found = learn(case, of_decoded)[1][1]
        assert float(found[0, 0, 0]) == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("rule", RULES)
def test_no_gradient_where_a_delay_reaches_back_before_the_first_step(implementation, rule):
    case = draw(steps=5, max_delay=6, rule=rule, strength=5.0)
    case.drive[:] = 2.0  # fires at every step from the first
    case.delay[:, :, 0], case.delay[:, :, 1] = 4.0, 3.0
    gradient = learn(case)[1][1]
    assert not gradient[:, :, 0].any()
    assert gradient[:, :, 1].any()


def test_the_reset_passes_on_a_gradient(implementation):
    """One driven neuron, two steps: u[0] = q, u[1] = decay q (1 - s[0]) + q."""
    q, graph = 1.7, RelationalGraph.of(*torch.zeros(3, 0, dtype=torch.int64), nodes=1)
    one = torch.ones(1, 1, dtype=torch.float64)
    read_out = torch.tensor([0.0, 1.0], dtype=torch.float64)
    case = Case(graph, torch.tensor([0]), q * one, one[None], one, 0 * one[0], read_out, {})
    _, (gradient, *_) = learn(case, one[None])

    def psi(u: float) -> float:
        share = 1 / (1 + math.exp(-4 * (u - 2)))
        return 4 * share * (1 - share)

    expected = psi(DECAY * q + q) * (1 + DECAY * (1 - q * psi(q)))
    assert float(gradient) == pytest.approx(expected, rel=1e-12)
