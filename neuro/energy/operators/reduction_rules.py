"""Operators over windows, rows and axes: sums, maxima, pools, normalisations, softmax.

A sum of n numbers is n - 1 additions, of n events n; a maximum of n numbers is n comparisons; a
mean has one product more, with 1/n. Windows that reach over the edge meet only what is there.
Normalisations are counted as :func:`neuro.energy.layer_norm`.
"""

from collections.abc import Callable, Sequence
from math import ceil, log2, prod
from typing import Any

import torch
from torch import Tensor

from neuro.energy.operators.operator_call import Call, Columns, Counted, Rule
from neuro.energy.operators.product_rules import EVENTS, softmax
from neuro.energy.operators.tensor_marks import Carried

Axis = Tensor
"""How many windows an input of one axis is in."""


def _size(call: Call) -> int:
    given: Tensor = call.args[0]
    return given.numel()


def _per_input(**columns: float) -> Rule:
    """Count so much for each number that goes in."""
    return Rule(
        "reduction",
        lambda call: {name: each * _size(call) for name, each in columns.items()},
    )


def events_summed(call: Call) -> Carried:
    """Return what a weighted sum of spikes carries: events with a number each."""
    return "graded" if call.signal(call.operands[0]) in EVENTS else "real"


def _sum(call: Call) -> Columns:
    given = call.args[0]
    if call.signal(given) in EVENTS:
        active = call.nonzero(given)
        return {"spikes_in": active, "additions": active}
    return {"additions": given.numel() - min(given.numel(), call.out.numel())}


def _mean(call: Call) -> Columns:
    return {**_sum(call), "multiplications": call.out.numel()}


def _running_sum(call: Call) -> Columns:
    x, axis = call.args[0], call.args[1]
    length = x.shape[axis] if x.dim() else 1
    return {"additions": x.numel() - x.numel() // max(1, length)}


def _variance(*, root: bool) -> Callable[[Call], Columns]:
    """``m = sum(x) / n, v = sum((x - m)^2) / n``, and perhaps a root."""

    def count(call: Call) -> Columns:
        size, rows = _size(call), call.out.numel()
        return {
            "additions": 2 * size - rows,
            "multiplications": 2 * rows,
            "macs": size,
            "functions": rows if root else 0,
        }

    return count


def _norm(call: Call) -> Columns:
    order = call.argument("ord") if call.name.endswith("linalg_vector_norm") else call.argument("p")
    if order in (float("inf"), float("-inf")):
        return {"comparisons": _size(call)}
    if order == 1:
        return {"additions": _size(call)}
    if order in (2, None):
        return {"macs": _size(call), "functions": call.out.numel()}
    return {"functions": _size(call) + call.out.numel(), "additions": _size(call)}


def _sorted(call: Call) -> Columns:
    """Comparisons of a sort of rows of n numbers, ``n ceil(log2 n)`` each."""
    x = call.argument("self")
    length = x.shape[call.argument("dim")] if x.dim() else 1
    return {"comparisons": x.numel() * ceil(log2(max(2, length)))}


def _largest_few(call: Call) -> Columns:
    """Comparisons of a heap of the k largest, ``n ceil(log2 k)``, at least n."""
    return {"comparisons": _size(call) * max(1, ceil(log2(max(1, call.argument("k")))))}


def _softmax(call: Call) -> Columns:
    x, axis = call.args[0], call.args[1]
    length = x.shape[axis] if x.dim() else 1
    return softmax(x.numel() / max(1, length), length)


def _log_softmax(call: Call) -> Columns:
    """``x - max - log(sum(exp(x - max)))``."""
    x, axis = call.args[0], call.args[1]
    rows = x.numel() / max(1, x.shape[axis] if x.dim() else 1)
    size = x.numel()
    return {"comparisons": size, "additions": 3 * size - rows, "functions": size + rows}


def _log_sum(call: Call) -> Columns:
    size, rows = _size(call), call.out.numel()
    return {"comparisons": size, "additions": 2 * size, "functions": size + rows}


def _standardised(call: Call, rows: float, *, centred: bool = True) -> Columns:
    """``c = x - mean, y = c / sqrt(mean(c c) + epsilon)``, then gain and shift; less if those lack.

    The same as :func:`neuro.energy.layer_norm` where both are there.
    """
    each = _size(call)
    gain, shift = call.has("weight"), call.has("bias")
    return {
        "additions": (2 * each if centred else 0) + rows + (each if shift and not gain else 0),
        "multiplications": each + (2 if centred else 1) * rows + (each if gain > shift else 0),
        "macs": each + (each if gain and shift else 0),
        "functions": rows,
    }


def _layer_norm(call: Call) -> Columns:
    return _standardised(call, _size(call) / max(1, prod(call.argument("normalized_shape"))))


def _root_mean_square_norm(call: Call) -> Columns:
    rows = _size(call) / max(1, prod(call.argument("normalized_shape")))
    return _standardised(call, rows, centred=False)


def _group_norm(call: Call) -> Columns:
    return _standardised(call, call.argument("N") * call.argument("group"))


def _batch_norm(call: Call) -> Columns:
    """With running statistics a product and an addition; else statistics of the batch."""
    if any(each.name == "training" for each in call.schema.arguments) and call.argument("training"):
        return _standardised(call, call.argument("input").shape[1])
    return {"multiplications": _size(call), "additions": _size(call)}


def sliding(
    size: int, outputs: int, kernel: int, stride: int, padding: int, dilation: int = 1
) -> Axis:
    """Return in how many windows each input of an axis is, those of the padding left out."""
    firsts = torch.arange(outputs) * stride - padding
    places = (firsts[:, None] + torch.arange(kernel) * dilation).flatten()
    return torch.bincount(places[(places >= 0) & (places < size)], minlength=size)


def adaptive(size: int, outputs: int) -> Axis:
    """The same for windows from ``floor(i n / m)`` to ``ceil((i + 1) n / m)``."""
    number = torch.arange(outputs)
    firsts, ends = number * size // outputs, -(-(number + 1) * size // outputs)
    place = torch.arange(size)
    inside = (place[:, None] >= firsts) & (place[:, None] < ends)
    return inside.sum(1)


def _axes(call: Call, axes: int) -> list[Axis]:
    x = call.args[0]
    pairs = list(zip(x.shape[-axes:], call.out.shape[-axes:], strict=True))
    if "adaptive" in call.name:
        return [adaptive(size, outputs) for size, outputs in pairs]
    kernel = _each(call.argument("kernel_size"), axes)
    stride = _each(call.argument("stride") or kernel, axes)
    padding = _each(call.argument("padding"), axes)
    dilation = _each(call.argument("dilation"), axes) if "max" in call.name else [1] * axes
    return [
        sliding(*pair, *window)
        for pair, *window in zip(pairs, kernel, stride, padding, dilation, strict=True)
    ]


def _each(sizes: Any, axes: int) -> Sequence[int]:
    found = [sizes] if isinstance(sizes, int) else list(sizes)
    return found * axes if len(found) == 1 else found


def _reached(axes: Sequence[Axis]) -> Tensor:
    """Return in how many windows each position is."""
    found = torch.ones((), dtype=torch.float64)
    for axis in axes:
        found = found[..., None] * axis
    return found


def _average_pool(axes: int) -> Rule:
    def count(call: Call) -> Counted:
        x, found = call.args[0], _reached(_axes(call, axes))
        taps = float(found.sum()) * prod(x.shape[:-axes])
        signal = call.signal(x)
        facts: dict[str, Any] = {"signal": signal, "dense": taps, **_window(call, axes)}
        means = call.out.numel()
        if signal not in EVENTS:
            columns: Columns = {
                "additions": max(0, taps - means),
                "multiplications": means,
                "activation_reads": taps,
                "activation_writes": means,
            }
            return Counted(columns, facts)
        there = (x != 0).reshape(-1, *x.shape[-axes:]).sum(0, dtype=torch.float64)
        met = float((there * found.to(x.device)).sum())
        columns = {
            "spikes_in": call.nonzero(x),
            "additions": met,
            "multiplications": means,
            "activation_reads": met,
            "activation_writes": means,
        }
        return Counted(columns, facts)

    return Rule("pooling", count, sends=events_summed)


def _largest_pool(axes: int) -> Rule:
    def count(call: Call) -> Counted:
        x = call.args[0]
        taps = float(_reached(_axes(call, axes)).sum()) * prod(x.shape[:-axes])
        return Counted({"comparisons": taps}, {"signal": call.signal(x), **_window(call, axes)})

    # the largest of spikes is a spike
    return Rule("pooling", count, sends=lambda call: call.marks.of(call.args[0]).carries)


def _window(call: Call, axes: int) -> dict[str, Any]:
    if "adaptive" in call.name:
        return {}
    kernel = _each(call.argument("kernel_size"), axes)
    stride = _each(call.argument("stride") or kernel, axes)
    return {"kernel": tuple(kernel), "stride": tuple(stride)}


def _interpolated(neighbours: int) -> Rule:
    return Rule("interpolation", lambda call: {"macs": neighbours * call.out.numel()})


def _added_at_places(source: str) -> Rule:
    return Rule("reduction", lambda call: {"additions": call.argument(source).numel()})


def _normalisation(count: Callable[[Call], Columns]) -> Rule:
    return Rule("normalisation", count)


REDUCTIONS: dict[str, Rule] = {
    "aten::sum": Rule("reduction", _sum, sends=events_summed),
    "aten::cumsum": Rule("reduction", _running_sum, sends=events_summed),
    "aten::prod": _per_input(multiplications=1),
    "aten::cumprod": _per_input(multiplications=1),
    "aten::mean": Rule("reduction", _mean, sends=events_summed),
    "aten::var": Rule("reduction", _variance(root=False)),
    "aten::var_mean": Rule("reduction", _variance(root=False)),
    "aten::std": Rule("reduction", _variance(root=True)),
    "aten::std_mean": Rule("reduction", _variance(root=True)),
    "aten::linalg_vector_norm": Rule("reduction", _norm),
    "aten::norm": Rule("reduction", _norm),
    **{
        f"aten::{name}": _per_input(comparisons=1)
        for name in ("amax", "amin", "max", "min", "argmax", "argmin", "any", "all", "cummax")
    },
    "aten::aminmax": _per_input(comparisons=2),
    "aten::count_nonzero": _per_input(comparisons=1, additions=1),
    "aten::sort": Rule("reduction", _sorted),
    "aten::argsort": Rule("reduction", _sorted),
    "aten::topk": Rule("reduction", _largest_few),
    "aten::logsumexp": Rule("reduction", _log_sum),
    "aten::scatter_add": _added_at_places("src"),
    "aten::index_add": _added_at_places("source"),
    "aten::_softmax": Rule("softmax", _softmax),
    "aten::_safe_softmax": Rule("softmax", _softmax),
    "aten::_log_softmax": Rule("softmax", _log_softmax),
    "aten::native_layer_norm": _normalisation(_layer_norm),
    "aten::_fused_rms_norm": _normalisation(_root_mean_square_norm),
    "aten::native_group_norm": _normalisation(_group_norm),
    **{
        f"aten::{name}": _normalisation(_batch_norm)
        for name in (
            "native_batch_norm",
            "_native_batch_norm_legit",
            "_native_batch_norm_legit_no_training",
            "cudnn_batch_norm",
            "miopen_batch_norm",
        )
    },
    **{f"aten::avg_pool{axes}d": _average_pool(axes) for axes in (1, 2, 3)},
    **{f"aten::_adaptive_avg_pool{axes}d": _average_pool(axes) for axes in (2, 3)},
    **{f"aten::adaptive_avg_pool{axes}d": _average_pool(axes) for axes in (2, 3)},
    **{f"aten::max_pool{axes}d_with_indices": _largest_pool(axes) for axes in (2, 3)},
    **{f"aten::adaptive_max_pool{axes}d": _largest_pool(axes) for axes in (2, 3)},
    "aten::upsample_linear1d": _interpolated(2),
    "aten::upsample_bilinear2d": _interpolated(4),
    "aten::upsample_trilinear3d": _interpolated(8),
    "aten::upsample_bicubic2d": _interpolated(16),
}
