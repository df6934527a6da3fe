"""Surrogate gradients: the derivative is that of the primitive, the forward is a Heaviside step."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuro.errors import UsageError
from neuro.surrogate import (
    SURROGATES,
    ATan,
    FastSigmoid,
    Gaussian,
    Rectangle,
    Sigmoid,
    Surrogate,
    Triangle,
    heaviside,
)

CASES: list[Surrogate] = [
    Sigmoid(),
    Sigmoid(slope=1.7),
    ATan(),
    ATan(alpha=0.6),
    Triangle(),
    Triangle(width=0.4),
    Rectangle(),
    Rectangle(width=2.5),
    FastSigmoid(),
    FastSigmoid(slope=2.0),
    Gaussian(),
    Gaussian(sigma=1.3),
]
NORMALISED = [case for case in CASES if not isinstance(case, FastSigmoid)]


def grid() -> torch.Tensor:
    """Points on both sides of 0 that lie off every kink of the cases (0, w, w/2)."""
    return torch.linspace(-3.0, 3.0, 1201, dtype=torch.float64) + 1.234e-3


def test_every_surrogate_has_a_default_and_a_changed_case() -> None:
    for name, kind in SURROGATES.items():
        cases = [case for case in CASES if type(case) is kind]
        assert kind() in cases, f"surrogate {name} has no case with its defaults"
        assert len(cases) > 1, f"surrogate {name} has no case with a changed field"


@pytest.mark.parametrize("surrogate", CASES, ids=str)
def test_derivative_is_the_finite_difference_of_the_primitive(surrogate: Surrogate) -> None:
    x, h = grid(), 1e-6
    difference = (surrogate.primitive(x + h) - surrogate.primitive(x - h)) / (2 * h)
    torch.testing.assert_close(surrogate.derivative(x), difference, rtol=1e-6, atol=1e-8)


@pytest.mark.parametrize("surrogate", CASES, ids=str)
def test_derivative_agrees_with_autograd_through_the_primitive(surrogate: Surrogate) -> None:
    x = grid().requires_grad_()
    (slope,) = torch.autograd.grad(surrogate.primitive(x).sum(), x)
    torch.testing.assert_close(surrogate.derivative(x.detach()), slope, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("surrogate", CASES, ids=str)
def test_peak_is_the_derivative_at_the_threshold_and_nowhere_exceeded(surrogate: Surrogate) -> None:
    at_zero = surrogate.derivative(torch.zeros(1, dtype=torch.float64)).item()
    assert at_zero == pytest.approx(surrogate.peak, rel=1e-12)
    assert surrogate.derivative(grid()).max().item() <= surrogate.peak * (1 + 1e-12)
    assert surrogate.derivative(grid()).min().item() >= 0


@pytest.mark.parametrize(
    ("surrogate", "peak"),
    [
        (Sigmoid(slope=4.0), 1.0),
        (Sigmoid(slope=1.0), 0.25),
        (ATan(alpha=2.0), 1.0),
        (ATan(alpha=3.0), 1.5),
        (Triangle(width=0.5), 2.0),
        (Rectangle(width=0.5), 2.0),
        (FastSigmoid(slope=25.0), 1.0),
        (Gaussian(sigma=0.5), 0.7978845608028654),
    ],
    ids=str,
)
def test_peaks_are_the_documented_ones(surrogate: Surrogate, peak: float) -> None:
    assert surrogate.peak == pytest.approx(peak, rel=1e-12)


@pytest.mark.parametrize("surrogate", NORMALISED, ids=str)
def test_primitive_rises_from_zero_to_one_through_a_half(surrogate: Surrogate) -> None:
    far = torch.tensor([-1e9, 0.0, 1e9], dtype=torch.float64)
    expected = torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    torch.testing.assert_close(surrogate.primitive(far), expected, rtol=0, atol=1e-8)
    assert (surrogate.primitive(grid()).diff() >= 0).all()


def test_fast_sigmoid_rises_by_two_over_its_slope() -> None:
    far = torch.tensor([-1e12, 0.0, 1e12], dtype=torch.float64)
    expected = torch.tensor([-0.1, 0.0, 0.1], dtype=torch.float64)
    torch.testing.assert_close(FastSigmoid(10.0).primitive(far), expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    ("surrogate", "x", "expected"),
    [
        (Sigmoid(4.0), 0.5, 4 * math.exp(-2) / (1 + math.exp(-2)) ** 2),
        (ATan(2.0), 1.0, 1 / (1 + math.pi**2)),
        (Triangle(2.0), -1.0, 0.25),
        (Triangle(1.0), 1.5, 0.0),
        (Rectangle(1.0), 0.49, 1.0),
        (Rectangle(1.0), 0.5, 0.0),
        (FastSigmoid(10.0), -0.3, 1 / 16),
        (Gaussian(0.5), 0.5, math.exp(-0.5) / (0.5 * math.sqrt(2 * math.pi))),
    ],
    ids=str,
)
def test_derivative_takes_hand_computed_values(
    surrogate: Surrogate, x: float, expected: float
) -> None:
    value = surrogate.derivative(torch.tensor([x], dtype=torch.float64)).item()
    assert value == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("surrogate", CASES, ids=str)
@pytest.mark.parametrize("grad", [True, False])
def test_spike_is_exact_at_the_threshold(surrogate: Surrogate, grad: bool) -> None:
    tiny = torch.finfo(torch.float32).tiny
    x = torch.tensor([-1.0, -tiny, -0.0, 0.0, tiny, 1.0], requires_grad=grad)
    assert surrogate.spike(x).tolist() == [0, 0, 1, 1, 1, 1]
    assert surrogate.spike(x, inclusive=False).tolist() == [0, 0, 0, 0, 1, 1]


@pytest.mark.parametrize("surrogate", CASES, ids=str)
@pytest.mark.parametrize("inclusive", [True, False])
def test_spike_backward_is_the_upstream_gradient_times_the_derivative(
    surrogate: Surrogate, inclusive: bool
) -> None:
    x = grid().requires_grad_()
    upstream = torch.linspace(-2.0, 5.0, x.numel(), dtype=x.dtype)
    surrogate.spike(x, inclusive=inclusive).backward(upstream)
    assert x.grad is not None
    torch.testing.assert_close(x.grad, upstream * surrogate.derivative(x.detach()))


def test_spike_keeps_no_graph_when_gradients_are_off() -> None:
    x = torch.zeros(3, requires_grad=True)
    with torch.no_grad():
        assert not Sigmoid().spike(x).requires_grad
    assert Sigmoid().spike(x).requires_grad


@pytest.mark.parametrize("surrogate", CASES, ids=str)
def test_derivative_leaves_its_input_alone_and_keeps_shape_and_dtype(surrogate: Surrogate) -> None:
    for x in (torch.randn(3, 5, 7), torch.randn(4, 6).t(), torch.empty(0, 3), torch.tensor(0.3)):
        before = x.clone()
        for result in (surrogate.derivative(x), surrogate.primitive(x), surrogate.spike(x)):
            assert result.shape == x.shape
            assert result.dtype == x.dtype
        assert torch.equal(x, before)
    assert surrogate.derivative(torch.zeros(2, dtype=torch.bfloat16)).dtype == torch.bfloat16


@given(st.floats(min_value=-(2.0**100), max_value=2.0**100, width=32))
def test_derivative_is_finite_and_even_wherever_a_potential_may_go(x: float) -> None:
    both = torch.tensor([x, -x])
    for surrogate in CASES:
        left, right = surrogate.derivative(both).tolist()
        assert math.isfinite(left)
        # The sigmoid loses digits of 1 - sig in its upper tail: 4 ulp of 1, times the slope.
        assert left == pytest.approx(right, rel=1e-4, abs=4e-6)


def test_heaviside_of_a_leaf_that_wants_gradients_is_a_constant() -> None:
    x = torch.tensor([-1.0, 0.0, 2.0], requires_grad=True)
    spikes = heaviside(x)
    assert spikes.tolist() == [0, 1, 1]
    assert not spikes.requires_grad
    assert x.tolist() == [-1, 0, 2]


def test_spike_composes_with_function_transforms() -> None:
    x = torch.tensor([-0.2, 0.0, 0.7])
    jacobian = torch.func.jacrev(Sigmoid().spike)(x)
    torch.testing.assert_close(jacobian, torch.diag(Sigmoid().derivative(x)))


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
@pytest.mark.parametrize("name", sorted(SURROGATES))
def test_a_field_that_is_not_positive_is_refused_by_name(name: str, value: float) -> None:
    kind = SURROGATES[name]
    (field,) = kind.__dataclass_fields__
    with pytest.raises(UsageError, match=rf"{kind.__name__}\.{field} must be positive and finite"):
        kind(value)  # type: ignore[call-arg]
