"""The product of a relational graph with features, as one operation of torch, differentiable."""

from typing import Any, Literal, NamedTuple, Protocol, get_args

import torch
from torch import Tensor

from neuro.kernels.compiled import (
    DTYPES,
    TRITON_DTYPES,
    numba_unavailable,
    triton_devices,
    triton_unavailable,
)
from neuro.kernels.dispatch import Implementation, Op, choose
from neuro.kernels.relational_graph import RelationalGraph
from neuro.kernels.relational_spmm.aggregates import Aggregated, Aggregates, Gradients, empty

Message = Literal["mul", "add"]
Aggregate = Literal["sum", "mean", "max", "min"]


class Pna(NamedTuple):
    """Aggregates of the messages into each node, ``[N, B, d]`` each.

    Attributes:
        total: their sum.
        squares: the sum of their squares.
        maximum: the largest.
        minimum: the least.
    """

    total: Tensor
    squares: Tensor
    maximum: Tensor
    minimum: Tensor


class _Forward(Protocol):
    def __call__(
        self,
        features: Tensor,
        relation: Tensor,
        boundary: Tensor | None,
        graph: RelationalGraph,
        asked: Aggregates,
    ) -> Aggregated: ...


class _Backward(Protocol):
    def __call__(
        self,
        gradients: Aggregated,
        features: Tensor,
        relation: Tensor,
        boundary: Tensor | None,
        graph: RelationalGraph,
        asked: Aggregates,
        of_relation: bool,
    ) -> Gradients: ...


class Functions(NamedTuple):
    """Both directions of one implementation."""

    forward: _Forward
    backward: _Backward


def _reference() -> Functions:
    from neuro.kernels.relational_spmm.reference import backward, forward

    return Functions(forward, backward)


def _numba() -> Functions:
    from neuro.kernels.relational_spmm.cpu import backward, forward

    return Functions(forward, backward)


def _triton() -> Functions:
    from neuro.kernels.relational_spmm.gpu import backward, forward

    return Functions(forward, backward)


RELATIONAL_SPMM: Op[Any] = Op(
    "relational_spmm",
    (
        Implementation("numba", _numba, ("cpu",), DTYPES, numba_unavailable),
        Implementation("triton", _triton, triton_devices, TRITON_DTYPES, triton_unavailable),
        Implementation("reference", _reference),
    ),
)

_ASKED = {
    "sum": Aggregates.SUM,
    "mean": Aggregates.SUM,
    "max": Aggregates.MAXIMUM,
    "min": Aggregates.MINIMUM,
}


def relational_spmm(
    features: Tensor,
    relation: Tensor,
    graph: RelationalGraph,
    boundary: Tensor | None = None,
    *,
    message: Message = "mul",
    aggregate: Aggregate = "sum",
) -> Tensor:
    """Aggregate the messages that run along the edges into each node.

    ::

        m[x -r-> y] = features[x] * relation[r]        ("mul", DistMult)
        m[x -r-> y] = features[x] + relation[r]        ("add", TransE)
        y[n] = aggregate of boundary[n], then of m over the edges into n, in their order

    No message is kept, neither for backward. A node without any message gets 0 from every
    aggregate. Where messages tie for the largest or least, the first has the gradient, the
    boundary before all edges; a NaN is larger and less than all numbers. Autograd goes once
    through features, relation and boundary.

    Args:
        features: ``[N, B, d]``, floating.
        relation: ``[R, B, d]``, or ``[R, d]`` for all of the batch.
        graph: N nodes, relations 0 to R - 1.
        boundary: one more message into each node, ``[N, B, d]``, or none.
        message: "mul" or "add".
        aggregate: "sum", "mean", "max" or "min".

    Returns:
        ``[N, B, d]``.

    Raises:
        ValueError: shapes, dtypes or devices do not fit, or the graph has a relation beyond R.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    if aggregate not in _ASKED:
        raise ValueError(
            f"relational_spmm: unknown aggregate {aggregate!r}; has {', '.join(_ASKED)}"
        )
    found = _aggregate(features, relation, graph, boundary, message, _ASKED[aggregate])
    chosen = {"max": found.maximum, "min": found.minimum}.get(aggregate, found.total)
    if aggregate != "mean":
        return chosen
    counts = graph.in_starts.diff() + (boundary is not None)
    return chosen / counts.clamp(min=1).to(chosen.dtype)[:, None, None]


def relational_pna(
    features: Tensor,
    relation: Tensor,
    graph: RelationalGraph,
    boundary: Tensor | None = None,
    *,
    message: Message = "mul",
) -> Pna:
    """Return sum, sum of squares, largest and least message into each node, all in one pass.

    Means and standard deviations are made of these; see :func:`relational_spmm` for the messages,
    the arguments, ties, nodes without messages and errors.
    """
    found = _aggregate(features, relation, graph, boundary, message, Aggregates.PNA)
    return Pna(*found[:4])


def _aggregate(
    features: Tensor,
    relation: Tensor,
    graph: RelationalGraph,
    boundary: Tensor | None,
    message: str,
    asked: Aggregates,
) -> Aggregated:
    _check(features, relation, graph, boundary, message)
    operands = (features, relation) if boundary is None else (features, relation, boundary)
    if torch.is_grad_enabled() and any(each.requires_grad for each in operands):
        asked |= Aggregates.PLACES
    if message == "add":
        asked |= Aggregates.ADD
    nodes, batch, size = features.shape
    relation = relation if relation.dim() == 3 else relation[:, None].expand(-1, batch, -1)
    found = _relational_spmm(
        features.reshape(nodes, batch * size),
        relation.reshape(len(relation), batch * size),
        None if boundary is None else boundary.reshape(nodes, batch * size),
        *graph,
        int(asked),
    )
    return Aggregated(*(each.view(features.shape) if each.dim() == 2 else each for each in found))


def _check(
    features: Tensor,
    relation: Tensor,
    graph: RelationalGraph,
    boundary: Tensor | None,
    message: str,
) -> None:
    op = "relational_spmm"
    if message not in get_args(Message):
        raise ValueError(f"{op}: unknown message {message!r}; has {', '.join(get_args(Message))}")
    shape = tuple(features.shape)
    if features.dim() != 3 or len(features) != graph.nodes or not features.is_floating_point():
        raise ValueError(
            f"{op}: features must be floating [N, B, d] on {graph.nodes} nodes, got "
            f"{features.dtype} {shape}"
        )
    if relation.dim() not in (2, 3) or relation.shape[1:] not in (shape[1:], shape[2:]):
        raise ValueError(
            f"{op}: relation is {tuple(relation.shape)}, features are {shape}: expected "
            f"(R, {shape[1]}, {shape[2]}), or (R, {shape[2]}) for all of the batch"
        )
    if boundary is not None and boundary.shape != features.shape:
        raise ValueError(f"{op}: boundary is {tuple(boundary.shape)}, features are {shape}")
    for name, each in (("relation", relation), ("boundary", boundary)):
        if each is not None and (each.dtype, each.device) != (features.dtype, features.device):
            raise ValueError(
                f"{op}: {name} is {each.dtype} on {each.device}, features are {features.dtype} on "
                f"{features.device}: give both alike"
            )
    if graph.in_starts.device != features.device:
        raise ValueError(
            f"{op}: the graph is on {graph.in_starts.device}, features on {features.device}"
        )


@torch.library.custom_op("neuro::relational_spmm", mutates_args=())
def _relational_spmm(
    features: Tensor,
    relation: Tensor,
    boundary: Tensor | None,
    in_starts: Tensor,
    in_sources: Tensor,
    in_relations: Tensor,
    out_starts: Tensor,
    out_destinations: Tensor,
    out_relations: Tensor,
    out_places: Tensor,
    asked: int,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    graph = RelationalGraph(
        in_starts,
        in_sources,
        in_relations,
        out_starts,
        out_destinations,
        out_relations,
        out_places,
    )
    if graph.edges and (most := int(in_relations.max())) >= len(relation):
        raise ValueError(
            f"relational_spmm: the graph has relation {most}, but there are {len(relation)} rows "
            f"for relations 0 to {len(relation) - 1}"
        )
    functions = choose(RELATIONAL_SPMM, features.device, features.dtype).function
    return tuple(functions.forward(features, relation, boundary, graph, Aggregates(asked)))


@torch.library.custom_op("neuro::relational_spmm_backward", mutates_args=())
def _relational_spmm_backward(
    of_total: Tensor,
    of_squares: Tensor,
    of_maximum: Tensor,
    of_minimum: Tensor,
    maximum_places: Tensor,
    minimum_places: Tensor,
    features: Tensor,
    relation: Tensor,
    boundary: Tensor | None,
    in_starts: Tensor,
    in_sources: Tensor,
    in_relations: Tensor,
    out_starts: Tensor,
    out_destinations: Tensor,
    out_relations: Tensor,
    out_places: Tensor,
    asked: int,
    of_relation: bool,
) -> tuple[Tensor, Tensor, Tensor]:
    gradients = Aggregated(
        of_total, of_squares, of_maximum, of_minimum, maximum_places, minimum_places
    )
    graph = RelationalGraph(
        in_starts,
        in_sources,
        in_relations,
        out_starts,
        out_destinations,
        out_relations,
        out_places,
    )
    functions = choose(RELATIONAL_SPMM, features.device, features.dtype).function
    operands = (features, relation, boundary, graph, Aggregates(asked), of_relation)
    return tuple(functions.backward(gradients, *operands))


@_relational_spmm.register_fake
def _(features: Tensor, *operands: Any) -> Any:
    return tuple(empty(features, Aggregates(operands[-1])))


@_relational_spmm_backward.register_fake
def _(*operands: Any) -> Any:
    features, relation, boundary, of_relation = *operands[6:9], operands[-1]
    return (
        features.new_empty(features.shape),
        features.new_empty(relation.shape if of_relation else (0,)),
        features.new_empty((0,) if boundary is None else features.shape),
    )


def _setup(ctx: Any, inputs: Any, output: Any) -> None:
    ctx.save_for_backward(*inputs[:-1], *output[4:])
    ctx.asked = inputs[-1]


def _differentiate(ctx: Any, *gradients: Tensor) -> Any:
    *operands, maximum_places, minimum_places = ctx.saved_tensors
    of_relation = ctx.needs_input_grad[1]
    found = _relational_spmm_backward(
        *gradients[:4], maximum_places, minimum_places, *operands, ctx.asked, of_relation
    )
    return (
        found[0],
        found[1] if of_relation else None,
        None if operands[2] is None else found[2],
        *(None for _ in range(8)),
    )


_relational_spmm.register_autograd(_differentiate, setup_context=_setup)
