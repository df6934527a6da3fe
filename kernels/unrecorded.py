"""Calls past torch's dispatcher, which takes longer to record one than a small layer to compute."""

from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor

_PLAIN = (Tensor, torch.nn.Parameter)


class UnrecordedOp:
    """One ``torch.library.custom_op`` whose body is called directly while nothing is compiled.

    The dispatcher finds no gradient to record and takes 0.1 ms to say so, as long as a small layer
    takes to compute. Under ``torch.compile`` the operation goes into the graph as one node, and a
    dispatch mode sees it.

    Args:
        name: such as ``neuro::noise``.
        body: the operation, with the annotations that torch reads its schema from.
        fake: shapes and dtypes of what it returns, for tracing.
        mutates_args: names of the arguments it changes.
    """

    def __init__(
        self,
        name: str,
        body: Callable[..., Any],
        fake: Callable[..., Any],
        mutates_args: Iterable[str] = (),
    ) -> None:
        self._body = body
        self.op = torch.library.custom_op(name, body, mutates_args=tuple(mutates_args))
        self.op.register_fake(fake)

    def __call__(self, *arguments: Any) -> Any:
        watched = torch.compiler.is_compiling() or _is_watched()
        return (self.op if watched else self._body)(*arguments)


def is_plain_call(*operands: Tensor | None) -> bool:
    """Tell whether nothing watches a call: no graph is recorded, nothing is traced."""
    if not is_untraced_call(*operands):
        return False
    if torch.is_grad_enabled():
        for each in operands:
            if each is not None and each.requires_grad:
                return False
    return True


def is_untraced_call(*operands: Tensor | None) -> bool:
    """Tell whether a call computes at once, on tensors that are no more than that."""
    if torch.compiler.is_compiling() or _is_watched():
        return False
    for each in operands:  # noqa: SIM110 (a generator takes longer)
        if each is not None and type(each) not in _PLAIN:
            return False
    return True


def _is_watched() -> bool:
    """Tell whether a dispatch mode wants to see every operation, as one that counts them does."""
    modes: int = torch._C._len_torch_dispatch_stack()
    return modes > 0


def recorded(
    run: Callable[..., Any], setup: Callable[..., None], differentiate: Callable[..., Any]
) -> Callable[..., Any]:
    """Return ``run`` as a function that autograd records, for calls that are untraced.

    Args:
        run: the body of an operation.
        setup: what ``register_autograd`` takes as ``setup_context``.
        differentiate: what it takes as ``backward``; a gradient that nobody asked for is None.
    """

    class Recorded(torch.autograd.Function):
        @staticmethod
        def forward(ctx: Any, *inputs: Any) -> Any:
            ctx.set_materialize_grads(False)
            output = run(*inputs)
            setup(ctx, inputs, output)
            return output

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:
            return differentiate(ctx, *gradients)

    function: Callable[..., Any] = Recorded.apply
    return function
