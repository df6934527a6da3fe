"""Currents of a convolutional synapse from events: every implementation against the dense one."""

from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from torch import Tensor
from torch.nn import functional

from neuro.kernels import KernelError, event_conv2d

EPS = {torch.float32: 2.0**-23, torch.float64: 2.0**-52, torch.bfloat16: 2.0**-7}

GEOMETRIES: dict[str, dict[str, Any]] = {
    "valid": {},
    "same": {"padding": 1},
    "wide margin": {"padding": (4, 3)},
    "stride": {"stride": 2, "padding": 1},
    "unequal": {"stride": (1, 3), "padding": (2, 0), "dilation": (2, 1)},
    "dilated": {"dilation": 2, "padding": 2},
    "groups": {"groups": 3, "padding": 1},
    "depthwise": {"groups": 6, "padding": 1, "stride": 2},
}


def draw(
    shape: tuple[int, ...], share: float, *, seed: int = 0, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Graded spikes: normal numbers, most of them 0."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(shape, generator=generator, dtype=torch.float64)
    return (values * (torch.rand(shape, generator=generator) < share)).to(dtype)


def assert_rounds_to_dense(
    currents: Tensor, spikes: Tensor, weight: Tensor, bias: Tensor, options: dict[str, Any]
) -> None:
    """Hold currents to the error bound of a sum in any order, against double precision."""
    exact = functional.conv2d(spikes.double(), weight.double(), bias.double(), **options)
    operands = [each.double().abs() for each in (spikes, weight, bias)]
    sizes = functional.conv2d(*operands, **options)
    assert currents.shape == exact.shape
    assert currents.is_contiguous()
    bound = (weight[0].numel() + 2) * EPS[currents.dtype] * sizes
    # torch's own convolution in double precision may take sums apart
    assert ((currents.double() - exact).abs() <= bound + 1e-13).all()


def test_by_hand(implementation):
    spikes = torch.zeros(1, 1, 3, 3)
    spikes[0, 0, 0, 2] = 2.0
    weight = torch.arange(1.0, 10).reshape(1, 1, 3, 3)
    currents = event_conv2d(spikes, weight, torch.tensor([0.5]), padding=1)
    # the patch lies reversed around the spike: W[1, 1] at it, W[1, 2] left of it, W[0, 1] below it
    assert currents[0, 0].tolist() == [[0.5, 12.5, 10.5], [0.5, 6.5, 4.5], [0.5, 0.5, 0.5]]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("share", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("name", GEOMETRIES)
def test_geometries_against_the_dense_convolution(implementation, name, share, dtype):
    options = GEOMETRIES[name]
    spikes = draw((3, 6, 11, 13), share, dtype=dtype)
    weight = draw((12, 6 // options.get("groups", 1), 3, 3), 1.0, seed=1, dtype=dtype)
    bias = draw((12,), 1.0, seed=2, dtype=dtype)
    currents = event_conv2d(spikes, weight, bias, **options)
    assert_rounds_to_dense(currents, spikes, weight, bias, options)


@pytest.mark.parametrize(
    ("spikes", "weight"),
    [
        ((1, 1, 1, 1), (1, 1, 1, 1)),
        ((2, 3, 5, 7), (17, 3, 2, 3)),
        ((1, 2, 8, 8), (64, 2, 3, 3)),
        ((2, 5, 9, 8), (65, 5, 1, 1)),
        ((1, 2, 3, 70), (100, 2, 3, 5)),
        ((2, 131, 4, 4), (7, 131, 4, 4)),
        ((1, 1, 2, 130), (9, 1, 1, 7)),
    ],
)
def test_sizes_against_the_dense_convolution(implementation, spikes, weight):
    operands = draw(spikes, 0.2), draw(weight, 1.0, seed=1), draw(weight[:1], 1.0, seed=2)
    for padding in (0, 1):
        currents = event_conv2d(*operands, padding=padding)
        assert_rounds_to_dense(currents, *operands, {"padding": padding})


@pytest.mark.parametrize("name", GEOMETRIES)
def test_integers_equal_the_dense_convolution_exactly(implementation, name):
    options = GEOMETRIES[name]
    spikes = draw((2, 6, 9, 10), 0.2).mul(3).round()
    weight = draw((18, 6 // options.get("groups", 1), 3, 2), 1.0, seed=1).mul(9).round()
    bias = torch.arange(18.0)
    ours = event_conv2d(spikes, weight, bias, **options)
    # double precision: dense convolutions in single precision need not keep integers
    dense = functional.conv2d(spikes.double(), weight.double(), bias.double(), **options)
    assert torch.equal(ours.double(), dense.round())


def test_an_empty_batch(implementation):
    assert event_conv2d(torch.ones(0, 2, 5, 5), torch.ones(3, 2, 3, 3)).shape == (0, 3, 3, 3)


def test_not_contiguous(implementation):
    spikes = draw((2, 6, 7, 5), 0.4).round().to(memory_format=torch.channels_last)
    weight = draw((3, 3, 6, 9), 1.0).mul(4).round().permute(3, 2, 0, 1)
    bias = torch.arange(18.0)[::2]
    currents = event_conv2d(spikes, weight, bias)
    dense = functional.conv2d(spikes.double(), weight.double(), bias.double())
    assert torch.equal(currents.double(), dense.round())
    assert currents.is_contiguous()


def test_a_bad_weight_shows_where_a_spike_meets_it_and_only_there(monkeypatch):
    spikes = torch.zeros(1, 2, 4, 4)
    spikes[0, 0, 1, 1] = 1.0
    weight = torch.ones(1, 2, 3, 3)
    weight[0, 0, 0, 0] = float("nan")
    weight[0, 1] = float("inf")  # no spike of this channel
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    currents = event_conv2d(spikes, weight, padding=1)[0, 0]
    expected = torch.zeros(4, 4)
    expected[:3, :3] = 1.0
    expected[2, 2] = float("nan")
    torch.testing.assert_close(currents, expected, equal_nan=True, rtol=0, atol=0)


# A first call compiles, which on a busy machine takes what a health check allows for an example.
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    batch=st.integers(0, 3),
    groups=st.integers(1, 3),
    channels=st.integers(1, 4),
    outputs=st.integers(1, 20),
    plane=st.tuples(st.integers(1, 20), st.integers(1, 20)),
    kernel=st.tuples(st.integers(1, 3), st.integers(1, 4)),
    stride=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    padding=st.tuples(st.integers(0, 4), st.integers(0, 4)),
    dilation=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    plain=st.booleans(),
    share=st.floats(0, 1),
    double=st.booleans(),
    seed=st.integers(0, 2**16),
)
def test_any_size(
    batch,
    groups,
    channels,
    outputs,
    plane,
    kernel,
    stride,
    padding,
    dilation,
    plain,
    share,
    double,
    seed,
):
    if plain:
        stride = dilation = (1, 1)
    assume(all(plane[k] + 2 * padding[k] > dilation[k] * (kernel[k] - 1) for k in (0, 1)))
    dtype = torch.float64 if double else torch.float32
    spikes = draw((batch, channels * groups, *plane), share, seed=seed, dtype=dtype)
    weight = draw((outputs * groups, channels, *kernel), 1.0, seed=seed + 1, dtype=dtype)
    bias = draw((outputs * groups,), 1.0, seed=seed + 2, dtype=dtype)
    options = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NEURO_KERNELS", "numba")
        currents = event_conv2d(spikes, weight, bias, **options)
    assert_rounds_to_dense(currents, spikes, weight, bias, options)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_gradients(implementation, name):
    options = GEOMETRIES[name]
    spikes = draw((2, 6, 5, 6), 0.3, dtype=torch.float64).requires_grad_()
    shape = (6, 6 // options.get("groups", 1), 3, 3)
    weight = draw(shape, 1.0, dtype=torch.float64).requires_grad_()
    bias = draw((6,), 1.0, dtype=torch.float64).requires_grad_()
    torch.autograd.gradcheck(
        lambda *operands: event_conv2d(*operands, **options),
        (spikes, weight, bias),
        fast_mode=True,
    )


def test_only_the_gradients_asked_for_are_computed(implementation):
    weight = draw((4, 2, 3, 3), 1.0).requires_grad_()
    event_conv2d(draw((1, 2, 5, 5), 0.4), weight).sum().backward()
    assert weight.grad is not None
    spikes = draw((1, 2, 5, 5), 0.4).requires_grad_()
    event_conv2d(spikes, weight.detach(), torch.zeros(4)).sum().backward()
    assert spikes.grad is not None


def test_opcheck(implementation):
    operands = draw((2, 4, 6, 5), 0.3), draw((6, 2, 3, 3), 1.0), draw((6,), 1.0)
    for each in operands:
        each.requires_grad_()
    op = torch.ops.neuro.event_conv2d
    torch.library.opcheck(op, (*operands, [1, 1], [1, 1], [1, 1], 2))
    torch.library.opcheck(op, (*operands[:2], None, [2, 1], [1, 0], [1, 2], 2))


def test_compiles_without_a_break(implementation):
    def loss(spikes: Tensor, weight: Tensor) -> Tensor:
        return event_conv2d(2 * spikes, weight, padding=1, stride=2).relu().square().sum()

    compiled = torch.compile(loss, fullgraph=True, backend="aot_eager")
    gradients = []
    for function in (loss, compiled):
        operands = draw((2, 3, 6, 7), 0.3), draw((5, 3, 3, 3), 1.0)
        for each in operands:
            each.requires_grad_()
        function(*operands).backward()
        gradients.append([each.grad for each in operands])
    for one, other in zip(*gradients, strict=True):
        assert torch.equal(one, other)


def test_many_threads_give_the_same_as_one(monkeypatch):
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    spikes, weight = draw((67, 16, 32, 32), 0.1), draw((24, 16, 3, 3), 1.0)
    one = event_conv2d(spikes, weight, padding=1)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(5)
        assert torch.equal(event_conv2d(spikes, weight, padding=1), one)
    finally:
        torch.set_num_threads(threads)


PLANE, KERNEL = torch.zeros(1, 2, 5, 5), torch.zeros(4, 2, 3, 3)


@pytest.mark.parametrize(
    ("operands", "options", "message"),
    [
        ((PLANE[0], KERNEL), {}, r"spikes are \[B, C, H, W\]"),
        ((PLANE, KERNEL[:, :1]), {}, "times the groups"),
        ((PLANE, KERNEL[:3, :1]), {"groups": 2}, "multiple of the groups"),
        ((PLANE, KERNEL, torch.zeros(3)), {}, r"bias is \(3,\), expected \(4,\)"),
        ((PLANE, torch.zeros(4, 2, 6, 3)), {}, "does not fit into the padded plane"),
        ((PLANE, KERNEL), {"dilation": 3}, "does not fit into the padded plane"),
        ((PLANE, KERNEL[:0]), {}, "does not fit into the padded plane"),
        ((PLANE, KERNEL), {"stride": 0}, "stride is a number of at least 1, or two"),
        ((PLANE, KERNEL), {"padding": (1, 2, 3)}, "padding is a number of at least 0"),
        ((PLANE, KERNEL.double()), {}, "weight is torch.float64"),
        ((PLANE.long(), KERNEL), {}, "call .float()"),
    ],
)
def test_operands_that_do_not_fit_are_named(operands, options, message):
    with pytest.raises(ValueError, match=message):
        event_conv2d(*operands, **options)


def test_half_precision_is_the_references_on_a_cpu(monkeypatch):
    operands = draw((1, 2, 5, 5), 0.5).bfloat16(), draw((4, 2, 3, 3), 1.0).bfloat16()
    assert torch.equal(event_conv2d(*operands), functional.conv2d(*operands))
    monkeypatch.setenv("NEURO_KERNELS", "numba")
    with pytest.raises(KernelError, match="bfloat16"):
        event_conv2d(*operands)


@pytest.mark.parametrize("name", GEOMETRIES)
def test_triton_geometries(triton_device, name):
    options = GEOMETRIES[name]
    spikes = draw((2, 6, 5, 4), 0.2)
    weight = draw((12, 6 // options.get("groups", 1), 3, 3), 1.0, seed=1)
    bias = draw((12,), 1.0, seed=2)
    operands = [each.to(triton_device) for each in (spikes, weight, bias)]
    currents = event_conv2d(*operands, **options)
    assert_rounds_to_dense(currents, *operands, options)


@pytest.mark.parametrize("dtype", list(EPS))
@pytest.mark.parametrize(
    ("spikes", "weight"),
    [((1, 1, 1, 1), (1, 1, 1, 1)), ((2, 3, 3, 5), (67, 3, 2, 3)), ((0, 2, 5, 5), (3, 2, 3, 3))],
)
def test_triton_sizes(triton_device, spikes, weight, dtype):
    operands = [
        draw(shape, share, dtype=dtype).to(triton_device)
        for shape, share in ((spikes, 0.3), (weight, 1.0), (weight[:1], 1.0))
    ]
    assert_rounds_to_dense(event_conv2d(*operands), *operands, {})
