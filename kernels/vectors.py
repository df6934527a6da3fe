"""Vector instructions for Numba kernels: what its loops over arrays cannot express.

Numba keeps a running sum over rows in memory; here it stays in registers over a whole list of
events. Each function below is one short loop of LLVM vectors of 64 bytes, which the compiler cuts
to what the processor has. Arrays are 1-D and contiguous, places in them are given as offsets, and
nothing is checked.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic as _intrinsic
from numba.np.arrayobj import make_array
from numpy.typing import NDArray

from neuro.kernels.jit import jit

Array = NDArray[Any]

BYTES = 64
WORD = 64
"""Numbers that :func:`nonzero_word` looks at."""
SQUARE = 8
"""Side of the blocks that :func:`transpose_square` turns."""

_INT = ir.IntType(64)


def lanes(dtype: Any) -> int:
    """Return how many numbers of a dtype a vector holds."""
    return BYTES // int(np.dtype(dtype).itemsize)


def intrinsic(function: Callable[..., Any]) -> Callable[..., Any]:
    """Let compiled code call what ``function`` writes: its own arguments, without the typing."""
    found: Callable[..., Any] = _intrinsic(function)
    return found


class Writer:
    """Writes vector code for arrays of one dtype: that of the argument at ``position``."""

    def __init__(
        self, context: Any, builder: Any, signature: Any, length: int = 0, position: int = 0
    ) -> None:
        self.context, self.builder, self.signature = context, builder, signature
        dtype = signature.args[position].dtype
        self.number = context.get_data_type(dtype)
        self.bytes_per_number = dtype.bitwidth // 8
        self.length = length or BYTES // self.bytes_per_number
        self.vector = ir.VectorType(self.number, self.length)
        self.zero = ir.Constant(self.vector, None)

    def data(self, args: Sequence[Any], position: int) -> Any:
        array: Any = make_array(self.signature.args[position])  # type: ignore[no-untyped-call]
        return array(self.context, self.builder, args[position]).data

    def place(self, base: Any, offset: Any, vectors: int = 0) -> Any:
        offset = self.builder.add(offset, _INT(vectors * self.length))
        return self.builder.bitcast(self.builder.gep(base, [offset]), self.vector.as_pointer())

    def load(self, base: Any, offset: Any, vectors: int = 0) -> Any:
        return self.builder.load(self.place(base, offset, vectors), align=self.bytes_per_number)

    def store(self, value: Any, base: Any, offset: Any, vectors: int = 0) -> None:
        place = self.place(base, offset, vectors)
        self.builder.store(value, place, align=self.bytes_per_number)

    def element(self, base: Any, offset: Any) -> Any:
        return self.builder.load(self.builder.gep(base, [offset]))

    def row(self, base: Any, offset: Any, width: Any, column: Any) -> Any:
        """Return where a column is in the row that an element of an integer array names."""
        number = self.builder.sext(self.element(base, offset), _INT)
        return self.builder.add(self.builder.mul(number, width), column)

    def constant(self, number: int) -> Any:
        return ir.Constant(self.vector, [number] * self.length)

    def narrow(self, place: Any) -> Any:
        return self.builder.trunc(place, self.number)

    def spread(self, number: Any) -> Any:
        undefined = ir.Constant(self.vector, ir.Undefined)
        first = self.builder.insert_element(undefined, number, ir.IntType(32)(0))
        return self.shuffle(first, undefined, [0] * self.length)

    def shuffle(self, one: Any, other: Any, places: Sequence[int]) -> Any:
        kind = ir.VectorType(ir.IntType(32), len(places))
        return self.builder.shuffle_vector(one, other, ir.Constant(kind, list(places)))

    def add_product(self, total: Any, one: Any, other: Any) -> Any:
        return self.builder.fadd(total, self.builder.fmul(one, other))

    @contextmanager
    def loop(
        self, start: Any, stop: Any, carried: Sequence[Any] = ()
    ) -> Iterator[tuple[Any, list[Any]]]:
        """Count from ``start`` to ``stop``; what the body leaves in the list is carried on."""
        builder = self.builder
        before = builder.block
        head, body, after = (builder.append_basic_block(name) for name in ("head", "body", "after"))
        builder.branch(head)
        builder.position_at_end(head)
        counter = builder.phi(_INT)
        sums = [builder.phi(each.type) for each in carried]
        builder.cbranch(builder.icmp_signed("<", counter, stop), body, after)
        builder.position_at_end(body)
        values: list[Any] = list(sums)
        yield counter, values
        following = builder.add(counter, _INT(1))
        end = builder.block
        builder.branch(head)
        for phi, first, last in zip(
            (counter, *sums), (start, *carried), (following, *values), strict=True
        ):
            phi.add_incoming(first, before)
            phi.add_incoming(last, end)
        builder.position_at_end(after)
        values[:] = sums


@intrinsic
def gather_rows(
    typing: Any,
    table: Any,
    index: Any,
    value: Any,
    start: Any,
    stop: Any,
    initial: Any,
    at: Any,
    result: Any,
    to: Any,
    vectors: Any,
) -> Any:
    """Sum rows of a table, the sum staying in registers::

        result[to:] = initial[at:] + sum over e in [start, stop) of value[e] * table[index[e]]

    on rows of ``vectors`` vectors, in the order of e.
    """
    count = constant(vectors)
    place = types.intp
    kinds = (table, index, value, place, place, initial, place, result, place, vectors)

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Writer(context, builder, signature)
        rows, indices, values = (code.data(args, k) for k in (0, 1, 2))
        sums = [code.load(code.data(args, 5), args[6], k) for k in range(count)]
        width = _INT(count * code.length)
        with code.loop(args[3], args[4], sums) as (e, carried):
            row = builder.mul(builder.zext(code.element(indices, e), _INT), width)
            factor = code.spread(code.element(values, e))
            for k in range(count):
                carried[k] = code.add_product(carried[k], factor, code.load(rows, row, k))
        for k in range(count):
            code.store(carried[k], code.data(args, 7), args[8], k)
        return context.get_dummy_value()

    return None if count is None else (types.void(*kinds), write)


@intrinsic
def scatter_row(
    typing: Any,
    table: Any,
    index: Any,
    value: Any,
    start: Any,
    stop: Any,
    source: Any,
    at: Any,
    vectors: Any,
) -> Any:
    """``table[index[e]] += value[e] * source[at:]`` for e in [start, stop), on rows of ``vectors``
    vectors."""
    count = constant(vectors)
    place = types.intp

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Writer(context, builder, signature)
        rows, indices, values = (code.data(args, k) for k in (0, 1, 2))
        given = [code.load(code.data(args, 5), args[6], k) for k in range(count)]
        width = _INT(count * code.length)
        with code.loop(args[3], args[4]) as (e, _):
            row = builder.mul(builder.zext(code.element(indices, e), _INT), width)
            factor = code.spread(code.element(values, e))
            for k in range(count):
                total = code.add_product(code.load(rows, row, k), factor, given[k])
                code.store(total, rows, row, k)
        return context.get_dummy_value()

    kinds = (table, index, value, place, place, source, place, vectors)
    return None if count is None else (types.void(*kinds), write)


@intrinsic
def add_scaled(
    typing: Any,
    target: Any,
    to: Any,
    pitch: Any,
    source: Any,
    at: Any,
    value: Any,
    rows: Any,
    vectors: Any,
) -> Any:
    """Add a number times rows of one array to rows of another::

        target[to + r * pitch:] += value * source[at + r * width:]      r in [0, rows)

    on rows of ``vectors`` vectors, ``width`` numbers.
    """
    count = constant(vectors)
    place = types.intp

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Writer(context, builder, signature)
        targets, sources = code.data(args, 0), code.data(args, 3)
        factor = code.spread(args[5])
        width = _INT(count * code.length)
        with code.loop(_INT(0), args[6]) as (row, _):
            to = builder.add(args[1], builder.mul(row, args[2]))
            at = builder.add(args[4], builder.mul(row, width))
            for k in range(count):
                old = code.load(targets, to, k)
                total = code.add_product(old, factor, code.load(sources, at, k))
                code.store(total, targets, to, k)
        return context.get_dummy_value()

    kinds = (target, place, place, source, place, value, place, vectors)
    return None if count is None else (types.void(*kinds), write)


@intrinsic
def repeat_row(typing: Any, target: Any, times: Any, source: Any, at: Any, vectors: Any) -> Any:
    """Write ``source[at:]`` ``times`` times over, on rows of ``vectors`` vectors."""
    count = constant(vectors)

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Writer(context, builder, signature)
        targets, width = code.data(args, 0), _INT(count * code.length)
        given = [code.load(code.data(args, 2), args[3], k) for k in range(count)]
        with code.loop(_INT(0), args[1]) as (row, _):
            for k in range(count):
                code.store(given[k], targets, builder.mul(row, width), k)
        return context.get_dummy_value()

    kinds = (target, types.intp, source, types.intp, vectors)
    return None if count is None else (types.void(*kinds), write)


def constant(number: Any) -> Any:
    """Return a whole number where the compiler knows it, as a constant of a closure.

    An instruction made for each number would do, but a kernel that captures one is compiled anew
    in every process: its place in the disk cache goes by what the closure holds.
    """
    return number.literal_value if isinstance(number, types.IntegerLiteral) else None


@intrinsic
def transpose_square(
    typing: Any, source: Any, at: Any, pace: Any, target: Any, to: Any, step: Any
) -> Any:
    """``target[to + j * step + i] = source[at + i * pace + j]`` for i and j below ``SQUARE``."""
    place = types.intp

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Writer(context, builder, signature, SQUARE)

        def row(start: Any, stride: Any, k: int) -> Any:
            return builder.add(start, builder.mul(stride, _INT(k)))

        rows = [code.load(code.data(args, 0), row(args[1], args[2], k)) for k in range(SQUARE)]
        # A perfect shuffle of rows k and k + 4, three times over, is the transpose.
        half = SQUARE // 2
        low = [place for k in range(half) for place in (k, SQUARE + k)]
        high = [half + place for place in low]
        for _ in range(SQUARE.bit_length() - 1):
            rows = [
                code.shuffle(rows[k], rows[k + half], places)
                for k in range(half)
                for places in (low, high)
            ]
        for k in range(SQUARE):
            code.store(rows[k], code.data(args, 3), row(args[4], args[5], k))
        return context.get_dummy_value()

    return types.void(source, place, place, target, place, place), write


@intrinsic
def _nonzero_word(typing: Any, source: Any, at: Any) -> Any:
    """Return bits k with ``source[at + k] != 0``, k below ``WORD``, as uint64."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Writer(context, builder, signature, WORD)
        found = code.load(code.data(args, 0), args[1])
        unequal = builder.fcmp_unordered("!=", found, ir.Constant(code.vector, None))
        return builder.bitcast(unequal, _INT)

    return types.uint64(source, types.intp), write


@jit
def nonzero_word(source: Array, at: int, count: int) -> Any:
    """Return bits k with ``source[at + k] != 0``, k below ``count`` and ``WORD``; as uint64."""
    if count >= WORD:
        return _nonzero_word(source, at)
    if at + WORD <= source.size:
        return _nonzero_word(source, at) & ((np.uint64(1) << np.uint64(count)) - np.uint64(1))
    if at + count >= WORD:  # a word that ends where the numbers do
        return _nonzero_word(source, at + count - WORD) >> np.uint64(WORD - count)
    bits = np.uint64(0)
    for k in range(count):
        if source[at + k] != 0:
            bits |= np.uint64(1) << np.uint64(k)
    return bits


@intrinsic
def prefetch(typing: Any, source: Any, at: Any) -> Any:
    """Ask for the cache line of ``source[at]``, of any place, without waiting for it."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Writer(context, builder, signature)
        number, pointer = ir.IntType(32), ir.IntType(8).as_pointer()
        kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
        function = builder.module.declare_intrinsic("llvm.prefetch", [pointer], kind)
        line = builder.bitcast(builder.gep(code.data(args, 0), [args[1]]), pointer)
        builder.call(function, [line, number(0), number(3), number(1)])
        return context.get_dummy_value()

    return types.void(source, types.intp), write


@intrinsic
def pointer(typing: Any, address: Any) -> Any:
    """Return an address as what :func:`numba.carray` makes an array of.

    Numba takes longer to see what an array is, given one, than a small kernel to go over it.
    """

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.inttoptr(args[0], context.get_value_type(types.voidptr))

    return types.voidptr(types.intp), write


@intrinsic
def lowest_bit(typing: Any, bits: Any) -> Any:
    """Return the place of the lowest bit that is set; 64 if none is."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.cttz(args[0], ir.IntType(1)(0))

    return types.intp(types.uint64), write


@intrinsic
def count_bits(typing: Any, bits: Any) -> Any:
    """Return how many bits are set."""

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.ctpop(args[0])

    return types.intp(types.uint64), write
