"""How many synapses a spike crosses: exactly, by position.

The fan-out of an input is the number of outputs that a weight other than 0 joins it to::

    F[j] = sum_i (W[i, j] != 0)          F = conv^T(1, W != 0)   for a convolution

so that a map of spike counts n makes ``sum_j n[j] F[j]`` synaptic operations. Padding, stride,
dilation, groups, masks and pruned weights are all in F, which is found once for a network.
"""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from neuro.errors import UsageError
from neuro.hardware.integer_graph import Convolution, Dense, Synapses, target_shape
from neuro.layers import AvgPool2d, GlobalAvgPool2d, Synapse
from neuro.layers.linear_maps import upsample
from neuro.layers.quantised import QuantisedSynapse


def whole(weight: Tensor) -> bool:
    """Tell whether no weight is 0."""
    return weight.numel() > 0 and bool(weight.abs().min() > 0)


@torch.no_grad()
def linear_fan_out(weight: Tensor) -> Tensor:
    """Return ``[in]``, float64, of a matrix ``[out, in]``."""
    if whole(weight):
        return weight.new_full((weight.shape[1],), len(weight), dtype=torch.float64)
    return torch.count_nonzero(weight, dim=0).double()


@torch.no_grad()
def convolution_fan_out(
    weight: Tensor,
    input_shape: Sequence[int],
    output_shape: Sequence[int],
    *,
    stride: Sequence[int],
    padding: Sequence[int],
    dilation: Sequence[int],
    groups: int,
) -> Tensor:
    """Return ``[C, H, W]``, float64, of a convolution with zero padding.

    Args:
        weight: ``[O, C / groups, kH, kW]``.
        input_shape: ``(C, H, W)``.
        output_shape: ``(O, H', W')``.
        stride: rows, columns.
        padding: rows, columns.
        dilation: rows, columns.
        groups: of channels.
    """
    outputs, joined = output_shape[0], (weight != 0).double()
    same = whole(joined)
    if same:  # one channel stands for all
        outputs, joined, groups = 1, joined[:1, :1], 1
    # what a stride skips at the far edges
    left = [
        size - ((out - 1) * step - 2 * pad + spread * (extent - 1) + 1)
        for size, out, step, pad, spread, extent in zip(
            input_shape[1:],
            output_shape[1:],
            stride,
            padding,
            dilation,
            weight.shape[2:],
            strict=True,
        )
    ]
    found = nn.functional.conv_transpose2d(
        joined.new_ones((1, outputs, *output_shape[1:])),
        joined,
        None,
        tuple(stride),
        tuple(padding),
        tuple(left),
        groups,
        tuple(dilation),
    )[0].round()  # whole numbers, which an algorithm for speed may miss by rounding
    if same:
        found = (found * (output_shape[0] * weight.shape[1] // input_shape[0])).expand(
            tuple(input_shape)
        )
    return found


def synapse_fan_out(
    synapse: Synapse, weight: Tensor, input_shape: Sequence[int], output_shape: Sequence[int]
) -> Tensor:
    """Return the fan-out of a layer's inputs, of their shape, float64.

    Args:
        synapse: a linear map or a convolution.
        weight: what its weight acts as.
        input_shape: of one sample.
        output_shape: of one sample.

    Raises:
        UsageError: another kind of synapse.
    """
    geometry = synapse.original if isinstance(synapse, QuantisedSynapse) else synapse
    if isinstance(geometry, nn.Linear):
        return linear_fan_out(weight).expand(tuple(input_shape))
    if isinstance(geometry, nn.Conv2d):
        padding = geometry.padding
        if isinstance(padding, str) or geometry.padding_mode != "zeros":
            raise UsageError(
                f"convolutional synapses pad with a number of zeros, got padding={padding!r}, "
                f"padding_mode={geometry.padding_mode!r}."
            )
        return convolution_fan_out(
            weight,
            input_shape,
            output_shape,
            stride=geometry.stride,
            padding=padding,
            dilation=geometry.dilation,
            groups=geometry.groups,
        )
    raise UsageError(
        f"the fan-out of a {type(synapse).__name__} is not known; it is of linear maps and of "
        "two-dimensional convolutions."
    )


def before_map(fan_out: Tensor, module: nn.Module, input_shape: Sequence[int]) -> Tensor:
    """Return the fan-out of what goes into a linear map, given that of what comes out.

    An average has every input of a window act on what the window's mean acts on; what only
    reorders or scales keeps the fan-out. Inputs that fill no window reach nothing.
    """
    if isinstance(module, AvgPool2d):
        spread = upsample(fan_out, module.size)
        height, width = input_shape[-2:]
        edges = (0, width - spread.shape[-1], 0, height - spread.shape[-2])
        return nn.functional.pad(spread, edges)
    if isinstance(module, GlobalAvgPool2d):
        return fan_out[..., None, None].expand(tuple(input_shape))
    return fan_out.reshape(tuple(input_shape))


def connection_fan_out(
    synapses: Synapses, source: tuple[int, ...], chosen: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """Return the fan-out of a chip's synapses, flat, by neuron of the source in C order.

    Args:
        synapses: of one connection.
        source: shape of what sends.
        chosen: which synapses count besides having a weight, of the weight's shape; all by default.
    """
    joined = synapses.weight != 0
    if chosen is not None:
        joined = joined & chosen
    if isinstance(synapses, Dense):
        columns: NDArray[np.int64] = joined.sum(axis=0, dtype=np.int64)
        return columns
    if isinstance(synapses, Convolution):
        spread = convolution_fan_out(
            torch.from_numpy(joined),
            source,
            target_shape(synapses, source),
            stride=synapses.stride,
            padding=synapses.padding,
            dilation=synapses.dilation,
            groups=synapses.groups,
        )
        found: NDArray[np.int64] = spread.numpy().astype(np.int64).reshape(-1)
        return found
    size = int(np.prod(source, dtype=np.int64))
    single: NDArray[np.int64] = np.bincount(synapses.sources[joined], minlength=size)
    return single
