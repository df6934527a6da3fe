import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from scipy.ndimage import gaussian_filter1d
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier

from neuro.data import load_dataset
from neuro.data.mnist1d import _read_between, _smooth, generate, templates
from neuro.errors import UsageError


def test_default_is_9600_and_2400_standardised_signals_of_40_points():
    data = load_dataset("mnist1d")
    assert data.train.inputs.shape == (9600, 40)
    assert data.test.inputs.shape == (2400, 40)
    assert data.input_shape == (40,)
    assert data.train.inputs.dtype == torch.float32
    assert float(data.train.inputs.mean()) == pytest.approx(0, abs=1e-5)
    assert float(data.train.inputs.std()) == pytest.approx(1, abs=1e-4)
    both = torch.cat([data.train.targets, data.test.targets])
    assert both.bincount().tolist() == [1200] * 10


def test_the_same_seed_gives_the_same_bits_and_another_seed_others():
    first, again = generate(200, seed=3), generate(200, seed=3)
    assert first[0].tobytes() == again[0].tobytes()
    assert first[1].tobytes() == again[1].tobytes()
    assert not np.array_equal(first[0], generate(200, seed=4)[0])


def test_default_samples_stay_what_published_results_used():
    data = load_dataset("mnist1d")
    assert data.train.targets[:10].tolist() == [4, 9, 9, 6, 9, 4, 7, 5, 9, 8]
    assert_allclose(
        data.test.inputs[0, :5].numpy(),
        [-0.4889, -0.7040, -0.7965, -0.8217, -0.7112],
        atol=2e-4,
    )


def test_templates_start_at_zero_and_share_one_deviation():
    shapes = templates()
    assert shapes.shape == (10, 12)
    assert_allclose(shapes[:, 0], 0)
    assert_allclose(shapes.std(axis=1), 1 / 6)
    # The 1 drawn by hand: (3 - 5) / std / 6 with std of (5, 3, 3, 3.4, ..., 5, 5) = 0.93586...
    one = np.array([5, 3, 3, 3.4, 3.8, 4.2, 4.6, 5, 5.4, 5.8, 5, 5])
    assert shapes[1, 1] == pytest.approx(-2 / one.std() / 6)


def test_smoothing_is_a_mirrored_gaussian_filter():
    noise = np.random.default_rng(0).standard_normal((3, 72))
    assert_allclose(_smooth(noise), gaussian_filter1d(noise, 2, axis=1), atol=1e-12)


def test_reading_between_points_is_linear_interpolation():
    signals = np.random.default_rng(1).standard_normal((2, 9))
    positions = np.array([[0, 0.25, 7.5, 8.0], [3.0, 3.9, 0.1, 8.0]])
    expected = [
        np.interp(at, np.arange(9), row) for at, row in zip(positions, signals, strict=True)
    ]
    assert_allclose(_read_between(signals, positions), expected)


def test_padding_noise_is_smooth_and_the_digit_is_not_drowned():
    signals, _ = generate(2000, seed=0)
    steps = np.diff(signals, axis=1)
    # Correlated noise and slow strokes: neighbours differ far less than independent points would
    # (deviation sqrt(2)).
    assert 0.3 < steps.std() < 0.9


@pytest.mark.parametrize("options", [{"samples": 0}, {"samples": 120}, {"seed": -1}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(UsageError, match="mnist1d"):
        load_dataset("mnist1d", **options)


@pytest.mark.slow
def test_linear_and_nonlinear_models_score_as_published():
    # Published for 4,000 training samples: logistic regression 32 %, MLP 68 %.
    data = load_dataset("mnist1d", samples=12000)
    train, test = data.train.inputs.numpy(), data.test.inputs.numpy()
    labels, test_labels = data.train.targets.numpy(), data.test.targets.numpy()
    linear = LogisticRegression(max_iter=500).fit(train, labels).score(test, test_labels)
    mlp = MLPClassifier((100, 100), max_iter=30, tol=0.0, n_iter_no_change=30, random_state=0)
    with pytest.warns(UserWarning, match="Maximum iterations"):
        mlp.fit(train, labels)
    assert 0.27 < linear < 0.39
    assert 0.62 < mlp.score(test, test_labels) < 0.78
