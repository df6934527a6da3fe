"""A compiled kernel that calls itself on the threads of an OpenMP team, without the interpreter.

Threads that enter a kernel through Python wait for its lock one after another, which costs a tenth
of a millisecond: as long as a layer of a hundred thousand neurons takes.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types

from neuro.kernels.vectors import intrinsic

_INT = ir.IntType(64)
_BYTES = ir.IntType(8).as_pointer()
_ARGUMENTS = 3
"""Index of the first argument in the record of a team: shares taken, results, rows."""


_RANGE = ("first", "last", "threads")


def _write_call(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    parallel, threads = args
    kernel = builder.function
    record_type = ir.LiteralStructType([_INT] * _ARGUMENTS + [each.type for each in kernel.args])
    with builder.goto_entry_block():
        record = builder.alloca(record_type)
    values = [_INT(0), _INT(0), threads, *kernel.args]
    for index, value in enumerate(values):
        builder.store(value, _field(builder, record, index))
    body = _write_body(builder.module, kernel, record_type)
    runtime_type = ir.FunctionType(
        ir.VoidType(), [body.type, _BYTES, ir.IntType(32), ir.IntType(32)]
    )
    runtime = builder.inttoptr(parallel, runtime_type.as_pointer())
    team = builder.trunc(threads, ir.IntType(32))
    builder.call(runtime, [body, builder.bitcast(record, _BYTES), team, ir.IntType(32)(0)])
    return builder.load(_field(builder, record, 1))


def _write_body(module: Any, kernel: Any, record_type: Any) -> Any:
    """Write what each thread runs: shares until none is left.

    The runtime may grant fewer threads than there are shares.
    """
    name = module.get_unique_name(f"{kernel.name}.share")
    body = ir.Function(module, ir.FunctionType(ir.VoidType(), [_BYTES]), name)
    body.linkage = "internal"
    builder = ir.IRBuilder(body.append_basic_block("entry"))
    names = [each.name for each in kernel.args]
    first_at, last_at, threads_at = (names.index(f"arg.{each}") for each in _RANGE)
    record = builder.bitcast(body.args[0], record_type.as_pointer())
    arguments = [
        builder.load(_field(builder, record, _ARGUMENTS + index)) for index in range(len(names))
    ]
    first, last = arguments[first_at], arguments[last_at]
    shares = builder.load(_field(builder, record, 2))
    result = builder.alloca(kernel.args[0].type.pointee)
    arguments[0] = result
    arguments[1] = builder.alloca(kernel.args[1].type.pointee)
    arguments[threads_at] = _INT(1)

    take, run, done = (body.append_basic_block(each) for each in ("take", "run", "done"))
    builder.branch(take)
    builder.position_at_end(take)
    share = builder.atomic_rmw("add", _field(builder, record, 0), _INT(1), "monotonic")
    builder.cbranch(builder.icmp_signed("<", share, shares), run, done)

    builder.position_at_end(run)
    rows = builder.sub(last, first)
    for at, number in ((first_at, share), (last_at, builder.add(share, _INT(1)))):
        arguments[at] = builder.add(first, builder.sdiv(builder.mul(rows, number), shares))
    builder.call(kernel, arguments)
    if result.type.pointee == _INT:
        builder.atomic_rmw("add", _field(builder, record, 1), builder.load(result), "monotonic")
    builder.branch(take)

    builder.position_at_end(done)
    builder.ret_void()
    return body


def _field(builder: Any, record: Any, index: int) -> Any:
    return builder.gep(record, [ir.IntType(32)(0), ir.IntType(32)(index)], inbounds=True)


def _spread(typing: Any, parallel: Any, threads: Any) -> Any:
    return types.int64(types.int64, types.int64), _write_call


spread: Callable[[int, int], int] = intrinsic(_spread)
"""Call the kernel this stands in, once for each share of its rows; return the sum of results.

The kernel has the integer arguments ``first``, ``last`` and ``threads``. Its rows ``first`` to
``last`` are cut into as many equal shares as there are threads; each call gets one, with
``threads`` of 1 and all other arguments as they are. Results that are not integers are dropped.

Args:
    parallel: address of ``GOMP_parallel``, or of a function like it.
    threads: size of the team.
"""
