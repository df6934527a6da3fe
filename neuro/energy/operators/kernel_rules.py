"""Operators of this package, as torch sees them."""

from typing import Any

from neuro.energy.operators.operator_call import Call, Columns, Counted, Rule
from neuro.energy.operators.product_rules import convolution, matrices
from neuro.kernels.relational_spmm.aggregates import Aggregates


def _relational(call: Call) -> Columns:
    """Messages ``h w`` or ``h + w`` over E edges, summed, squared, compared.

    ::

        sum: a multiply-accumulate a number ("mul"), or two additions ("add")
        squares: another one, and the square of the boundary that is given
        maximum, minimum: a comparison each; the message itself where no sum has made it
    """
    asked = Aggregates(call.argument("asked"))
    width = call.argument("features").shape[1]
    messages = call.argument("in_sources").numel() * width
    compared = sum(bool(asked & each) for each in (Aggregates.MAXIMUM, Aggregates.MINIMUM))
    found: Columns = {"comparisons": compared * messages}
    adds = bool(asked & Aggregates.ADD)
    if asked & Aggregates.SUM:
        found |= {"additions": 2 * messages} if adds else {"macs": messages}
    else:
        found |= {"additions": messages} if adds else {"multiplications": messages}
    if asked & Aggregates.SQUARES:
        found["macs"] = found.get("macs", 0) + messages
        if call.has("boundary"):
            squares = call.argument("boundary").numel()
            found["multiplications"] = found.get("multiplications", 0) + squares
    return found


def _event_linear(call: Call) -> Counted:
    x, weight = call.args[0], call.args[1]
    rows: Any = x.reshape(-1, x.shape[-1])
    biases = call.out.numel() if call.args[2] is not None else 0
    return matrices(call, rows, weight.t(), signals=(call.signal(x), "real"), biases=biases)


def _event_conv2d(call: Call) -> Counted:
    x, weight, bias, stride, padding, dilation, groups = call.args
    geometry = (stride, padding, dilation, False, [0, 0], groups)
    return convolution(call, x, weight, bias is not None, *geometry)


KERNELS: dict[str, Rule] = {
    "neuro::relational_spmm": Rule("messages", _relational),
    "neuro::event_linear": Rule("linear", _event_linear),
    "neuro::event_conv2d": Rule("convolution", _event_conv2d),
}
