"""Vector code for one row of a relational product: aggregates stay in registers over its edges.

A row is walked a few vectors of columns at a time. An edge's relation and its other end name rows
of ``width`` numbers. The flags of :class:`Aggregates` are constants of the closure that calls, and
what they exclude is not there; arrays that are not used may be empty.
"""

from typing import Any

from numba import types

from neuro.kernels.relational_spmm.aggregates import BOUNDARY, Aggregates
from neuro.kernels.vectors import Writer, constant, intrinsic

_EXTREMES = ((Aggregates.MAXIMUM, ">"), (Aggregates.MINIMUM, "<"))


def _join(code: Writer, asked: Aggregates, feature: Any, relation: Any) -> Any:
    """Return the message."""
    join = code.builder.fadd if Aggregates.ADD in asked else code.builder.fmul
    return join(feature, relation)


class _Registers:
    """Aggregates of the messages of one vector of columns, in the order of ``Aggregated``."""

    def __init__(self, code: Writer, places: Writer, asked: Aggregates) -> None:
        self.code, self.places, self.asked = code, places, asked

    def begin(self, message: Any, place: Any) -> list[Any]:
        """Return the aggregates of one message."""
        asked = self.asked
        found = [message] if Aggregates.SUM in asked else []
        if Aggregates.SQUARES in asked:
            found.append(self.code.builder.fmul(message, message))
        extremes = [flag for flag, _ in _EXTREMES if flag in asked]
        found += [message] * len(extremes)
        if Aggregates.PLACES in asked:
            found += [place] * len(extremes)
        return found

    def follow(self, before: list[Any], message: Any, place: Any) -> list[Any]:
        """Return the aggregates of one message more."""
        builder, asked, old = self.code.builder, self.asked, iter(before)
        found = [builder.fadd(next(old), message)] if Aggregates.SUM in asked else []
        if Aggregates.SQUARES in asked:
            found.append(builder.fadd(next(old), builder.fmul(message, message)))
        better = []
        for flag, sign in _EXTREMES:
            if flag in asked:
                best = next(old)
                # The first NaN is the extreme, and stays it.
                beats = builder.fcmp_unordered(sign, message, best)
                better.append(builder.and_(beats, builder.fcmp_ordered("ord", best, best)))
                found.append(builder.select(better[-1], message, best))
        if Aggregates.PLACES in asked:
            found += [builder.select(each, place, next(old)) for each in better]
        return found

    def store(self, found: list[Any], bases: list[Any], at: Any, k: int) -> None:
        """Write the aggregates to the arrays of ``Aggregated``."""
        asked, values = self.asked, iter(found)
        wanted = [Aggregates.SUM, Aggregates.SQUARES, Aggregates.MAXIMUM, Aggregates.MINIMUM]
        for flag, base in zip(wanted, bases, strict=False):
            if flag in asked:
                self.code.store(next(values), base, at, k)
        for flag, base in zip(wanted[2:], bases[4:], strict=True):
            if flag in asked and Aggregates.PLACES in asked:
                self.places.store(next(values), base, at, k)


def _gather_messages(
    typing: Any,
    features: Any,
    relation: Any,
    boundary: Any,
    sources: Any,
    relations: Any,
    start: Any,
    stop: Any,
    width: Any,
    column: Any,
    total: Any,
    squares: Any,
    maximum: Any,
    minimum: Any,
    maximum_places: Any,
    minimum_places: Any,
    at: Any,
    what: Any,
    bounded: Any,
    vectors: Any,
) -> Any:
    flags, has_boundary, count = map(constant, (what, bounded, vectors))
    if flags is None or has_boundary is None or count is None:
        return None
    asked, place = Aggregates(flags), types.intp
    inputs = (features, relation, boundary, sources, relations, place, place, place, place)
    results = (total, squares, maximum, minimum, maximum_places, minimum_places, place)

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Writer(context, builder, signature)
        ints = Writer(context, builder, signature, code.length, 13)
        registers = _Registers(code, ints, asked)
        x, r, given, ends, kinds = (code.data(args, k) for k in range(5))
        start, stop, width, column, at = (args[k] for k in (*range(5, 9), 15))

        def messages(edge: Any) -> list[Any]:
            source = code.row(ends, edge, width, column)
            kind = code.row(kinds, edge, width, column)
            return [
                _join(code, asked, code.load(x, source, k), code.load(r, kind, k))
                for k in range(count)
            ]

        if has_boundary:
            firsts = [code.load(given, at, k) for k in range(count)]
            place_of_first = ints.constant(BOUNDARY)
        else:
            firsts = messages(start)
            place_of_first = ints.spread(ints.narrow(start))
            start = builder.add(start, start.type(1))
        initial = [registers.begin(first, place_of_first) for first in firsts]
        size = len(initial[0])
        every = [each for row in initial for each in row]
        with code.loop(start, stop, every) as (edge, carried):
            here = ints.spread(ints.narrow(edge))
            for k, message in enumerate(messages(edge)):
                part = slice(k * size, (k + 1) * size)
                carried[part] = registers.follow(carried[part], message, here)
        bases = [code.data(args, k) for k in range(9, 15)]
        for k in range(count):
            registers.store(carried[k * size : (k + 1) * size], bases, at, k)
        return context.get_dummy_value()

    return types.void(*inputs, *results, what, bounded, vectors), write


gather_messages: Any = intrinsic(_gather_messages)
"""Aggregate the messages of edges ``start`` to ``stop``, and write them from ``at`` on::

    message[e] = features[sources[e], column:] (* or +) relation[relations[e], column:]

With ``bounded`` the message ``boundary[at:]`` comes before them; without, there is an edge.
"""


def _send_gradients(
    typing: Any,
    features: Any,
    relation: Any,
    boundary: Any,
    sources: Any,
    relations: Any,
    start: Any,
    stop: Any,
    width: Any,
    column: Any,
    of_total: Any,
    of_squares: Any,
    of_maximum: Any,
    of_minimum: Any,
    maximum_places: Any,
    minimum_places: Any,
    at: Any,
    of_features: Any,
    of_boundary: Any,
    of_relation: Any,
    what: Any,
    bounded: Any,
    with_relation: Any,
) -> Any:
    flags, has_boundary, wants = map(constant, (what, bounded, with_relation))
    if flags is None or has_boundary is None or wants is None:
        return None
    asked, place = Aggregates(flags), types.intp
    inputs = (features, relation, boundary, sources, relations, place, place, place, place)
    given = (of_total, of_squares, of_maximum, of_minimum, maximum_places, minimum_places, place)
    results = (of_features, of_boundary, of_relation)

    def write(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        code = Writer(context, builder, signature)
        ints = Writer(context, builder, signature, code.length, 13)
        x, r, first, ends, kinds = (code.data(args, k) for k in range(5))
        start, stop, width, column, at = (args[k] for k in (*range(5, 9), 15))
        to_features, to_boundary, to_relation = (code.data(args, k) for k in range(16, 19))
        received = {
            flag: code.load(code.data(args, position), at)
            for position, flag in enumerate(Aggregates.PNA, 9)
            if flag in asked
        }
        winners = {
            flag: ints.load(code.data(args, position), at)
            for position, (flag, _) in enumerate(_EXTREMES, 13)
            if flag in asked
        }

        def gradient_of(message: Any, name: Any) -> Any:
            found = received.get(Aggregates.SUM, code.zero)
            if Aggregates.SQUARES in asked:
                twice = builder.fadd(message, message)
                found = code.add_product(found, twice, received[Aggregates.SQUARES])
            for flag, winner in winners.items():
                won = builder.icmp_signed("==", winner, name)
                found = builder.fadd(found, builder.select(won, received[flag], code.zero))
            return found

        def add(base: Any, offset: Any, number: Any) -> None:
            code.store(builder.fadd(code.load(base, offset), number), base, offset)

        if has_boundary:
            found = gradient_of(code.load(first, at), ints.constant(BOUNDARY))
            code.store(found, to_boundary, at)
        with code.loop(start, stop) as (edge, _):
            source = code.row(ends, edge, width, column)
            kind = code.row(kinds, edge, width, column)
            feature, factor = code.load(x, source), code.load(r, kind)
            message = _join(code, asked, feature, factor)
            found = gradient_of(message, ints.spread(ints.narrow(edge)))
            adds = Aggregates.ADD in asked
            add(to_features, source, found if adds else builder.fmul(found, factor))
            if wants:
                add(to_relation, kind, found if adds else builder.fmul(found, feature))
        return context.get_dummy_value()

    return types.void(*inputs, *given, *results, what, bounded, with_relation), write


send_gradients: Any = intrinsic(_send_gradients)
"""Send what one vector of a node's aggregates received, at ``at``, back along its edges.

What reaches a source is added to ``of_features``, what a relation to ``of_relation``, and where
``bounded`` the boundary's gradient is written to ``of_boundary``.
"""
