import numpy as np
import pytest

from neuro.data.events.camera import STEPS_PER_SACCADE, EventCamera
from neuro.errors import UsageError


def test_the_path_is_a_closed_isosceles_triangle_with_a_level_base():
    path = EventCamera(saccade_base=0.5, saccade_height=0.25).path(width=8)
    assert len(path) == 3 * STEPS_PER_SACCADE + 1
    corners = path[::STEPS_PER_SACCADE]
    np.testing.assert_allclose(corners, [(-2, -1), (0, 1), (2, -1), (-2, -1)], atol=1e-12)


def test_motion_is_slow_at_the_corners_and_fast_between():
    path = EventCamera().path(28)
    speed = np.linalg.norm(np.diff(path, axis=0), axis=1).reshape(3, STEPS_PER_SACCADE)
    mean = speed.mean(axis=1)
    np.testing.assert_allclose(speed[:, 0] / mean, 0.2, atol=0.02)  # 1 - velocity_swing
    np.testing.assert_allclose(speed.max(axis=1) / mean, 1.8, atol=0.02)  # 1 + velocity_swing
    # the docstring's bound on the motion of one sub-step
    assert speed.max() < 0.36


def test_without_swing_the_speed_is_constant():
    path = EventCamera(velocity_swing=0).path(28)
    speed = np.linalg.norm(np.diff(path, axis=0), axis=1).reshape(3, -1)
    np.testing.assert_allclose(speed, speed.mean(axis=1, keepdims=True).repeat(35, axis=1))


@pytest.mark.parametrize(("width", "border"), [(28, 3), (32, 3), (8, 1), (4, 1), (64, 7)])
def test_the_border_grows_with_the_image(width, border):
    assert EventCamera().border(width) == border


def test_a_recording_lasts_three_saccades():
    assert EventCamera().duration_us == 315_000


def test_thresholds_are_a_fixed_pattern_of_the_seed_with_the_stated_spread():
    camera = EventCamera(threshold=0.5, threshold_mismatch=0.1)
    pattern = camera.thresholds((100, 100), seed=3)
    np.testing.assert_array_equal(pattern, camera.thresholds((100, 100), seed=3))
    assert not np.array_equal(pattern, camera.thresholds((100, 100), seed=4))
    assert pattern.shape == (2, 100, 100)
    assert abs(pattern.mean() - 0.5) < 0.002
    assert abs(pattern.std() - 0.05) < 0.002
    assert abs(np.corrcoef(pattern[0].ravel(), pattern[1].ravel())[0, 1]) < 0.05


def test_no_threshold_comes_near_zero():
    pattern = EventCamera(threshold=1.0, threshold_mismatch=5.0).thresholds((50, 50), 0)
    assert pattern.min() == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("threshold", 0, "> 0"),
        ("threshold", float("nan"), "> 0"),
        ("black_level", 0.0, "> 0"),
        ("saccade_us", 0, "> 0"),
        ("refractory_us", -1, ">= 0"),
        ("noise_rate_hz", -0.1, ">= 0"),
        ("threshold_mismatch", float("inf"), ">= 0"),
        ("noise_on_fraction", 1.1, "<= 1"),
        ("velocity_swing", 1.5, "<= 1"),
    ],
)
def test_a_parameter_out_of_range_is_named(name, value, expected):
    with pytest.raises(UsageError, match=f"Event camera: {name} must be {expected}"):
        EventCamera(**{name: value})
