"""One call of a torch operator, and what a rule says of it."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from types import MappingProxyType
from typing import Any, NamedTuple

import torch
from torch import Tensor

from neuro.energy.operators.tensor_marks import Carried, Marks
from neuro.energy.signals import Signal

Columns = dict[str, float]
"""Columns of :class:`neuro.energy.Counts` that are not 0."""


class Counted(NamedTuple):
    """What happened in a call.

    Attributes:
        columns: of it.
        facts: fields of :class:`neuro.energy.Facts` that it tells, ``dense`` as a total of the
            call; ``weight`` is the tensor, or tensors, with the weights.
        driven: whether all of it goes with the spikes.
    """

    columns: Columns
    facts: Mapping[str, Any] = MappingProxyType({})
    driven: bool = False


@dataclass(frozen=True)
class Rule:
    """How to count an operator.

    Attributes:
        kind: of layer it makes, as in :class:`neuro.energy.Facts`.
        count: what happens in a call.
        sends: what its result carries; by default real numbers.
        moves: it only moves, makes or views numbers, and so is free.
        draws: it draws random numbers, so its result is no constant whatever it is made of.
    """

    kind: str
    count: Callable[["Call"], Counted | Columns]
    sends: Callable[["Call"], Carried] = field(default=lambda call: "real")
    moves: bool = False
    draws: bool = False


@dataclass(frozen=True)
class Call:
    """One call of an operator that has run.

    Attributes:
        name: such as ``aten::add``, an underscore for "in place" left out.
        schema: of the operator, as torch declares it.
        args: by place.
        kwargs: by name.
        outputs: tensors it returned.
        marks: what is known of tensors, its outputs apart.
    """

    name: str
    schema: Any
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: tuple[Tensor, ...]
    marks: Marks
    _nonzero: dict[int, int] = field(default_factory=dict)

    def argument(self, name: str) -> Any:
        """Return an argument by its name in the schema, its default if it was not given.

        Raises:
            KeyError: the operator has none of that name.
        """
        for place, each in enumerate(self.schema.arguments):
            if each.name == name:
                if place < len(self.args):
                    return self.args[place]
                return self.kwargs.get(name, each.default_value)
        raise KeyError(f"{self.name} has no argument {name}")

    def has(self, name: str) -> bool:
        """Tell whether there is an argument of that name, and it is not None."""
        return any(each.name == name for each in self.schema.arguments) and (
            self.argument(name) is not None
        )

    @property
    def out(self) -> Tensor:
        """The first result."""
        return self.outputs[0]

    @cached_property
    def operands(self) -> tuple[Tensor, ...]:
        """All tensors given to it, those it writes into by ``out=`` apart."""
        found = [each for value in self.args for each in tensors_in(value)]
        if self.kwargs:
            written = {each.name for each in self.schema.arguments if each.is_out}
            for name, value in self.kwargs.items():
                found += () if name in written else tensors_in(value)
        return tuple(found)

    def signal(self, tensor: Tensor) -> Signal:
        """Return what a tensor was declared to carry; zeros of no origin are real numbers."""
        carries = self.marks.of(tensor).carries
        return "real" if carries == "silent" else carries

    def constant(self, operand: Any) -> bool:
        """Tell whether an operand is a number or made of constants alone."""
        return not isinstance(operand, Tensor) or self.marks.of(operand).constant

    def nonzero(self, tensor: Tensor) -> int:
        """Return how many numbers of a tensor are not 0, counted once."""
        key = self.marks.key(tensor)
        known: dict[Any, int] = self._nonzero if key is None else self.marks.kept(key).nonzero
        place = id(tensor) if key is None else key
        if place not in known:
            known[place] = int(torch.count_nonzero(tensor))
        return known[place]

    def keep(self, tensor: Tensor, what: Any, find: Callable[[], Tensor]) -> Tensor:
        """Return what is made of a tensor, found once where it is a constant."""
        key = self.marks.key(tensor)
        if key is None:
            return find()
        made, place = self.marks.kept(key).made, (key, what)
        if place not in made:
            made[place] = find()
        return made[place]


def tensors_in(value: Any) -> Iterator[Tensor]:
    """Yield the tensors of an argument: itself, or those of a list."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for each in value:
            yield from tensors_in(each)
