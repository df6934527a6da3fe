"""Delayed messages: by hand, against autograd of a naive formulation, and bit for bit."""

import importlib
import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuro.kernels import DelayedMessage, KernelError, RelationalGraph, delayed_message
from neuro.kernels.delayed_message.operands import Dynamics, pack, unpack

CPU = importlib.import_module("neuro.kernels.delayed_message.cpu")
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


def close(found: list[Tensor], expected: list[Tensor], tolerance: float) -> None:
    for one, other in zip(found, expected, strict=True):
        largest = float(other.abs().max()) if other.numel() else 0.0
        torch.testing.assert_close(one, other, rtol=tolerance, atol=tolerance * max(largest, 1e-12))


@pytest.fixture(params=["push", "pull", "as it comes"])
def direction(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """The way messages are sent on the CPU."""
    limits = {"push": math.inf, "pull": -1.0}
    if request.param in limits:
        monkeypatch.setattr(CPU, "PUSH_BELOW", limits[request.param])
    return str(request.param)


def with_reference(case: Case, monkeypatch: pytest.MonkeyPatch, name: str = "numba") -> None:
    """Hold an implementation to the reference: spikes bit for bit, gradients closely."""
    monkeypatch.setenv("NEURO_KERNELS", "reference")
    expected, slopes = learn(case)
    monkeypatch.setenv("NEURO_KERNELS", name)
    found, gradients = learn(case)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)
    close(gradients, slopes, 1e-10 if case.drive.dtype == torch.float64 else 2e-4)


def chain(delays: tuple[float, float], steps: int) -> Case:
    """Nodes 0 -> 1 -> 2, one neuron each, a message enough for a spike; the head fires always."""
    ends = torch.tensor([0, 1])
    graph = RelationalGraph.of(ends, ends, ends + 1, nodes=3)
    delay = torch.tensor(delays, dtype=torch.float64).reshape(2, 1, 1)
    ones = torch.ones(1, 1, dtype=torch.float64)
    read_out = torch.ones(steps, dtype=torch.float64)
    bias = torch.zeros(1, dtype=torch.float64)
    return Case(graph, torch.tensor([0]), 2 * ones, delay, 3 * ones, bias, read_out, {})


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


@pytest.mark.parametrize("queries", [1, 5, 8, 33])
def test_a_hub_bit_for_bit(monkeypatch, direction, queries):
    generator = torch.Generator().manual_seed(queries)
    sources, relations, targets = draw_edges(40, 9000, 4, generator)
    targets[: 2**13 + 3] = 0
    steps = 4 if queries == 33 else 7
    case = draw(
        nodes=40,
        relations=4,
        queries=queries,
        neurons=32,
        steps=steps,
        strength=4.0,
        dtype=torch.float32,
        seed=queries,
    )
    case.graph = RelationalGraph.of(sources, relations, targets, nodes=40)
    assert int(case.graph.in_starts[1]) > 2**13
    with_reference(case, monkeypatch)
    assert case.spikes()[:, 1:, 3:].double().mean() > 0.05


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    ("strength", "rates"), [(0.6, (0, 0.004)), (12.0, (0.1, 0.5))], ids=["silent", "busy"]
)
def test_silent_and_busy_graphs_bit_for_bit(monkeypatch, direction, dtype, strength, rates):
    case = draw(
        nodes=301, edges=2400, queries=3, neurons=64, steps=9, strength=strength, dtype=dtype
    )
    with_reference(case, monkeypatch)
    rate = case.spikes()[:, :, 6:].double().mean()
    assert rates[0] < rate < rates[1]


@pytest.mark.parametrize("rule", RULES)
def test_a_bias_that_fires_wakes_every_node(monkeypatch, direction, rule):
    case = draw(nodes=50, edges=90, neurons=34, steps=10, bias=0.7, strength=1.0, rule=rule)
    with_reference(case, monkeypatch)
    counts = case.run().spike_counts[0]
    assert int(counts.max()) > 50


def test_credit_for_a_few_nodes_reaches_what_it_must(monkeypatch):
    case = draw(nodes=60, edges=240, neurons=9, steps=10, strength=8.0)
    of_decoded = torch.zeros(2, 60, 9, dtype=torch.float64)
    of_decoded[0, 3], of_decoded[1, case.heads[1], 5] = 1.0, -2.0
    found = []
    for name in ("reference", "numba"):
        monkeypatch.setenv("NEURO_KERNELS", name)
        found.append(learn(case, of_decoded)[1])
    close(found[1], found[0], 1e-10)
    assert all(each.any() for each in found[0])


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    nodes=st.integers(1, 23),
    edges=st.integers(0, 70),
    relations=st.integers(1, 4),
    queries=st.integers(0, 5),
    neurons=st.integers(1, 70),
    steps=st.integers(1, 9),
    max_delay=st.integers(0, 6),
    strength=st.floats(0.1, 8),
    bias=st.floats(0, 1),
    rule=st.sampled_from(RULES),
    push=st.sampled_from([math.inf, -1.0, 0.5]),
    seed=st.integers(0, 2**16),
)
def test_any_graph(push, **sizes):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CPU, "PUSH_BELOW", push)
        with_reference(draw(**sizes), patch)


def test_operands_of_any_layout(monkeypatch):
    case = draw(neurons=6)
    for name in ("delay", "weight", "drive"):
        tensor = getattr(case, name)
        setattr(case, name, tensor.transpose(0, -1).contiguous().transpose(0, -1))
    with_reference(case, monkeypatch)


def test_the_number_of_threads_changes_nothing(monkeypatch):
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    case = draw(nodes=900, edges=4000, queries=7, neurons=32, steps=6, dtype=torch.float32)
    before, runs = torch.get_num_threads(), []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            found, gradients = learn(case)
            runs.append([*found, *gradients])
    finally:
        torch.set_num_threads(before)
    for run in runs[1:]:
        assert all(map(torch.equal, runs[0], run))


def test_only_operands_are_kept_for_backward(implementation):
    kept: list[Tensor] = []

    def keep(tensor: Tensor) -> Tensor:
        kept.append(tensor)
        return tensor

    case = draw()
    given = [case.heads, case.read_out, *case.learnt, *case.graph]
    case.drive.requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        case.run()
    assert {each.data_ptr() for each in kept} <= {each.data_ptr() for each in given}


def test_opcheck(implementation):
    case = draw(nodes=4, edges=9, steps=4, neurons=3)
    given = [each.requires_grad_() for each in case.learnt]
    operands = (list(case.graph), case.heads, *given, case.read_out)
    numbers = [DECAY, GAIN, 1.0, 2.0, 4.0]
    torch.library.opcheck(torch.ops.neuro.delayed_message, (*operands, numbers, 4, False))


def test_compiles_without_a_break(implementation):
    case = draw()

    def loss(*given: Tensor) -> Tensor:
        found = delayed_message(case.graph, case.heads, *given, case.read_out, **NUMBERS)
        return found.decoded.square().sum() + found.spike_counts.sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    gradients = []
    for function in (loss, compiled):
        given = [each.detach().requires_grad_() for each in case.learnt]
        gradients.append(torch.autograd.grad(function(*given), given))
    assert all(map(torch.equal, *gradients))


def test_what_is_not_decoded_has_no_gradient(implementation):
    case = draw()
    case.drive.requires_grad_()
    found = case.run()
    assert found.decoded.requires_grad
    assert not found.spikes.requires_grad
    assert not found.spike_counts.requires_grad


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"heads": torch.tensor([0, 13])}, "nodes 0 to 12"),
        ({"heads": torch.tensor([0])}, r"heads must be int64 \[2\]"),
        ({"drive": torch.zeros(2, 5)}, r"float64 on cpu; for drive \(2, 5\) torch.float32"),
        ({"drive": torch.zeros(2, 0)}, "d >= 1"),
        ({"delay": torch.zeros(2, 2, 5, dtype=torch.float64)}, "relation 2, delay has rows"),
        ({"delay": torch.full((3, 2, 5), 4.6, dtype=torch.float64)}, "round to 5 .. 5"),
        ({"delay": torch.full((3, 2, 5), math.nan, dtype=torch.float64)}, "round to nan"),
        ({"weight": torch.zeros(5, 4, dtype=torch.float64)}, "weight is"),
        ({"read_out": torch.zeros(0, dtype=torch.float64)}, "T >= 1"),
        ({"read_out": torch.ones(3, dtype=torch.float64).requires_grad_()}, "constant here"),
    ],
)
def test_wrong_operands(implementation, change, message):
    case = Case(**{**draw().__dict__, **change})
    with pytest.raises(ValueError, match=message):
        case.run()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"delay_gradient": "none"}, "released, exact"),
        ({"decay": 1.0}, "0 < decay < 1"),
        ({"threshold": 0.0}, "threshold > 0"),
        ({"max_delay": -1}, "max_delay >= 0"),
    ],
)
def test_wrong_options(options, message):
    case = draw()
    with pytest.raises(ValueError, match=message):
        delayed_message(
            case.graph, case.heads, *case.learnt, case.read_out, **{**NUMBERS, **options}
        )


def test_half_precision_is_the_references(monkeypatch):
    case = draw(dtype=torch.bfloat16)
    assert case.run().decoded.dtype == torch.bfloat16
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    with pytest.raises(KernelError, match="bfloat16"):
        case.run()


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
