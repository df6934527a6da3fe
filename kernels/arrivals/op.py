"""How many messages of spikes arrive over the edges of a graph, and whom they reach."""

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from neuro.kernels.compiled import numba_unavailable
from neuro.kernels.dispatch import Implementation, Op, choose
from neuro.kernels.relational_graph import RelationalGraph


class Arrivals(NamedTuple):
    """What reached neurons of all queries, at each of the steps 1 to T - 1.

    Attributes:
        arrived: messages that will arrive, each from one neuron to one, by the step after the spike
            was sent: when they set out.
        waited: those of them that have a delay, so that they spend steps in a line of delay.
        neurons: neurons that some message reached.
        nodes: nodes that some message reached.
    """

    arrived: tuple[int, ...]
    waited: tuple[int, ...]
    neurons: tuple[int, ...]
    nodes: tuple[int, ...]


class _Count(Protocol):
    def __call__(
        self, trains: Tensor, masks: Tensor, graph: RelationalGraph
    ) -> list[list[int]]: ...


def _reference() -> _Count:
    from neuro.kernels.arrivals.reference import count

    return count


def _numba() -> _Count:
    from neuro.kernels.arrivals.cpu import count

    return count


ARRIVALS: Op[_Count] = Op(
    "arrivals",
    (
        Implementation("numba", _numba, ("cpu",), None, numba_unavailable),
        Implementation("reference", _reference),
    ),
)


def count_arrivals(trains: Tensor, masks: Tensor, graph: RelationalGraph) -> Arrivals:
    """Count the messages that arrive, and whom they reach.

    A spike of step s on an edge of delay D arrives at step ``s + 1 + D``, if that is T - 1 or
    before. Neurons are bits of words, as :func:`neuro.kernels.delayed_message.operands.pack` packs
    them; each message goes from a neuron to the one of the same number.

    Args:
        trains: spikes, int32 ``[B, N, T, W]``: queries, nodes, steps, words.
        masks: by delay the neurons that have it, int32 ``[J, R, B, W]``: delays, relations,
            queries, words. No neuron of a relation has two delays.
        graph: N nodes, whose relations are below R.

    Raises:
        ValueError: shapes or dtypes do not fit.
        KernelError: ``NEURO_KERNELS`` asks for an implementation that cannot serve this call.
    """
    fits = trains.dim() == masks.dim() == 4 and trains.shape[1] == graph.nodes
    if not fits or (trains.shape[0], trains.shape[3]) != masks.shape[2:]:
        raise ValueError(
            f"count_arrivals: trains are [B, N, T, W] and masks [J, R, B, W], got "
            f"{tuple(trains.shape)} and {tuple(masks.shape)} on a graph of {graph.nodes} nodes"
        )
    if trains.dtype != torch.int32 or masks.dtype != torch.int32:
        raise ValueError(f"count_arrivals: words are int32, got {trains.dtype} and {masks.dtype}")
    if graph.edges and int(graph.in_relations.max()) >= masks.shape[1]:
        raise ValueError(
            f"count_arrivals: the graph has relation {int(graph.in_relations.max())}, masks are "
            f"of {masks.shape[1]}"
        )
    count = choose(ARRIVALS, trains.device, trains.dtype).function
    return Arrivals(*map(tuple, count(trains.contiguous(), masks.contiguous(), graph)))
