"""What each operator of torch does, number by number: one rule for each family.

Counted is the arithmetic of the formula, not that of a library's way to compute it: an exponential
is one function, a division by what is no constant a function (the reciprocal) and a product, a
division by a constant a product. What is made of weights and constants alone is computed before any
sample, and counts nothing.

An operator is looked up in :data:`RULES` by its name. One that is not there is decomposed by torch
into others, or refused.
"""

from torch import Tensor

from neuro.energy.operators.kernel_rules import KERNELS
from neuro.energy.operators.move_rules import MOVES
from neuro.energy.operators.operator_call import Call, Columns, Counted, Rule
from neuro.energy.operators.product_rules import EVENTS, PRODUCTS
from neuro.energy.operators.reduction_rules import REDUCTIONS
from neuro.energy.operators.tensor_marks import Carried


def _per_number(kind: str, **columns: float) -> Rule:
    """Count so much for each number of the result."""
    return Rule(
        kind, lambda call: {name: each * call.out.numel() for name, each in columns.items()}
    )


def _graded(call: Call) -> Carried:
    """Sums and scalings of events are events with a number each; anything else is real."""
    signals = [call.signal(each) for each in call.operands]
    return "graded" if signals and EVENTS.issuperset(signals) else "real"


def _summed(call: Call) -> Carried:
    """The same for sums, which a number that is not 0 leaves no events."""
    numbers = [each for each in call.args if isinstance(each, int | float) and each != 0]
    return "real" if numbers else _graded(call)


def _add(call: Call) -> Counted:
    """``a + alpha b``; a constant added to a product is its bias; events add if there."""
    size = call.out.numel()
    operands = call.operands
    if len(operands) == 2 and _graded(call) == "graded":
        active = [call.nonzero(each) for each in operands]
        return Counted({"spikes_in": sum(active), "additions": active[1]}, driven=True)
    made = [call.marks.of(each).product is not None for each in operands]
    biased = len(operands) == 2 and any(
        made[place] and call.constant(operands[1 - place]) for place in (0, 1)
    )
    scaled = call.has("alpha") and call.argument("alpha") not in (1, -1)
    columns: Columns = {
        "bias_additions" if biased else "additions": size,
        "multiplications": size if scaled else 0,
    }
    return Counted(columns, {"bias": True} if biased else {})


def _product(call: Call) -> Columns:
    """Products of numbers; of events, those that are there."""
    events = [each for each in call.operands if call.signal(each) in EVENTS]
    active = min(map(call.nonzero, events), default=0)
    return {"multiplications": active if events else call.out.numel(), "spikes_in": active}


def _multiply(call: Call) -> Carried:
    signals = [call.signal(each) for each in call.operands]
    if len(signals) == 2 and all(signal == "binary" for signal in signals):
        return "binary"
    return "graded" if any(signal in EVENTS for signal in signals) else "real"


def _scaled(call: Call) -> Carried:
    return "graded" if call.signal(call.operands[0]) in EVENTS else "real"


def _divide(call: Call) -> Columns:
    divisor = call.argument("other")
    size = call.out.numel()
    if call.constant(divisor):
        return {"multiplications": size}
    assert isinstance(divisor, Tensor)
    return {"multiplications": size, "functions": divisor.numel()}


def _bounds(call: Call) -> Columns:
    bounds = [call.argument(name) is not None for name in ("min", "max")]
    return {"comparisons": sum(bounds) * call.out.numel()}


def _power(call: Call) -> Columns:
    """``x^n`` by n - 1 products for a small whole n, else a function."""
    size, exponent = call.out.numel(), call.argument("exponent")
    if isinstance(exponent, int | float) and exponent == int(exponent) and 0 <= exponent <= 8:
        return {"multiplications": max(0, int(exponent) - 1) * size}
    return {"functions": size}


def _multiply_and_add(call: Call) -> Columns:
    """``a + value b c``."""
    size = call.out.numel()
    return {"macs": size, "multiplications": 0 if call.argument("value") in (1, -1) else size}


def _divide_and_add(call: Call) -> Columns:
    """``a + value b / c``."""
    size = call.out.numel()
    constant = call.constant(call.argument("tensor2"))
    return {
        "macs": size,
        "functions": 0 if constant else size,
        "multiplications": 0 if call.argument("value") in (1, -1) else size,
    }


def _gelu(call: Call) -> Columns:
    """``x/2 (1 + erf(x / sqrt 2))``, or ``x/2 (1 + tanh(a (x + b x^3)))``."""
    size = call.out.numel()
    if call.argument("approximate") == "tanh":
        return {"functions": size, "multiplications": 6 * size, "additions": 2 * size}
    return {"functions": size, "multiplications": 3 * size, "additions": size}


def _embedding(call: Call) -> Counted:
    size = call.out.numel()
    return Counted(
        {"weight_reads": size, "activation_writes": size}, {"weight": call.argument("weight")}
    )


FUNCTIONS = (
    "acos acosh asin asinh atan atan2 atanh cos cosh digamma erf erfc erfinv exp exp2 expm1 lgamma "
    "log log10 log1p log2 reciprocal rsqrt sin sinc sinh sqrt tan"
)
COMPARISONS = (
    "bitwise_and bitwise_not bitwise_or bitwise_xor clamp_max clamp_min eq fmax fmin ge gt "
    "heaviside isfinite isinf isnan le logical_and logical_not logical_or logical_xor lt maximum "
    "minimum ne sign signbit __and__ __or__ __xor__"
)
"""Logic on single bits is counted as a comparison."""
DRAWS = (
    "bernoulli exponential multinomial normal poisson rand rand_like randint "
    "randint_like randn randn_like randperm random uniform"
)

_ACTIVATIONS: dict[str, Rule] = {
    "elu": _per_number("activation", functions=1, additions=1, multiplications=1, comparisons=1),
    "glu": _per_number("activation", functions=1, multiplications=1),
    "hardshrink": _per_number("activation", comparisons=2),
    "hardsigmoid": _per_number("activation", macs=1, comparisons=2),
    "hardswish": _per_number("activation", macs=1, multiplications=1, comparisons=2),
    "hardtanh": _per_number("activation", comparisons=2),
    "leaky_relu": _per_number("activation", comparisons=1, multiplications=1),
    "_prelu_kernel": _per_number("activation", comparisons=1, multiplications=1),
    "log_sigmoid_forward": _per_number("activation", functions=2, additions=1, comparisons=1),
    "mish": _per_number("activation", functions=3, additions=1, multiplications=1, comparisons=1),
    "relu": _per_number("activation", comparisons=1),
    "sigmoid": _per_number("activation", functions=1),
    "tanh": _per_number("activation", functions=1),
    "threshold": _per_number("activation", comparisons=1),
    "silu": _per_number("activation", functions=1, multiplications=1),
    "softplus": _per_number("activation", functions=2, additions=1, comparisons=1),
    "softshrink": _per_number("activation", comparisons=2, additions=1),
    "gelu": Rule("activation", _gelu),
}

_ELEMENTWISE: dict[str, Rule] = {
    "add": Rule("elementwise", _add, sends=_summed),
    "sub": Rule("elementwise", _add, sends=_summed),
    "rsub": Rule("elementwise", _add, sends=_summed),
    "mul": Rule("elementwise", _product, sends=_multiply),
    "div": Rule("elementwise", _divide, sends=_scaled),
    "floor_divide": Rule("elementwise", _divide),
    "remainder": _per_number("elementwise", functions=1, macs=1),
    "fmod": _per_number("elementwise", functions=1, macs=1),
    "lerp": _per_number("elementwise", additions=1, macs=1),
    "addcmul": Rule("elementwise", _multiply_and_add),
    "addcdiv": Rule("elementwise", _divide_and_add),
    "pow": Rule("elementwise", _power),
    "clamp": Rule("elementwise", _bounds),
    "logaddexp": _per_number("elementwise", functions=2, additions=2, comparisons=1),
    **{name: _per_number("elementwise", functions=1) for name in FUNCTIONS.split()},
    **{name: _per_number("elementwise", comparisons=1) for name in COMPARISONS.split()},
}


def _drawn() -> dict[str, Rule]:
    count = _per_number("noise", functions=1).count
    return {name: Rule("noise", count, draws=True) for name in DRAWS.split()}


RULES: dict[str, Rule] = {
    **MOVES,
    **PRODUCTS,
    **REDUCTIONS,
    **KERNELS,
    **{f"aten::{name}": rule for name, rule in (_ELEMENTWISE | _ACTIVATIONS | _drawn()).items()},
    "aten::embedding": Rule("embedding", _embedding),
}
"""How to count each operator, by its name; an underscore for "in place" is left out."""

FREE: frozenset[str] = frozenset(name for name, rule in RULES.items() if rule.moves)
"""Operators that count nothing."""
