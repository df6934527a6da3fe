"""Which implementation serves a call, and why the others do not.

An op lists its implementations, fastest first, the plain torch reference last. By default the
first one that serves the tensor's device and dtype is taken; the others' reasons are kept for
``neuro doctor``. ``NEURO_KERNELS=reference|numba|triton`` asks for one by name, at call time: it
works or raises, never falls back.
"""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, Literal, TypeVar, get_args

import torch

Name = Literal["reference", "numba", "triton"]
NAMES: tuple[str, ...] = get_args(Name)
VARIABLE = "NEURO_KERNELS"
_SET: dict[Any, Any] = os.environ._data  # type: ignore[attr-defined]
_KEY = os.environ.encodekey(VARIABLE)
"""``os.environ`` raises and catches an error where a variable is not set, as this one seldom is:
that takes longer than all else about a choice."""

F = TypeVar("F", bound=Callable[..., Any])


class KernelError(RuntimeError):
    """An implementation asked for by name cannot serve the call."""


def _always() -> None:
    return None


def _no_note(name: str, asked: bool) -> str | None:
    return None


@dataclass(frozen=True)
class Implementation(Generic[F]):
    """One way to compute an op.

    Args:
        name: reference, numba or triton.
        load: imports and returns the function; called only once the implementation is chosen.
        devices: device types served, or what tells them; ``None`` for all.
        dtypes: dtypes served; ``None`` for all.
        unavailable: why it cannot run on this machine, or ``None`` when it can.
    """

    name: Name
    load: Callable[[], F]
    devices: tuple[str, ...] | Callable[[], tuple[str, ...]] | None = None
    dtypes: tuple[torch.dtype, ...] | None = None
    unavailable: Callable[[], str | None] = _always

    def declines(self, device: str, dtype: torch.dtype) -> str | None:
        """Return why this implementation does not serve ``device`` and ``dtype``, or ``None``."""
        devices = self.devices() if callable(self.devices) else self.devices
        if devices is not None and device not in devices:
            return f"serves {' and '.join(devices)} tensors, not {device}"
        if self.dtypes is not None and dtype not in self.dtypes:
            return f"serves {' and '.join(map(_short, self.dtypes))}, not {_short(dtype)}"
        return self.unavailable()


@dataclass(frozen=True, eq=False)  # an op is itself alone: found in a cache by identity, at once
class Op(Generic[F]):
    """A named operation and its implementations, fastest first, the reference last.

    Args:
        name: of the op.
        implementations: fastest first.
        note: what ``neuro doctor`` adds, for an op whose choice also goes by what a call brings;
            given the name of the implementation and whether it was asked for.
    """

    name: str
    implementations: tuple[Implementation[F], ...]
    note: Callable[[str, bool], str | None] = _no_note

    def __post_init__(self) -> None:
        names = [each.name for each in self.implementations]
        if names[-1:] != ["reference"] or len(set(names)) != len(names):
            raise ValueError(f"op {self.name}: distinct names, the reference last; got {names}")


@dataclass(frozen=True)
class Choice(Generic[F]):
    """What serves a call.

    Args:
        implementation: the one chosen.
        function: what it computes with.
        reference: the function of the reference.
        declined: why faster ones declined.
        asked: whether ``NEURO_KERNELS`` asks for this implementation.
    """

    implementation: Implementation[F]
    function: F
    reference: F
    declined: tuple[str, ...]
    asked: bool


@dataclass(frozen=True)
class Explanation:
    """One row of ``neuro doctor``: what serves ``op`` on ``device``; ``None`` if nothing does."""

    op: str
    device: str
    implementation: str | None
    reasons: tuple[str, ...]


def request() -> Any:
    """Return what ``NEURO_KERNELS`` is set to, as the system writes it: choices depend on it."""
    return _SET.get(_KEY)


def asked_by_name() -> bool:
    """Tell whether ``NEURO_KERNELS`` asks for an implementation."""
    return bool(request())


def choose(op: Op[F], device: torch.device, dtype: torch.dtype) -> Choice[F]:
    """Choose the implementation of ``op`` for tensors of ``device`` and ``dtype``.

    Raises:
        KernelError: ``NEURO_KERNELS`` names an implementation that cannot serve this call.
    """
    # The cache's typing forgets F; the key holds the variable's value, so a change is seen.
    choice: Choice[F] = _choose(op, device.type, dtype, request())
    return choice


@cache
def _choose(op: Op[Any], device: str, dtype: torch.dtype, value: Any) -> Choice[Any]:
    asked = os.environ.decodevalue(value) if value else ""
    if asked and asked not in NAMES:
        raise KernelError(f"{VARIABLE}={asked}: expected one of {', '.join(NAMES)}, or unset")
    declined: list[str] = []
    for implementation in op.implementations:
        if asked and implementation.name != asked:
            continue
        reason = implementation.declines(device, dtype)
        if reason is None:
            reference = op.implementations[-1].load()
            function = implementation.load()
            return Choice(implementation, function, reference, tuple(declined), bool(asked))
        declined.append(f"{implementation.name}: {reason}")
    why = "; ".join(declined) or f"{op.name} has no {asked} implementation"
    raise KernelError(
        f"{VARIABLE}={asked} cannot serve {op.name}: {why}. Unset it to choose freely"
    )


def explain(ops: Iterable[Op[Any]], dtype: torch.dtype = torch.float32) -> list[Explanation]:
    """Say what serves each op on the CPU and on CUDA; never raises."""
    rows = []
    for op in ops:
        for device in ("cpu", "cuda"):
            try:
                choice = choose(op, torch.device(device), dtype)
            except KernelError as error:
                rows.append(Explanation(op.name, device, None, (str(error),)))
                continue
            name = choice.implementation.name
            note = op.note(name, asked_by_name())
            reasons = choice.declined if note is None else (note, *choice.declined)
            if device == "cuda" and not torch.cuda.is_available():
                reasons = (*reasons, "torch sees no CUDA device here")
            rows.append(Explanation(op.name, device, name, reasons))
    return rows


def _short(dtype: torch.dtype) -> str:
    return str(dtype).removeprefix("torch.")
