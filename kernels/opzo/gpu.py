"""The update of a feedback matrix on a GPU with Triton: noise lives in registers only."""

import triton
import triton.language as tl
from torch import Tensor

from neuro.kernels.noise.gpu import counters, draw
from neuro.kernels.noise.stream import NoiseStream

_BLOCK = 64


@triton.jit
def _update(
    projection,
    outputs,
    samples,
    neurons,
    rows,
    numbers,  # keep and factor, in the working dtype
    QUARTER,
    step,
    layer,
    low,
    high,
    GAUSSIAN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):
    i = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    k = tl.arange(0, ROWS)
    total = tl.full([ROWS, BLOCK], 0.0, ACC)
    for sample in range(samples):
        z = draw(
            i,
            tl.full([BLOCK], 0, tl.int32) + sample,
            QUARTER,
            step,
            layer,
            low.to(tl.uint32),
            high.to(tl.uint32),
            GAUSSIAN,
        )
        output = tl.load(outputs + sample * rows + k, mask=k < rows, other=0.0)
        total += output[:, None] * z.to(ACC)[None, :]
    where = k[:, None] * neurons + i[None, :]
    mask = (k < rows)[:, None] & (i < neurons)[None, :]
    before = tl.load(projection + where, mask=mask, other=0.0)
    after = tl.load(numbers) * before + tl.load(numbers + 1) * total
    tl.store(projection + where, after, mask=mask)


@triton.jit
def _respond(
    projection,
    result,
    neurons,
    rows,
    QUARTER,
    step,
    layer,
    low,
    high,
    GAUSSIAN: tl.constexpr,
    ROWS: tl.constexpr,
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):
    sample = tl.program_id(0)
    k = tl.arange(0, ROWS)
    total = tl.full([ROWS], 0.0, ACC)
    for start in range(0, neurons, BLOCK):
        i = start + tl.arange(0, BLOCK)
        z = draw(
            i,
            tl.full([BLOCK], 0, tl.int32) + sample,
            QUARTER,
            step,
            layer,
            low.to(tl.uint32),
            high.to(tl.uint32),
            GAUSSIAN,
        )
        mask = (k < rows)[:, None] & (i < neurons)[None, :]
        m = tl.load(projection + k[:, None] * neurons + i[None, :], mask=mask, other=0.0)
        total += tl.sum(m * z.to(ACC)[None, :], 1)
    tl.store(result + sample * rows + k, total, mask=k < rows)


def _working(tensor: Tensor) -> tl.dtype:
    return tl.float64 if tensor.element_size() == 8 else tl.float32


def update(
    projection: Tensor, outputs: Tensor, stream: NoiseStream, keep: float, factor: float
) -> None:
    """Change ``projection`` ``(m, n)`` in place."""
    rows, neurons = projection.shape
    if not projection.numel():
        return
    _update[(triton.cdiv(neurons, _BLOCK),)](
        projection,
        outputs.contiguous(),
        len(outputs),
        neurons,
        rows,
        projection.new_tensor((keep, factor)),
        **counters(stream, neurons),
        ROWS=triton.next_power_of_2(rows),
        BLOCK=_BLOCK,
        ACC=_working(projection),
        enable_fp_fusion=False,
    )


def response(projection: Tensor, stream: NoiseStream, samples: int) -> Tensor:
    """Return ``z M`` ``(B, m)``."""
    rows, neurons = projection.shape
    result = projection.new_zeros(samples, rows)
    if result.numel():
        _respond[(samples,)](
            projection,
            result,
            neurons,
            rows,
            **counters(stream, neurons),
            ROWS=triton.next_power_of_2(rows),
            BLOCK=_BLOCK,
            ACC=_working(projection),
            enable_fp_fusion=False,
        )
    return result
