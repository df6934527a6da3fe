"""Products that are summed: matrices, convolutions, attention, a layer of LSTM.

Counted is what meets. Weights that are 0 join nothing, and padding is nothing: stride, dilation,
groups and masks are as they are. A real number meets every weight and every other real number,
also where it happens to be 0: that is a multiply-accumulate. Of what was declared to carry events
only those that are there meet anything: an addition for a spike, which selects what is added, and a
multiply-accumulate for an event that comes with a number. A bias is one more addition to each sum.
"""

from collections.abc import Sequence
from functools import partial
from math import prod
from typing import Any

import torch
from torch import Tensor

from neuro.energy.operators.operator_call import Call, Columns, Counted, Rule
from neuro.energy.signals import Signal

EVENTS = frozenset({"binary", "ternary", "graded"})
SPIKES = frozenset({"binary", "ternary"})


def merge(*parts: Columns) -> Columns:
    """Return the sum of columns."""
    total: Columns = {}
    for part in parts:
        for name, number in part.items():
            total[name] = total.get(name, 0) + number
    return total


def product(
    call: Call,
    operands: Sequence[tuple[Tensor, Signal]],
    *,
    met: float,
    dense: float,
    outputs: float,
    biases: float = 0,
    **facts: Any,
) -> Counted:
    """Count a sum of products.

    Args:
        call: whose product it is.
        operands: both, with what they carry.
        met: products whose factors both are there; looked at where events come.
        dense: products, were everything there.
        outputs: sums.
        biases: numbers of bias that go into them.
        facts: of the layer.
    """
    events = [(tensor, signal) for tensor, signal in operands if signal in EVENTS]
    weight = next((tensor for tensor, _ in operands if call.constant(tensor)), None)
    uses = met if events else dense
    active = float(sum(call.nonzero(tensor) for tensor, _ in events))
    real = [tensor for tensor, signal in operands if signal not in EVENTS and tensor is not weight]
    columns: Columns = {
        "weight_reads": biases + (0 if weight is None else uses),
        "activation_reads": active + sum(tensor.numel() for tensor in real),
        "bias_additions": biases,
    }
    if events:
        spikes = any(signal in SPIKES for _, signal in events)
        columns |= {
            "spikes_in": active,
            "synaptic_additions" if spikes else "macs": uses,
            "state_reads": uses + biases,
            "state_writes": uses + biases,
        }
    else:
        columns |= {"macs": uses, "activation_writes": outputs}
    told: dict[str, Any] = {"dense": dense, "bias": biases > 0, **facts}
    told["signal"] = events[0][1] if events else "real"
    if weight is None:
        told["kind"] = "attention"
    else:
        told["weight"] = weight
    return Counted(columns, told, driven=bool(events) and not biases)


def matrices(
    call: Call,
    left: Tensor,
    right: Tensor,
    *,
    signals: tuple[Signal, Signal] | None = None,
    biases: float = 0,
) -> Counted:
    """Count ``left @ right``, ``[..., M, K]`` with ``[..., K, N]``, batches alike."""
    told = signals or (call.signal(left), call.signal(right))
    rows, inner, columns = left.shape[-2], left.shape[-1], right.shape[-1]
    batch = prod(left.shape[:-2])
    dense: float = batch * rows * inner * columns
    if call.constant(right):
        dense = rows * call.nonzero(right)
    elif call.constant(left):
        dense = columns * call.nonzero(left)
    return product(
        call,
        ((left, told[0]), (right, told[1])),
        met=_met(call, (left, told[0]), (right, told[1])) if EVENTS & set(told) else 0,
        dense=dense,
        outputs=batch * rows * columns,
        biases=biases,
        channels=columns if call.constant(right) else rows,
    )


def _met(call: Call, left: tuple[Tensor, Signal], right: tuple[Tensor, Signal]) -> float:
    """Return how often what is there on one side meets what is there on the other."""
    sides = ((*left, -2), (*right, -1))
    sparse = [
        signal in EVENTS or (call.constant(side) and call.nonzero(side) < side.numel())
        for side, signal, _ in sides
    ]
    if not all(sparse):  # each event meets all there is on the other side
        events, opposite = (left[0], right[0]) if left[1] in EVENTS else (right[0], left[0])
        width = opposite.shape[-1] if events is left[0] else opposite.shape[-2]
        return float(call.nonzero(events)) * width
    on_left, on_right = (
        call.keep(side, axis, partial(_by_inner, side, axis)) for side, _, axis in sides
    )
    return float((on_left * on_right).sum())


def _by_inner(side: Tensor, axis: int) -> Tensor:
    """Return how many numbers along an axis are there, by the inner one: ``[..., K]``, float64."""
    return torch.count_nonzero(side, dim=axis).double()


def _matrix_product(left: str, right: str) -> Rule:
    def count(call: Call) -> Counted:
        factors = [call.argument(left), call.argument(right)]
        if factors[0].dim() == 1:
            factors[0] = factors[0][None]
        if factors[1].dim() == 1:
            factors[1] = factors[1][:, None]
        if not call.has("beta"):
            return matrices(call, *factors)
        scales = sum(call.argument(name) not in (0, 1) for name in ("alpha", "beta"))
        size = call.out.numel()
        begun = call.argument("self") if call.argument("beta") != 0 else None
        biased = begun is not None and call.constant(begun)
        found = matrices(call, *factors, biases=size if biased else 0)
        more: Columns = {"multiplications": size * scales}
        if begun is not None and not biased:
            more["activation_reads"] = begun.numel()
            more["additions"] = 0 if "macs" in found.columns else size
        return found._replace(
            columns=merge(found.columns, more), driven=found.driven and not any(more.values())
        )

    return Rule("linear", count)


def fan_out(
    call: Call, weight: Tensor, inputs: Sequence[int], outputs: Sequence[int], *geometry: Any
) -> Tensor:
    """Return how many outputs of a convolution each input reaches, ``inputs``, float64.

    It is what a transposed convolution of ones leaves there, through weights that are not 0.

    Args:
        call: whose weights they are.
        weight: of any convolution of torch, transposed or not, in any number of axes.
        inputs: shape of a sample.
        outputs: shape of what is made of it.
        geometry: stride, padding, dilation, transposed, output_padding and groups.
    """

    def find() -> Tensor:
        transposed, groups = geometry[3], geometry[5]
        joined = weight != 0 if call.constant(weight) else torch.ones_like(weight)
        # outputs of one group see an input through the same window: one kernel for each channel
        if transposed:
            kernels = joined.sum(1)
        else:
            kernels = joined.reshape(groups, -1, *joined.shape[1:]).sum(1).flatten(0, 1)
        kernels = kernels[:, None].double()
        channels = inputs[0]
        found: Tensor = torch.ops.aten.convolution_backward(
            kernels.new_ones((1, channels, *outputs[1:])),
            kernels.new_zeros((1, *inputs)),
            kernels,
            None,
            *geometry[:5],
            channels,
            [True, False, False],
        )[0]
        return found[0].round()  # whole numbers, which a fast algorithm may miss by rounding

    return call.keep(weight, (tuple(inputs), str(geometry)), find)


def convolution(call: Call, x: Tensor, weight: Tensor, biased: bool, *geometry: Any) -> Counted:
    """Count a convolution.

    Args:
        call: whose result it is.
        x: ``[B, C, ...]``.
        weight: of it.
        biased: whether there is a bias.
        geometry: as of :func:`fan_out`.
    """
    signal = call.signal(x)
    reached = fan_out(call, weight, x.shape[1:], call.out.shape[1:], *geometry)
    met = 0.0
    if signal in EVENTS:
        met = float(((x != 0).sum(0, dtype=torch.float64) * reached).sum())
    stride, _, _, _, _, groups = geometry
    return product(
        call,
        ((x, signal), (weight, "real")),
        met=met,
        dense=len(x) * float(reached.sum()),
        outputs=call.out.numel(),
        biases=call.out.numel() if biased else 0,
        kernel=tuple(weight.shape[2:]),
        stride=tuple(stride),
        groups=groups,
        channels=call.out.shape[1],
    )


def _convolution(call: Call) -> Counted:
    names = ("stride", "padding", "dilation", "transposed", "output_padding", "groups")
    geometry = [call.argument(name) for name in names]
    x, weight = call.argument("input"), call.argument("weight")
    return convolution(call, x, weight, call.has("bias"), *geometry)


def softmax(rows: float, size: int) -> Columns:
    """Return the counts of ``exp(x - max) / sum`` over rows of ``size`` numbers."""
    each = rows * size
    return {
        "comparisons": each,
        "additions": 2 * each - rows,
        "functions": each + rows,
        "multiplications": each,
    }


def _attention(call: Call) -> Counted:
    """``softmax(Q K^T / sqrt(E) + mask) V``: products, and a softmax of every score."""
    query, key, value = (call.argument(name) for name in ("query", "key", "value"))
    signals = (call.signal(query), call.signal(key), call.signal(value))
    for place, each in enumerate((query, key, value)):
        if place and each.shape[-3] != query.shape[-3]:  # heads that several queries share
            each = each.repeat_interleave(query.shape[-3] // each.shape[-3], -3)
            key, value = (each, value) if place == 1 else (key, each)
    heads, rows, columns = prod(query.shape[:-2]), query.shape[-2], key.shape[-2]
    scores = heads * rows * columns
    asked = matrices(call, query, key.transpose(-2, -1), signals=signals[:2])
    events = signals[2] in EVENTS
    answered = product(
        call,
        ((value, signals[2]),),
        met=call.nonzero(value) * rows if events else 0,
        dense=scores * value.shape[-1],
        outputs=call.out.numel(),
    )
    between = softmax(heads * rows, columns)
    between["multiplications"] += scores
    mask = next((name for name in ("attn_mask", "attn_bias") if call.has(name)), None)
    if mask is not None and call.argument(mask).dtype is not torch.bool:
        between["additions"] += scores
    facts = {
        "kind": "attention",
        "signal": next((each for each in signals if each in EVENTS), "real"),
        "dense": scores * (query.shape[-1] + value.shape[-1]),
    }
    return Counted(merge(asked.columns, answered.columns, between), facts)


def _lstm_layer(call: Call) -> Counted:
    """One direction of a layer, all steps: four gates of a cell."""
    x, into, within = (call.argument(name) for name in ("input", "weight0", "weight1"))
    gates, hidden = within.shape
    steps = x.shape[0] * x.shape[1]
    heard = matrices(call, x.reshape(steps, -1), into.t(), signals=(call.signal(x), "real"))
    size = steps * hidden
    own: Columns = {
        "macs": steps * gates * hidden,
        "weight_reads": steps * gates * (hidden + int(bool(call.argument("has_biases")))),
        "functions": 5 * size,
        "multiplications": 3 * size,
        "additions": size,
        "state_reads": 2 * size,
        "state_writes": 2 * size,
    }
    return Counted(
        merge(heard.columns, own),
        {
            **heard.facts,
            "kind": "recurrent",
            "weight": (into, within),
            "dense": steps * into.numel() + own["macs"],
            "bias": bool(call.argument("has_biases")),
        },
    )


_FUSED_ATTENTION = (
    "flash_attention_for_cpu",
    "flash_attention",
    "efficient_attention",
    "cudnn_attention",
    "fused_attention_overrideable",
)

PRODUCTS: dict[str, Rule] = {
    "aten::mm": _matrix_product("self", "mat2"),
    "aten::bmm": _matrix_product("self", "mat2"),
    "aten::mv": _matrix_product("self", "vec"),
    "aten::dot": _matrix_product("self", "tensor"),
    "aten::vdot": _matrix_product("self", "other"),
    "aten::addmm": _matrix_product("mat1", "mat2"),
    "aten::addmv": _matrix_product("mat", "vec"),
    "aten::baddbmm": _matrix_product("batch1", "batch2"),
    "aten::convolution": Rule("convolution", _convolution),
    "aten::mkldnn_rnn_layer": Rule("recurrent", _lstm_layer),
    **{
        f"aten::_scaled_dot_product_{name}": Rule("attention", _attention)
        for name in _FUSED_ATTENTION
    },
}
