"""The sigmoid factor: by hand, by law, and every implementation against the reference."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from neuro.kernels import sigmoid_factor

TOLERANCE = {torch.float32: 2e-6, torch.float64: 4e-15}


def test_by_hand_at_the_threshold_and_beside_it(implementation):
    # sig(0) = 1/2; sig(ln 3) = 3/4
    distance = torch.tensor([0.0, math.log(3) / 4, -math.log(3) / 4], dtype=torch.float64)
    feedback = torch.tensor([1.0, 2.0, -2.0], dtype=torch.float64)
    delta = sigmoid_factor(feedback, distance, slope=4.0, gain=0.5)
    expected = torch.tensor([0.5, 0.75, -0.75], dtype=torch.float64)
    torch.testing.assert_close(delta, expected, rtol=1e-14, atol=0)


def test_it_is_the_derivative_of_the_sigmoid(implementation):
    distance = torch.linspace(-3, 3, 101, dtype=torch.float64, requires_grad=True)
    (slope_of_sigmoid,) = torch.autograd.grad(torch.sigmoid(4 * distance).sum(), distance)
    delta = sigmoid_factor(torch.ones(101, dtype=torch.float64), distance.detach(), slope=4.0)
    torch.testing.assert_close(delta, slope_of_sigmoid)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_relative_precision_holds_far_from_the_threshold(implementation, dtype):
    distance = torch.linspace(-20, 20, 40_001, dtype=dtype)
    x = (4 * distance).double()
    e = torch.exp(-x.abs())
    delta = sigmoid_factor(torch.ones_like(distance), distance, slope=4.0)
    torch.testing.assert_close(
        delta.double(), 4 * e / (1 + e) ** 2, rtol=TOLERANCE[dtype], atol=1e-36
    )


def test_non_finite_distances(implementation):
    distance = torch.tensor([math.nan, math.inf, -math.inf, 1e30])
    delta = sigmoid_factor(torch.ones(4), distance, slope=4.0)
    assert delta.isnan().tolist() == [True, False, False, False]
    assert delta[1:].abs().max() < 1e-36


@settings(max_examples=60, deadline=None)
@given(
    shapes=st.sampled_from(
        [
            ((), ()),
            ((1,), (1,)),
            ((63,), (63,)),
            ((0,), (0,)),
            ((0, 3, 1), (0, 3, 4)),
            ((2, 3, 0), (2, 3, 0)),
            ((2, 3, 1, 1), (2, 3, 5, 7)),
            ((5, 1), (5, 131)),
            ((1, 1), (4, 9)),
            ((2, 3, 5, 7), (2, 3, 5, 7)),
        ]
    ),
    dtype=st.sampled_from([torch.float32, torch.float64]),
    slope=st.floats(0.1, 25),
    gain=st.floats(-3, 3),
    seed=st.integers(0, 2**31),
)
def test_every_implementation_matches_the_reference(shapes, dtype, slope, gain, seed):
    generator = torch.Generator().manual_seed(seed)
    feedback, distance = (torch.randn(s, dtype=dtype, generator=generator) for s in shapes)
    results = []
    for name in ("reference", "numba"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("NEURO_KERNELS", name)
            results.append(sigmoid_factor(feedback, distance, slope=slope, gain=gain))
    assert results[1].shape == distance.shape
    torch.testing.assert_close(results[1], results[0], rtol=TOLERANCE[dtype], atol=1e-36)


def test_spread_feedback_equals_feedback_written_out(implementation):
    feedback, distance = torch.randn(3, 5, 1, 1), torch.randn(3, 5, 4, 4)
    spread = sigmoid_factor(feedback, distance, slope=4.0)
    written_out = sigmoid_factor(feedback.expand(3, 5, 4, 4).contiguous(), distance, slope=4.0)
    torch.testing.assert_close(spread, written_out, rtol=1e-6, atol=0)


def test_many_threads_give_the_same_as_one(implementation):
    feedback, distance = torch.randn(1999, 1), torch.randn(1999, 1009)
    one = sigmoid_factor(feedback, distance, slope=4.0)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(8)
        assert torch.equal(sigmoid_factor(feedback, distance, slope=4.0), one)
    finally:
        torch.set_num_threads(threads)


def test_a_given_buffer_is_filled_and_returned(implementation):
    out = torch.empty(4)
    assert sigmoid_factor(torch.ones(4), torch.zeros(4), slope=4.0, out=out) is out
    assert out.tolist() == [1.0] * 4


@pytest.mark.parametrize(
    ("feedback", "distance", "out", "message"),
    [
        (torch.zeros(2, 1, 3), torch.zeros(2, 4, 3), None, "does not spread over"),
        (torch.zeros(2), torch.zeros(2, 4), None, "does not spread over"),
        (torch.zeros(2, dtype=torch.float64), torch.zeros(2), None, "feedback is torch.float64"),
        (torch.zeros(4)[::2], torch.zeros(2), None, "feedback is not contiguous"),
        (torch.zeros(2), torch.zeros(2), torch.zeros(3), "out is .3,"),
        (torch.zeros(2, requires_grad=True), torch.zeros(2), None, "feedback needs a gradient"),
        (torch.zeros(2), torch.zeros(2, dtype=torch.int64), None, "distance must be floating"),
    ],
)
def test_operands_that_do_not_fit_are_named(feedback, distance, out, message):
    with pytest.raises(ValueError, match=message):
        sigmoid_factor(feedback, distance, slope=4.0, out=out)
