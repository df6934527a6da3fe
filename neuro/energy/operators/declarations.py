"""Who says what a module's tensors carry, and that it is so."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from torch import Tensor, nn

from neuro.energy.operators.operator_call import tensors_in
from neuro.energy.signals import Signal, check_signal, known_signal
from neuro.errors import UsageError, nearest

Declared = Signal | Sequence[Signal | None] | None
"""What one tensor carries, or each element of a tuple; None where nothing is said: real numbers."""
Declare = Callable[[str, nn.Module | None], Declared]
"""What the output of a module carries, given its path; of an input, given its name and None."""
Declarations = Mapping[str, Declared] | Sequence[Signal] | Declare


def input_names(module: nn.Module, inputs: Sequence[Any]) -> list[str]:
    """Return the name in ``forward`` of each input given by place, ``name[0]`` of several."""
    names: list[str] = []
    for parameter in inspect.signature(module.forward).parameters.values():
        if parameter.kind is parameter.VAR_POSITIONAL:
            names += [f"{parameter.name}[{place}]" for place in range(len(inputs) - len(names))]
        elif parameter.kind in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            names.append(parameter.name)
    return names[: len(inputs)]


def declare(module: nn.Module, names: Sequence[str], given: Declarations | None) -> Declare:
    """Return declarations as a function.

    Args:
        module: that is counted.
        names: of its inputs.
        given: by path or name; a signal for each input; such a function; or None.

    Raises:
        UsageError: a name that is no submodule and no input, or both; more signals than inputs.
    """
    if given is None:
        return lambda path, part: None
    if callable(given):
        return given
    if not isinstance(given, Mapping):
        if len(given) > len(names):
            raise UsageError(f"count_module: {len(given)} signals for {len(names)} inputs.")
        return _listed(dict(zip(names, given, strict=False)), inputs=set(names))
    paths = {path for path, _ in module.named_modules()}
    for name in given:
        if name in paths and name in names:
            raise UsageError(
                f"count_module: {name!r} is a submodule and an input; declare signals by a "
                "function of path and module, to which an input's module is None."
            )
        if name not in paths and name not in names:
            known = sorted({*paths, *names} - {""})
            raise UsageError(
                f"count_module: signals name {name!r}, which is no submodule and no input of "
                f"{type(module).__name__}.{nearest(name, known)}"
            )
    return _listed(given, inputs=set(names))


def _listed(given: Mapping[str, Declared], inputs: set[str]) -> Declare:
    def found(path: str, part: nn.Module | None) -> Declared:
        return given.get(path) if (part is None) == (path in inputs) else None

    return found


def declared_tensors(value: Any, declared: Declared, where: str) -> Iterator[tuple[Tensor, Signal]]:
    """Yield the tensors that something is said of, checked to be what is said.

    Args:
        value: an input, or what a module returned.
        declared: of it.
        where: whose it is, for messages.

    Raises:
        UsageError: values contradict the declaration, or it does not tell which tensor is meant.
    """
    if declared is None:
        return
    if not isinstance(declared, str):
        if not isinstance(value, list | tuple) or len(value) != len(declared):
            raise UsageError(
                f"{where}: {len(declared)} signals are declared for {_described(value)}."
            )
        for place, (each, signal) in enumerate(zip(value, declared, strict=True)):
            yield from declared_tensors(each, signal, f"{where}[{place}]")
        return
    signal = known_signal(declared, where)
    if not isinstance(value, Tensor):
        raise UsageError(
            f"{where}: declared {signal}, but it is {_described(value)}. Declare each of its "
            'elements, None for what carries real numbers: ("binary", None).'
        )
    check_signal(value, signal, where)
    yield value, signal


def _described(value: Any) -> str:
    if isinstance(value, list | tuple):
        return f"a {type(value).__name__} of {len(value)}, {len(list(tensors_in(value)))} tensors"
    return f"a {type(value).__name__}"
