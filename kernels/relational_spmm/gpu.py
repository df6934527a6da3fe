"""The relational product on a GPU with Triton: a program for a row and a block of its columns.

Aggregates stay in registers over a row's edges. Nothing is added atomically: a source's gradient is
gathered over the edges that leave it, a relation's over its edges, a piece at a time, the pieces in
their order.
"""

import torch
import triton
import triton.language as tl
from torch import Tensor

from neuro.kernels.relational_graph import RelationalGraph
from neuro.kernels.relational_spmm.aggregates import Aggregated, Aggregates, Gradients, empty

_WIDEST = 256
_PIECE = 256
"""Edges of a relation that one program adds up."""
_BOUNDARY = tl.constexpr(-1)
_NOTHING = tl.constexpr(-2)


@triton.jit
def _message(feature, factor, ADD: tl.constexpr):
    if ADD:
        return feature + factor
    return feature * factor


@triton.jit
def _forward(
    features,
    relation,
    boundary,
    starts,
    sources,
    relations,
    total,
    squares,
    maximum,
    minimum,
    maximum_places,
    minimum_places,
    WIDTH,
    BOUNDED: tl.constexpr,
    SUM: tl.constexpr,
    SQUARES: tl.constexpr,
    MAXIMUM: tl.constexpr,
    MINIMUM: tl.constexpr,
    PLACES: tl.constexpr,
    ADD: tl.constexpr,
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < WIDTH
    at = row * WIDTH + column
    start = tl.load(starts + row).to(tl.int32)
    stop = tl.load(starts + row + 1).to(tl.int32)
    if BOUNDED:
        first = tl.load(boundary + at, mask=mask, other=0.0).to(ACC)
        place = tl.full([BLOCK], _BOUNDARY, tl.int32)
    else:
        edge = start + column * 0
        taken = mask & (edge < stop)
        source = tl.load(sources + edge, mask=taken, other=0).to(tl.int64)
        kind = tl.load(relations + edge, mask=taken, other=0).to(tl.int64)
        feature = tl.load(features + source * WIDTH + column, mask=taken, other=0.0).to(ACC)
        factor = tl.load(relation + kind * WIDTH + column, mask=taken, other=0.0).to(ACC)
        first = _message(feature, factor, ADD)
        place = tl.where(taken, edge, _NOTHING)
        start += 1
    sums = first
    powers = first * first
    largest = first
    least = first
    largest_place = place
    least_place = place
    for edge in range(start, stop):
        source = tl.load(sources + edge).to(tl.int64)
        kind = tl.load(relations + edge).to(tl.int64)
        feature = tl.load(features + source * WIDTH + column, mask=mask, other=0.0).to(ACC)
        factor = tl.load(relation + kind * WIDTH + column, mask=mask, other=0.0).to(ACC)
        message = _message(feature, factor, ADD)
        if SUM:
            sums += message
        if SQUARES:
            powers += message * message
        # The first NaN is the extreme, and stays it.
        if MAXIMUM:
            better = ((message > largest) | (message != message)) & (largest == largest)
            largest = tl.where(better, message, largest)
            largest_place = tl.where(better, edge, largest_place)
        if MINIMUM:
            better = ((message < least) | (message != message)) & (least == least)
            least = tl.where(better, message, least)
            least_place = tl.where(better, edge, least_place)
    if SUM:
        tl.store(total + at, sums, mask=mask)
    if SQUARES:
        tl.store(squares + at, powers, mask=mask)
    if MAXIMUM:
        tl.store(maximum + at, largest, mask=mask)
        if PLACES:
            tl.store(maximum_places + at, largest_place, mask=mask)
    if MINIMUM:
        tl.store(minimum + at, least, mask=mask)
        if PLACES:
            tl.store(minimum_places + at, least_place, mask=mask)


@triton.jit
def _credit(
    message,
    of_total,
    of_squares,
    of_maximum,
    of_minimum,
    maximum_places,
    minimum_places,
    at,
    place,
    mask,
    SUM: tl.constexpr,
    SQUARES: tl.constexpr,
    MAXIMUM: tl.constexpr,
    MINIMUM: tl.constexpr,
    ACC: tl.constexpr,
):
    """Return the gradient of a message from what the aggregates at ``at`` received."""
    found = message * 0
    if SUM:
        found = tl.load(of_total + at, mask=mask, other=0.0).to(ACC)
    if SQUARES:
        found += 2 * message * tl.load(of_squares + at, mask=mask, other=0.0).to(ACC)
    if MAXIMUM:
        won = tl.load(maximum_places + at, mask=mask, other=_NOTHING) == place
        found += tl.where(won, tl.load(of_maximum + at, mask=mask, other=0.0).to(ACC), 0.0)
    if MINIMUM:
        won = tl.load(minimum_places + at, mask=mask, other=_NOTHING) == place
        found += tl.where(won, tl.load(of_minimum + at, mask=mask, other=0.0).to(ACC), 0.0)
    return found


@triton.jit
def _backward(
    features,
    relation,
    boundary,
    starts,
    destinations,
    relations,
    places,
    of_total,
    of_squares,
    of_maximum,
    of_minimum,
    maximum_places,
    minimum_places,
    of_features,
    of_boundary,
    WIDTH,
    BOUNDED: tl.constexpr,
    SUM: tl.constexpr,
    SQUARES: tl.constexpr,
    MAXIMUM: tl.constexpr,
    MINIMUM: tl.constexpr,
    ADD: tl.constexpr,
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):
    row = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < WIDTH
    at = row * WIDTH + column
    if BOUNDED:
        found = _credit(
            tl.load(boundary + at, mask=mask, other=0.0).to(ACC),
            of_total,
            of_squares,
            of_maximum,
            of_minimum,
            maximum_places,
            minimum_places,
            at,
            _BOUNDARY,
            mask,
            SUM,
            SQUARES,
            MAXIMUM,
            MINIMUM,
            ACC,
        )
        tl.store(of_boundary + at, found, mask=mask)
    own = tl.load(features + at, mask=mask, other=0.0).to(ACC)
    sums = tl.full([BLOCK], 0.0, ACC)
    for edge in range(tl.load(starts + row), tl.load(starts + row + 1)):
        end = tl.load(destinations + edge).to(tl.int64)
        kind = tl.load(relations + edge).to(tl.int64)
        factor = tl.load(relation + kind * WIDTH + column, mask=mask, other=0.0).to(ACC)
        found = _credit(
            _message(own, factor, ADD),
            of_total,
            of_squares,
            of_maximum,
            of_minimum,
            maximum_places,
            minimum_places,
            end * WIDTH + column,
            tl.load(places + edge),
            mask,
            SUM,
            SQUARES,
            MAXIMUM,
            MINIMUM,
            ACC,
        )
        if ADD:
            sums += found
        else:
            sums += found * factor
    tl.store(of_features + at, sums, mask=mask)


@triton.jit
def _relation_pieces(
    features,
    relation,
    edges,  # places of edges, by relation
    sources,
    destinations,
    kinds,  # of the pieces, and where in the edges they start and stop
    starts,
    stops,
    of_total,
    of_squares,
    of_maximum,
    of_minimum,
    maximum_places,
    minimum_places,
    pieces,
    WIDTH,
    SUM: tl.constexpr,
    SQUARES: tl.constexpr,
    MAXIMUM: tl.constexpr,
    MINIMUM: tl.constexpr,
    ADD: tl.constexpr,
    BLOCK: tl.constexpr,
    ACC: tl.constexpr,
):
    piece = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < WIDTH
    kind = tl.load(kinds + piece)
    factor = tl.load(relation + kind * WIDTH + column, mask=mask, other=0.0).to(ACC)
    sums = tl.full([BLOCK], 0.0, ACC)
    for number in range(tl.load(starts + piece), tl.load(stops + piece)):
        place = tl.load(edges + number)
        source = tl.load(sources + place).to(tl.int64)
        end = tl.load(destinations + place)
        feature = tl.load(features + source * WIDTH + column, mask=mask, other=0.0).to(ACC)
        found = _credit(
            _message(feature, factor, ADD),
            of_total,
            of_squares,
            of_maximum,
            of_minimum,
            maximum_places,
            minimum_places,
            end * WIDTH + column,
            place.to(tl.int32),
            mask,
            SUM,
            SQUARES,
            MAXIMUM,
            MINIMUM,
            ACC,
        )
        if ADD:
            sums += found
        else:
            sums += found * feature
    tl.store(pieces + piece * WIDTH + column, sums, mask=mask)


@triton.jit
def _add_pieces(pieces, starts, of_relation, WIDTH, BLOCK: tl.constexpr, ACC: tl.constexpr):
    kind = tl.program_id(0).to(tl.int64)
    column = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    mask = column < WIDTH
    sums = tl.full([BLOCK], 0.0, ACC)
    for piece in range(tl.load(starts + kind), tl.load(starts + kind + 1)):
        sums += tl.load(pieces + piece * WIDTH + column, mask=mask, other=0.0)
    tl.store(of_relation + kind * WIDTH + column, sums, mask=mask)


def _accumulator(dtype: torch.dtype) -> tuple[tl.dtype, torch.dtype]:
    """Return the dtype of sums: at least single precision."""
    if dtype == torch.float64:
        return tl.float64, torch.float64
    return tl.float32, torch.float32


def _flags(asked: Aggregates) -> dict[str, bool]:
    """Return what the kernels take to tell what is asked for."""
    flags = ("SUM", "SQUARES", "MAXIMUM", "MINIMUM", "ADD")
    return {name: Aggregates[name] in asked for name in flags}


def _block(width: int) -> int:
    return int(min(_WIDEST, max(16, triton.next_power_of_2(width))))


def forward(
    features: Tensor,
    relation: Tensor,
    boundary: Tensor | None,
    graph: RelationalGraph,
    asked: Aggregates,
) -> Aggregated:
    """Return the aggregates of all messages."""
    found = empty(features, asked)
    nodes, width = features.shape
    if not features.numel():
        return found
    block = _block(width)
    features = features.contiguous()
    _forward[(nodes, triton.cdiv(width, block))](
        features,
        relation.contiguous(),
        features if boundary is None else boundary.contiguous(),
        graph.in_starts,
        graph.in_sources,
        graph.in_relations,
        *found,
        width,
        BOUNDED=boundary is not None,
        PLACES=Aggregates.PLACES in asked,
        **_flags(asked),
        BLOCK=block,
        ACC=_accumulator(features.dtype)[0],
        enable_fp_fusion=False,
    )
    return found


def backward(
    gradients: Aggregated,
    features: Tensor,
    relation: Tensor,
    boundary: Tensor | None,
    graph: RelationalGraph,
    asked: Aggregates,
    of_relation: bool,
) -> Gradients:
    """Gather the gradients of sources, then of relations."""
    nodes, width = features.shape
    features, relation = features.contiguous(), relation.contiguous()
    credit = Aggregated(*(each.contiguous() for each in gradients))
    found = Gradients(
        torch.empty_like(features),
        features.new_empty(0),
        features.new_empty(0) if boundary is None else torch.empty_like(features),
    )
    if features.numel():
        block = _block(width)
        _backward[(nodes, triton.cdiv(width, block))](
            features,
            relation,
            features if boundary is None else boundary.contiguous(),
            graph.out_starts,
            graph.out_destinations,
            graph.out_relations,
            graph.out_places,
            *credit,
            found.features,
            found.boundary,
            width,
            BOUNDED=boundary is not None,
            **_flags(asked),
            BLOCK=block,
            ACC=_accumulator(features.dtype)[0],
            enable_fp_fusion=False,
        )
    if not of_relation:
        return found
    return found._replace(relation=_relation_gradient(credit, features, relation, graph, asked))


def _relation_gradient(
    credit: Aggregated,
    features: Tensor,
    relation: Tensor,
    graph: RelationalGraph,
    asked: Aggregates,
) -> Tensor:
    kinds, width = relation.shape
    if not graph.edges or not width:
        return torch.zeros_like(relation)
    device = features.device
    nodes = torch.arange(graph.nodes, device=device)
    counts = torch.bincount(graph.in_relations, minlength=kinds)
    firsts = counts.cumsum(0) - counts
    pieces = (counts + _PIECE - 1) // _PIECE
    piece_starts = torch.cat([pieces.new_zeros(1), pieces.cumsum(0)])
    kind = torch.arange(kinds, device=device).repeat_interleave(pieces)
    number = torch.arange(len(kind), device=device) - piece_starts[kind]
    starts = firsts[kind] + number * _PIECE
    stops = torch.minimum(starts + _PIECE, firsts[kind] + counts[kind])
    number_type, dtype = _accumulator(features.dtype)
    sums = torch.empty(len(kind), width, dtype=dtype, device=device)
    block = _block(width)
    options = {"BLOCK": block, "ACC": number_type, "enable_fp_fusion": False}
    columns = triton.cdiv(width, block)
    _relation_pieces[(len(kind), columns)](
        features,
        relation,
        graph.in_relations.argsort(stable=True),
        graph.in_sources,
        nodes.repeat_interleave(graph.in_starts.diff()),
        kind,
        starts,
        stops,
        *credit,
        sums,
        width,
        **_flags(asked),
        **options,
    )
    found = torch.empty_like(relation)
    _add_pieces[(kinds, columns)](sums, piece_starts, found, width, **options)
    return found
