"""Three-factor products: by definition, and by every implementation."""

from typing import Any

import pytest
import torch
from torch import Tensor

from neuro.kernels import three_factor, three_factor_gradient, three_factor_into
from neuro.kernels.three_factor.op import _DELTA, _GRADIENT, _INTO

SHAPES = [(3, 5, 2, 7), (1, 1, 1, 1), (17, 401, 11, 70), (600, 260, 5, 3), (0, 4, 2, 3)]


def operands(
    samples: int, neurons: int, outputs: int, inputs: int, **kind: Any
) -> tuple[Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    shapes = ((outputs, neurons), (samples, outputs), (samples, neurons), (samples, inputs))
    drawn = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    return tuple(each.to(**kind) for each in drawn)


@pytest.mark.parametrize("implementation", ["reference", "numba", "triton"])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(("dtype", "within"), [(torch.float32, 1e-4), (torch.float64, 1e-12)])
def test_products_are_those_of_the_definition(
    implementation, shape, dtype, within, monkeypatch, request
):
    device = "cpu"
    if implementation == "triton":
        device = request.getfixturevalue("triton_device")
    monkeypatch.setenv("NEURO_KERNELS", implementation)
    m, e, psi, a = operands(*shape, dtype=torch.float64)
    delta = 0.3 * (e @ m) * psi
    given = operands(*shape, dtype=dtype, device=device)
    found = three_factor(*given[:3], gain=0.3)
    assert found.dtype == dtype
    torch.testing.assert_close(found.cpu().double(), delta, rtol=0, atol=within)
    place = torch.full_like(found, torch.nan)
    three_factor_into(place, *given[:3], gain=0.3)
    torch.testing.assert_close(place.cpu().double(), delta, rtol=0, atol=within)
    three_factor_into(place, *given[:3], gain=0.3, add=True)
    torch.testing.assert_close(place.cpu().double(), 2 * delta, rtol=0, atol=2 * within)
    weights = torch.ones(shape[1], shape[3], dtype=dtype, device=device)
    bias = torch.full((shape[1],), 2.0, dtype=dtype, device=device)
    for bias_sum in (None, bias):
        three_factor_gradient(*given, weights, bias_sum, gain=0.3)
    expected = 1 + 2 * delta.t() @ a
    torch.testing.assert_close(weights.cpu().double(), expected, rtol=0, atol=10 * within)
    torch.testing.assert_close(bias.cpu().double(), 2 + delta.sum(0), rtol=0, atol=10 * within)


def test_maps_keep_their_shape():
    m, e, psi, _ = operands(4, 24, 3, 1, dtype=torch.float64)
    found = three_factor(m, e, psi.view(4, 2, 3, 4))
    assert found.shape == (4, 2, 3, 4)
    assert torch.equal(found.flatten(1), three_factor(m, e, psi))
    three_factor_into(found, m, e, psi.view(4, 2, 3, 4), add=True)
    torch.testing.assert_close(found.flatten(1), 2 * three_factor(m, e, psi))


@pytest.mark.parametrize("place", range(6))
@pytest.mark.parametrize("change", ["shape", "dtype", "strides"])
def test_operands_that_do_not_fit_are_told(place, change):
    given = [*operands(4, 6, 3, 5, dtype=torch.float32), torch.zeros(6, 5), torch.zeros(6)]
    one = given[place]
    changed = {
        "shape": torch.zeros(*(size + 1 for size in one.shape)),
        "dtype": one.double(),
        "strides": one.repeat_interleave(2, -1)[..., ::2],
    }
    given[place] = changed[change]
    with pytest.raises(ValueError, match="three_factor_gradient"):
        three_factor_gradient(*given)


@pytest.mark.parametrize(
    "place", [torch.zeros(4, 7), torch.zeros(4, 6).double(), torch.zeros(4, 12)[:, ::2]]
)
def test_a_place_that_does_not_fit_is_told(place):
    m, e, psi, _ = operands(4, 6, 3, 5, dtype=torch.float32)
    with pytest.raises(ValueError, match="three_factor_into: delta"):
        three_factor_into(place, m, e, psi)


def test_the_operations_are_sound_and_compile():
    m, e, psi, a = operands(4, 6, 3, 5, dtype=torch.float32)
    weights, bias = torch.zeros(6, 5), torch.zeros(6)
    torch.library.opcheck(_DELTA.op, (m, e, psi, 0.5))
    torch.library.opcheck(_INTO.op, (torch.ones(4, 6), m, e, psi, 0.5, True))
    torch.library.opcheck(_GRADIENT.op, (m, e, psi, a, weights, bias, 0.5))

    def learn(weights: Tensor, bias: Tensor) -> Tensor:
        three_factor_gradient(m, e, psi, a, weights, bias, gain=0.5)
        delta = three_factor(m, e, psi)
        three_factor_into(delta, m, e, psi, gain=0.5, add=True)
        return delta

    compiled = torch.compile(learn, fullgraph=True, backend="aot_eager")
    one = [weights.clone(), bias.clone()]
    other = [weights.clone(), bias.clone()]
    assert torch.equal(compiled(*one), learn(*other))
    assert all(torch.equal(x, y) for x, y in zip(one, other, strict=True))
    assert one[0].any()
