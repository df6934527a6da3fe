"""Perturbations."""

import pytest
import torch

from neuro.learning.noise import NoiseKind, draw_noise

KINDS: tuple[NoiseKind, ...] = ("gaussian", "rademacher", "sphere")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_has_mean_zero_and_the_identity_as_second_moment(kind: NoiseKind) -> None:
    """E[z] = 0 and E[z z^T] = I, which makes z o^T / alpha an estimate of the Jacobian."""
    count, neurons = 40_000, 5
    z = draw_noise(kind, torch.empty(count, neurons, dtype=torch.float64), seeded())
    within = 5 / count**0.5  # five standard errors of a product of unit variables
    assert z.mean(0).abs().max() < within
    moment = z.t() @ z / count
    # Var(z_i^2) = 2 for the normal, so its diagonal wanders most.
    assert (moment - torch.eye(neurons, dtype=torch.float64)).abs().max() < within * 2**0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_has_the_shape_and_type_asked_for(kind: NoiseKind, dtype: torch.dtype) -> None:
    z = draw_noise(kind, torch.empty(2, 3, 5, 4, dtype=dtype), seeded())
    assert (z.shape, z.dtype) == ((2, 3, 5, 4), dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_comes_from_the_generator_alone(kind: NoiseKind) -> None:
    like = torch.empty(3, 7)
    before = torch.get_rng_state()
    assert torch.equal(draw_noise(kind, like, seeded(4)), draw_noise(kind, like, seeded(4)))
    assert not torch.equal(draw_noise(kind, like, seeded(4)), draw_noise(kind, like, seeded(5)))
    assert torch.equal(torch.get_rng_state(), before)


def test_rademacher_noise_is_plus_or_minus_one() -> None:
    z = draw_noise("rademacher", torch.empty(50, 3), seeded())
    assert set(z.unique().tolist()) == {-1.0, 1.0}


def test_sphere_noise_lies_on_the_sphere_of_radius_root_n() -> None:
    z = draw_noise("sphere", torch.empty(4, 2, 3, 3), seeded())
    torch.testing.assert_close(z.flatten(1).norm(dim=1), torch.full((4,), 18.0**0.5))


@pytest.mark.parametrize("kind", KINDS)
def test_noise_for_a_strided_tensor_is_contiguous(kind: NoiseKind) -> None:
    like = torch.empty(4, 6, 3).transpose(1, 2)
    assert draw_noise(kind, like, seeded()).is_contiguous()
