"""Chains of linear maps between two layers as one: a convolution where it is one, else a matrix.

Average pooling before a convolution is a convolution with every weight spread over a window::

    conv(pool_s(x)) = conv'(x),   w'[s a + i] = w[a] / s,  stride' = s stride,  padding' = s padding

and after it, one whose kernel is itself pooled. Whatever else, fully connected layers after pooling
among it, is the matrix that the maps' adjoints make of the rows of the identity.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn

from neuro.errors import UsageError
from neuro.hardware.float_graph import FloatConvolution, FloatDense, FloatSynapses, Reals
from neuro.layers import AvgPool2d, Conv2d, LinearMap, Scale, Synapse

LARGEST_MATRIX = 1 << 27


class Link(NamedTuple):
    """One linear map of a chain: the node's name, its module, and the shapes it joins."""

    name: str
    module: nn.Module
    source: tuple[int, ...]
    target: tuple[int, ...]


def fold(chain: Sequence[Link], gain: float, source: tuple[int, ...]) -> FloatSynapses:
    """Return a chain as the synapses of one connection, biases left out.

    Args:
        chain: the maps in order, on the CPU in float64; none for what passes on unchanged.
        gain: factor on the whole.
        source: shape of what goes in.

    Raises:
        UsageError: a map that is not linear, or a matrix that is too large to write out.
    """
    folded = _as_convolution(chain, source) if len(source) == 3 else None
    if folded is not None:
        return replace(folded, weight=folded.weight * gain)
    return FloatDense(weight=_as_matrix(chain, source) * gain)


def _as_convolution(chain: Sequence[Link], source: tuple[int, ...]) -> FloatConvolution | None:
    """Return the chain as a convolution of ``[C, H, W]``, if it is exactly one."""
    folded: FloatConvolution | None = None
    pool = 1
    gain = 1.0
    for link in chain:
        match link.module:
            case Scale() as scale:
                gain *= scale.factor
            case AvgPool2d() as average if folded is None:
                if any(side % (pool * average.size) for side in source[1:]):
                    return None
                pool *= average.size
            case AvgPool2d() as average if folded is not None:
                if folded.dilation != (1, 1):
                    return None
                folded = _pooled(folded, average.size)
            case Conv2d() as synapse if folded is None:
                if pool > 1 and _pair(synapse.dilation) != (1, 1):
                    return None
                folded = _after_pool(_convolution(synapse), pool)
            case _:
                return None
    if folded is None:
        channels = source[0]
        window = np.full((channels, 1, pool, pool), 1 / pool**2)
        folded = FloatConvolution(weight=window, stride=(pool, pool), groups=channels)
    return replace(folded, weight=folded.weight * gain)


def _convolution(synapse: Conv2d) -> FloatConvolution:
    return FloatConvolution(
        weight=_reals(synapse.effective_weight()),
        stride=_pair(synapse.stride),
        padding=_pair(synapse.padding),
        dilation=_pair(synapse.dilation),
        groups=synapse.groups,
    )


def _after_pool(convolution: FloatConvolution, size: int) -> FloatConvolution:
    (rows, columns), (down, right) = convolution.stride, convolution.padding
    spread = convolution.weight.repeat(size, axis=2).repeat(size, axis=3) / size**2
    return replace(
        convolution,
        weight=spread,
        stride=(rows * size, columns * size),
        padding=(down * size, right * size),
    )


def _pooled(convolution: FloatConvolution, size: int) -> FloatConvolution:
    weight = convolution.weight
    rows, columns = convolution.stride
    height = weight.shape[2] + (size - 1) * rows
    width = weight.shape[3] + (size - 1) * columns
    pooled = np.zeros((*weight.shape[:2], height, width))
    for i in range(size):
        for j in range(size):
            down, right = i * rows, j * columns
            pooled[:, :, down : down + weight.shape[2], right : right + weight.shape[3]] += weight
    return replace(convolution, weight=pooled / size**2, stride=(rows * size, columns * size))


@torch.no_grad()
def _as_matrix(chain: Sequence[Link], source: tuple[int, ...]) -> Reals:
    target = chain[-1].target if chain else source
    rows, columns = int(np.prod(target)), int(np.prod(source))
    if rows * columns > LARGEST_MATRIX:
        names = ", ".join(link.name for link in chain) or "a plain connection"
        raise UsageError(
            f"{names}: from {source} to {target} takes a matrix of {rows} x {columns} weights, as "
            "these maps make no single convolution. Put a spiking layer between them."
        )
    delta = torch.eye(rows, dtype=torch.float64).reshape(rows, *target)
    for link in reversed(chain):
        before = torch.Size((rows, *link.source))
        match link.module:
            case LinearMap() as linear:
                delta = linear.adjoint(delta, before)
            case Synapse() as synapse:
                delta = synapse.transpose(delta, synapse.effective_weight(), before)
            case module:
                raise UsageError(
                    f"{link.name}: {type(module).__name__} is no linear map that a chip's synapses "
                    "could hold."
                )
    return _reals(delta.reshape(rows, columns))


def _pair(size: int | str | tuple[int, ...]) -> tuple[int, int]:
    if isinstance(size, str):
        raise UsageError(f"a convolution pads with a number of zeros, got padding={size!r}.")
    rows, columns = size if isinstance(size, tuple) else (size, size)
    return rows, columns


def _reals(tensor: Tensor) -> Reals:
    array: Reals = tensor.detach().cpu().double().numpy()
    return array
