"""Currents from spike events on a GPU with Triton.

One program a row lists its events; one program a row and block of outputs then adds the rows of the
transposed weight that they name. Nothing waits for the number of events.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

_BLOCK = 128


@triton.jit
def _list_events(numbers, index, counts, WIDTH, BLOCK: tl.constexpr):
    row = tl.program_id(0).to(tl.int64)
    numbers += row * WIDTH
    index += row * WIDTH
    found = 0
    for start in range(0, WIDTH, BLOCK):
        place = start + tl.arange(0, BLOCK)
        spike = tl.load(numbers + place, mask=place < WIDTH, other=0.0)
        fired = (spike != 0).to(tl.int32)
        tl.store(index + found + tl.cumsum(fired, 0) - fired, place, mask=fired != 0)
        found += tl.sum(fired, 0)
    tl.store(counts + row, found)


@triton.jit
def _gather(
    spikes,
    index,
    counts,
    table,
    bias,
    currents,
    INPUTS,
    OUTPUTS,
    BIASED: tl.constexpr,
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    output = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = output < OUTPUTS
    total = tl.zeros((BLOCK,), dtype=ACC)
    if BIASED:
        total = tl.load(bias + output, mask=mask, other=0.0).to(ACC)
    for e in range(tl.load(counts + row)):
        place = tl.load(index + row * INPUTS + e).to(tl.int64)
        spike = tl.load(spikes + row * INPUTS + place).to(ACC)
        total += spike * tl.load(table + place * OUTPUTS + output, mask=mask, other=0.0).to(ACC)
    tl.store(currents + row * OUTPUTS + output, total, mask=mask)


def list_events(rows: Tensor) -> tuple[Tensor, Tensor]:
    """Return the places of the events of contiguous ``rows`` ``[R, N]``, and how many a row has."""
    index = torch.empty(rows.shape, dtype=torch.int32, device=rows.device)
    counts = torch.empty(len(rows), dtype=torch.int32, device=rows.device)
    if len(rows):
        block = min(1024, triton.next_power_of_2(max(rows.shape[1], 1)))
        _list_events[(len(rows),)](rows, index, counts, rows.shape[1], BLOCK=block)
    return index, counts


def accumulator(dtype: torch.dtype) -> tl.dtype:
    """Return the dtype of sums: at least single precision."""
    return tl.float64 if dtype == torch.float64 else tl.float32


def forward(spikes: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return the currents of ``spikes`` ``[B, N_in]``."""
    (rows, inputs), outputs = spikes.shape, len(weight)
    currents = spikes.new_empty(rows, outputs)
    if not currents.numel():
        return currents
    numbers = spikes.contiguous()
    index, counts = list_events(numbers)
    _gather[(rows, triton.cdiv(outputs, _BLOCK))](
        numbers,
        index,
        counts,
        weight.t().contiguous(),
        weight if bias is None else bias.contiguous(),
        currents,
        inputs,
        outputs,
        BIASED=bias is not None,
        BLOCK=_BLOCK,
        ACC=accumulator(spikes.dtype),
        enable_fp_fusion=False,
    )
    return currents
