"""Perturbations."""

import pytest
import torch
from torch import Tensor

from neuro.learning.noise import NoiseKind, draw_seed, layer_noise

KINDS: tuple[NoiseKind, ...] = ("gaussian", "rademacher", "sphere")


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def draw(kind: NoiseKind, like: Tensor, seed: int = 0, layer: int = 0, step: int = 0) -> Tensor:
    return layer_noise(kind, seed, layer, step, like, tuple(like.shape[1:])).values(like)


@pytest.mark.parametrize("kind", KINDS)
def test_noise_has_mean_zero_and_the_identity_as_second_moment(kind: NoiseKind) -> None:
    """E[z] = 0 and E[z z^T] = I, which makes z o^T / alpha an estimate of the Jacobian."""
    count, neurons = 40_000, 5
    z = draw(kind, torch.empty(count, neurons, dtype=torch.float64))
    within = 5 / count**0.5  # five standard errors of a product of unit variables
    assert z.mean(0).abs().max() < within
    moment = z.t() @ z / count
    # Var(z_i^2) = 2 for the normal, so its diagonal wanders most.
    assert (moment - torch.eye(neurons, dtype=torch.float64)).abs().max() < within * 2**0.5


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_noise_has_the_shape_and_type_asked_for(kind: NoiseKind, dtype: torch.dtype) -> None:
    z = draw(kind, torch.empty(2, 3, 5, 4, dtype=dtype))
    assert (z.shape, z.dtype) == ((2, 3, 5, 4), dtype)


@pytest.mark.parametrize("kind", KINDS)
def test_seed_layer_and_step_tell_perturbations_apart(kind: NoiseKind) -> None:
    like = torch.empty(3, 7)
    before = torch.get_rng_state()
    first = draw(kind, like, 4)
    assert torch.equal(draw(kind, like, 4), first)
    for other in ({"seed": 5}, {"seed": 4, "layer": 1}, {"seed": 4, "step": 1}):
        assert not torch.equal(draw(kind, like, **other), first)
    assert torch.equal(torch.get_rng_state(), before)


def test_seeds_come_from_the_generator_alone() -> None:
    generator = seeded(4)
    first, second = draw_seed(generator), draw_seed(generator)
    assert first != second
    assert first == draw_seed(seeded(4))


@pytest.mark.parametrize("kind", KINDS)
def test_numbers_by_sample_take_in_the_radius(kind: NoiseKind) -> None:
    like = torch.empty(6, 2, 3, dtype=torch.float64)
    noise = layer_noise(kind, 1, 2, 3, like, (2, 3))
    o = torch.randn(6, 4, generator=seeded(), dtype=torch.float64)
    independent = noise._replace(radius=None).values(like)
    expected = o.t() @ noise.values(like).flatten(1)
    torch.testing.assert_close(noise.scaled(o).t() @ independent.flatten(1), expected)


def test_rademacher_noise_is_plus_or_minus_one() -> None:
    assert set(draw("rademacher", torch.empty(50, 3)).unique().tolist()) == {-1.0, 1.0}


def test_sphere_noise_lies_on_the_sphere_of_radius_root_n() -> None:
    z = draw("sphere", torch.empty(4, 2, 3, 3))
    torch.testing.assert_close(z.flatten(1).norm(dim=1), torch.full((4,), 18.0**0.5))
