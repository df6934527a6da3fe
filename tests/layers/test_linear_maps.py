"""Fixed linear maps: values by hand, and the adjoint law of every one."""

from collections.abc import Callable

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuro.errors import UsageError
from neuro.layers import Add, AvgPool2d, Flatten, GlobalAvgPool2d, LinearMap, Scale
from neuro.layers.quantised import Copy, Heard, SharedBias

MAPS: dict[type[LinearMap], Callable[[int], LinearMap]] = {
    AvgPool2d: AvgPool2d,
    GlobalAvgPool2d: lambda _: GlobalAvgPool2d(),
    Flatten: lambda _: Flatten(),
    Scale: lambda number: Scale(0.37 * number - 1.5),
    Copy: lambda _: Copy(0, 2),
}

sides = st.integers(1, 9)


def draws(shape: tuple[int, ...], seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(shape, generator=generator, dtype=torch.float64)


def test_every_linear_map_has_an_adjoint_case() -> None:
    """Heard, which rounds, and SharedBias, which adds, only go for linear; what they send back is
    tested beside them."""
    ours = {kind for kind in LinearMap.__subclasses__() if kind.__module__.startswith("neuro.")}
    assert ours - {Heard, SharedBias} == set(MAPS)


@pytest.mark.parametrize("kind", MAPS, ids=lambda kind: kind.__name__)
@settings(deadline=None, max_examples=40)
@given(
    number=st.integers(1, 4),
    batch=st.integers(1, 3),
    channels=st.integers(1, 3),
    rows=sides,
    columns=sides,
)
def test_adjoint_moves_a_map_across_the_inner_product(
    kind: type[LinearMap], number: int, batch: int, channels: int, rows: int, columns: int
) -> None:
    linear_map = MAPS[kind](min(number, rows, columns))
    x = draws((batch, channels, rows, columns), 1)
    image = linear_map(x)
    y = draws(tuple(image.shape), 2)
    back = linear_map.adjoint(y, x.shape)
    assert back.shape == x.shape
    torch.testing.assert_close((image * y).sum(), (x * back).sum(), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", MAPS, ids=lambda kind: kind.__name__)
def test_adjoint_is_what_autograd_finds(kind: type[LinearMap]) -> None:
    linear_map = MAPS[kind](2)
    x = draws((2, 3, 5, 7), 3).requires_grad_()
    image = linear_map(x)
    y = draws(tuple(image.shape), 4)
    (expected,) = torch.autograd.grad(image, x, y)
    torch.testing.assert_close(linear_map.adjoint(y, x.shape), expected)


@pytest.mark.parametrize("kind", MAPS, ids=lambda kind: kind.__name__)
def test_adjoint_takes_an_error_that_is_not_contiguous(kind: type[LinearMap]) -> None:
    linear_map = MAPS[kind](2)
    x = draws((2, 3, 6, 6), 3)
    y = draws(tuple(linear_map(x).shape), 5)
    strided = y.transpose(0, -1).contiguous().transpose(0, -1)
    torch.testing.assert_close(linear_map.adjoint(strided, x.shape), linear_map.adjoint(y, x.shape))


def test_average_pooling_by_hand() -> None:
    image = torch.arange(9.0).view(1, 1, 3, 3)
    assert AvgPool2d(2)(image).tolist() == [[[[2.0]]]]  # (0 + 1 + 3 + 4) / 4


def test_error_of_average_pooling_spreads_evenly_and_skips_what_was_left_out() -> None:
    error = AvgPool2d(2).adjoint(torch.full((1, 1, 1, 1), 8.0), torch.Size((1, 1, 3, 3)))
    assert error[0, 0].tolist() == [[2.0, 2.0, 0.0], [2.0, 2.0, 0.0], [0.0, 0.0, 0.0]]


def test_global_average_by_hand() -> None:
    image = torch.tensor([[[[1.0, 2.0, 3.0]], [[4.0, 4.0, 7.0]]]])
    assert GlobalAvgPool2d()(image).tolist() == [[2.0, 5.0]]
    error = GlobalAvgPool2d().adjoint(torch.tensor([[3.0, 6.0]]), image.shape)
    assert error.tolist() == [[[[1.0, 1.0, 1.0]], [[2.0, 2.0, 2.0]]]]


def test_flatten_keeps_the_batch() -> None:
    assert Flatten()(torch.zeros(2, 3, 5, 7)).shape == (2, 105)
    assert Flatten()(torch.zeros(2, 4)).shape == (2, 4)


def test_scale_multiplies() -> None:
    assert Scale(-2.5)(torch.tensor([[2.0, 0.0]])).tolist() == [[-5.0, 0.0]]


@pytest.mark.parametrize("count", [2, 3])
def test_add_sums_its_inputs_and_copies_the_error(count: int) -> None:
    currents = [draws((2, 3), seed).requires_grad_() for seed in range(count)]
    total = Add()(*currents)
    torch.testing.assert_close(total, sum(currents[1:], currents[0]))
    error = draws((2, 3), 9)
    for received in torch.autograd.grad(total, currents, error):
        torch.testing.assert_close(received, error)


def test_add_leaves_its_inputs_alone() -> None:
    first, second, third = (torch.ones(2, 2) for _ in range(3))
    Add()(first, second, third)
    assert first.tolist() == second.tolist() == third.tolist() == [[1.0, 1.0], [1.0, 1.0]]


def test_add_of_one_input_is_refused() -> None:
    with pytest.raises(UsageError, match="at least two inputs"):
        Add()(torch.zeros(1, 1))
