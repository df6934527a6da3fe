"""What a loop over arrays cannot say: the numbers of 32 neurons, chosen by the bits of a word.

A word is a mask of LLVM's, so that adding where a bit is set is one instruction for a vector.
Arrays are 1-D and contiguous, places in them are given as offsets, nothing is checked; a row is 32
numbers.
"""

from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.np.arrayobj import make_array

from neuro.kernels.delayed_message.operands import WORD
from neuro.kernels.vectors import BYTES, intrinsic

_INT = ir.IntType(64)
_WORD = ir.IntType(WORD)
_BITS = ir.VectorType(ir.IntType(1), WORD)


class _Writer:
    """Writes code for rows."""

    def __init__(self, context: Any, builder: Any, signature: Any, args: Sequence[Any]) -> None:
        self.context, self.builder = context, builder
        self.kinds, self.args = signature.args, args

    def number(self, k: int) -> Any:
        return self.context.get_data_type(self.kinds[k].dtype)

    def place(self, k: int, offset: Any) -> Any:
        array: Any = make_array(self.kinds[k])  # type: ignore[no-untyped-call]
        data = array(self.context, self.builder, self.args[k]).data
        return self.builder.gep(data, [offset])

    def element(self, k: int, offset: Any) -> Any:
        return self.builder.load(self.place(k, offset))

    def row(self, k: int, offset: Any) -> Any:
        place = self.builder.bitcast(self.place(k, offset), _row(self.number(k)).as_pointer())
        return self.builder.load(place, align=self.kinds[k].dtype.bitwidth // 8)

    def keep(self, value: Any, k: int, offset: Any) -> None:
        place = self.builder.bitcast(self.place(k, offset), value.type.as_pointer())
        self.builder.store(value, place, align=self.kinds[k].dtype.bitwidth // 8)

    def spread(self, number: Any) -> Any:
        kind = _row(number.type)
        undefined = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(undefined, number, ir.IntType(32)(0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), WORD), [0] * WORD)
        return self.builder.shuffle_vector(first, undefined, zeros)

    def variable(self, kind: Any) -> Any:
        """Return a row that changes, zero at first; the compiler keeps it in registers."""
        held = cgutils.alloca_once(self.builder, kind)  # type: ignore[no-untyped-call]
        self.builder.store(ir.Constant(kind, None), held)
        return held

    def count(self, times: Any) -> Any:
        return cgutils.for_range(self.builder, times)

    def bits(self, word: Any) -> Any:
        return self.builder.bitcast(word, _BITS)

    def add_product(self, total: Any, one: Any, other: Any) -> Any:
        return self.builder.fadd(total, self.builder.fmul(one, other))


def _row(number: Any) -> Any:
    return ir.VectorType(number, WORD)


_place = types.intp


@intrinsic
def prefetch(typing: Any, source: Any, at: Any, count: Any) -> Any:
    """Have ``count`` numbers from ``source[at]`` on fetched, a constant number of cache lines."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = _Writer(context, builder, signature, args)
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer(), *[number] * 3])
        name = "llvm.prefetch.p0i8"
        function = cgutils.get_or_insert_function(  # type: ignore[no-untyped-call]
            builder.module, kind, name
        )
        step = BYTES // (signature.args[0].dtype.bitwidth // 8)
        for k in range(0, count.literal_value, step):
            place = code.place(0, builder.add(args[1], _INT(k)))
            place = builder.bitcast(place, ir.IntType(8).as_pointer())
            builder.call(function, [place, number(0), number(3), number(1)])
        return context.get_dummy_value()

    if not isinstance(count, types.IntegerLiteral):
        return None
    return types.void(source, _place, count), write


@intrinsic
def add_bits(typing: Any, counts: Any, at: Any, word: Any) -> Any:
    """``counts[at + i] += bit i of word``, on int32."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = _Writer(context, builder, signature, args)
        ones = builder.sext(code.bits(args[2]), _row(ir.IntType(32)))
        code.keep(builder.sub(code.row(0, args[1]), ones), 0, args[1])
        return context.get_dummy_value()

    return types.void(counts, _place, types.uint32), write


@intrinsic
def set_bits(typing: Any, counts: Any, at: Any, word: Any) -> Any:
    """``counts[at + i] = bit i of word``, on int32."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = _Writer(context, builder, signature, args)
        code.keep(builder.zext(code.bits(args[2]), _row(ir.IntType(32))), 0, args[1])
        return context.get_dummy_value()

    return types.void(counts, _place, types.uint32), write


@intrinsic
def weigh_bits(
    typing: Any, words: Any, at: Any, step: Any, factors: Any, times: Any, target: Any, to: Any
) -> Any:
    """``target[to + i] = sum over j of factors[j] * (bit i of words[at + j * step])``, in the order
    of j, below ``times``."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = _Writer(context, builder, signature, args)
        kind = _row(code.number(3))
        held = code.variable(kind)
        with code.count(args[4]) as loop:
            place = builder.add(args[1], builder.mul(loop.index, args[2]))
            factor = code.spread(code.element(3, loop.index))
            mask = code.bits(code.element(0, place))
            total = builder.load(held)
            builder.store(builder.select(mask, builder.fadd(total, factor), total), held)
        code.keep(builder.load(held), 5, args[6])
        return context.get_dummy_value()

    return types.void(words, _place, _place, factors, _place, target, _place), write


@intrinsic
def mix_events(
    typing: Any, table: Any, at: Any, index: Any, value: Any, times: Any, target: Any, to: Any
) -> Any:
    """``target[to:] = sum over e of value[e] * (row index[e] of table[at:])``, in the order of e,
    below ``times``; products are rounded."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = _Writer(context, builder, signature, args)
        held = code.variable(_row(code.number(0)))
        with code.count(args[4]) as loop:
            number = builder.zext(code.element(2, loop.index), _INT)
            place = builder.add(args[1], builder.mul(number, _INT(WORD)))
            factor = code.spread(code.element(3, loop.index))
            row = code.row(0, place)
            builder.store(code.add_product(builder.load(held), row, factor), held)
        code.keep(builder.load(held), 5, args[6])
        return context.get_dummy_value()

    return types.void(table, _place, index, value, _place, target, _place), write


@intrinsic
def mix_rows(
    typing: Any, table: Any, at: Any, value: Any, start: Any, quarter: Any, target: Any, to: Any
) -> Any:
    """``target[to:] = sum over i of value[start + i] * (row i of table[at:])``, i below four times
    ``quarter``, in four sums that do not wait for each other."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = _Writer(context, builder, signature, args)
        held = [code.variable(_row(code.number(0))) for _ in range(4)]
        with code.count(args[4]) as loop:
            for k, total in enumerate(held):
                i = builder.add(builder.mul(loop.index, _INT(4)), _INT(k))
                row = code.row(0, builder.add(args[1], builder.mul(i, _INT(WORD))))
                factor = code.spread(code.element(2, builder.add(args[3], i)))
                builder.store(code.add_product(builder.load(total), row, factor), total)
        one, two, three, four = (builder.load(total) for total in held)
        code.keep(builder.fadd(builder.fadd(one, two), builder.fadd(three, four)), 5, args[6])
        return context.get_dummy_value()

    return types.void(table, _place, value, _place, _place, target, _place), write


@intrinsic
def scatter_events(
    typing: Any, table: Any, at: Any, index: Any, value: Any, times: Any, source: Any, frm: Any
) -> Any:
    """``row index[e] of table[at:] += value[e] * source[frm:]`` for e below ``times``."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = _Writer(context, builder, signature, args)
        given = code.row(5, args[6])
        with code.count(args[4]) as loop:
            number = builder.zext(code.element(2, loop.index), _INT)
            place = builder.add(args[1], builder.mul(number, _INT(WORD)))
            factor = code.spread(code.element(3, loop.index))
            code.keep(code.add_product(code.row(0, place), given, factor), 0, place)
        return context.get_dummy_value()

    return types.void(table, _place, index, value, _place, source, _place), write


@intrinsic
def add_product(
    typing: Any, target: Any, to: Any, one: Any, at: Any, other: Any, place: Any
) -> Any:
    """``target[to:] += one[at:] * other[place:]``, on rows."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = _Writer(context, builder, signature, args)
        total = code.add_product(code.row(0, args[1]), code.row(2, args[3]), code.row(4, args[5]))
        code.keep(total, 0, args[1])
        return context.get_dummy_value()

    return types.void(target, _place, one, _place, other, _place), write


@intrinsic
def add_row(typing: Any, target: Any, to: Any, source: Any, at: Any) -> Any:
    """``target[to:] += source[at:]``, on rows."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = _Writer(context, builder, signature, args)
        code.keep(builder.fadd(code.row(0, args[1]), code.row(2, args[3])), 0, args[1])
        return context.get_dummy_value()

    return types.void(target, _place, source, _place), write


@intrinsic
def pick(
    typing: Any,
    source: Any,
    masks: Any,
    at: Any,
    step: Any,
    times: Any,
    target: Any,
    to: Any,
    pace: Any,
    frm: Any,
) -> Any:
    """``target[to + i] = source[frm + j * pace + i]``, j the mask ``masks[at + j * step]`` that has
    bit i, 0 if none of those below ``times`` does."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = _Writer(context, builder, signature, args)
        held = code.variable(_row(code.number(0)))
        with code.count(args[4]) as loop:
            mask = code.element(1, builder.add(args[2], builder.mul(loop.index, args[3])))
            row = code.row(0, builder.add(args[8], builder.mul(loop.index, args[7])))
            builder.store(builder.select(code.bits(mask), row, builder.load(held)), held)
        code.keep(builder.load(held), 5, args[6])
        return context.get_dummy_value()

    kinds = (source, masks, _place, _place, _place, target, _place, _place, _place)
    return types.void(*kinds), write


@intrinsic
def deal(
    typing: Any,
    target: Any,
    base: Any,
    offsets: Any,
    masks: Any,
    at: Any,
    step: Any,
    times: Any,
    source: Any,
    frm: Any,
) -> Any:
    """``target[base + offsets[j] + i] += source[frm + i]`` where the mask ``masks[at + j * step]``
    has bit i, for j below ``times``."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = _Writer(context, builder, signature, args)
        given = code.row(7, args[8])
        with code.count(args[6]) as loop:
            mask = code.element(3, builder.add(args[4], builder.mul(loop.index, args[5])))
            place = builder.add(args[1], code.element(2, loop.index))
            row = code.row(0, place)
            code.keep(builder.select(code.bits(mask), builder.fadd(row, given), row), 0, place)
        return context.get_dummy_value()

    kinds = (target, _place, offsets, masks, _place, _place, _place, source, _place)
    return types.void(*kinds), write


@intrinsic
def advance(
    typing: Any,
    current: Any,
    potential: Any,
    at: Any,
    mixed: Any,
    frm: Any,
    bias: Any,
    beside: Any,
    drive: Any,
    place: Any,
    charged: Any,
    to: Any,
    numbers: Any,
) -> Any:
    """Take a row of neurons through a step, return its spikes as a word::

        I = decay * I + gain * (mixed[frm:] + bias[beside:])
        u = decay * v + I + drive[place:],  to charged[to:]
        v = 0 where u >= threshold, else u

    ``numbers``: decay, gain and threshold.
    """

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = _Writer(context, builder, signature, args)
        decay, gain, threshold = (code.spread(code.element(11, _INT(k))) for k in range(3))
        linear = builder.fadd(code.row(3, args[4]), code.row(5, args[6]))
        kept = builder.fmul(decay, code.row(0, args[2]))
        i = builder.fadd(kept, builder.fmul(gain, linear))
        u = builder.fadd(builder.fmul(decay, code.row(1, args[2])), i)
        u = builder.fadd(u, code.row(7, args[8]))
        fired = builder.fcmp_ordered(">=", u, threshold)
        code.keep(i, 0, args[2])
        code.keep(u, 9, args[10])
        code.keep(builder.select(fired, ir.Constant(u.type, None), u), 1, args[2])
        return builder.bitcast(fired, _WORD)

    before = (current, potential, _place, mixed, _place, bias, _place, drive, _place)
    return types.uint32(*before, charged, _place, numbers), write


@intrinsic
def retreat(
    typing: Any,
    to_potential: Any,
    to_current: Any,
    at: Any,
    flow: Any,
    frm: Any,
    of_decoded: Any,
    given: Any,
    weight: Any,
    slope: Any,
    charged: Any,
    place: Any,
    origin: Any,
    through: Any,
    to_charged: Any,
    to_linear: Any,
    result: Any,
    numbers: Any,
) -> Any:
    """Go back through a step of a row of neurons; results go to ``result`` in their arrays::

        through    = slope[origin:] * (flow + weight * of_decoded[given:] - to_potential * u)
        to_charged = through + (0 where u >= threshold, else to_potential)
        to_linear  = gain * (to_current + to_charged)

    with u ``charged[place:]``; then potential and current are decayed. ``numbers`` as in
    :func:`advance`.
    """

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = _Writer(context, builder, signature, args)
        decay, gain, threshold = (code.spread(code.element(16, _INT(k))) for k in range(3))
        u, potential = code.row(9, args[10]), code.row(0, args[2])
        credit = code.add_product(code.row(3, args[4]), code.spread(args[7]), code.row(5, args[6]))
        credit = builder.fsub(credit, builder.fmul(potential, u))
        direct = builder.fmul(code.row(8, args[11]), credit)
        fired = builder.fcmp_ordered(">=", u, threshold)
        kept = builder.select(fired, ir.Constant(u.type, None), potential)
        total = builder.fadd(direct, kept)
        current = builder.fadd(code.row(1, args[2]), total)
        code.keep(builder.fmul(decay, total), 0, args[2])
        code.keep(builder.fmul(decay, current), 1, args[2])
        code.keep(direct, 12, args[15])
        code.keep(total, 13, args[15])
        code.keep(builder.fmul(gain, current), 14, args[15])
        return context.get_dummy_value()

    rows = (to_potential, to_current, _place, flow, _place, of_decoded, _place)
    rest = (of_decoded.dtype, slope, charged, _place, _place, through, to_charged, to_linear)
    return types.void(*rows, *rest, _place, numbers), write
