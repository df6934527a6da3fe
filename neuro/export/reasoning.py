"""A GRSNN over a graph as integers: one query relation at a time, the head in the bias registers.

Loihi's neurons are GRSNN's, and its delayed synapses the edges. With ``lam = exp(-1 / tau)``,
``g = gain * linear_scale`` and S units of weights per unit of potential::

    neuron j of node y    du = 4096 (1 - lam) - 1, dv = 4096 (1 - lam), vth = threshold S - 1/64
    edge x -r-> y         d^2 synapses, (x, k) to (y, j), of weight 2 round(g W[j, k] S / 2) and
                          delay D[r, k]: a synapse takes one step, plus its delay
    bias b of the map     synapses of weight 2 round(g b[j] S / 2) from a neuron that always fires;
                          its spikes arrive from step 1 on, as b does
    drive q of the head   bias registers of the head's neurons, mant << exp = 64 q S

Step t of the chip is step t of GRSNN: at step 0 nothing has arrived, and the potential is the
drive. ``threshold S`` is 1/64, the least step of a potential, above a whole number, so that the
chip's ``>`` is GRSNN's ``>=``. Delays, and so the synapses, depend on the query's relation; the
head is d registers, which a host writes before each query. Spikes are read and scored by the host.

An edge cannot share its d^2 synapses with others of the same end (``W`` once for each node), as
that needs a relay that sends the number of spikes that arrived: no neuron with a threshold does.
Parallel edges can: c equal synapses are one of ``weight << e`` for each bit e of c.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from neuro.errors import UsageError
from neuro.graph.grsnn import GRSNN
from neuro.hardware.cuba import DECAY_BITS, STATE_SHIFT, WIDTH
from neuro.hardware.fixed_point import Recording, run, worst_case_inputs
from neuro.hardware.integer_graph import (
    Connection,
    Cuba,
    IntegerGraph,
    Integers,
    Population,
    Sparse,
)
from neuro.kernels import RelationalGraph

Array = NDArray[Any]

NODES, CLOCK = "nodes", "clock"
LARGEST_WEIGHT = 254
LARGEST_THRESHOLD = (1 << 17) - 1
LARGEST_MANTISSA = (1 << 12) - 1
LARGEST_EXPONENT = 7
LARGEST_DELAY = 62
MOST_SYNAPSES = 1 << 27
"""About what one chip holds in its narrowest format; arrays of more take gigabytes."""
UNITY = 1 << DECAY_BITS
LEAST = 1 / (1 << STATE_SHIFT)


@dataclass(frozen=True, kw_only=True)
class Report:
    """What quantising lost, and how full registers can get.

    Args:
        scale: S, units of weights per unit of potential.
        threshold: vth.
        clipped_weights: share of the map's weights that were cut to eight bits.
        weight_error: root mean square of what the map's weights differ by, over that of them.
        edges: that can carry a spike in time.
        synapses: between nodes.
        worst_input: the most that could arrive at a neuron in a step, in units of weights.
        worst_current: the most that the current could be, in units of the state.
        may_overflow: whether that is more than its register holds, so that it depends on the
            queries; :class:`ChipGRSNN` counts how often it did.
    """

    scale: float
    threshold: int
    clipped_weights: float
    weight_error: float
    edges: int
    synapses: int
    worst_input: int
    worst_current: int
    may_overflow: bool


@dataclass(frozen=True, eq=False, kw_only=True)
class ReasoningGraph:
    """The integers of one query relation.

    Args:
        graph: the population ``nodes`` ``[N, d]`` and, where the linear map has a bias, ``clock``.
        mantissa: of the drive ``[d]``.
        exponent: of the drive.
        report: what quantising lost.
    """

    graph: IntegerGraph
    mantissa: Integers
    exponent: int
    report: Report

    def at(self, head: int) -> IntegerGraph:
        """Return the graph with the drive in the registers of a head."""
        nodes = self.graph.populations[NODES]
        _check_heads([head], nodes.shape[0])
        mantissas = np.zeros(nodes.shape, np.int32)
        mantissas[head] = self.mantissa
        neuron = replace(nodes.cuba, bias_mant=mantissas, bias_exp=np.asarray(self.exponent))
        return replace(
            self.graph,
            populations={**self.graph.populations, NODES: replace(nodes, neuron=neuron)},
            metadata={**self.graph.metadata, "head": head},
        )

    def run(
        self,
        heads: Sequence[int],
        *,
        accumulator_bits: int | None = None,
        threads: int | None = None,
    ) -> Recording:
        """Run B queries, the spikes of all nodes recorded.

        Args:
            heads: one for each query.
            accumulator_bits: see :func:`neuro.hardware.fixed_point.run`.
            threads: likewise.
        """
        shape = self.graph.shape(NODES)
        _check_heads(heads, shape[0])
        biases = np.zeros((len(heads), *shape), np.int64)
        biases[np.arange(len(heads)), list(heads)] = self.mantissa.astype(np.int64) << self.exponent
        return run(
            self.graph,
            {},
            record=(NODES,),
            biases={NODES: biases},
            accumulator_bits=accumulator_bits,
            threads=threads,
        )


@torch.no_grad()
def reasoning_graph(
    model: GRSNN,
    graph: RelationalGraph,
    relation: int,
    *,
    fullness: float = 1.0,
    merge: bool = True,
) -> ReasoningGraph:
    """Quantise a network over a graph for the queries ``(head, relation, ?)``.

    Args:
        model: GRSNN, also with ``self_connection`` or ``relation_weight``.
        graph: along which messages run, inverses included.
        relation: of the queries; delays depend on it.
        fullness: how far the largest weight fills its eight bits. Above 1 large ones are clipped;
            below, sums are smaller and registers overflow later.
        merge: write parallel edges of equal delay as powers of two. Fewer synapses, but a
            connection, with input axons and a synapse format of its own, for each power.

    Raises:
        UsageError: another model, an option that the chip's neurons do not have, or numbers that
            its registers do not hold; the message says what to train instead.
    """
    check_expressible(model)
    if not 0 <= relation < model.query.num_embeddings:
        raise UsageError(
            f"relation {relation}: the network has 0 to {model.query.num_embeddings - 1}."
        )
    drive, delay, weights = model.entering(_asked(model, relation))
    factor = model.steps.gain * model.steps.linear_scale
    linear = _reals(model.linear.weight) * factor
    own, heard = linear[:, : -model.hidden], linear[:, -model.hidden :]
    of_relation = np.ones((1, model.hidden)) if weights is None else _reals(weights)[:, 0]
    bundles = _bundles(
        graph,
        delay[:, 0].round().long().cpu().numpy(),
        by_relation=weights is not None,
        last=model.timesteps - 2,
    )
    # of each relation, sender, receiver; relations without edges do not matter
    kinds = of_relation[:, :, None] * heard.T
    kinds[np.setdiff1d(np.arange(len(kinds)), bundles.relation)] = 0
    peak = max(np.abs(each).max(initial=0) for each in (own, kinds))
    q = _reals(drive)[0]
    scale, threshold = _scale(model.threshold, peak, float(np.abs(q).max()), fullness)
    mantissa, exponent = _drive_register(q, scale, threshold, q >= model.threshold)

    made = _between_nodes(bundles, _even(kinds * scale), graph.nodes, merge=merge)
    if own.size:
        made.append(_own_spikes(_even(own * scale), graph.nodes))
    synapses = sum(each.synapses.weight.size for each in made)
    bias = _from_clock(_reals(model.linear.bias) * factor * scale, graph.nodes)
    made += bias
    integers = IntegerGraph(
        sources={},
        populations=_populations(model, graph.nodes, threshold, clock=bool(bias)),
        connections=tuple(made),
        output=NODES,
        steps=model.timesteps,
    )
    units = np.concatenate([own.reshape(-1), kinds.reshape(-1)]) * scale
    report = _report(integers, scale, threshold, units, bundles.edges, synapses)
    return ReasoningGraph(
        graph=replace(
            integers,
            metadata={
                "kind": "grsnn",
                "relation": relation,
                "nodes": graph.nodes,
                "hidden": model.hidden,
                "drive": {"mantissa": mantissa.tolist(), "exponent": exponent},
                "read_out": model.read_out.tolist(),
                "quantisation": asdict(report),
            },
        ),
        mantissa=mantissa,
        exponent=exponent,
        report=report,
    )


def check_expressible(model: GRSNN) -> None:
    """Refuse by name what Loihi's neurons and synapses do not do.

    Raises:
        UsageError: it says what to train instead.
    """
    if not isinstance(model, GRSNN):
        raise UsageError(
            f"{type(model).__name__} sends numbers along edges; a chip sends spikes. Train grsnn."
        )
    if model.norm is not None:
        raise UsageError(
            "layer_norm divides a node's currents by their deviation, and no neuron of the chip "
            "knows the others'. Train grsnn, or grsnn+ with method.layer_norm = false."
        )
    if model.steps.aggregate != "sum":
        raise UsageError(
            f'aggregate = "{model.steps.aggregate}" takes largest, least and deviation of what '
            'arrives; synapses only add it up. Train with method.aggregate = "sum".'
        )
    fades = UNITY * (1 - model.steps.decay)
    if not 1 <= round(fades) < UNITY:
        raise UsageError(
            f"tau makes states decay by {fades:.4g} of 4096 a step; a register holds 1 to 4095. "
            "Train with method.tau between 0.12 and 8000."
        )


def _asked(model: GRSNN, relation: int) -> Tensor:
    return torch.tensor([relation], device=model.linear.weight.device)


def _check_heads(heads: Sequence[int], nodes: int) -> None:
    for head in heads:
        if not 0 <= head < nodes:
            raise UsageError(f"head {head}: the graph has nodes 0 to {nodes - 1}.")


def _scale(threshold: float, peak: float, drive: float, fullness: float) -> tuple[float, int]:
    """Return S and vth: weights fill eight bits, and vth and the drive fit their registers."""
    if not fullness > 0:
        raise UsageError(f"fullness must be above 0, got {fullness:g}.")
    limits = [(LARGEST_THRESHOLD + LEAST) / threshold]
    if peak:
        limits.append(LARGEST_WEIGHT * fullness / peak)
    if drive:
        limits.append((LARGEST_MANTISSA << LARGEST_EXPONENT) * LEAST / drive)
    whole = int(threshold * min(limits) - LEAST + 1e-9)
    if whole < 1:
        raise UsageError(
            f"the largest weight, {peak:.4g}, or drive, {drive:.4g}, is so far above the threshold "
            f"{threshold:g} that eight bits of weight leave none for it. Train with smaller "
            "weights (method.linear_scale), or raise fullness."
        )
    return (whole + LEAST) / threshold, whole


def _drive_register(
    drive: Array, scale: float, threshold: int, fires: Array
) -> tuple[Integers, int]:
    """Return mantissa and exponent; what alone makes its neuron fire, or not, still does so."""
    states = drive * scale * (1 << STATE_SHIFT)
    bar = threshold << STATE_SHIFT
    for exponent in range(LARGEST_EXPONENT + 1):
        mantissa = np.rint(states / (1 << exponent))
        below = bar >> exponent
        mantissa = np.where(fires, np.maximum(mantissa, below + 1), np.minimum(mantissa, below))
        if np.abs(mantissa).max(initial=0) <= LARGEST_MANTISSA:
            return mantissa.astype(np.int32), exponent
    raise UsageError(
        f"a drive of {np.abs(drive).max():.4g} does not fit the bias register at {scale:.4g} units "
        "of weights per unit of potential. Lower fullness."
    )


class _Bundles(NamedTuple):
    """Equal connections of one neuron to all of a node, sorted by that node; ``[n]`` each."""

    target: Array
    source: Array
    neuron: Array
    delay: Array
    relation: Array
    multiplicity: Array
    edges: int


def _bundles(graph: RelationalGraph, delay: Array, *, by_relation: bool, last: int) -> _Bundles:
    """Return the edges, neuron by neuron, less those on which a spike would come too late.

    Args:
        graph: N nodes.
        delay: ``[R, d]``.
        by_relation: whether equal means of one relation, too; else relations are 0.
        last: largest delay after which a spike still arrives.
    """
    hidden = delay.shape[1]
    target = np.repeat(np.arange(graph.nodes), graph.in_starts.diff().cpu().numpy())
    source, relation = (
        each.cpu().numpy().astype(np.int64) for each in (graph.in_sources, graph.in_relations)
    )
    late = delay[relation]
    kept = late <= last
    if kept.any() and late[kept].max() > LARGEST_DELAY:
        raise UsageError(
            f"a delay of {late[kept].max()} steps; a chip's synapses hold {LARGEST_DELAY}. Train "
            f"with method.delay_bound = {LARGEST_DELAY} at most."
        )
    edge, neuron = kept.nonzero()
    sides = (graph.nodes, graph.nodes, hidden, LARGEST_DELAY + 1, len(delay))
    keys = np.ravel_multi_index(
        (
            target[edge],
            source[edge],
            neuron,
            late[edge, neuron],
            relation[edge] if by_relation else np.zeros_like(edge),
        ),
        sides,
    )
    distinct, count = np.unique(keys, return_counts=True)
    at, origin, number, steps, kind = np.unravel_index(distinct, sides)
    return _Bundles(at, origin, number, steps, kind, count, int(kept.any(1).sum()))


def _between_nodes(
    bundles: _Bundles, weight: Integers, nodes: int, *, merge: bool
) -> list[Connection]:
    """Return the synapses of the edges.

    Args:
        bundles: n.
        weight: ``[R, d, d]``, of each relation, sender and receiver.
        nodes: N.
        merge: write c equal ones as powers of two.
    """
    hidden = weight.shape[2]
    powers = [bundles.multiplicity]
    if merge:
        top = LARGEST_EXPONENT
        powers = [bundles.multiplicity >> power & 1 for power in range(top)] + [
            bundles.multiplicity >> top
        ]
    most = sum(int(each.sum()) for each in powers) * hidden
    if most > MOST_SYNAPSES:
        raise UsageError(
            f"{bundles.edges:,} edges of {hidden}^2 synapses are {most:,}; no chip holds more than "
            f"{MOST_SYNAPSES:,}. Export a smaller graph, or train with fewer hidden neurons."
        )
    made = []
    for power, times in enumerate(powers):
        if times.any():
            lines = np.repeat(np.arange(len(times)), times)
            sender = bundles.source[lines] * hidden + bundles.neuron[lines]
            made.append(
                _connection(
                    bundles.target[lines],
                    sender,
                    bundles.delay[lines],
                    weight[bundles.relation[lines], bundles.neuron[lines]],
                    nodes,
                    power,
                )
            )
    return made


def _own_spikes(weight: Integers, nodes: int) -> Connection:
    """Return the synapses between the neurons of each node, ``weight[receiver, sender]``."""
    hidden = len(weight)
    sender = np.arange(nodes * hidden)
    weights = np.tile(weight.T, (nodes, 1))
    return _connection(sender // hidden, sender, np.zeros_like(sender), weights, nodes, 0)


def _connection(
    target: Array, sender: Array, delay: Array, weight: Array, nodes: int, exponent: int
) -> Connection:
    """Return synapses from each sender to all neurons of a node, those of weight 0 left out.

    Args:
        target: ``[n]``, nodes, ascending.
        sender: ``[n]``, neurons.
        delay: ``[n]``.
        weight: ``[n, d]``.
        nodes: N.
        exponent: of the weights.
    """
    hidden = weight.shape[1]
    lines = np.bincount(target, minlength=nodes)
    first = np.cumsum(lines) - lines
    # the lines of a node once for each of its neurons
    place = np.arange(len(target)) + (hidden - 1) * first[target]
    places = place[:, None] + np.arange(hidden) * lines[target][:, None]
    weights, senders, delays = (np.empty(weight.size, np.int32) for _ in range(3))
    weights[places] = weight
    senders[places] = sender[:, None]
    delays[places] = delay[:, None]
    kept = weights != 0
    starts = np.concatenate([[0], np.repeat(lines, hidden).cumsum()])
    before = np.concatenate([[0], kept.cumsum()])
    return Connection(
        source=NODES,
        target=NODES,
        synapses=Sparse(starts=before[starts], sources=senders[kept], weight=weights[kept]),
        delay=delays[kept],
        weight_exponent=exponent,
    )


def _from_clock(bias: Array, nodes: int) -> list[Connection]:
    """Return the synapses that bring a bias ``[d]``, in units, to every node, if it is not 0.

    One that is beyond eight bits is spread over several synapses.
    """
    even = 2 * np.rint(bias / 2).astype(np.int64)
    parts = [
        np.array([LARGEST_WEIGHT] * (size // LARGEST_WEIGHT) + [size % LARGEST_WEIGHT]) * sign
        for size, sign in zip(np.abs(even), np.sign(even), strict=True)
    ]
    parts = [part[part != 0] for part in parts]
    weight = np.tile(np.concatenate(parts), nodes)
    if not weight.size:
        return []
    starts = np.concatenate([[0], np.tile([len(part) for part in parts], nodes).cumsum()])
    synapses = Sparse(starts=starts, sources=np.zeros_like(weight), weight=weight)
    return [Connection(source=CLOCK, target=NODES, synapses=synapses)]


def _populations(model: GRSNN, nodes: int, threshold: int, *, clock: bool) -> dict[str, Population]:
    fades = round(UNITY * (1 - model.steps.decay))
    neuron = Cuba(du=np.asarray(fades - 1), dv=np.asarray(fades), vth=np.asarray(threshold))
    found = {NODES: Population(name=NODES, shape=(nodes, model.hidden), neuron=neuron)}
    if not clock:
        return found
    always = Cuba(
        du=np.asarray(UNITY - 1),
        dv=np.asarray(UNITY - 1),
        vth=np.asarray(0),
        bias_mant=np.asarray(1),
    )
    return {CLOCK: Population(name=CLOCK, shape=(1,), neuron=always), **found}


def _even(weight: Array) -> Integers:
    """Return weights in units as the chip holds those of both signs."""
    clipped = np.clip(2 * np.rint(weight / 2), -LARGEST_WEIGHT, LARGEST_WEIGHT)
    return np.asarray(clipped, np.int32)


def _report(
    graph: IntegerGraph, scale: float, threshold: int, units: Array, edges: int, synapses: int
) -> Report:
    """Account for a graph; ``units`` are the weights of the map before they were rounded."""
    error = np.square(_even(units) - units).sum()
    worst = worst_case_inputs(graph)[NODES]
    fades = int(graph.populations[NODES].cuba.du) + 1
    current = (worst << STATE_SHIFT) * UNITY // fades
    return Report(
        scale=scale,
        threshold=threshold,
        clipped_weights=float(np.mean(np.abs(units) > LARGEST_WEIGHT + 1)),
        weight_error=float(np.sqrt(error / max(np.square(units).sum(), 1e-300))),
        edges=edges,
        synapses=synapses,
        worst_input=worst,
        worst_current=current,
        may_overflow=current >= 1 << (WIDTH - 1),
    )


def _reals(tensor: Tensor) -> Array:
    return tensor.detach().cpu().double().numpy()
