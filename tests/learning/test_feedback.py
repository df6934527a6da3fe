"""Feedback matrices: projection, correlation, momentum, shared blocks."""

from math import prod, sqrt

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from neuro.errors import UsageError
from neuro.learning.feedback import Feedback, MomentumFeedback
from neuro.learning.noise import LayerNoise, NoiseKind, layer_noise


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def randn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=seeded(seed), dtype=torch.float64)


def filled(feedback: Feedback) -> Feedback:
    feedback.double()
    with torch.no_grad():
        feedback.matrix.copy_(randn(*feedback.matrix.shape, seed=9))
    return feedback


@pytest.mark.parametrize("shape", [(7,), (1,), (3, 5, 4)])
def test_matrix_has_one_row_for_every_neuron_positions_included(shape: tuple[int, ...]) -> None:
    """A6: n = C H W rows."""
    feedback = Feedback(shape, 4)
    assert feedback.matrix.shape == (prod(shape), 4)
    assert not feedback.matrix.any()


@pytest.mark.parametrize("shape", [(7,), (3, 5, 4)])
def test_projection_is_the_matrix_times_the_error(shape: tuple[int, ...]) -> None:
    feedback = filled(Feedback(shape, 4))
    error = randn(6, 4)
    found = feedback.project(error)
    assert found.shape == (6, *shape)
    for sample in range(6):
        expected = feedback.matrix @ error[sample]
        torch.testing.assert_close(found[sample].flatten(), expected)


def test_correlation_is_the_mean_outer_product_over_the_batch() -> None:
    """A13: a mean, so that a batch given twice correlates the same."""
    feedback = Feedback((3, 2, 2), 4)
    activity, outputs = randn(5, 3, 2, 2), randn(5, 4, seed=1)
    expected = torch.stack(
        [torch.outer(o, a.flatten()) for a, o in zip(activity, outputs, strict=True)]
    ).mean(0)
    found = feedback.correlate(activity, outputs)
    assert found.shape == feedback.projection.shape
    torch.testing.assert_close(found, expected)
    torch.testing.assert_close(
        feedback.correlate(activity.repeat(2, 1, 1, 1), outputs.repeat(2, 1)), found
    )


@settings(deadline=None, max_examples=40)
@given(
    block=st.integers(1, 3),
    channels=st.integers(1, 3),
    rows=st.integers(1, 3),
    columns=st.integers(1, 3),
)
def test_a_block_averages_the_estimate_and_spreads_the_credit(
    block: int, channels: int, rows: int, columns: int
) -> None:
    shape = (channels, rows * block, columns * block)
    shared, full = Feedback(shape, 3, block), Feedback(shape, 3)
    assert shared.matrix.shape == (channels * rows * columns, 3)
    activity, outputs = randn(4, *shape), randn(4, 3, seed=1)
    estimate = full.correlate(activity, outputs).view(3, channels, rows, block, columns, block)
    found = shared.correlate(activity, outputs).view(3, channels, rows, columns)
    torch.testing.assert_close(found, estimate.mean((3, 5)))
    filled(shared)
    credit = shared.project(outputs)
    assert credit.shape == activity.shape
    tiles = credit.view(4, channels, rows, block, columns, block)
    torch.testing.assert_close(tiles, tiles[:, :, :, :1, :, :1].expand_as(tiles))
    torch.testing.assert_close(tiles[:, :, :, 0, :, 0].flatten(1), outputs @ shared.matrix.t())


def test_block_is_clipped_to_a_smaller_layer_and_ignored_without_positions() -> None:
    assert Feedback((5, 4, 4), 2, 16).matrix.shape == (5, 2)
    assert Feedback((5, 2, 6), 2, 4).block == 2
    assert Feedback((12,), 2, 4).matrix.shape == (12, 2)


@pytest.mark.parametrize("block", [0, -1, 3])
def test_blocks_that_do_not_tile_the_layer_are_refused(block: int) -> None:
    with pytest.raises(UsageError, match=rf"side {block} do not tile a layer of shape \(2, 8, 6\)"):
        Feedback((2, 8, 6), 3, block)


def test_learnable_feedback_is_a_parameter_and_other_feedback_a_buffer() -> None:
    assert len(list(Feedback((4,), 2, trainable=True).parameters())) == 1
    fixed = Feedback((4,), 2)
    assert not list(fixed.parameters())
    assert fixed.state_dict()


def history(count: int) -> list[tuple[LayerNoise, Tensor, Tensor]]:
    """Noise of a layer of 5 in 6 samples, the same written out, and outputs."""
    like = torch.empty(6, 5, dtype=torch.float64)
    noise = [layer_noise("gaussian", 1, 0, step, like, (5,)) for step in range(count)]
    return [(each, each.values(like), randn(6, 3, seed=100 + i)) for i, each in enumerate(noise)]


@pytest.mark.parametrize("ramp", [0, 20])
def test_momentum_follows_its_recursion(ramp: int) -> None:
    """M_k = lam_k M_{k-1} + (1 - lam_k) gain mean_b z o^T, lam_k = min(lam, k / (k + ramp))."""
    feedback = MomentumFeedback((5,), 3, momentum=0.8, ramp=ramp).double()
    expected = torch.zeros(5, 3, dtype=torch.float64)
    for k, (noise, z, o) in enumerate(history(90), start=1):
        lam = min(0.8, k / (k + ramp)) if ramp else 0.8
        expected = lam * expected + (1 - lam) * 5.0 * (z.t() @ o) / 6
        feedback.absorb(noise, o, 5.0)
        torch.testing.assert_close(feedback.matrix, expected)


@pytest.mark.parametrize("ramp", [0, 20])
def test_bias_correction_makes_a_constant_estimate_exact_from_the_first_update(ramp: int) -> None:
    feedback = MomentumFeedback((5,), 3, momentum=0.9, ramp=ramp, bias_correction=True).double()
    noise, z, o = history(1)[0]
    error = randn(2, 3, seed=7)
    assert not feedback.project(error).any()
    for _ in range(30):
        feedback.absorb(noise, o, 2.0)
        torch.testing.assert_close(feedback.project(error), error @ (2.0 * (z.t() @ o) / 6).t())


def test_without_bias_correction_the_matrix_grows_in() -> None:
    feedback = MomentumFeedback((5,), 3, momentum=0.9).double()
    noise, z, o = history(1)[0]
    for _ in range(7):
        feedback.absorb(noise, o, 1.0)
    torch.testing.assert_close(feedback.matrix, (1 - 0.9**7) * (z.t() @ o) / 6)


def test_a_ramp_makes_the_first_updates_weigh_more() -> None:
    plain = MomentumFeedback((5,), 3, momentum=0.9999).double()
    ramped = MomentumFeedback((5,), 3, momentum=0.9999, ramp=20).double()
    for noise, _, o in history(5):
        plain.absorb(noise, o, 1.0)
        ramped.absorb(noise, o, 1.0)
    assert ramped.matrix.norm() > 100 * plain.matrix.norm()


def test_the_batch_enters_by_its_mean() -> None:
    """A13: half the batch without output leaves half the estimate."""
    whole, half = (MomentumFeedback((5,), 3, momentum=0.9).double() for _ in range(2))
    for noise, _, o in history(4):
        whole.absorb(noise, o, 1.0)
        silent = torch.cat([o, torch.zeros_like(o)])
        half.absorb(noise._replace(samples=12), silent, 1.0)
    torch.testing.assert_close(2 * half.matrix, whole.matrix)


def test_state_is_restored_whole() -> None:
    first, second = (
        MomentumFeedback((5,), 3, momentum=0.9, ramp=3, bias_correction=True) for _ in range(2)
    )
    steps = [(noise, o.float()) for noise, _, o in history(8)]
    for noise, o in steps[:4]:
        first.absorb(noise, o, 1.0)
    second.load_state_dict(first.state_dict())
    for noise, o in steps[4:]:
        first.absorb(noise, o, 1.0)
        second.absorb(noise, o, 1.0)
    error = torch.randn(2, 3)
    assert torch.equal(first.project(error), second.project(error))


LAM, ALPHA, BATCH, NEURONS, OUTPUTS = 0.99, 0.2, 16, 40, 5


def estimates(kind: NoiseKind, updates: int, seed: int, pairs: bool = False) -> tuple[Tensor, ...]:
    """Feed noise through a fixed linear map o = J (h + alpha z), keeping 1/alpha.

    Returns M late in the run at many nearly independent times, J and the rms of o.
    """
    generator = seeded(seed)
    jacobian = 0.1 * randn(OUTPUTS, NEURONS, seed=seed + 1)
    hidden = (torch.rand(BATCH, NEURONS, generator=generator, dtype=torch.float64) < 0.5).double()
    hidden = 2.0 * hidden
    feedback = MomentumFeedback((NEURONS,), OUTPUTS, momentum=LAM).double()
    seen, squares = [], []
    for update in range(updates):
        step, sign = (update // 2, 1 - 2 * (update % 2)) if pairs else (update, 1)
        noise = layer_noise(kind, seed, 0, step, hidden, (NEURONS,))
        o = (hidden + sign * ALPHA * noise.values(hidden)) @ jacobian.t()
        feedback.absorb(noise, o, sign / ALPHA)
        squares.append(o.square().mean())
        # After 1000 updates 0.99^1000 < 1e-4 of the zero start is left; lag 300 leaves 5 %.
        if update >= 1000 and update % 300 == 0:
            seen.append(feedback.matrix.clone())
    return torch.stack(seen), jacobian, torch.stack(squares).mean().sqrt()


@pytest.mark.parametrize("kind", ["gaussian", "rademacher", "sphere"])
def test_momentum_feedback_tends_to_the_transposed_jacobian(kind: NoiseKind) -> None:
    """A1, A8: E[M] = J^T whatever the noise; entry std (rms(o)/alpha) sqrt((1-lam)/(2B))."""
    found, jacobian, rms = estimates(kind, 6000, seed=3)
    predicted = float(rms) / ALPHA * sqrt((1 - LAM) / (2 * BATCH))
    deviations = found - jacobian.t()
    assert deviations.std().item() == pytest.approx(predicted, rel=0.10)
    # 200 entries, each a mean of nearly independent values: four standard errors of the worst.
    error = predicted / sqrt(len(found))
    assert deviations.mean(0).abs().max().item() < 4.5 * error
    assert abs(deviations.mean().item()) < 4 * error / sqrt(NEURONS * OUTPUTS)
    # The bound above means something only because J itself is larger than the noise.
    assert jacobian.abs().max().item() > 4.5 * error


def test_antithetic_pairs_cancel_the_part_of_the_variance_that_the_mean_output_brings() -> None:
    alone, jacobian, _ = estimates("gaussian", 5000, seed=3)
    paired, _, _ = estimates("gaussian", 5000, seed=3, pairs=True)
    truth = jacobian.t()
    assert (paired - truth).std().item() < 0.5 * (alone - truth).std().item()
