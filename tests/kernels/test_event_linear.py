"""Currents of a dense synapse from events: every implementation against the dense product."""

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from neuro.kernels import KernelError, event_linear
from neuro.kernels.event_linear import op

EPS = {torch.float32: 2.0**-23, torch.float64: 2.0**-52, torch.bfloat16: 2.0**-7}


def draw(
    shape: tuple[int, ...], share: float, *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Graded spikes: normal numbers, most of them 0."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (values * (torch.rand(shape, generator=generator) < share)).to(dtype)


def assert_rounds_to_dense(currents: Tensor, spikes: Tensor, weight: Tensor, bias: Tensor) -> None:
    """Hold currents to the error bound of a sum in any order, against double precision."""
    exact = functional.linear(spikes.double(), weight.double(), bias.double())
    sizes = functional.linear(spikes.double().abs(), weight.double().abs(), bias.double().abs())
    events = (spikes != 0).sum(-1, keepdim=True) + 2
    assert ((currents.double() - exact).abs() <= events * EPS[currents.dtype] * sizes).all()


def test_by_hand(implementation):
    weight = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    spikes = torch.tensor([[0.0, 1.0, 0.0], [0.5, 0.0, -2.0], [0.0, 0.0, 0.0]])
    bias = torch.tensor([10.0, 20.0])
    currents = event_linear(spikes, weight, bias)
    assert currents.tolist() == [[12.0, 25.0], [4.5, 10.0], [10.0, 20.0]]
    assert event_linear(spikes, weight).tolist() == [[2.0, 5.0], [-5.5, -10.0], [0.0, 0.0]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.0, 0.02, 0.4, 1.0])
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"),
    [
        (1, 1, 1),
        (3, 63, 17),
        (7, 64, 64),
        (2, 65, 33),
        (5, 131, 100),
        (129, 800, 211),
        (2, 7, 997),
        (600, 900, 33),
    ],
)
def test_sizes_and_densities_against_the_dense_product(
    implementation, rows, inputs, outputs, share, dtype
):
    spikes = draw((rows, inputs), share, dtype=dtype)
    weight, bias = (draw(shape, 1.0, dtype=dtype) for shape in ((outputs, inputs), (outputs,)))
    assert_rounds_to_dense(event_linear(spikes, weight, bias), spikes, weight, bias)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_integers_equal_the_dense_product_exactly(implementation, dtype):
    spikes = draw((37, 301), 0.2, dtype=dtype).mul(3).round()
    weight = draw((113, 301), 1.0, seed=1, dtype=dtype).mul(9).round()
    bias = draw((113,), 1.0, seed=2, dtype=dtype).mul(9).round()
    currents = event_linear(spikes, weight, bias)
    assert torch.equal(currents, functional.linear(spikes, weight, bias))


@pytest.mark.parametrize(
    ("shape", "outputs"), [((0, 5), 3), ((4, 0), 3), ((4, 5), 0), ((0, 0), 0), ((2, 0, 5), 3)]
)
def test_empty(implementation, shape, outputs):
    spikes, weight = torch.ones(shape), torch.ones(outputs, shape[-1])
    bias = torch.arange(float(outputs))
    assert torch.equal(event_linear(spikes, weight, bias), functional.linear(spikes, weight, bias))


@pytest.mark.parametrize("shape", [(9,), (4, 3, 9), (1, 2, 3, 9)])
def test_any_leading_shape(implementation, shape):
    spikes, weight = draw(shape, 0.5).round(), draw((5, 9), 1.0).mul(4).round()
    currents = event_linear(spikes, weight)
    assert torch.equal(currents, functional.linear(spikes, weight))
    assert currents.is_contiguous()


def test_not_contiguous(implementation):
    spikes = draw((70, 12, 2), 0.4).round()[..., 0].t()
    weight = draw((70, 33, 3), 1.0).mul(4).round()[..., 1].t()
    bias = torch.arange(66.0)[::2]
    assert torch.equal(event_linear(spikes, weight, bias), functional.linear(spikes, weight, bias))


def test_negative_zero_is_none_and_nan_and_infinity_are_spikes(implementation):
    weight = torch.ones(1, 4)
    spikes = torch.tensor([[-0.0, 1.0, 0.0, 0.0], [float("nan"), 0, 0, 0], [0, float("inf"), 0, 0]])
    currents = event_linear(spikes, weight).flatten()
    assert currents[0] == 1
    assert currents[1].isnan()
    assert currents[2] == float("inf")


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_bad_weight_shows_where_a_spike_meets_it_and_only_there(monkeypatch, bad):
    weight = torch.ones(3, 4)
    weight[1, 2] = bad
    spikes = torch.tensor([[0.0, 0.0, 1.0, 0.0], [1.0, 1.0, 0.0, 1.0]])
    monkeypatch.setenv("NEURO_KERNELS", "reference")
    dense = event_linear(spikes, weight)
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    currents = event_linear(spikes, weight)
    assert torch.equal(currents[0].nan_to_num(7), dense[0].nan_to_num(7))
    assert currents[0, 1].isnan() == (bad != bad)
    # 0 * bad is a NaN of the dense product; to an event kernel a zero is nothing
    assert currents[1].tolist() == [3.0, 3.0, 3.0]
    assert dense[1].isnan().tolist() == [False, True, False]


# A first call compiles, which on a busy machine takes what a health check allows for an example.
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    rows=st.integers(0, 20),
    inputs=st.integers(0, 150),
    outputs=st.integers(0, 150),
    share=st.floats(0, 1),
    double=st.booleans(),
    biased=st.booleans(),
    transposed=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_any_size(rows, inputs, outputs, share, double, biased, transposed, seed):
    dtype = torch.float64 if double else torch.float32
    spikes = draw((inputs, rows) if transposed else (rows, inputs), share, seed=seed, dtype=dtype)
    spikes = spikes.t() if transposed else spikes
    weight = draw((outputs, inputs), 1.0, seed=seed + 1, dtype=dtype)
    bias = draw((outputs,), 1.0, seed=seed + 2, dtype=dtype)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURO_KERNELS", "numba")
        currents = event_linear(spikes, weight, bias if biased else None)
        gradient = op._weight_gradient(currents, spikes)
    assert_rounds_to_dense(currents, spikes, weight, bias if biased else torch.zeros_like(bias))
    exact = currents.double().t() @ spikes.double()
    sizes = currents.double().abs().t() @ spikes.double().abs()
    assert ((gradient.double() - exact).abs() <= (rows + 2) * EPS[dtype] * sizes).all()


def test_gradients(implementation):
    spikes = draw((5, 40), 0.3, dtype=torch.float64).requires_grad_()
    weight = draw((21, 40), 1.0, dtype=torch.float64).requires_grad_()
    bias = draw((21,), 1.0, dtype=torch.float64).requires_grad_()
    # Between 0 and a small spike nothing jumps: the numerical gradient sees silent neurons too.
    torch.autograd.gradcheck(event_linear, (spikes, weight, bias), fast_mode=True)


@pytest.mark.parametrize("wanted", [(0, 1, 0), (1, 0, 0), (0, 0, 1), (1, 1, 1)])
def test_gradients_are_those_of_the_dense_product(implementation, wanted):
    results = []
    for function in (event_linear, functional.linear):
        operands = [draw((3, 4, 70), 0.2).round(), draw((90, 70), 1.0), draw((90,), 1.0)]
        for each, want in zip(operands, wanted, strict=True):
            each.requires_grad_(bool(want))
        function(*operands).square().sum().backward()
        results.append([each.grad for each in operands])
    for ours, dense, want in zip(*results, wanted, strict=True):
        assert (ours is not None) == bool(want)
        if want:
            torch.testing.assert_close(ours, dense, rtol=1e-4, atol=1e-3)


def test_what_no_gradient_needs_is_not_kept(implementation):
    kept: list[Tensor] = []
    weight = draw((9, 70), 1.0)
    spikes = draw((4, 70), 0.2).requires_grad_()
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda _: None):
        event_linear(spikes, weight)
    assert [each.shape for each in kept] == [weight.shape]


def test_opcheck(implementation):
    operands = draw((4, 30), 0.3), draw((7, 30), 1.0), draw((7,), 1.0)
    for each in operands:
        each.requires_grad_()
    torch.library.opcheck(torch.ops.neuro.event_linear, operands)
    torch.library.opcheck(torch.ops.neuro.event_linear, (*operands[:2], None))
    torch.library.opcheck(
        torch.ops.neuro.event_linear_weight_gradient, (draw((4, 7), 1.0), draw((4, 30), 0.3))
    )


def test_compiles_without_a_break(implementation):
    weight = draw((9, 30), 1.0)

    def loss(spikes: Tensor, weight: Tensor) -> Tensor:
        return event_linear(2 * spikes, weight).relu().square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    gradients = []
    for function in (loss, compiled):
        operands = draw((3, 2, 30), 0.3).requires_grad_(), weight.clone().requires_grad_()
        function(*operands).backward()
        gradients.append([each.grad for each in operands])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def test_many_threads_give_the_same_as_one(implementation):
    spikes, weight = draw((601, 700), 0.1), draw((333, 700), 1.0)
    threads = torch.get_num_threads()
    results = []
    try:
        for count in (1, 5):
            torch.set_num_threads(count)
            currents = event_linear(spikes, weight)
            results.append((currents, op._weight_gradient(currents, spikes)))
    finally:
        torch.set_num_threads(threads)
    if implementation == "numba":  # the dense product of torch may cut sums by thread
        assert torch.equal(results[0][0], results[1][0])
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-3)


@pytest.mark.parametrize(
    ("operands", "message"),
    [
        ((torch.zeros(3, 4), torch.zeros(2, 5)), r"got \(3, 4\) and \(2, 5\)"),
        ((torch.zeros(3, 4), torch.zeros(4)), "the weight is"),
        ((torch.zeros(()), torch.zeros(2, 5)), r"spikes are \[..., N_in\]"),
        ((torch.zeros(3, 4), torch.zeros(2, 4), torch.zeros(3)), r"bias is \(3,\), expected \(2,"),
        ((torch.zeros(3, 4), torch.zeros(2, 4).double()), "weight is torch.float64"),
        ((torch.zeros(3, 4, dtype=torch.bool), torch.zeros(2, 4)), "call .float()"),
    ],
)
def test_operands_that_do_not_fit_are_named(operands, message):
    with pytest.raises(ValueError, match=message):
        event_linear(*operands)


def test_half_precision_is_the_references_on_a_cpu(monkeypatch):
    spikes, weight = draw((3, 4), 0.5).bfloat16(), draw((2, 4), 1.0).bfloat16()
    assert torch.equal(event_linear(spikes, weight), functional.linear(spikes, weight))
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    with pytest.raises(KernelError, match="bfloat16"):
        event_linear(spikes, weight)


@pytest.mark.parametrize("dtype", list(EPS))
@pytest.mark.parametrize(
    ("rows", "inputs", "outputs"), [(1, 1, 1), (3, 65, 17), (2, 1030, 131), (0, 4, 3), (2, 0, 3)]
)
def test_triton(triton_device, rows, inputs, outputs, dtype):
    spikes = draw((rows, inputs), 0.1, dtype=dtype).to(triton_device)
    weight, bias = (
        draw(shape, 1.0, dtype=dtype).to(triton_device) for shape in ((outputs, inputs), (outputs,))
    )
    assert_rounds_to_dense(event_linear(spikes, weight, bias), spikes, weight, bias)
    whole = spikes.round(), weight.mul(4).round()
    if dtype != torch.bfloat16:
        assert torch.equal(event_linear(*whole), functional.linear(*whole))
    torch.library.opcheck(torch.ops.neuro.event_linear, (spikes, weight, bias))
