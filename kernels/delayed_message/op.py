"""Delayed messages over a graph for T steps as one operation of torch, differentiable and
compilable."""

from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor

from neuro.kernels.compiled import (
    DTYPES,
    numba_unavailable,
    triton_devices,
    triton_unavailable,
)
from neuro.kernels.delayed_message.operands import (
    DelayedMessage,
    Dynamics,
    Gradients,
    Operands,
    words,
)
from neuro.kernels.dispatch import Implementation, Op, choose
from neuro.kernels.relational_graph import RelationalGraph

DELAY_GRADIENTS = ("released", "exact")
_LISTS = len(RelationalGraph._fields)


class _Forward(Protocol):
    def __call__(
        self, operands: Operands, dynamics: Dynamics, keep_spikes: bool
    ) -> DelayedMessage: ...


class _Backward(Protocol):
    def __call__(self, of_decoded: Tensor, operands: Operands, dynamics: Dynamics) -> Gradients: ...


class Functions(NamedTuple):
    """Both directions of one implementation."""

    forward: _Forward
    backward: _Backward


def _reference() -> Functions:
    from neuro.kernels.delayed_message.reference import backward, forward

    return Functions(forward, backward)


def _numba() -> Functions:
    from neuro.kernels.delayed_message.cpu import backward, forward

    return Functions(forward, backward)


def _triton() -> Functions:
    from neuro.kernels.delayed_message.gpu import backward, forward

    return Functions(forward, backward)


DELAYED_MESSAGE: Op[Any] = Op(
    "delayed_message",
    (
        Implementation("numba", _numba, ("cpu",), DTYPES, numba_unavailable),
        Implementation("triton", _triton, triton_devices, DTYPES, triton_unavailable),
        Implementation("reference", _reference),
    ),
)


def delayed_message(
    graph: RelationalGraph,
    heads: Tensor,
    drive: Tensor,
    delay: Tensor,
    weight: Tensor,
    bias: Tensor,
    read_out: Tensor,
    *,
    decay: float,
    gain: float,
    linear_scale: float = 1.0,
    threshold: float = 2.0,
    sharpness: float = 4.0,
    max_delay: int = 4,
    delay_gradient: str = "released",
    keep_spikes: bool = True,
) -> DelayedMessage:
    """Send spikes of ``d`` neurons a node over the edges of a graph for T steps.

    Query b drives the neurons of one node, its head. Neuron k of every node hears the neurons k of
    the nodes with an edge to it, late by a delay of its own, and one linear map mixes what d
    neurons of a node hear::

        D      = round(delay), half to even
        m_e[t] = s[t - 1 - D[r, b, k]] of the source x of edge e = (x -r-> y), 0 where D >= t
        I[t]   = decay * I[t-1] + gain * linear_scale * (W (sum of m_e[t] over edges to y) + bias)
        u[t]   = decay * v[t-1] + I[t] + (drive at the head, else 0)
        s[t]   = [u[t] >= threshold]
        v[t]   = u[t] * (1 - s[t])
        z      = sum over t of read_out[t] * s[t]

    At t = 0 there is no current: ``I = 0``, ``u`` is the drive. Backward takes the derivative of a
    sigmoid of slope ``sharpness`` for ``ds/du``, also in the reset. Rounding passes on the gradient
    of a delay, which is, summed over the steps and edges of a relation, ::

        dL/d delay = dL/dm_e[t] * tr[t - 1 - D] of the source            ("released")
        tr[t]      = - sum over i of eps'(i) * s[t - i]
        eps'(i)    = gain * (1 - (i + 1) / tau) * decay^i,     decay = exp(-1 / tau)

    eps being the response of u to a spike. As dL/dm already went through that filter, so does the
    gradient twice. The "exact" rule takes ``(linear_scale * W)^T dL/du[t]`` in place of dL/dm, of
    which dL/du only counts what comes back through the spike s[t], reset included: exact for the
    filter, but not for what a reset cuts off. A trace passes on no gradient, and there is none
    where D >= t.

    Spikes are equal bit for bit in every implementation: messages are whole numbers, and
    ``W x`` is ``((W[:, 0] x[0]) + W[:, 1] x[1]) + ...``, each product rounded. On the CPU each
    query is worked through by one thread, at a cost that goes with the nodes its spikes reach;
    nothing is kept for backward but what was given.

    Args:
        graph: N nodes, E edges of R relations, inverse ones included.
        heads: node of each query, ``[B]`` int64.
        drive: ``[B, d]``, floating; enters the head at every step.
        delay: ``[R, B, d]``, rounding to 0 .. ``max_delay``.
        weight: W, ``[d, d]``.
        bias: ``[d]``; acts on every node.
        read_out: ``[T]``, T >= 1; a constant.
        decay: fraction of u and of I kept per step, in (0, 1).
        gain: of a message.
        linear_scale: a factor more.
        threshold: > 0.
        sharpness: > 0.
        max_delay: >= 0.
        delay_gradient: "released" or "exact".
        keep_spikes: whether to return them.

    Returns:
        DelayedMessage(decoded z ``[B, N, d]``, which alone has a gradient; spikes, a bit each,
        ``[B, N, T, ceil(d / 32)]``, of no step if they are not kept; spike_counts ``[B, T]``).

    Raises:
        ValueError: shapes, dtypes, devices or numbers do not fit, a head is no node, a relation of
            the graph has no delay, or a delay leaves 0 .. ``max_delay``.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.

    Source:
        GRSNN (Xiao et al., ICML 2024), in the form its authors released.
    """
    _check(graph, heads, drive, delay, weight, bias, read_out)
    if delay_gradient not in DELAY_GRADIENTS:
        raise ValueError(
            f"delayed_message: unknown delay_gradient {delay_gradient!r}; has "
            f"{', '.join(DELAY_GRADIENTS)}"
        )
    if not (0 < decay < 1 and threshold > 0 and sharpness > 0 and max_delay >= 0):
        raise ValueError(
            f"delayed_message: needs 0 < decay < 1, threshold > 0, sharpness > 0 and max_delay >= "
            f"0, got decay {decay:g}, threshold {threshold:g}, sharpness {sharpness:g}, max_delay "
            f"{max_delay}"
        )
    numbers = [float(each) for each in (decay, gain, linear_scale, threshold, sharpness)]
    exact = delay_gradient == "exact"
    found = _delayed_message(
        list(graph),
        heads,
        drive,
        delay,
        weight,
        bias,
        read_out,
        numbers,
        max_delay,
        exact,
        keep_spikes,
    )
    return DelayedMessage(*found)


def _check(
    graph: RelationalGraph,
    heads: Tensor,
    drive: Tensor,
    delay: Tensor,
    weight: Tensor,
    bias: Tensor,
    read_out: Tensor,
) -> None:
    if drive.dim() != 2 or not drive.is_floating_point() or not drive.shape[1]:
        raise ValueError(
            f"delayed_message: drive must be floating [B, d] with d >= 1, got {drive.dtype} "
            f"{tuple(drive.shape)}"
        )
    batch, neurons = drive.shape
    relations = delay.shape[0] if delay.dim() else 0
    expected = {
        "delay": (delay, (relations, batch, neurons)),
        "weight": (weight, (neurons, neurons)),
        "bias": (bias, (neurons,)),
        "read_out": (read_out, (len(read_out) if read_out.dim() else 0,)),
    }
    for name, (tensor, shape) in expected.items():
        if (tensor.shape, tensor.dtype, tensor.device) != (shape, drive.dtype, drive.device):
            raise ValueError(
                f"delayed_message: {name} is {tuple(tensor.shape)} {tensor.dtype} on "
                f"{tensor.device}; for drive {tuple(drive.shape)} {drive.dtype} on {drive.device} "
                "delay is [R, B, d], weight [d, d], bias [d] and read_out [T], alike in the rest"
            )
    if not len(read_out) or read_out.requires_grad:
        raise ValueError(
            "delayed_message: read_out must be [T] with T >= 1 and must not want a gradient; it "
            "is a constant here: detach it, or decode the spikes returned"
        )
    if heads.shape != (batch,) or heads.dtype != torch.int64:
        raise ValueError(
            f"delayed_message: heads must be int64 [{batch}], one node for each row of drive, got "
            f"{heads.dtype} {tuple(heads.shape)}"
        )
    if any(each.device != drive.device for each in (heads, *graph)):
        raise ValueError(
            f"delayed_message: graph and heads must be on {drive.device}, where drive is"
        )


def _operands(
    graph: Sequence[Tensor],
    heads: Tensor,
    drive: Tensor,
    delay: Tensor,
    weight: Tensor,
    bias: Tensor,
    read_out: Tensor,
    max_delay: int,
) -> Operands:
    """Round the delays and look at every number that names something.

    Raises:
        ValueError: it names nothing.
    """
    graph = RelationalGraph(*graph)
    if len(heads) and not 0 <= int(heads.min()) <= int(heads.max()) < graph.nodes:
        raise ValueError(
            f"delayed_message: heads lie between {int(heads.min())} and {int(heads.max())}, the "
            f"graph has nodes 0 to {graph.nodes - 1}"
        )
    if graph.edges and int(graph.in_relations.max()) >= len(delay):
        raise ValueError(
            f"delayed_message: the graph has a relation {int(graph.in_relations.max())}, delay has "
            f"rows for 0 to {len(delay) - 1}; inverse relations need rows, too"
        )
    rounded = delay.detach().round()
    if rounded.numel():
        least, most = float(rounded.min()), float(rounded.max())
        if not (least >= 0 and most <= max_delay):  # which NaN does not fulfil either
            raise ValueError(
                f"delayed_message: delays round to {least:g} .. {most:g}, allowed are 0 .. "
                f"{max_delay} (max_delay)"
            )
    return Operands(graph, heads, drive, rounded.long(), weight, bias, read_out)


def _dynamics(numbers: Sequence[float], max_delay: int, exact: bool) -> Dynamics:
    decay, gain, linear_scale, threshold, sharpness = numbers
    return Dynamics(decay, gain, linear_scale, threshold, sharpness, max_delay, exact)


@torch.library.custom_op("neuro::delayed_message", mutates_args=())
def _delayed_message(
    graph: Sequence[Tensor],
    heads: Tensor,
    drive: Tensor,
    delay: Tensor,
    weight: Tensor,
    bias: Tensor,
    read_out: Tensor,
    numbers: Sequence[float],
    max_delay: int,
    exact: bool,
    keep_spikes: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    operands = _operands(graph, heads, drive, delay, weight, bias, read_out, max_delay)
    function = choose(DELAYED_MESSAGE, drive.device, drive.dtype).function.forward
    return tuple(function(operands, _dynamics(numbers, max_delay, exact), keep_spikes))


@torch.library.custom_op("neuro::delayed_message_backward", mutates_args=())
def _delayed_message_backward(
    of_decoded: Tensor,
    graph: Sequence[Tensor],
    heads: Tensor,
    drive: Tensor,
    delay: Tensor,
    weight: Tensor,
    bias: Tensor,
    read_out: Tensor,
    numbers: Sequence[float],
    max_delay: int,
    exact: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    operands = _operands(graph, heads, drive, delay, weight, bias, read_out, max_delay)
    function = choose(DELAYED_MESSAGE, drive.device, drive.dtype).function.backward
    return tuple(function(of_decoded, operands, _dynamics(numbers, max_delay, exact)))


@_delayed_message.register_fake
def _(graph: Sequence[Tensor], heads: Tensor, drive: Tensor, *rest: Any) -> Any:
    read_out = rest[3]
    (batch, neurons), nodes, steps = drive.shape, graph[0].shape[0] - 1, read_out.shape[0]
    kept = steps if rest[-1] else 0
    return (
        drive.new_empty((batch, nodes, neurons)),
        drive.new_empty((batch, nodes, kept, words(neurons)), dtype=torch.int32),
        drive.new_empty((batch, steps), dtype=torch.int64),
    )


@_delayed_message_backward.register_fake
def _(
    of_decoded: Tensor,
    graph: Sequence[Tensor],
    heads: Tensor,
    drive: Tensor,
    delay: Tensor,
    weight: Tensor,
    bias: Tensor,
    *rest: Any,
) -> Any:
    return tuple(each.new_empty(each.shape) for each in (drive, delay, weight, bias))


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    graph, *tensors = inputs[:7]
    ctx.save_for_backward(*graph, *tensors)
    ctx.numbers = inputs[7:-1]
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _differentiate(ctx: Any, of_decoded: Tensor | None, *_: Any) -> Any:
    rest = (None,) * (2 + len(ctx.numbers))  # read_out, numbers, and whether to keep spikes
    if of_decoded is None:
        return ([None] * _LISTS, *(None,) * 5, *rest)
    graph, tensors = ctx.saved_tensors[:_LISTS], ctx.saved_tensors[_LISTS:]
    found = _delayed_message_backward(of_decoded, list(graph), *tensors, *ctx.numbers)
    return ([None] * _LISTS, None, *found, *rest)


_delayed_message.register_autograd(_differentiate, setup_context=_setup)
