"""Read the links of a Planetoid graph file without running a pickle.

``ind.<name>.graph`` is a pickled ``defaultdict(list)`` from each node's number to those of its
neighbours. The few instructions that write such a dictionary are followed here, by hand; a file
that holds any other is refused.
"""

import pickletools
from pathlib import Path
from typing import Any

from neuro.errors import DataError

Neighbours = dict[int, list[int]]

_INTEGERS = {"BININT", "BININT1", "BININT2"}
# They say nothing about content: there is no instruction here that fetches what was memorised.
_SILENT = {"PROTO", "BINPUT", "LONG_BINPUT", "PUT", "MEMOIZE", "FRAME"}
_NAMES = {
    "collections defaultdict": "defaultdict",
    "__builtin__ list": "list",
    "builtins list": "list",
}
_MARK = object()


class _RefusedError(Exception):
    """The file is no dictionary of lists of numbers."""


class _Name(str):
    """A class that the file refers to; stands for it and is never called."""


def read_neighbours(path: Path) -> Neighbours:
    """Read ``{node: [neighbour, ...]}``; nodes are 0 .. N - 1, each of them a key.

    Raises:
        DataError: the file is missing, damaged, or holds anything else.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"Cannot read {path}: {error.strerror}.") from error
    try:
        neighbours = _follow(content)
        _check(neighbours)
    # Damaged bytes make pickletools raise whatever it pleases.
    except Exception as error:
        raise DataError(
            f"{path}: not a Planetoid graph, a dictionary from each node to its neighbours "
            f"({error}; {len(content):,} bytes). Get ind.<name>.graph again from "
            "https://github.com/kimiyoung/planetoid/tree/master/data."
        ) from error
    return neighbours


def _follow(content: bytes) -> Neighbours:
    stack: list[Any] = []
    for operation, argument, position in pickletools.genops(content):
        name = operation.name
        if name in _SILENT:
            continue
        if name in _INTEGERS:
            stack.append(argument)
        elif name == "MARK":
            stack.append(_MARK)
        elif name == "EMPTY_LIST":
            stack.append([])
        elif name == "EMPTY_DICT":
            stack.append({})
        elif name == "GLOBAL" and argument in _NAMES:
            stack.append(_Name(_NAMES[argument]))
        elif name == "TUPLE1":
            stack.append((_pop(stack),))
        elif name == "REDUCE":
            _make_dictionary(stack)
        elif name in ("APPEND", "APPENDS"):
            _append(stack, [_pop(stack)] if name == "APPEND" else _since_mark(stack))
        elif name in ("SETITEM", "SETITEMS"):
            _set(stack, _last_two(stack) if name == "SETITEM" else _since_mark(stack))
        elif name == "STOP":
            if position is None or position + 1 != len(content):
                raise _RefusedError("something follows its end")
            return _whole(stack)
        else:
            what = f"{name} {argument!r}" if argument is not None else name
            raise _RefusedError(f"it has the instruction {what}, which no such dictionary needs")
    raise _RefusedError("it has no end")


def _pop(stack: list[Any]) -> Any:
    if not stack or stack[-1] is _MARK:
        raise _RefusedError("a value is missing")
    return stack.pop()


def _last_two(stack: list[Any]) -> list[Any]:
    value = _pop(stack)
    return [_pop(stack), value]


def _since_mark(stack: list[Any]) -> list[Any]:
    values = []
    while stack and stack[-1] is not _MARK:
        values.append(stack.pop())
    if not stack:
        raise _RefusedError("a mark is missing")
    stack.pop()
    return values[::-1]


def _make_dictionary(stack: list[Any]) -> None:
    made_of, maker = _pop(stack), _pop(stack)
    if not isinstance(maker, _Name) or maker != "defaultdict":
        raise _RefusedError("it calls something")
    if not isinstance(made_of, tuple) or not isinstance(made_of[0], _Name) or made_of[0] != "list":
        raise _RefusedError("its dictionary is not one of lists")
    stack.append({})


def _append(stack: list[Any], values: list[Any]) -> None:
    if not stack or not isinstance(stack[-1], list):
        raise _RefusedError("it appends to what is no list")
    if any(type(value) is not int for value in values):
        raise _RefusedError("a neighbour is no number")
    stack[-1].extend(values)


def _set(stack: list[Any], values: list[Any]) -> None:
    if not stack or not isinstance(stack[-1], dict):
        raise _RefusedError("it sets entries of what is no dictionary")
    keys, lists = values[::2], values[1::2]
    whole = len(keys) == len(lists) and all(type(some) is list for some in lists)
    if not whole or any(type(key) is not int for key in keys):
        raise _RefusedError("an entry is not a node and its neighbours")
    stack[-1].update(zip(keys, lists, strict=True))


def _whole(stack: list[Any]) -> Neighbours:
    if len(stack) != 1 or not isinstance(stack[0], dict):
        raise _RefusedError("it does not end with one dictionary")
    return stack[0]


def _check(neighbours: Neighbours) -> None:
    nodes = len(neighbours)
    if not nodes:
        raise _RefusedError("it has no node")
    if set(neighbours) != set(range(nodes)):
        raise _RefusedError(f"its {nodes:,} nodes are not numbered from 0 to {nodes - 1:,}")
    for node, others in neighbours.items():
        for other in others:
            if not 0 <= other < nodes:
                raise _RefusedError(
                    f"node {node} has the neighbour {other}, but there are {nodes:,} nodes"
                )
