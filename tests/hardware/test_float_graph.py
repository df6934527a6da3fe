"""Linear synapses in real numbers: what they make, and what cannot be folded into them."""

import numpy as np
import pytest
import torch
from torch.nn import functional

from neuro.errors import UsageError
from neuro.hardware.float_graph import FloatConvolution, FloatDense


@pytest.mark.parametrize(
    ("stride", "padding", "dilation", "groups"),
    [((1, 1), (0, 0), (1, 1), 1), ((2, 3), (1, 2), (2, 1), 1), ((1, 2), (2, 0), (1, 1), 2)],
)
def test_a_convolution_is_torchs(stride, padding, dilation, groups):
    rng = np.random.default_rng(0)
    weight, x = rng.normal(size=(6, 4 // groups, 3, 2)), rng.normal(size=(4, 9, 8))
    synapses = FloatConvolution(
        weight=weight, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    expected = functional.conv2d(
        torch.from_numpy(x), torch.from_numpy(weight), None, stride, padding, dilation, groups
    )
    np.testing.assert_allclose(synapses.apply(x), expected.numpy(), atol=1e-12)


@pytest.mark.parametrize("groups", [1, 2])
def test_scaled_inputs_and_outputs_are_folded_into_weights(groups):
    rng = np.random.default_rng(1)
    x = rng.normal(size=(4, 5, 5))
    of_source = np.broadcast_to(rng.normal(size=(4, 1, 1)), x.shape)
    of_target = rng.normal(size=(6, 1, 1))
    convolution = FloatConvolution(weight=rng.normal(size=(6, 4 // groups, 3, 3)), groups=groups)
    folded = convolution.scaled(of_source).times(of_target, (6, 3, 3))
    np.testing.assert_allclose(folded.apply(x), of_target * convolution.apply(of_source * x))
    dense = FloatDense(weight=rng.normal(size=(3, 100)))
    gain = rng.normal(size=3)
    folded = dense.scaled(of_source).times(gain, (3,))
    np.testing.assert_allclose(folded.apply(x), gain * dense.apply(of_source * x))


def test_gains_that_differ_within_a_channel_are_refused():
    convolution = FloatConvolution(weight=np.ones((6, 4, 3, 3)))
    by_position = np.arange(100.0).reshape(4, 5, 5)
    with pytest.raises(UsageError, match="by channel"):
        convolution.scaled(by_position)
    with pytest.raises(UsageError, match="one input gain a channel"):
        convolution.times(np.arange(54.0).reshape(6, 3, 3), (6, 3, 3))
