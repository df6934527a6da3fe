"""Convolutional currents from spike events on a GPU with Triton.

One program a pixel and group lists the channels that fired; one program a position of the currents
and block of channels then adds, over the pixels its kernel sees, the rows of the weight they name.
Each current is summed by one program in a fixed order: no atomic additions.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from neuro.kernels.event_conv2d.geometry import Geometry
from neuro.kernels.event_linear.gpu import accumulator, list_events

_BLOCK = 64


@triton.jit
def _gather(
    spikes,  # [B, H, W, groups, C / groups]
    index,
    counts,  # [B, H, W, groups]
    table,  # [groups, kh, kw, C / groups, O / groups]
    bias,
    currents,  # [B, OH, OW, O]
    HEIGHT,
    BREADTH,
    OUT_HEIGHT,
    OUT_BREADTH,
    INPUTS,
    OUTPUTS,
    GROUPS,
    STRIDE_Y,
    STRIDE_X,
    PADDING_Y,
    PADDING_X,
    DILATION_Y,
    DILATION_X,
    KERNEL_Y: tl.constexpr,
    KERNEL_X: tl.constexpr,
    BIASED: tl.constexpr,
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):
    position = tl.program_id(0).to(tl.int64)
    group = tl.program_id(2)
    output = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = output < OUTPUTS
    out_x = position % OUT_BREADTH
    out_y = position // OUT_BREADTH % OUT_HEIGHT
    sample = position // OUT_BREADTH // OUT_HEIGHT
    total = tl.zeros((BLOCK,), dtype=ACC)
    if BIASED:
        total = tl.load(bias + group * OUTPUTS + output, mask=mask, other=0.0).to(ACC)
    for ky in range(KERNEL_Y):
        y = out_y * STRIDE_Y + ky * DILATION_Y - PADDING_Y
        for kx in range(KERNEL_X):
            x = out_x * STRIDE_X + kx * DILATION_X - PADDING_X
            inside = (y >= 0) & (y < HEIGHT) & (x >= 0) & (x < BREADTH)
            pixel = ((sample * HEIGHT + y) * BREADTH + x) * GROUPS + group
            tap = ((group * KERNEL_Y + ky) * KERNEL_X + kx).to(tl.int64) * INPUTS
            for e in range(tl.load(counts + pixel, mask=inside, other=0)):
                channel = tl.load(index + pixel * INPUTS + e)
                spike = tl.load(spikes + pixel * INPUTS + channel).to(ACC)
                row = table + (tap + channel) * OUTPUTS
                total += spike * tl.load(row + output, mask=mask, other=0.0).to(ACC)
    place = (position * GROUPS + group) * OUTPUTS + output
    tl.store(currents + place, total, mask=mask)


def forward(spikes: Tensor, weight: Tensor, bias: Tensor | None, geometry: Geometry) -> Tensor:
    """Return the currents of ``spikes`` ``[B, C, H, W]``."""
    batch, _, height, breadth = spikes.shape
    all_outputs, inputs, *kernel = weight.shape
    groups = geometry.groups
    outputs = all_outputs // groups
    sizes = [geometry.output_size(spikes.shape[2 + k], kernel[k], k) for k in (0, 1)]
    currents = spikes.new_empty(batch, *sizes, all_outputs)
    if currents.numel():
        pixels = spikes.permute(0, 2, 3, 1).reshape(-1, inputs).contiguous()
        index, counts = list_events(pixels)
        table = weight.reshape(groups, outputs, inputs, *kernel).permute(0, 3, 4, 2, 1)
        _gather[(batch * sizes[0] * sizes[1], triton.cdiv(outputs, _BLOCK), groups)](
            pixels,
            index,
            counts,
            table.contiguous(),
            weight if bias is None else bias.contiguous(),
            currents,
            height,
            breadth,
            *sizes,
            inputs,
            outputs,
            groups,
            *geometry.stride,
            *geometry.padding,
            *geometry.dilation,
            KERNEL_Y=kernel[0],
            KERNEL_X=kernel[1],
            BIASED=bias is not None,
            BLOCK=_BLOCK,
            ACC=accumulator(spikes.dtype),
            enable_fp_fusion=False,
        )
    return currents.permute(0, 3, 1, 2).contiguous(memory_format=torch.contiguous_format)
