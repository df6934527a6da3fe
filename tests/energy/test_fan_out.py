"""Fan-outs against loops over every synapse, and the laws of what spikes make of them."""

from itertools import product

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from neuro.energy.counting.fan_out import (
    before_map,
    connection_fan_out,
    convolution_fan_out,
    linear_fan_out,
    synapse_fan_out,
)
from neuro.errors import UsageError
from neuro.hardware.integer_graph import Convolution, Dense, Sparse
from neuro.layers import AvgPool2d, Conv2d, Flatten, GlobalAvgPool2d, Linear, Synapse


def by_loops(
    weight: Tensor,
    shape: tuple[int, int, int],
    stride: tuple[int, int],
    padding: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Tensor:
    """Visit every product of a convolution; count those with a weight by their input."""
    outputs, channels, *kernel = weight.shape
    sides = [
        (shape[1 + a] + 2 * padding[a] - dilation[a] * (kernel[a] - 1) - 1) // stride[a] + 1
        for a in range(2)
    ]
    found = torch.zeros(shape, dtype=torch.float64)
    everything = (range(each) for each in (outputs, channels, *sides, *kernel))
    for o, c, y, x, i, j in product(*everything):
        row = y * stride[0] - padding[0] + i * dilation[0]
        column = x * stride[1] - padding[1] + j * dilation[1]
        if 0 <= row < shape[1] and 0 <= column < shape[2] and weight[o, c, i, j] != 0:
            found[o // (outputs // groups) * channels + c, row, column] += 1
    return found


PAIR = st.tuples(st.integers(1, 3), st.integers(1, 3))


@st.composite
def convolutions(draw):
    groups = draw(st.sampled_from([1, 2]))
    kernel, stride, dilation = draw(PAIR), draw(PAIR), draw(st.tuples(*[st.integers(1, 2)] * 2))
    padding = draw(st.tuples(*[st.integers(0, 2)] * 2))
    sides = [
        draw(st.integers(max(1, dilation[a] * (kernel[a] - 1) + 1 - 2 * padding[a]), 7))
        for a in range(2)
    ]
    shape = (groups * draw(st.integers(1, 2)), *sides)
    generator = torch.Generator().manual_seed(draw(st.integers(0, 999)))
    size = (groups * draw(st.integers(1, 2)), shape[0] // groups, *kernel)
    weight = torch.randn(size, generator=generator)
    weight *= torch.rand(size, generator=generator) < draw(st.sampled_from([0.5, 1.0]))
    return weight, shape, stride, padding, dilation, groups


@settings(deadline=None, max_examples=60)
@given(drawn=convolutions())
def test_a_convolution_is_counted_product_by_product(drawn):
    weight, shape, stride, padding, dilation, groups = drawn
    expected = by_loops(weight, shape, stride, padding, dilation, groups)
    output = nn.functional.conv2d(
        torch.zeros(1, *shape), weight, None, stride, padding, dilation, groups
    )
    found = convolution_fan_out(
        weight,
        shape,
        output.shape[1:],
        stride=stride,
        padding=padding,
        dilation=dilation,
        groups=groups,
    )
    assert torch.equal(found, expected)
    whole = (weight != 0).numpy().astype(np.int32)
    chip = Convolution(
        weight=whole, stride=stride, padding=padding, dilation=dilation, groups=groups
    )
    assert np.array_equal(connection_fan_out(chip, shape), expected.flatten().numpy())
    matrix = unrolled(weight, shape, stride, padding, dilation, groups)
    assert torch.equal(linear_fan_out(matrix), expected.flatten())


def unrolled(weight: Tensor, shape: tuple[int, ...], *settings) -> Tensor:
    """Return the matrix of a convolution, ``[outputs, inputs]``."""
    inputs = torch.eye(int(np.prod(shape))).reshape(-1, *shape)
    return nn.functional.conv2d(inputs, weight, None, *settings).flatten(1).t()


def test_a_strided_convolution_by_hand():
    # 2 -> 4 channels, 3x3, stride 2, padding 1, on 5x5: a corner reaches one output position, a
    # spike between positions two
    layer = Conv2d(2, 4, 3, stride=2, padding=1, bias=False)
    found = synapse_fan_out(layer, layer.weight, (2, 5, 5), (4, 3, 3))
    assert (found[0, 0, 0], found[1, 2, 3], found[0, 1, 1]) == (4, 8, 16)


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 999), zeroed=st.integers(0, 11))
def test_masking_a_weight_removes_exactly_its_uses(seed, zeroed):
    generator = torch.Generator().manual_seed(seed)
    weight = torch.randn(4, 3, generator=generator)
    spikes = torch.randint(0, 2, (5, 3), generator=generator).double()
    before = spikes.sum(0) @ linear_fan_out(weight)
    weight.view(-1)[zeroed] = 0
    after = spikes.sum(0) @ linear_fan_out(weight)
    assert before - after == spikes[:, zeroed % 3].sum()


def test_means_act_on_what_their_window_acts_on():
    pooled = torch.tensor([[[3.0, 5.0]]])
    spread = before_map(pooled, AvgPool2d(2), (1, 3, 5))
    assert spread.tolist() == [[[3, 3, 5, 5, 0], [3, 3, 5, 5, 0], [0, 0, 0, 0, 0]]]
    everywhere = before_map(torch.tensor([2.0]), GlobalAvgPool2d(), (1, 2, 2))
    assert everywhere.tolist() == [[[2, 2], [2, 2]]]
    assert before_map(torch.arange(4.0), Flatten(), (1, 2, 2)).tolist() == [[[0, 1], [2, 3]]]


def test_single_synapses_of_a_chip():
    # two synapses join the same neurons; one has no weight
    sparse = Sparse(
        starts=np.array([0, 3, 4]), sources=np.array([0, 0, 2, 2]), weight=np.array([5, -1, 0, 7])
    )
    assert connection_fan_out(sparse, (4,)).tolist() == [2, 0, 1, 0]
    late = np.array([True, False, True, True])
    assert connection_fan_out(sparse, (4,), late).tolist() == [1, 0, 1, 0]
    dense = Dense(weight=np.array([[1, 0], [2, -3], [0, 0]]))
    assert connection_fan_out(dense, (2,)).tolist() == [2, 1]


def test_a_synapse_of_another_kind_is_refused():
    class Odd(Linear):
        pass

    assert synapse_fan_out(Odd(2, 3), torch.ones(3, 2), (2,), (3,)).tolist() == [3, 3]

    class Strange(Synapse):
        transmit = weight_gradient = bias_gradient = transpose = None  # type: ignore[assignment]

    with pytest.raises(UsageError, match="fan-out of a Strange is not known"):
        synapse_fan_out(Strange(), torch.ones(3, 2), (2,), (3,))
    padded = Conv2d(1, 1, 3, padding="same")
    with pytest.raises(UsageError, match="padding='same'"):
        synapse_fan_out(padded, padded.weight, (1, 4, 4), (1, 4, 4))
